"""Programs of this machine: started apart, read as they speak, and ended with all they started.

Every program has a session and a process group of its own and no terminal; its standard input is
`/dev/null` or the given bytes. Programs are started with `subprocess` and neither `preexec_fn` nor
a fork of ours, both unsafe beside threads. How the end is made sure of:

- Stopping sends SIGINT, then SIGTERM after a third of the grace, then SIGKILL when it is over;
  SIGTERM comes at once when the program is gone and only some that it left in the background are
  there. A second cancellation while stopping kills at once.
- All processes of the run are meant, grandchildren that left the group included where `/proc` shows
  them (see `guardian`). Not covered: on Linux, a process that has left group and tree and cleared
  its environment; elsewhere, any that left the group; and programs of other users (`sudo`).
- kindling killed with `kill -9`: the guardian, a process of its own, ends what was under way. Both
  killed at once: the next start does, from the records in `.kindling/processes` (see `leftovers`).
- What a command leaves in the background when it ends by itself is left alone, as a shell does:
  commands may start daemons. It is read for a moment longer, then its output is no longer taken.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from kindling.errors import ExecutionError, HostError
from kindling.executors import guardian
from kindling.executors.leftovers import ProcessRecords, end_leftovers
from kindling.executors.protocol import LogSink, ProcessResult

__all__ = ["CANCEL_GRACE", "KEPT_BYTES", "MAX_LINE", "HostProcesses"]

CANCEL_GRACE = 6.0
"""Seconds that a cancelled or overdue command gets in all: SIGINT, after 2 SIGTERM, after 6
SIGKILL."""

KEPT_BYTES = 8 * 1024 * 1024
"""How much of each stream a result keeps: the first so many bytes."""

MAX_LINE = 16 * 1024
"""Characters of one log line; longer ones arrive in pieces."""

_CHUNK = 64 * 1024
_QUIET_SECS = 0.3
"""After a program's end its pipes are read until they close or have been quiet for so long."""
_LINGER_SECS = 2.0
"""... and at most for so long, when background processes keep talking."""
_POLL_SECS = 0.02
_LAST_LINES = 20


class HostProcesses:
    """The `ProcessRunner` of the machine itself.

    `state_dir` is `.kindling`; None records nothing (tests, and commands that start next to
    nothing).
    """

    def __init__(self, state_dir: Path | None = None) -> None:
        self._folder = state_dir / "processes" if state_dir is not None else None
        self._records = ProcessRecords(self._folder)
        self._running: set[_Running] = set()

    @contextlib.contextmanager
    def watched(self, environment: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
        """Variables for a program that somebody else starts and waits for, so that it is ended
        should kindling be killed meanwhile. From any thread. `environment` is the program's own.

        Raises:
            StoreError: The record cannot be written.
        """
        with self._records.watched() as token:
            yield _marks(environment, token)

    async def end_leftovers(self) -> tuple[str, ...]:
        """End what earlier sessions left running when they crashed; names of the programs ended."""
        if self._folder is None:
            return ()
        return await asyncio.to_thread(end_leftovers, self._folder)

    async def close(self) -> None:
        """Stop what still runs and dismiss the guardian."""
        for running in tuple(self._running):
            await running.stop(grace=CANCEL_GRACE)
        await asyncio.to_thread(self._records.close)

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log: LogSink | None = None,
        stdin: bytes = b"",
        timeout: float = 0.0,
        keep_output: bool = True,
    ) -> ProcessResult:
        """Run to the end. Cancelling stops all of it, and only then raises.

        Raises:
            HostError: The program or the folder does not exist, or may not be run.
            ExecutionError: The time limit ran out; its details are the last lines.
        """
        running = self._start(argv, cwd, env, log, stdin, keep=keep_output, lasting=False)
        try:
            async with asyncio.timeout(timeout or None):
                code = await running.wait()
        except TimeoutError:
            await running.stop(grace=CANCEL_GRACE)
            raise ExecutionError(
                f"`{_name(argv)}` took longer than {timeout:g} s and was stopped",
                details=running.last_lines,
            ) from None
        except asyncio.CancelledError:
            await running.stop(grace=CANCEL_GRACE)
            raise
        return ProcessResult(code, bytes(running.kept["stdout"]), bytes(running.kept["stderr"]))

    async def start(
        self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: LogSink
    ) -> _Running:
        """Start a program that keeps running.

        Raises:
            HostError: The program or the folder does not exist, or may not be run.
        """
        return self._start(argv, cwd, env, log, b"", keep=False, lasting=True)

    def _start(
        self,
        argv: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        log: LogSink | None,
        stdin: bytes,
        *,
        keep: bool,
        lasting: bool,
    ) -> _Running:
        token = self._records.new_token()
        listened = keep or log is not None
        self._records.begin()
        child = _spawn(argv, cwd, {**env, **_marks(env, token)}, stdin, listened=listened)
        start = guardian.start_time(child.pid)
        running = _Running(
            child,
            start,
            token,
            log=log,
            keep=keep,
            lasting=lasting,
            over=self._over,
        )
        self._running.add(running)
        try:
            self._records.started(token, child.pid, start, _name(argv))
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            raise
        return running

    def _over(self, running: _Running) -> None:
        self._running.discard(running)
        self._records.ended(running.token)


