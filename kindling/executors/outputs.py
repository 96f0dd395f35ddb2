"""Files that a command promised to write: digested, kept, and put back.

A declared output is a file or a folder. Its entries are all files and links below it, each with
what makes it different: mode bits and content, or the link's target. Putting back is all or
nothing: every file is fetched to a staging folder first, and files that nobody recorded are never
removed, so that a folder which holds more than was recorded cannot be restored, only made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from kindling.errors import HostError
from kindling.executors.protocol import BlobStore

__all__ = ["entries_digest", "keep", "read", "restore"]

ABSENT = "absent"


def read(root: Path, outputs: Iterable[str]) -> dict[str, str]:
    """The entries of declared outputs as they are now, by path relative to `root`. Blocking.

    A declared path that does not exist is `absent`. Entries: `file:644:sha256:...`, `link:TARGET`,
    `dir:755`.

    Raises:
        HostError: A file cannot be read.
    """
    found: dict[str, str] = {}
    for output in outputs:
        path = root / output
        try:
            _read(path, output.rstrip("/") or ".", found)
        except FileNotFoundError:
            found[output] = ABSENT
        except OSError as error:
            name = error.filename or path
            raise HostError(f"the output `{name}` cannot be read: {error.strerror}") from error
    return dict(sorted(found.items()))


def _read(path: Path, name: str, found: dict[str, str]) -> None:
    info = path.lstat()
    mode = f"{stat.S_IMODE(info.st_mode):o}"
    if stat.S_ISLNK(info.st_mode):
        found[name] = f"link:{os.readlink(path)}"
    elif stat.S_ISDIR(info.st_mode):
        found[name] = f"dir:{mode}"
        for child in sorted(os.listdir(path)):
            try:
                _read(path / child, f"{name}/{child}", found)
            except FileNotFoundError:
                continue  # gone between the listing and the look
    elif stat.S_ISREG(info.st_mode):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found[name] = f"file:{mode}:sha256:{digest}"
    else:
        found[name] = f"special:{stat.S_IFMT(info.st_mode):o}"


def entries_digest(entries: Mapping[str, str]) -> str:
    """One digest for all entries."""
    text = json.dumps(entries, sort_keys=True, ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def keep(root: Path, entries: Mapping[str, str], blobs: BlobStore) -> None:
    """Keep the content of every file among `entries`, so that it can be put back. Blocking."""
    for name, entry in entries.items():
        if entry.startswith("file:"):
            blobs.put(root / name)


def restore(
    root: Path,
    outputs: Iterable[str],
    entries: Mapping[str, str],
    blobs: BlobStore,
    scratch: Path,
) -> bool:
    """Put `entries` back, whole or not at all. False: something is not kept, or is in the way.

    Blocking. What is right already stays untouched, its time of modification included.
    """
    now = read(root, outputs)
    if any(name not in entries and entry != ABSENT for name, entry in now.items()):
        return False
    wrong = {name: entry for name, entry in entries.items() if now.get(name) != entry}
    if any(not entry.startswith(("file:", "link:", "dir:")) for entry in wrong.values()):
        return False
    if any(_in_the_way(now.get(name, ABSENT), entry) for name, entry in wrong.items()):
        return False  # a folder where a file was: not ours to remove
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="restore-") as name:
        staged: list[tuple[Path, Path]] = []
        for number, (path, entry) in enumerate(wrong.items()):
            if entry.startswith("file:"):
                copy = Path(name, str(number))
                _, mode, digest = entry.split(":", 2)
                if not blobs.get(digest, copy):
                    return False
                copy.chmod(int(mode, 8))
                staged.append((copy, root / path))
        _place(root, wrong, staged)
    return True


def _in_the_way(now: str, wanted: str) -> bool:
    """Whether what is there cannot simply be replaced: folders and the rest never become each
    other."""
    return now != ABSENT and now.startswith("dir:") != wanted.startswith("dir:")


def _place(root: Path, wrong: Mapping[str, str], staged: list[tuple[Path, Path]]) -> None:
    for name, entry in wrong.items():  # sorted: folders come before what they hold
        if entry.startswith("dir:"):
            (root / name).mkdir(parents=True, exist_ok=True)
    for copy, target in staged:
        target.parent.mkdir(parents=True, exist_ok=True)
        # `.kindling` may lie on another file system: then the copy goes beside the target first.
        beside = target.with_name(f".{target.name}.kindling-{os.getpid()}")
        try:
            shutil.move(copy, beside)
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)
    for name, entry in wrong.items():
        if entry.startswith("link:"):
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            beside = target.with_name(f".{target.name}.kindling-{os.getpid()}")
            beside.unlink(missing_ok=True)
            beside.symlink_to(entry.removeprefix("link:"))
            os.replace(beside, target)
    for name, entry in reversed(list(wrong.items())):
        if entry.startswith("dir:"):
            (root / name).chmod(int(entry.removeprefix("dir:"), 8))
