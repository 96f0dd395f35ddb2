"""The last step of a start: find the program in the root file system that we are in, become it."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import stat

from kindling.cluster.runtime.launch.refusal import Refusal, reason_of

__all__ = ["DEFAULT_PATH", "become", "clean_process", "enter_folder", "find_program"]

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OPEN_FILES = 1 << 20
_NOT_FOUND = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}


def _usable(path: str) -> OSError | None:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return error
    if stat.S_ISDIR(mode):
        return IsADirectoryError(errno.EISDIR, "is a directory")
    if not mode & 0o111 or not os.access(path, os.X_OK, effective_ids=True):
        return PermissionError(errno.EACCES, "permission denied")
    return None


def find_program(name: str, path: str) -> str:
    """Where the program is that a shell would take, as Go's LookPath finds it."""
    if not name:
        raise Refusal('exec: "": executable file not found in $PATH')
    if "/" in name:
        error = _usable(name)
        if error is None:
            return name
        if error.errno in _NOT_FOUND:
            raise Refusal(f'exec: "{name}": stat {name}: {reason_of(error)}')
        raise Refusal(f'exec: "{name}": {reason_of(error)}')
    denied = False
    for folder in path.split(":"):
        found = os.path.join(folder or ".", name)
        error = _usable(found)
        if error is None:
            return found
        denied |= error.errno == errno.EACCES
    if denied:
        raise Refusal(f'exec: "{name}": permission denied')
    raise Refusal(f'exec: "{name}": executable file not found in $PATH')


def enter_folder(folder: str) -> None:
    """Make the working folder if it is missing, and go there."""
    try:
        os.makedirs(folder, 0o755, exist_ok=True)
        os.chdir(folder)
    except FileExistsError:
        raise Refusal(f"chdir to cwd ({folder!r}) failed: not a directory") from None
    except OSError as error:
        raise Refusal(f"chdir to cwd ({folder!r}) failed: {reason_of(error)}") from None


def clean_process() -> None:
    """Undo what Python and its parents have set, so that the app starts like any other."""
    for number in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def become(path: str, argv: list[str], env: dict[str, str]) -> None:
    """Does not come back. Raises `Refusal`."""
    try:
        os.execve(path, argv, env)
    except OSError as error:
        raise Refusal(f"exec {path}: {reason_of(error)}") from None
    except ValueError as error:
        raise Refusal(f'exec: "{argv[0]}": {error}') from None
