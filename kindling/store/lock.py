"""One session at a time per `.kindling/`.

The lock is an flock on a file that stays: the kernel frees it with the process, so that a killed
session leaves nothing to clean up. The file's text says who holds it and is believed only while the
lock is held.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from kindling.errors import StoreError
from kindling.store.folder import guarded, prepare

__all__ = ["Holder", "SessionLock", "holder"]

_NAME = "session.lock"
_GATE = "session.gate"
_DYING = 2.0
"""Seconds that the lock of a dead session may still be held: a program that it was just starting
when it was killed has it for a moment, until that is under way."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock. `since` is in seconds since the epoch; pid 0 where it could not be
    read."""

    pid: int
    command: str
    since: float
    session: str = ""


class SessionLock:
    """The lock of `state_dir`, held while it is open. The system frees it when the process dies.

        with SessionLock(state_dir, command="kindling up", at=clock.time()):
            ...

    Raises (on entering, or from `acquire`):
        StoreError: Another session holds it; the message says which and what to do.
    """

    def __init__(self, state_dir: Path, *, command: str, at: float, session: str = "") -> None:
        self._state_dir = state_dir
        self._command = command
        self._at = at
        self._session = session
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock, at once or not at all; only the end of a killed holder is waited for."""
        if self._file is not None:
            return
        limit = time.monotonic() + _DYING
        while True:
            try:
                self._take()
            except _TakenError as error:
                if _lives(error.holder.pid) or time.monotonic() > limit:
                    raise _busy(self._state_dir, error.holder) from None
                time.sleep(0.01)
            else:
                return

    def _take(self) -> None:
        path = prepare(self._state_dir) / _NAME
        with guarded(path), _gate(self._state_dir):
            # Closed on exec, or a server that outlives a killed session would keep the lock.
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                taken = _read(file)
                os.close(file)
                raise _TakenError(taken) from None
            except BaseException:
                os.close(file)
                raise
            try:
                me = Holder(os.getpid(), self._command, self._at, self._session)
                os.ftruncate(file, 0)
                os.pwrite(file, json.dumps(asdict(me)).encode(), 0)
            except BaseException:
                os.close(file)
                raise
        self._file = file

    def release(self) -> None:
        """Give it back. Releasing twice is fine."""
        if self._file is not None:
            file, self._file = self._file, None
            os.close(file)

    def __enter__(self) -> SessionLock:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class _TakenError(Exception):
    """Somebody has it."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(holder)
        self.holder = holder


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid != 0


def holder(state_dir: Path) -> Holder | None:
    """Who holds the lock just now; None when no one does."""
    path = state_dir / _NAME
    if not path.is_file():
        return None
    with guarded(path), _gate(state_dir):
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(file)
        else:
            return None
        finally:
            os.close(file)


@contextmanager
def _gate(state_dir: Path) -> Iterator[None]:
    """One at a time may take the lock or look whether it is taken.

    Looking means to take it for a moment, and a session that starts in that moment would be refused
    by one that only looks. Held just as long, so waiting for it is short.
    """
    file = os.open(state_dir / _GATE, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _read(file: int) -> Holder:
    text = os.pread(file, 65536, 0)
    try:
        parts = json.loads(text)
        return Holder(
            int(parts["pid"]), str(parts["command"]), float(parts["since"]), str(parts["session"])
        )
    except (ValueError, KeyError, TypeError):
        # Taken a moment ago, its text not written yet.
        return Holder(0, "a session that is just starting", 0.0)


def _busy(state_dir: Path, taken: Holder) -> StoreError:
    who = f"pid {taken.pid}: {taken.command}" if taken.pid else taken.command
    stop = f", or stop it first (`kill -INT {taken.pid}`)" if taken.pid else ""
    return StoreError(
        f"Another session is running in `{state_dir.parent}`",
        details=[who],
        hint=f"Use that one (`kindling status`, `kindling trigger`){stop}.",
    )
