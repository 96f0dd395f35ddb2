"""The agent: takes requests, carries out several at a time, and answers each once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Protocol

from kindling.agent.context import Contents, CutShortError, examine
from kindling.agent.folder import Folder, LogFile
from kindling.agent.orders import RefusedError
from kindling.agent.signals import Kind, Request, survey, wrong_name
from kindling.errors import KindlingError

__all__ = ["REFUSED", "STOPPED", "BuildAgent", "Clock", "Limits", "Task", "Worker"]

REFUSED = 2
STOPPED = 143
"""As of a program that SIGTERM ended."""

_ATTEMPTS = 3
_TEXT_LIMIT = {".yaml": 3 << 20, ".sh": 1 << 20}
_SMALL = 4096


class Clock(Protocol):
    """The part of a clock that the agent needs."""

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """`patience` is for inputs that a trigger came before; `quiet` is how long such a file must
    have stayed as it is; `keep` is how long answers are kept, and `unasked` how long inputs are
    that no trigger followed. Seconds."""

    at_once: Mapping[Kind, int] = field(
        default_factory=lambda: {Kind.BUILD: 2, Kind.APPLY: 4, Kind.SCRIPT: 4}
    )
    patience: float = 30.0
    quiet: float = 1.0
    rescan: float = 1.0
    keep: float = 600.0
    unasked: float = 24 * 3600.0


class Task:
    """One request as its worker sees it."""

    def __init__(self, request: Request, folder: Folder, say: Callable[[str], None]) -> None:
        self.request = request
        self.say = say
        self.contents = Contents(frozenset(), 0)
        """What a build's context holds."""
        self._folder = folder

    def text(self, ending: str) -> str:
        """An input as text; empty where none came.

        Raises:
            RefusedError: It is too long, unreadable or no text.
        """
        limit = _TEXT_LIMIT.get(ending, _SMALL)
        try:
            file = self._folder.open_input(self.request, ending)
            if file is None:
                return ""
            with file:
                data = file.read(limit + 1)
        except OSError as error:
            raise _unreadable(ending, error) from error
        if len(data) > limit:
            raise RefusedError(f"`{ending}` has more than {limit} bytes")
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RefusedError(f"`{ending}` is no text in UTF-8") from error

    def open_context(self) -> IO[bytes]:
        """The build context from its beginning."""
        try:
            file = self._folder.open_input(self.request, ".tar.gz")
        except OSError as error:
            raise _unreadable(".tar.gz", error) from error
        if file is None:
            raise RefusedError("the build context is gone")
        return file


Worker = Callable[[Task], Awaitable[int]]


@dataclass(slots=True)
class _Running:
    task: asyncio.Task[None]
    cut_off: bool = False


