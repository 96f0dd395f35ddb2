"""The background process of a cluster, seen from outside: start it, ask it, end it.

Whoever runs the cluster holds the lock in its folder, which the kernel frees however it ends.
`start` spawns `python -m kindling.cluster.server`, apart from the terminal and the caller's process
group, and hears over a pipe when it is ready or why it is not.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kindling.cluster.home import ClusterHome
from kindling.cluster.record import LOCK_TAKEN, Settings, read_settings
from kindling.errors import ClusterError, StoreError
from kindling.store.folder import guarded, prepare
from kindling.store.lock import holder

__all__ = ["Status", "ensure", "reset", "start", "status", "stop"]

START_SECS = 60.0
STOP_SECS = 45.0
"""Longer than the 30 seconds that pods have to end."""


@dataclass(frozen=True, slots=True)
class Status:
    """What can be said of a cluster from outside.

    `ready` is what its API server says of itself; `problem` why it is not.
    """

    home: ClusterHome
    settings: Settings
    pid: int = 0
    since: float = 0.0
    ready: bool = False
    problem: str = ""

    @property
    def running(self) -> bool:
        return self.pid != 0


def status(home: ClusterHome) -> Status:
    """How a cluster is. Asks the running one; starts nothing.

    Raises:
        ClusterError: Its state cannot be read.
    """
    settings = read_settings(home)
    if not home.exists:
        return Status(home, settings, problem="it was never started")
    held = holder(home.folder)
    if held is None:
        return Status(home, settings, problem="it is stopped")
    problem = _ask(home, settings)
    return Status(home, settings, held.pid, held.since, ready=not problem, problem=problem)


def _ask(home: ClusterHome, settings: Settings) -> str:
    """Why the API server does not answer that it is ready; empty when it does."""
    import ssl
    import urllib.error
    import urllib.request

    try:
        context = ssl.create_default_context(cafile=str(home.pki / "ca.crt"))
        context.load_cert_chain(str(home.pki / "admin.crt"), str(home.pki / "admin.key"))
        with urllib.request.urlopen(f"{settings.server}/readyz", timeout=5.0, context=context):
            return ""
    except urllib.error.HTTPError as error:
        with error:
            return f"the API server says: {error.read(500).decode('utf-8', 'replace').strip()}"
    except OSError as error:
        return f"the API server does not answer: {getattr(error, 'reason', error)}"


def ensure(home: ClusterHome, environment: Mapping[str, str] | None = None) -> Status:
    """The running cluster, started if it is not. Blocking."""
    found = status(home)
    return found if found.ready else start(home, environment)


def start(
    home: ClusterHome,
    environment: Mapping[str, str] | None = None,
    *,
    isolation: str = "",
    ingress_port: int = 0,
) -> Status:
    """Start the cluster and wait until it is ready; one that runs is left alone. Of two that start
    it at once, one does and both wait. Interrupted, it leaves none behind. Blocking.

    Raises:
        ClusterError: It did not come up; the details are what it said last. Or its folder cannot
            be written.
    """
    with _written(home.folder):
        prepare(home.folder)
    wanted = json.dumps({"isolation": isolation, "ingress_port": ingress_port})
    begun = home.log.stat().st_size if home.log.exists() else 0
    limit = time.monotonic() + START_SECS
    while time.monotonic() < limit:
        found = status(home)
        if found.ready:
            return found
        if found.running:  # somebody else is starting it just now, or it is ending
            time.sleep(0.02)
            continue
        if not (said := _spawn(home, environment, wanted, limit)):
            held = holder(home.folder)
            if held is None:
                continue  # it has ended again already
            return Status(home, read_settings(home), held.pid, held.since, ready=True)
        if said != LOCK_TAKEN:
            raise ClusterError(
                f"The cluster `{home.name}` did not start: {said}",
                details=_last_lines(home.log, begun),
                hint=f"All that it said is in `{home.log}`.",
            )
    raise ClusterError(
        f"The cluster `{home.name}` was not ready after {START_SECS:.0f} s",
        details=_last_lines(home.log, begun),
        hint=f"All that it said is in `{home.log}`.",
    )


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    """Say in the words for clusters that a disk is full or read-only."""
    try:
        with guarded(path):
            yield
    except StoreError as error:
        raise ClusterError(
            error.message,
            hint="Clusters live in the user's data folder; XDG_DATA_HOME can name another one.",
        ) from error


def _spawn(
    home: ClusterHome, environment: Mapping[str, str] | None, wanted: str, limit: float
) -> str:
    """Start the process; why it is not ready, empty when it is."""
    hear, tell = os.pipe()
    child: subprocess.Popen[bytes] | None = None
    try:
        with _written(home.log), home.log.open("ab") as log:
            child = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "kindling.cluster.server",
                    str(home.folder),
                    str(tell),
                    wanted,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(tell,),
                start_new_session=True,
                cwd="/",
                env=dict(os.environ if environment is None else environment),
            )
        os.close(tell)
        tell = -1
        said = _hear(hear, limit)
    except BaseException:
        if child is not None:
            child.terminate()
            child.wait()
        raise
    finally:
        os.close(hear)
        if tell != -1:
            os.close(tell)
    if said is None:
        # It ended without a word, or had no time to say one.
        if child.poll() is None and time.monotonic() >= limit:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        return f"its process ended with code {child.returncode}"
    if said:
        # It is on its way out; what it holds has to be free before anybody tries again.
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(max(1.0, limit - time.monotonic()))
        return said
    # The process goes on by itself: Popen need not mourn a child that it will never wait for.
    child.returncode = 0
    return said


def _hear(pipe: int, limit: float) -> str | None:
    """The one line of JSON that the process sends: what went wrong, or nothing. None: no line."""
    import select

    data = b""
    while not data.endswith(b"\n"):
        ready, _, _ = select.select([pipe], [], [], max(0.0, limit - time.monotonic()))
        if not ready:
            return None
        piece = os.read(pipe, 65536)
        if not piece:
            return None
        data += piece
    return str(json.loads(data).get("problem", ""))


def stop(home: ClusterHome, say: Callable[[str], None] = lambda _: None) -> bool:
    """End the cluster in order: pods get their grace, and state stays. False when it did not run.
    Blocking.

    Raises:
        ClusterError: It does not end although it was killed.
    """
    if not home.folder.is_dir():
        return False
    held = holder(home.folder)
    if held is None:
        return False
    for number, patience in ((signal.SIGTERM, STOP_SECS), (signal.SIGKILL, 10.0)):
        try:
            os.kill(held.pid, number)
        except ProcessLookupError:
            pass
        except PermissionError as error:
            raise ClusterError(
                f"The cluster `{home.name}` runs as another user (pid {held.pid})"
            ) from error
        limit = time.monotonic() + patience
        while time.monotonic() < limit:
            now = holder(home.folder)
            if now is None or now.pid != held.pid:
                return True
            time.sleep(0.02)
        say(f"it did not end within {patience:.0f} s and is killed")
    raise ClusterError(f"The cluster `{home.name}` (pid {held.pid}) does not end")


def reset(home: ClusterHome, say: Callable[[str], None] = lambda _: None) -> bool:
    """End the cluster and delete all its state: objects, volumes, images. False when there was
    none.

    Raises:
        ClusterError: It does not end, or its files cannot be removed.
    """
    stop(home, say)
    if not home.folder.is_dir():
        return False
    if not home.exists and not _just_begun(home):
        raise ClusterError(
            f"`{home.folder}` is no folder of a cluster, and is left alone",
            hint="Look into it, and remove it by hand.",
        )

    def retry(function: Callable[[str], object], path: str, error: BaseException) -> None:
        # The work folder of an overlay has no permissions at all; its owner may change that.
        if not isinstance(error, PermissionError):
            raise error
        Path(path).parent.chmod(0o700)
        if os.path.isdir(path):
            os.chmod(path, 0o700)
            shutil.rmtree(path)
        else:
            function(path)

    try:
        # Renamed first: what is half deleted is no cluster any more.
        doomed = home.folder.with_name(f".{home.name}.{os.getpid()}.gone")
        home.folder.rename(doomed)
        if sys.version_info >= (3, 12):
            shutil.rmtree(doomed, onexc=retry)
        else:
            shutil.rmtree(doomed, onerror=lambda f, p, info: retry(f, p, info[1]))
    except (OSError, StoreError) as error:
        raise ClusterError(f"Cannot remove the state of `{home.name}`: {error}") from error
    return True


def _just_begun(home: ClusterHome) -> bool:
    """Whether all that is there is what a start makes first, before it was interrupted."""
    names = {path.name for path in home.folder.iterdir()}
    return names <= {".gitignore", home.log.name, "session.gate", "session.lock"}


def _last_lines(path: Path, begun: int, count: int = 12) -> list[str]:
    """The end of what was written to a log after its first `begun` bytes."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(begun, end - 8192))
            return file.read().decode("utf-8", "replace").splitlines()[-count:]
    except OSError:
        return []
