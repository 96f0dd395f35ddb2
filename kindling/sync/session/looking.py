"""What runs in a container: its first process, read through a link, and the scripts that it names.

Nothing is run for it. What may not be read (another user's `/proc/1/environ`) is left out; the
arguments, which everyone may read, are enough for most.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from kindling.sync.protocol import Link
from kindling.sync.runtimes.detect import Detection, detect, words_of
from kindling.sync.session.effects import unsupervised

__all__ = ["Seen", "find_program", "look", "seen_from"]

_SCRIPT_MOST = 64 * 1024
_ROUNDS = 4
"""Scripts that name scripts."""
_WORDS = 6
"""How many of the first words may name one: what comes later are arguments of something."""
_OF_USE = ("PATH", "WEB_CONCURRENCY", "FLASK_DEBUG")
_USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found out about a container's program."""

    argv: tuple[str, ...]
    exe: str = ""
    folder: str = "/"
    """Its working folder."""
    environ: Mapping[str, str] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)

    def detected(self, project: Collection[str] = ()) -> Detection:
        return detect(
            self.argv, self.exe, scripts=self.scripts, environ=self.environ, project=project
        )

    def absolute(self, path: str) -> str:
        """A path as the program means it."""
        return posixpath.normpath(posixpath.join(self.folder, path))

    @property
    def search(self) -> tuple[str, ...]:
        """Where it looks for programs."""
        path = self.environ.get("PATH") or _USUAL_PATH
        return tuple(self.absolute(folder) for folder in path.split(":") if folder)


def seen_from(argv: Sequence[str]) -> Seen:
    """As much as the arguments alone tell, where nothing can be read."""
    return Seen(unsupervised(argv))


async def look(link: Link, argv: Sequence[str] = ()) -> Seen:
    """Look at the container's first process. `argv`: what it runs, where that is known better."""
    raw = await link.read("/proc/1/cmdline") or b""
    words = words_of(raw)
    own = tuple(argv) or unsupervised(words)
    exe = ""
    running = await link.processes()
    first = next((one for one in running if one.pid == 1), None)
    if unsupervised(words) != words:
        # The first process is our supervisor, the program its child.
        first = next((one for one in running if one.parent == 1 and one.argv == own), None)
    if first is not None:
        exe = first.exe
    folder = "/" + (await link.resolve("proc/1/cwd")).strip("/")
    if folder.startswith("/proc/1"):
        folder = "/"
    seen = Seen(own, exe, folder, _environ(await link.read("/proc/1/environ") or b""))
    scripts: dict[str, str] = {}
    for _ in range(_ROUNDS):
        found = await _scripts(link, seen, scripts)
        if not found:
            break
        scripts.update(found)
        seen = Seen(own, exe, folder, seen.environ, dict(scripts))
    return seen


async def find_program(link: Link, seen: Seen, name: str) -> str | None:
    """Where the container has a program of this name; None: nowhere in its PATH."""
    for folder in seen.search:
        path = posixpath.join(folder, name)
        if await link.read(path, 1) is not None:
            return path
    return None


async def _scripts(link: Link, seen: Seen, known: Mapping[str, str]) -> dict[str, str]:
    """The texts of scripts that the command names, as far as it is understood, and that are not
    known yet."""
    found: dict[str, str] = {}
    inner = seen.detected().argv
    for word in dict.fromkeys((*seen.argv[:_WORDS], *inner[:_WORDS])):
        if word in known or not word or word.startswith("-") or " " in word:
            continue
        if "/" in word:
            path: str | None = seen.absolute(word)
        elif word.endswith((".sh", ".bash")) or "entrypoint" in word:
            path = await find_program(link, seen, word)
        else:
            continue
        text = await _script(link, path) if path else None
        if text is not None:
            found[word] = text
    if "package.json" not in known:
        raw = await link.read(posixpath.join(seen.folder, "package.json"), _SCRIPT_MOST)
        if raw:
            found["package.json"] = raw.decode("utf-8", "replace")
    return found


async def _script(link: Link, path: str) -> str | None:
    """The text of a script; None when it is none."""
    beginning = await link.read(path, 2)
    if beginning is None or (beginning != b"#!" and not path.endswith((".sh", ".bash"))):
        return None
    raw = await link.read(path, _SCRIPT_MOST)
    return None if raw is None or b"\0" in raw else raw.decode("utf-8", "replace")


def _environ(raw: bytes) -> dict[str, str]:
    pairs = (one.partition("=") for one in raw.decode("utf-8", "surrogateescape").split("\0"))
    return {name: value for name, _, value in pairs if name in _OF_USE}
