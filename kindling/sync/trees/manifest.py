"""What a tree holds, as sync sees it: folders, files and links by path.

Made from the entries of `kindling.files.tree` (`file:644:sha256:...`, `dir:755`, `link:TARGET`),
which is also how an agent lists a container. Paths are text with surrogates where a name is not
UTF-8, as Python reads them from a disk; `path_bytes` gives them back as they were.

What cannot be carried is refused by name with a reason, and everything else goes on:

    socket, fifo, device   `special`: they mean something to the process that made them alone
    link out of the tree   `outside`: absolute, or above the root once every link on the way is
                           followed; in the container it would lead somewhere else
    `..`, empty, NUL, `/`  `name`: no path below the root; nothing on a disk is called so, a
                           hostile listing is
    over 255 bytes a name  `name`: the container's file system would not take it
    `.kindling-tmp-...`    `name`: the agent calls its unfinished files so, and refuses others
    cannot be read         `unreadable`: a file or folder that the user running us may not read
    something in the way   `in the way`: a folder that would have to give place holds what is not
                           ours to remove (`difference` finds this)

Names with newlines, spaces, quotes, or in no known encoding are names like others. A link that
leads nowhere, or to itself, is carried as it is. Only permission bits travel: set-user-id,
set-group-id and sticky bits stay at home, since the files get another owner over there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from types import MappingProxyType

from kindling.errors import ExecutionError
from kindling.files.tree import ABSENT

__all__ = [
    "EMPTY",
    "Entry",
    "Kind",
    "Reason",
    "Refused",
    "TreeManifest",
    "above",
    "escapes",
    "not_carried",
    "of_container",
    "of_source",
    "parsed",
    "path_bytes",
    "shown",
]

_NAME_MOST = 255
_PATH_MOST = 4095
_LINKS_MOST = 40
_CARRIED = 0o777
_AGENTS = ".kindling-tmp-"
_DOTS = frozenset(("", ".", ".."))
_REMEMBERED = 1 << 16
"""Paths and entries of one project are read again with every save; most are as they were."""


class Kind(Enum):
    """What a path is. `OTHER` is found in containers only: a socket, a fifo or a device."""

    FILE = "file"
    DIR = "dir"
    LINK = "link"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a path holds.

    `mode` None (folders only): any will do; the folder is there for what lies in it. `size` is for
    reckoning and counts for nothing in a comparison, where the digest says more.
    """

    kind: Kind
    mode: int | None = None
    digest: str = ""
    target: str = ""
    size: int | None = field(default=None, compare=False)

    def same(self, other: Entry | None) -> bool:
        """Does `other` fulfil this one?"""
        if self is other:
            return True
        if other is None or self.kind is not other.kind:
            return False
        if self.kind is Kind.LINK:
            return self.target == other.target
        return self.digest == other.digest and (self.mode is None or self.mode == other.mode)


class Reason(Enum):
    """Why a path is not carried."""

    SPECIAL = "special"
    OUTSIDE = "outside"
    NAME = "name"
    UNREADABLE = "unreadable"
    IN_THE_WAY = "in the way"


@dataclass(frozen=True, slots=True)
class Refused:
    """A path that is not carried. What the container has there is left alone."""

    path: str
    reason: Reason
    text: str

    def __str__(self) -> str:
        return f"`{shown(self.path)}` is not synced: {self.text}"


@dataclass(frozen=True, slots=True)
class TreeManifest:
    """Path to entry, sorted; every folder on the way to a path is an entry itself. The root is not.

    Raises:
        ValueError: A path is none, or lies in something that is no folder.
    """

    entries: Mapping[str, Entry]
    refused: tuple[Refused, ...] = ()

    def __post_init__(self) -> None:
        # Made several times of thousands of entries: a folder comes before what lies in it, so that
        # of most paths the last name alone is new.
        ordered = {path: self.entries[path] for path in sorted(self.entries)}
        folders: set[str] = set()
        for path, entry in ordered.items():
            folder, slash, name = path.rpartition("/")
            known = not slash or folder in folders
            if not (known and _is_plain(path, name)) and (wrong := _wrong(path)):
                raise ValueError(f"{path!r}: {wrong}")
            if not known:
                where = "a folder that is not in the tree"
                if folder in ordered:
                    where = "something that is no folder"
                raise ValueError(f"{path!r} lies in {where}")
            if entry.kind is Kind.DIR:
                folders.add(path)
        object.__setattr__(self, "entries", MappingProxyType(ordered))

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)


EMPTY = TreeManifest({})


def of_source(
    entries: Mapping[str, str], base: str = ".", sizes: Mapping[str, int] | None = None
) -> TreeManifest:
    """The tree below `base` of a `FileManifest`'s entries, with what is refused of it.

    Folders that the reader left out although something in them is wanted (a `!` pattern, `only=`)
    are in the tree with a mode of None.
    """
    known: dict[str, Entry] = {}
    refused: list[Refused] = []
    for path, text in _below(entries, base):
        if text == ABSENT:
            continue
        why = not_carried(path, text)
        if why is not None:
            refused.append(why)
            if why.reason is Reason.NAME:
                continue
        known[path] = parsed(text, sizes.get(path) if sizes else None)
    known = _with_folders(known, refused)
    for path in [path for path, entry in known.items() if entry.kind is Kind.LINK]:
        if (outside := escapes(known, path)) is not None:
            refused.append(outside)
    for one in refused:
        known.pop(one.path, None)
    return TreeManifest(known, tuple(sorted(refused, key=lambda one: one.path)))


