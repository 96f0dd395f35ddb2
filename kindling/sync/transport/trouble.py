"""What an agent's refusals mean to the user: the error number, the place and who runs there become
one message that says what to do."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from kindling.errors import ClusterError
from kindling.sync.agent.frames import Refused
from kindling.sync.protocol import CannotCarryError, NoRoomError
from kindling.sync.trees.manifest import shown

__all__ = [
    "CROSSES",
    "DENIED",
    "FULL",
    "LINKS",
    "MISSING",
    "NOT_A_FOLDER",
    "NO_PROCESS",
    "error_of",
    "hint",
    "text_of",
]

# The numbers are Linux's own on the architectures that an agent is built for; those of the machine
# that this runs on may be others.
_NOT_PERMITTED, MISSING, NO_PROCESS, _NO_MEMORY, DENIED, _BUSY = 1, 2, 3, 12, 13, 16
_EXISTS, CROSSES, NOT_A_FOLDER, _IS_A_FOLDER, _INVALID = 17, 18, 20, 21, 22
_NO_MORE_FILES, _TEXT_BUSY, _TOO_BIG, _FULL, _READ_ONLY, _TOO_MANY_LINKS = 24, 26, 27, 28, 30, 31
_NAME_TOO_LONG, _NOT_EMPTY, LINKS, _BAD_CONTENT = 36, 39, 40, 74
_STALE, _QUOTA = 116, 122

_TEXTS = {
    _NOT_PERMITTED: "it is not permitted",
    MISSING: "it is not there",
    NO_PROCESS: "there is no such process",
    _NO_MEMORY: "there is no memory left",
    DENIED: "permission denied",
    _BUSY: "it is in use, as a place where something is mounted is",
    _EXISTS: "it is there already",
    CROSSES: "the two places are on different file systems",
    NOT_A_FOLDER: "a part of the path is no folder",
    _IS_A_FOLDER: "it is a folder",
    _INVALID: "the file system does not take it",
    _NO_MORE_FILES: "too many files are open",
    _TEXT_BUSY: "it is a program that runs",
    _TOO_BIG: "the file is larger than may be",
    _FULL: "the disk is full",
    _READ_ONLY: "the file system is read-only",
    _TOO_MANY_LINKS: "the folder holds as many as it can",
    _NAME_TOO_LONG: "the name is too long for the container's file system",
    _NOT_EMPTY: "the folder is not empty",
    LINKS: "a part of the path is a link",
    _BAD_CONTENT: "the content came over damaged",
    _STALE: "the file system under it was replaced",
    _QUOTA: "the quota of the disk is used up",
}
FULL = frozenset({_FULL, _QUOTA})
"""There is no room."""
_CHANGED = frozenset(
    {MISSING, _EXISTS, NOT_A_FOLDER, _IS_A_FOLDER, _NOT_EMPTY, LINKS, _BAD_CONTENT, CROSSES}
)
"""The tree is not what the batch was made for: it changed meanwhile, and is to be read again."""


def text_of(number: int) -> str:
    """An error number of Linux in words."""
    return _TEXTS.get(number, f"error {number} of Linux")


def error_of(refused: Sequence[Refused], name: str, uid: int) -> ClusterError:
    """The error that the refusals of one request stand for; the first decides. `name` is the
    container's, `uid` the user that the agent runs as."""
    first = refused[0]
    path = first.path.decode("utf-8", "surrogateescape")
    place = "/" + shown(path)
    more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
    message = f"Cannot change `{place}`{more} in {name}: {text_of(first.errno)}"
    if first.errno in _CHANGED:
        return ClusterError(
            message, details=["Its files changed while they were synced"], transient=True
        )
    if first.errno in FULL:
        return NoRoomError(message, hint=hint(first.errno, place, uid), place=path)
    if advice := hint(first.errno, place, uid):
        return CannotCarryError(message, hint=advice)
    return ClusterError(message, details=[first.what] if first.what else [])


def hint(number: int, place: str, uid: int | None) -> str:
    """What the user can do; empty where nothing is known to help. `uid` None: nobody knows."""
    folder = posixpath.dirname(place) or "/"
    if number in (DENIED, _NOT_PERMITTED):
        user = "another user than that of the files" if uid is None else f"user {uid}"
        chown = "COPY --chown" if uid is None else f"COPY --chown={uid}"
        own = f"Make `{folder}` that user's in the image (`{chown}`)"
        if folder == "/":
            name = posixpath.basename(place)
            own = f"Let the image have it in a folder of that user's (`{chown} {name} /app/`)"
        return (
            f"The container runs as {user}, who may not write there. {own}, or set `runAsUser: 0` "
            "for development."
        )
    if number == _READ_ONLY:
        return (
            f"Mount an `emptyDir` over `{folder}`, take `readOnlyRootFilesystem` away for "
            "development, or sync to a folder that can be written."
        )
    if number in FULL:
        return (
            "Free space on the node or in the volume, raise its `sizeLimit`, or exclude what is "
            "not needed in the container."
        )
    if number == _NAME_TOO_LONG:
        return "Give the file a shorter name, or exclude it."
    if number == _TEXT_BUSY:
        return "Stop the program first, or sync to another name."
    if number == _BUSY:
        return (
            f"`{place}` is mounted into the container by itself, as a `subPath` is. Mount its "
            "folder, take the mount away for development, or exclude it."
        )
    if number == _STALE:
        return "Delete the pod, so that a new one mounts the file system anew."
    if number in (_TOO_MANY_LINKS, _TOO_BIG, _INVALID):
        return "The container's file system cannot hold it: exclude it, or sync to another volume."
    return ""