class BuildAgent:
    """Serves one folder. `look` says that something may have changed in it; it is also looked at
    every `rescan` seconds, which is what serves where changes are not told."""

    def __init__(
        self,
        folder: Folder,
        workers: Mapping[Kind, Worker],
        clock: Clock,
        say: Callable[[str], None],
        limits: Limits | None = None,
    ) -> None:
        self._folder = folder
        self._workers = workers
        self._clock = clock
        self._say = say
        self._limits = limits or Limits()
        self._places = {kind: asyncio.Semaphore(self._limits.at_once.get(kind, 1)) for kind in Kind}
        self._running: dict[Request, _Running] = {}
        self._changed = asyncio.Event()
        self._stopping = False
        self._next_expiry = 0.0

    @property
    def busy(self) -> int:
        """How many requests are being served."""
        return len(self._running)

    def look(self) -> None:
        """Something may have changed."""
        self._changed.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`, then end what is under way and answer it."""
        stopped = asyncio.create_task(stop.wait(), name="build agent's end")
        try:
            while not stop.is_set():
                self._changed.clear()
                try:
                    self.scan()
                except OSError as error:  # a mount that is away for a while comes back
                    self._say(f"the folder {self._folder.path} cannot be read: {error}")
                await self._pause(stopped)
        finally:
            stopped.cancel()
            await asyncio.gather(stopped, return_exceptions=True)
            await self._end()

    def scan(self) -> None:
        """Look at the folder once, and begin what is to be begun."""
        found = survey(self._folder.entries())
        for request, running in self._running.items():
            gone = request not in found.taken
            if (gone or request in found.triggers) and not running.cut_off:
                why = "was taken back" if gone else "was asked for anew"
                self._say(f"{request}: {why}: the one under way is stopped")
                running.cut_off = True
                running.task.cancel()
        for request in found.triggers:
            if request not in self._running and self._folder.claim(request):
                self._begin(request, again=False)
        for request in sorted(found.taken, key=str):
            if request in self._running or request in found.triggers:
                continue
            if not self._folder.answered(request):
                self._begin(request, again=True)
        for request in found.stale:
            if request not in self._running and request not in found.taken:
                self._folder.forget(request)
        now = self._clock.monotonic()
        if now >= self._next_expiry:
            self._next_expiry = now + self._limits.keep / 10
            self._folder.expire(self._limits.keep, self._limits.unasked)

    async def settled(self) -> None:
        """Return once nothing is under way."""
        while self._running:
            await asyncio.wait([one.task for one in self._running.values()])
            await asyncio.sleep(0)

    # Inside ---------------------------------------------------------------------------------------

    async def _pause(self, stopped: asyncio.Task[bool]) -> None:
        changed = asyncio.create_task(self._changed.wait(), name="build folder changes")
        tick = asyncio.create_task(self._clock.sleep(self._limits.rescan), name="rescan")
        try:
            await asyncio.wait((changed, tick, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            tick.cancel()
            await asyncio.gather(changed, tick, return_exceptions=True)

    async def _end(self) -> None:
        self._stopping = True
        for running in self._running.values():
            running.task.cancel()
        await self.settled()

    def _begin(self, request: Request, *, again: bool) -> None:
        task = asyncio.create_task(self._serve(request, again=again), name=f"serve {request}")
        self._running[request] = _Running(task)
        task.add_done_callback(lambda done: self._ended(request, done))

    def _ended(self, request: Request, task: asyncio.Task[None]) -> None:
        del self._running[request]
        error = None if task.cancelled() else task.exception()
        if error is None:
            self._changed.set()
        else:  # the folder itself failed: the request stays taken, and a rescan begins it anew
            self._say(f"{request}: {error}")

    async def _serve(self, request: Request, *, again: bool) -> None:
        log = self._folder.open_log(request)
        try:
            code = await self._carry_out(request, log, again=again)
        except asyncio.CancelledError:
            if not self._stopping or self._running[request].cut_off:
                log.close()
                self._folder.drop(request)
                self._say(f"{request}: dropped")
                raise
            log.write("kindling: the build agent was told to stop: this request was cut off")
            code = STOPPED
        except BaseException:
            log.close()
            raise
        log.close()
        if self._folder.answer(request, code):
            self._say(f"{request}: exit code {code}")
        else:
            self._say(f"{request}: nobody waits for its answer any more")

    async def _carry_out(self, request: Request, log: LogFile, *, again: bool) -> int:
        try:
            if reason := wrong_name(request.name):
                raise RefusedError(f"`{request}` is refused: {reason}")
            attempt = self._folder.attempt(request)
            if again:
                self._resume(request, attempt, log)
            place = self._places[request.kind]
            if place.locked():
                log.write("kindling: waiting for a place among those under way")
            async with place:
                task = Task(request, self._folder, log.write)
                await self._gather(task)
                return await self._workers[request.kind](task)
        except RefusedError as error:
            _tell(error, log)
            return REFUSED
        except KindlingError as error:
            _tell(error, log)
            return error.exit_code

    def _resume(self, request: Request, attempt: int, log: LogFile) -> None:
        """What becomes of a request that was under way when the agent went down."""
        if request.kind is Kind.SCRIPT:
            raise AbandonedError(
                "the build agent went down while this script ran: how far it came is not known"
            )
        if attempt > _ATTEMPTS:
            raise AbandonedError(f"the build agent went down {attempt - 1} times while it did this")
        log.write("kindling: the build agent was started again: this begins anew")
        self._say(f"{request}: begun anew, attempt {attempt}")

    async def _gather(self, task: Task) -> None:
        """Take in the inputs, each once it is whole. A file from before the trigger is; what comes
        later must have rested."""
        request, folder, limits = task.request, self._folder, self._limits
        trigger = folder.state(request.processing)
        asked = trigger[1] if trigger else 0
        seen: dict[str, tuple[tuple[int, int], float]] = {}
        last, moved = self._clock.monotonic(), None
        while True:
            now = self._clock.monotonic()
            missing = []
            for ending in (*request.kind.required, *request.kind.optional):
                state = folder.state(request.name + ending)
                if state is not None:
                    before = seen.get(ending)
                    if before is None or before[0] != state:
                        seen[ending] = before = (state, now)
                        last = now if state[1] > asked else last
                    if state[1] <= asked or now - before[1] >= limits.quiet:
                        folder.take_in(request, ending)
                    else:
                        missing.append(ending)
                elif ending in request.kind.required and not folder.kept_state(request, ending):
                    missing.append(ending)
            late = "did not come"
            if not missing and request.kind is Kind.BUILD:
                state = folder.kept_state(request, ".tar.gz")
                if state != moved:
                    moved, last = state, now if moved is not None else last
                    try:
                        task.contents = await asyncio.to_thread(_examine, task)
                        return
                    except CutShortError:
                        pass
                missing, late = [".tar.gz"], "is cut short"
            if not missing:
                return
            if now - last > limits.patience:
                hint = "Write all inputs first, and the trigger when they are complete"
                if folder.full():
                    hint = f"The disk of {folder.path} is full"
                told = ", ".join(f"`{request.name}{ending}`" for ending in missing)
                raise RefusedError(
                    f"{told} {late}: waited {limits.patience:.0f} s",
                    hint=hint,
                )
            await self._clock.sleep(min(limits.quiet, limits.rescan) / 4)


class AbandonedError(KindlingError):
    """A request that will not be begun again."""


def _examine(task: Task) -> Contents:
    with task.open_context() as file:
        return examine(file)


def _unreadable(ending: str, error: OSError) -> RefusedError:
    return RefusedError(
        f"`{ending}` cannot be read: {error.strerror}",
        hint="The agent runs as another user: `chmod a+r` before the trigger is written",
    )


def _tell(error: KindlingError, log: LogFile) -> None:
    for line in error.render().splitlines():
        log.write(f"kindling: {line}")