def not_carried(path: str, text: str) -> Refused | None:
    """Why the entry cannot be carried, as far as it alone tells; of links, see `escapes`."""
    if wrong := _wrong(path) or _kept_for_the_agent(path):
        return Refused(path, Reason.NAME, wrong)
    word, _, _ = text.partition(":")
    if word == "unreadable":
        return Refused(path, Reason.UNREADABLE, "it cannot be read; make it readable or ignore it")
    if word not in {"file", "dir", "link"}:
        return Refused(path, Reason.SPECIAL, f"it is a {word}")
    return None


def of_container(entries: Mapping[str, str], base: str = ".") -> TreeManifest:
    """The tree below `base` as a container lists it. Nothing is refused: what is there is there.

    Raises:
        ExecutionError: The listing names what cannot be; whoever wrote it is not to be trusted.
    """
    known: dict[str, Entry] = {}
    for path, text in _below(entries, base):
        if text == ABSENT:
            continue
        if wrong := _wrong(path):
            raise ExecutionError(f"The container lists `{shown(path)}`, which is no path: {wrong}")
        if _kept_for_the_agent(path):
            continue
        known[path] = parsed(text, None)
    refused: list[Refused] = []
    known = _with_folders(known, refused)
    if refused:
        raise ExecutionError(
            f"The container lists `{shown(refused[0].path)}`, which cannot be: {refused[0].text}"
        )
    return TreeManifest(known)


def path_bytes(path: str) -> bytes:
    """A path as the disk has it."""
    return path.encode("utf-8", "surrogateescape")


def above(path: str) -> Iterable[str]:
    """Every folder on the way to `path`, the nearest first; the root is not among them."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def shown(path: str) -> str:
    """A path fit for one line of a terminal."""
    text = path.encode("utf-8", "backslashreplace").decode()
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def _below(entries: Mapping[str, str], base: str) -> Iterator[tuple[str, str]]:
    if base in {".", ""}:
        yield from ((path, text) for path, text in entries.items() if path != ".")
        return
    prefix = base.rstrip("/") + "/"
    for path, text in entries.items():
        if path.startswith(prefix):
            yield path[len(prefix) :], text


@lru_cache(maxsize=_REMEMBERED)
def _wrong(path: str) -> str:
    """Why `path` is no path below a root; empty when it is one."""
    if not path or path.startswith("/") or "\0" in path:
        return "it is empty, absolute, or holds a NUL"
    parts = path.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        return "it holds an empty part, `.` or `..`"
    raw = path_bytes(path)
    if len(raw) > _PATH_MOST or any(len(part) > _NAME_MOST for part in raw.split(b"/")):
        return f"a name has more than {_NAME_MOST} bytes, or the path more than {_PATH_MOST}"
    return ""


def _is_plain(path: str, name: str) -> bool:
    """Is it clear that nothing is wrong with the last name of a path whose folders are known?
    `_wrong` knows more, and takes longer."""
    return (
        name.isascii()
        and name not in _DOTS
        and "\0" not in name
        and len(name) <= _NAME_MOST
        and len(path) <= _PATH_MOST // 4
    )


def _kept_for_the_agent(path: str) -> str:
    """Why the path can be the agent's alone; empty when it is free."""
    if _AGENTS in path and any(part.startswith(_AGENTS) for part in path.split("/")):
        return f"names that begin with `{_AGENTS}` are the agent's own"
    return ""


@lru_cache(maxsize=_REMEMBERED)
def parsed(text: str, size: int | None) -> Entry:
    """What the entry of a `FileManifest` says."""
    kind, _, rest = text.partition(":")
    if kind == "link":
        return Entry(Kind.LINK, target=rest)
    mode, _, digest = rest.partition(":")
    bits = int(mode, 8) & _CARRIED
    if kind == "file":
        return Entry(Kind.FILE, bits, digest, size=size)
    return Entry(Kind.DIR if kind == "dir" else Kind.OTHER, bits)


def _with_folders(known: Mapping[str, Entry], refused: list[Refused]) -> dict[str, Entry]:
    """With every folder on the way. What lies in something that is no folder is refused: such a
    listing was read while the tree changed, or is hostile."""
    full = dict(known)
    for path in known:
        for folder in above(path):
            held = full.get(folder)
            if held is None:
                full[folder] = Entry(Kind.DIR)
            elif held.kind is not Kind.DIR:
                text = f"`{shown(folder)}` is no folder"
                refused.append(Refused(path, Reason.NAME, text))
                break
            elif folder in known:
                # It is looked after by its own turn.
                break
    if refused:
        gone = {one.path for one in refused}
        full = {path: entry for path, entry in full.items() if path not in gone}
        full = {
            path: entry for path, entry in full.items() if not any(up in gone for up in above(path))
        }
    return full


def escapes(known: Mapping[str, Entry], path: str) -> Refused | None:
    """Why a link is not carried: it leads above the root, with every link on the way followed."""
    if not _leads_out(known, path):
        return None
    target = shown(known[path].target)
    text = f"it is a link to `{target}`, which is outside the synced folder"
    return Refused(path, Reason.OUTSIDE, text)


def _leads_out(known: Mapping[str, Entry], path: str) -> bool:
    todo = [*reversed(path.split("/"))]
    place: list[str] = []
    links = 0
    while todo:
        part = todo.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            if not place:
                return True
            place.pop()
            continue
        entry = known.get("/".join([*place, part]))
        if entry is None or entry.kind is not Kind.LINK:
            place.append(part)
            continue
        links += 1
        if links > _LINKS_MOST:
            return False
        if entry.target.startswith("/"):
            return True
        todo.extend(reversed(entry.target.split("/")))
    return False
