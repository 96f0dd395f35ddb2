"""The shared folder: requests are taken out of it, and answers put into it, each whole or not.

The folder is writable for jobs, which run what a repository says. So nothing in it is ever opened
through a link, names come from its own listing alone, and every file is reached from a descriptor
of the folder. What belongs to a request that was taken is moved to `.agent`, so that no later
request can find it; an answer is there from the moment when `done` is.

The order of steps makes a crash at any moment harmless: a trigger is renamed only after the old
answer is gone, and the taken request goes only after the new answer is there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from kindling.agent.signals import PROCESSING, Kind, Request, wrong_name
from kindling.errors import HostError

__all__ = ["FULL", "Folder", "LogFile"]

FULL = (errno.ENOSPC, errno.EDQUOT)
_PRIVATE = ".agent"
_RESERVE = "reserve"
_RESERVED = 64 * 1024
"""Bytes that are given free when the disk is full, so that an answer can still be written."""
_ATTEMPTS = ".attempts"
_ID_LIMIT = 128
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Folder:
    """One shared folder, held by one agent. See the module."""

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self._now = now
        self._root = -1
        self._private = -1

    def open(self) -> None:
        """Take the folder.

        Raises:
            HostError: It is not there, not writable, or another agent has it.
        """
        try:
            self._root = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            with contextlib.suppress(FileExistsError):
                os.mkdir(_PRIVATE, 0o700, dir_fd=self._root)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            self._private = os.open(_PRIVATE, flags, dir_fd=self._root)
        except OSError as error:
            self.close()
            raise HostError(
                f"Cannot serve the folder `{self.path}`: {error.strerror}",
                hint="`--builds` names the folder that is shared with the jobs",
            ) from error
        try:
            fcntl.flock(self._private, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise HostError(f"Another build agent serves the folder `{self.path}`") from error
            raise HostError(f"Cannot lock the folder `{self.path}`: {error.strerror}") from error
        self._set_reserve()

    def close(self) -> None:
        """Give it back."""
        for descriptor in (self._private, self._root):
            if descriptor >= 0:
                os.close(descriptor)
        self._root = self._private = -1

    def entries(self) -> dict[str, int]:
        """The plain files there are, with the times when they were last written, in ns."""
        found: dict[str, int] = {}
        with os.scandir(self._root) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # gone while we looked
                    state = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(state.st_mode):
                        found[entry.name] = state.st_mtime_ns
        return found

    def full(self) -> bool:
        """Whether the disk has no room left."""
        found = os.statvfs(self._root)
        return found.f_bavail * found.f_frsize < _RESERVED

    # A request's way ------------------------------------------------------------------------------

    def claim(self, request: Request) -> bool:
        """Take a request, in the place of an earlier one of its name, and with it the inputs that
        were there before its trigger. False when it was taken back meanwhile."""
        self.forget(request)
        self._clear(request)
        if not self._rename(self._root, request.trigger, self._root, request.processing):
            return False
        asked = self.state(request.processing)
        for ending in (*request.kind.required, *request.kind.optional):
            written = None if wrong_name(request.name) else self.state(request.name + ending)
            if asked and written and written[1] <= asked[1]:
                self.take_in(request, ending)
        return True

    def forget(self, request: Request) -> None:
        """Remove what an earlier request of that name was answered, what says `done` first."""
        for name in (request.done, request.exitcode, request.log):
            self._unlink(self._root, name)

    def attempt(self, request: Request) -> int:
        """Begin to carry a request out; how often this has been begun, this time included."""
        name = _kept(request, _ATTEMPTS)
        try:
            with os.fdopen(os.open(name, _READ, dir_fd=self._private), "rb") as file:
                count = int(file.read(8)) + 1
        except (FileNotFoundError, ValueError):
            count = 1
        self._put(self._private, name, f"{count}\n")
        return count

    def state(self, name: str) -> tuple[int, int] | None:
        """Size and time of a plain file in the folder; None when there is none."""
        return _state(name, self._root)

    def kept_state(self, request: Request, ending: str) -> tuple[int, int] | None:
        """As `state`, of an input that was taken in."""
        return _state(_kept(request, ending), self._private)

    def take_in(self, request: Request, ending: str) -> bool:
        """Move an input to where no other request finds it. False when it is gone."""
        kept = _kept(request, ending)
        return self._rename(self._root, request.name + ending, self._private, kept)

    def open_input(self, request: Request, ending: str) -> IO[bytes] | None:
        """An input that was taken in, for reading; None when none came.

        Raises:
            OSError: It cannot be read.
        """
        try:
            descriptor = os.open(_kept(request, ending), _READ, dir_fd=self._private)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return None
        return os.fdopen(descriptor, "rb")

    def open_log(self, request: Request) -> LogFile:
        """The log, empty."""
        while True:
            self._unlink(self._root, request.log)
            self._step()
            with contextlib.suppress(FileExistsError):
                descriptor = os.open(request.log, _NEW | os.O_APPEND, 0o644, dir_fd=self._root)
                return LogFile(descriptor, self._free_reserve)

    def answer(self, request: Request, code: int) -> bool:
        """Publish how a request ended; its log is complete. False when nobody waits for it: it was
        taken back, or a newer one of its name is there."""
        identity = self._identity(request)
        if identity is None or self.state(request.trigger) is not None:
            self.drop(request)
            return False
        self._put(self._root, request.exitcode, f"{code}\n")
        self._put(self._root, request.done, f"{identity}\n")
        self._finish(request)
        self._set_reserve()
        return True

    def answered(self, request: Request) -> bool:
        """Whether a request that was taken has its answer already; what is left of it then goes."""
        if self.state(request.done) is None:
            return False
        self._finish(request)
        return True

    def drop(self, request: Request) -> None:
        """Leave nothing of a request that nobody waits for."""
        self.forget(request)
        self._finish(request)

    def expire(self, answers: float, inputs: float) -> None:
        """Remove answers that are older than `answers` seconds, and inputs older than `inputs` that
        no trigger followed."""
        entries = self.entries()
        asked = {name.removesuffix(PROCESSING) for name in entries}
        for kind in Kind:
            ages = dict.fromkeys(reversed(kind.answers), answers)
            ages |= dict.fromkeys((*kind.required, *kind.optional), inputs)
            for ending, age in ages.items():
                for name in [one for one in entries if one.endswith(ending)]:
                    old = entries[name] < (self._now() - age) * 1e9
                    if old and name.removesuffix(ending) + kind.value not in asked:
                        self._unlink(self._root, name)

    # Inside ---------------------------------------------------------------------------------------

    def _step(self) -> None:
        """Before every change to a file; a test may crash here."""

    def _identity(self, request: Request) -> str | None:
        """What the job wrote into the trigger, so that it knows its answer; None when the request
        was taken back."""
        try:
            descriptor = os.open(request.processing, _READ, dir_fd=self._root)
        except FileNotFoundError:
            return None
        except OSError:  # it is not readable for us, or a link by now: it has no name for itself
            return ""
        with os.fdopen(descriptor, "rb") as file:
            lines = file.read(_ID_LIMIT).decode("utf-8", "replace").splitlines()
        return lines[0].strip() if lines else ""

    def _finish(self, request: Request) -> None:
        self._clear(request)
        self._unlink(self._root, request.processing)

    def _clear(self, request: Request) -> None:
        """Remove the inputs that were taken in; those of a refused name are still where they
        came."""
        if wrong_name(request.name):
            for name in request.inputs:
                self._unlink(self._root, name)
            return
        for ending in (*request.kind.required, *request.kind.optional, _ATTEMPTS):
            self._unlink(self._private, _kept(request, ending))

    def _unlink(self, folder: int, name: str) -> None:
        self._step()
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            os.unlink(name, dir_fd=folder)

    def _rename(self, source: int, name: str, target: int, to: str) -> bool:
        self._step()
        try:
            os.rename(name, to, src_dir_fd=source, dst_dir_fd=target)
        except FileNotFoundError:
            return False
        return True

    def _put(self, folder: int, name: str, text: str) -> None:
        """Write a file whole or not at all. On a full disk the reserve makes room."""
        try:
            self._put_once(folder, name, text)
        except OSError as error:
            if error.errno not in FULL:
                raise
            self._free_reserve()
            self._put_once(folder, name, text)

    def _put_once(self, folder: int, name: str, text: str) -> None:
        temporary = f"new-{secrets.token_hex(8)}"
        self._step()
        descriptor = os.open(temporary, _NEW, 0o644, dir_fd=self._private)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode("utf-8", "replace"))
                file.flush()
                os.fsync(file.fileno())
            self._step()
            os.rename(temporary, name, src_dir_fd=self._private, dst_dir_fd=folder)
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=self._private)
            raise

    def _set_reserve(self) -> None:
        """Hold some bytes back; on a disk that is full already there are none to be had."""
        with contextlib.suppress(OSError):
            descriptor = os.open(_RESERVE, _NEW, 0o600, dir_fd=self._private)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_RESERVED))

    def _free_reserve(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_RESERVE, dir_fd=self._private)


class LogFile:
    """The log of one request, which jobs may read while it grows. Lines for which the disk has no
    room are counted, and the end of the log says so."""

    def __init__(self, descriptor: int, make_room: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._make_room = make_room
        self._lost = 0
        self._torn = False

    def write(self, line: str) -> None:
        """Add a line."""
        if self._lost or not self._append(f"{line}\n".encode("utf-8", "replace")):
            self._lost += 1

    def close(self) -> None:
        """The log is complete."""
        try:
            if self._lost:
                self._make_room()
                told = f"kindling: the disk is full: {self._lost} lines of this log are lost\n"
                self._append(("\n" if self._torn else "").encode() + told.encode())
        finally:
            os.close(self._descriptor)

    def _append(self, data: bytes) -> bool:
        while data:
            try:
                written = os.write(self._descriptor, data)
            except OSError as error:
                if error.errno not in FULL:
                    raise
                return False
            data = data[written:]
            self._torn = bool(data)
        return True


def _kept(request: Request, ending: str) -> str:
    return f"{request.kind.name.lower()}-{request.name}.kept{ending}"


def _state(name: str, folder: int) -> tuple[int, int] | None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None