class _Running:
    """One program under way, the tasks that read it included."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        start: str,
        token: str,
        *,
        log: LogSink | None,
        keep: bool,
        lasting: bool,
        over: Callable[[_Running], None],
    ) -> None:
        self.token = token
        self.kept = {"stdout": bytearray(), "stderr": bytearray()}
        self._child = child
        self._start = start
        self._log = log
        self._keep = keep
        self._lasting = lasting
        self._over = over
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._heard = 0
        self._known: dict[int, guardian.Process] = {}
        self._exited = asyncio.Event()
        self._hurry = asyncio.Event()
        self._stopping: asyncio.Task[None] | None = None
        _when_ended(child, self._ended)
        self._finishing = asyncio.create_task(self._finish(), name=f"program {child.pid}")

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The end of what it printed."""
        return tuple(self._last)

    async def wait(self) -> int:
        """The exit code, once it has ended and its output has been read."""
        await asyncio.shield(self._finishing)
        return int(self._child.returncode)

    async def stop(self, *, grace: float = 30.0) -> int:
        """End it with all that it started; the exit code.

        Being cancelled meanwhile kills at once, waits for the end all the same, and then raises.
        """
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(grace), name=f"stop {self.pid}")
        cancelled = False
        while not self._stopping.done():
            try:
                await asyncio.shield(self._stopping)
            except asyncio.CancelledError:
                cancelled = True
                self._hurry.set()
        self._stopping.result()
        if cancelled:
            raise asyncio.CancelledError
        return int(self._child.returncode)

    async def _stop(self, grace: float) -> None:
        stages = (
            (signal.SIGINT, grace / 3),
            (signal.SIGTERM, grace - grace / 3),
            (signal.SIGKILL, 5.0),
        )
        for number, seconds in stages:
            if self._hurry.is_set() and number != signal.SIGKILL:
                continue
            if not self._send(number):
                break
            if await self._gone(number, seconds):
                break
        await self._finishing
        self._over(self)

    async def _gone(self, number: int, seconds: float) -> bool:
        """Wait until nothing of the run is left, or for `seconds`. False: something is."""
        loop = asyncio.get_running_loop()
        limit = loop.time() + seconds
        while loop.time() < limit:
            if not self._exited.is_set():
                # Nothing tells when the last grandchild ends, but the program's own end does come
                # as an event; until then there is no need to look.
                await _first(self._exited, self._hurry, limit - loop.time())
            elif not self._left():
                return True
            elif number == signal.SIGINT:
                return False  # children that a shell put in the background do not hear SIGINT
            else:
                await _first(self._hurry, None, _POLL_SECS)
            if self._hurry.is_set() and number != signal.SIGKILL:
                return False
        return self._exited.is_set() and not self._left()

    def _left(self) -> dict[int, guardian.Process]:
        if not self._start:  # no /proc
            if self._exited.is_set():
                try:
                    os.killpg(self.pid, 0)
                except (ProcessLookupError, PermissionError):
                    return {}
            return {self.pid: guardian.Process(self.pid, 0, self.pid, "", alive=True)}
        found = guardian.members(self.pid, self._start, self.token)
        for pid, known in self._known.items():
            now = guardian.lookup(pid)
            if now is not None and now.alive and now.start == known.start:
                found[pid] = now
        return found

    def _send(self, number: int) -> bool:
        """Signal all that is left; False when nothing is."""
        left = self._left()
        if not left and self._exited.is_set():
            return False
        if not self._start:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)
            return True
        for process in left.values():
            guardian.send(process, number)
        self._known.update(left)
        return True

    def _ended(self) -> None:
        """Its end was seen; it is still a zombie, so that its group can not be a stranger's."""
        if self._start and (self._lasting or self._stopping is not None):
            self._known.update(guardian.members(self.pid, self._start, self.token))
        self._child.wait()
        self._exited.set()

    async def _finish(self) -> None:
        pipes = (("stdout", self._child.stdout), ("stderr", self._child.stderr))
        transports: list[asyncio.ReadTransport] = []
        pumps: list[asyncio.Task[None]] = []
        for stream, pipe in pipes:
            if pipe is not None:
                transport, reader = await _reader(pipe)
                transports.append(transport)
                pump = self._pump(reader, stream)
                pumps.append(asyncio.create_task(pump, name=f"{stream} of {self.pid}"))
        await self._exited.wait()
        await self._drain(pumps)
        for transport in transports:
            transport.close()
        await asyncio.gather(*pumps)
        if self._stopping is None and not (self._lasting and self._left()):
            self._over(self)

    async def _drain(self, pumps: Sequence[asyncio.Task[None]]) -> None:
        loop = asyncio.get_running_loop()
        limit = loop.time() + _LINGER_SECS
        open_pumps: set[asyncio.Task[None]] = set(pumps)
        while open_pumps:
            heard = self._heard
            _, open_pumps = await asyncio.wait(open_pumps, timeout=_QUIET_SECS)
            if heard == self._heard or loop.time() > limit:
                break
        for pump in open_pumps:
            pump.cancel()

    async def _pump(self, reader: asyncio.StreamReader, stream: str) -> None:
        lines = _Lines(lambda line: self._line(line, stream))
        kept = self.kept[stream]
        try:
            while chunk := await reader.read(_CHUNK):
                self._heard += 1
                if self._keep and len(kept) < KEPT_BYTES:
                    kept += chunk[: KEPT_BYTES - len(kept)]
                lines.feed(chunk)
                await asyncio.sleep(0)  # a program that never pauses must not hold up the others
        except asyncio.CancelledError:
            pass  # only `_drain` cancels: nobody waits for more
        lines.end()

    def _line(self, line: str, stream: str) -> None:
        self._last.append(line)
        if self._log is not None:
            self._log(line, stream)


