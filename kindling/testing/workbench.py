"""A workbench: write a project's files, run kindling on them, and say what must have happened.

    bench.write("Kindlingfile", 'local_resource("gen", cmd = "date > out", outputs = ["out"])')
    result = await bench.run("ci")
    result.assert_ran("local:gen")

Everything is real unless a test hands in stand-ins for the cluster or the container engine: files,
processes, the run database, the scheduler.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from kindling.engine.control import ask
from kindling.engine.messages import Interrupted
from kindling.engine.notices import (
    KindlingfileFailed,
    LogLine,
    Message,
    NodeChanged,
    NodeStatus,
    NodeView,
    Notice,
    SessionEnded,
)
from kindling.engine.options import STATE_DIR, SessionOptions
from kindling.engine.run import REAL, Connections, run_session
from kindling.engine.session import Session
from kindling.graph.outcome import Verdict

__all__ = ["Collected", "Result", "Running", "Workbench"]

T = TypeVar("T")


@dataclass(slots=True)
class Collected:
    """A reporter that keeps every notice and wakes whoever waits for one."""

    notices: list[Notice] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def notice(self, notice: Notice) -> None:
        """Keep it."""
        self.notices.append(notice)
        self.changed.set()

    def close(self) -> None:
        """Nothing to close."""


@dataclass(slots=True)
class Result:
    """What a run told, from `start` on, and its exit code (-1 while it goes on)."""

    notices: list[Notice]
    exit_code: int = -1

    @property
    def views(self) -> dict[str, NodeView]:
        """How every node looked last."""
        return {str(n.view.id): n.view for n in self.notices if isinstance(n, NodeChanged)}

    def verdicts(self, id_: str) -> list[Verdict]:
        """Every verdict that a node came to, in order."""
        seen: list[Verdict] = []
        attempt = 0
        for notice in self.notices:
            if isinstance(notice, NodeChanged) and notice.view.id == id_:
                view = notice.view
                settled = view.status not in (NodeStatus.RUNNING, NodeStatus.HELD)
                if settled and view.verdict is not None and view.attempt != attempt:
                    attempt = view.attempt
                    seen.append(view.verdict)
        return seen

    @property
    def ran(self) -> set[str]:
        """The nodes that really ran and succeeded."""
        return {id_ for id_ in self.views if Verdict.RAN in self.verdicts(id_)}

    def log(self, id_: str) -> list[str]:
        """The lines a node put out."""
        return [n.text for n in self.notices if isinstance(n, LogLine) and n.node == id_]

    @property
    def messages(self) -> list[str]:
        """Everything said that belongs to no node, failed evaluations included."""
        return [n.text for n in self.notices if isinstance(n, Message | KindlingfileFailed)]

    @property
    def end(self) -> SessionEnded:
        """The last notice."""
        last = self.notices[-1]
        assert isinstance(last, SessionEnded), f"the session did not end: {last}"
        return last

    def assert_ran(self, *ids: str) -> None:
        """These ran and succeeded."""
        missing = set(ids) - self.ran
        assert not missing, f"did not run: {sorted(missing)}; {self.explain()}"

    def assert_only_ran(self, *ids: str) -> None:
        """Exactly these ran and succeeded."""
        assert self.ran == set(ids), f"ran: {sorted(self.ran)}; {self.explain()}"

    def assert_failed(self, id_: str, *words: str) -> None:
        """It failed, and its failure speaks of all these words."""
        view = self.views.get(id_)
        assert view is not None, f"`{id_}` was never seen; {self.explain()}"
        assert view.status is NodeStatus.FAILED, f"`{id_}` is {view.status}; {self.explain()}"
        assert view.failure is not None
        text = "\n".join((view.failure.summary, *view.failure.details, view.failure.hint))
        for word in words:
            assert word in text, f"no `{word}` in: {text}"

    def explain(self) -> str:
        """All nodes and messages, for a failing assertion."""
        nodes = [
            f"{v.id}: {v.status.value} {v.verdict.value if v.verdict else '-'} "
            f"{v.failure.summary if v.failure else ''} {v.reasons}"
            for v in self.views.values()
        ]
        return "\n  ".join(["nodes:", *nodes, "messages:", *self.messages])


@dataclass(slots=True)
class Running:
    """A session that goes on while a test changes things."""

    collected: Collected
    session: Session
    task: asyncio.Task[int]

    @property
    def result(self) -> Result:
        """Everything told so far."""
        return Result(self.collected.notices)

    def mark(self) -> int:
        """A place in the stream, for `since`."""
        return len(self.collected.notices)

    def since(self, mark: int) -> Result:
        """What was told after `mark`."""
        return Result(self.collected.notices[mark:])

    async def until(self, holds: Callable[[], T], *, seconds: float = 20.0) -> T:
        """Wait until `holds()` is true; it is asked again after every notice, and now and then,
        since not everything in the world is told of."""
        try:
            async with asyncio.timeout(seconds):
                while not (found := holds()):
                    if self.task.done():
                        raise AssertionError(f"the session is over; {self.result.explain()}")
                    self.collected.changed.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self.collected.changed.wait(), 0.05)
                return found
        except TimeoutError:
            raise AssertionError(f"it never came true; {self.result.explain()}") from None

    async def settled(self, *ids: str, mark: int = 0, seconds: float = 20.0) -> Result:
        """Wait until each of these came to a verdict after `mark`."""
        await self.until(
            lambda: all(self.since(mark).verdicts(id_) for id_ in ids), seconds=seconds
        )
        return self.since(mark)

    async def stop(self) -> Result:
        """The first Ctrl-C, and the end that follows."""
        self.session.post(Interrupted())
        code = await self.task
        return Result(self.collected.notices, code)


class Workbench:
    """A folder with a Kindlingfile, and verbs to work on it."""

    def __init__(self, root: Path, environment: Mapping[str, str] | None = None) -> None:
        self.root = root
        keep = ("PATH", "HOME", "LANG", "TMPDIR")
        self.environment = dict(environment or {})
        for name in keep:
            self.environment.setdefault(name, os.environ.get(name, ""))
        self.environment.setdefault("KUBECONFIG", str(root / "no-kubeconfig"))
        self.connections: Connections = REAL

    def write(self, path: str, text: str, mode: int | None = None) -> Path:
        """Write a file, with the folders above it."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        if mode is not None:
            target.chmod(mode)
        return target

    def read(self, path: str) -> str:
        """What a file holds."""
        return (self.root / path).read_text()

    def options(
        self,
        command: str,
        *names: str,
        words: tuple[str, ...] = (),
        once: bool = False,
        file: str = "Kindlingfile",
        timeout: float | None = None,
    ) -> SessionOptions:
        """The options of one command line."""
        return SessionOptions(
            file=self.root / file,
            command=command,
            names=names,
            words=words,
            once=once or command == "ci",
            timeout=timeout,
        )

    async def run(
        self,
        command: str,
        *names: str,
        words: tuple[str, ...] = (),
        file: str = "Kindlingfile",
        timeout: float | None = None,
    ) -> Result:
        """A session that ends by itself: `ci`, or `up --once`."""
        collected = Collected()
        options = self.options(command, *names, words=words, once=True, file=file, timeout=timeout)
        code = await run_session(options, collected, self.environment, connections=self.connections)
        return Result(collected.notices, code)

    async def ask(self, what: str, *names: str, force: bool = False) -> dict[str, Any]:
        """What another process would ask of the running session."""
        request = {"ask": what, "names": names, "force": force}
        return await ask(self.root / STATE_DIR, request)

    @asynccontextmanager
    async def up(self, *names: str, words: tuple[str, ...] = ()) -> AsyncIterator[Running]:
        """An `up` that goes on; it is stopped at the end of the context."""
        collected = Collected()
        begun: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
        options = self.options("up", *names, words=words)
        task = asyncio.create_task(
            run_session(
                options,
                collected,
                self.environment,
                connections=self.connections,
                started=begun.set_result,
            )
        )
        waited: list[asyncio.Future[Any]] = [begun, task]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        running = Running(collected, begun.result(), task)
        try:
            yield running
        finally:
            if not task.done():
                await running.stop()