class _Lines:
    """Bytes in, lines of text out; never an error, never a line without bound."""

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        for line in whole:
            self._pieces(line)
        while len(self._rest) > MAX_LINE:
            self._emit(self._rest[:MAX_LINE])
            self._rest = self._rest[MAX_LINE:]

    def end(self) -> None:
        self._rest += self._decoder.decode(b"", final=True)
        if self._rest:
            self._pieces(self._rest)
            self._rest = ""

    def _pieces(self, line: str) -> None:
        line = line.removesuffix("\r")
        # A progress bar rewrites its line: the last state is what a terminal would show.
        line = line.rsplit("\r", 1)[-1]
        for begin in range(0, max(len(line), 1), MAX_LINE):
            self._emit(line[begin : begin + MAX_LINE])


def _marks(environment: Mapping[str, str], token: str) -> dict[str, str]:
    outer = environment.get(guardian.TOKEN, "")
    return {guardian.TOKEN: f"{outer}:{token}" if outer else token}


def _spawn(
    argv: Sequence[str], cwd: Path, env: Mapping[str, str], stdin: bytes, *, listened: bool
) -> subprocess.Popen[bytes]:
    if not argv or any("\0" in word for word in argv):
        raise HostError("a command is empty or holds a NUL byte")
    sink = subprocess.PIPE if listened else subprocess.DEVNULL
    with contextlib.ExitStack() as stack:
        source: int | IO[bytes] = subprocess.DEVNULL
        if stdin:
            source = stack.enter_context(_input(stdin))
        try:
            return subprocess.Popen(
                list(argv),
                cwd=cwd,
                env=dict(env),
                stdin=source,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        except OSError as error:
            raise _spawn_error(argv, cwd, error) from error


def _input(data: bytes) -> IO[bytes]:
    """A file that holds `data`, in memory where the system can: what programs read may be
    secret."""
    file: IO[bytes]
    if hasattr(os, "memfd_create"):
        file = os.fdopen(os.memfd_create("stdin"), "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115 the caller closes it
    file.write(data)
    file.seek(0)
    return file


def _spawn_error(argv: Sequence[str], cwd: Path, error: OSError) -> HostError:
    if not cwd.is_dir():
        return HostError(
            f"the folder `{cwd}` does not exist", hint=f"`{argv[0]}` was to run there."
        )
    if isinstance(error, FileNotFoundError):
        if os.path.exists(os.path.join(cwd, argv[0])) and "/" in argv[0]:
            return HostError(
                f"`{argv[0]}` cannot be run: the interpreter named in its first line does not exist"
            )
        return HostError(
            f"`{argv[0]}` was not found", hint="Install it, or check PATH and the spelling."
        )
    if isinstance(error, PermissionError):
        return HostError(f"`{argv[0]}` may not be run", hint=f"Try `chmod +x {argv[0]}`.")
    return HostError(f"`{argv[0]}` cannot be run: {error.strerror or error}")


def _name(argv: Sequence[str]) -> str:
    return os.path.basename(argv[0]) if argv else ""


def _when_ended(child: subprocess.Popen[bytes], ended: Callable[[], None]) -> None:
    """Call `ended` on the loop once the child is a zombie, or elsewhere has been waited for."""
    loop = asyncio.get_running_loop()
    handle = -1
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(child.pid)
    if handle >= 0:

        def seen() -> None:
            loop.remove_reader(handle)
            os.close(handle)
            ended()

        loop.add_reader(handle, seen)
        return

    def wait() -> None:
        child.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is interested
            loop.call_soon_threadsafe(ended)

    threading.Thread(target=wait, name=f"wait {child.pid}", daemon=True).start()


async def _reader(pipe: IO[bytes]) -> tuple[asyncio.ReadTransport, asyncio.StreamReader]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_CHUNK, loop=loop)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader, loop=loop), pipe
    )
    return transport, reader


async def _first(one: asyncio.Event, other: asyncio.Event | None, seconds: float) -> None:
    """Wait until one of the events is set, at most for `seconds`."""
    waits = [asyncio.create_task(event.wait()) for event in (one, other) if event is not None]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
