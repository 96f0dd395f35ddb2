"""Putting a session together from the real parts, and taking it apart again in order."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kindling.engine.clock import SystemClock
from kindling.engine.control import serve
from kindling.engine.embedded import home_of, node_images, reached, with_embedded
from kindling.engine.following import Follower
from kindling.engine.inputs import InputReader
from kindling.engine.journaling import JournalWriter
from kindling.engine.listeners import Fan, LogKeeper
from kindling.engine.messages import Ask, Interrupted
from kindling.engine.notices import Level, Message, Reporter
from kindling.engine.operating import Begin, Operating, Target, begin
from kindling.engine.options import SessionOptions
from kindling.engine.project import Project
from kindling.engine.redact import Redactor
from kindling.engine.session import Parts, Session
from kindling.engine.settle import Settler
from kindling.engine.syncing import Routing
from kindling.engine.usersecrets import backup_of, known_values
from kindling.engine.wire import to_json
from kindling.engine.world import SessionWorld
from kindling.errors import ClusterError, StoreError, UsageError
from kindling.executors.processes import HostProcesses
from kindling.executors.protocol import Executor, ProcessRunner
from kindling.executors.table import Executors
from kindling.files.statcache import StatCache
from kindling.files.tree import TreeReader
from kindling.graph.node import Kind, Where
from kindling.store.blobs import FileBlobs
from kindling.store.database import Store
from kindling.store.journal import Journal
from kindling.store.lock import SessionLock
from kindling.store.sessionlog import SessionLog

if TYPE_CHECKING:
    from kindling.build.protocol import ContainerEngine
    from kindling.kube.contexts import KubeContext
    from kindling.kube.protocol import Cluster

__all__ = ["REAL", "Connections", "Tools", "open_tools", "run_session", "session_name"]

_sessions = count(1)

_ONE_SIGNAL = 0.3
"""Seconds after the first signal within which others are that one again."""


@dataclass(frozen=True, slots=True)
class Connections:
    """How the outside is reached; tests hand in their own."""

    cluster: Callable[[KubeContext, Mapping[str, str]], Awaitable[Cluster]]
    containers: Callable[[ProcessRunner, Mapping[str, str], Path], Awaitable[ContainerEngine]]
    """Takes what runs programs, the environment and the project's folder."""
    operator: Callable[[Target], Begin] = begin
    """Takes what tells where the cluster is."""


_importing = threading.Lock()


def _one_import_at_a_time() -> None:
    """The libraries of cluster and engine are imported when they are first needed, in threads and
    often at the same moment. What both stand on has cycles of imports, and two threads that enter
    those from different ends see half a module: so it is there before either begins."""
    with _importing:
        importlib.import_module("requests")


async def _real_cluster(context: KubeContext, environment: Mapping[str, str]) -> Cluster:
    from kindling.kube.client import connect

    await asyncio.to_thread(_one_import_at_a_time)
    return await connect(context, environment)


async def _real_containers(
    programs: ProcessRunner, environment: Mapping[str, str], root: Path
) -> ContainerEngine:
    from kindling.build.docker_engine import connect

    await asyncio.to_thread(_one_import_at_a_time)
    return await connect(programs, environment, root)


REAL = Connections(_real_cluster, _real_containers)


@dataclass(frozen=True, slots=True)
class Tools:
    """The real parts that `up`, `ci`, `down`, `plan` and `why` share."""

    options: SessionOptions
    store: Store
    project: Project
    world: SessionWorld
    inputs: InputReader
    redactor: Redactor
    executors: Mapping[Kind, Executor]


def session_name(clock: SystemClock) -> str:
    """A name that sorts by time and is like no other, such as `20260314-091500-4711`; later ones of
    the same process have a number at the end."""
    now = datetime.fromtimestamp(clock.time(), UTC)
    number = next(_sessions)
    return f"{now:%Y%m%d-%H%M%S}-{os.getpid()}{f'.{number}' if number > 1 else ''}"


@asynccontextmanager
async def open_tools(
    options: SessionOptions,
    *,
    environment: Mapping[str, str],
    say: Callable[[Where, str], None],
    subcommand: str = "",
    lock: str = "",
    session: str = "",
    need_target: bool = True,
    connections: Connections = REAL,
) -> AsyncIterator[Tools]:
    """Open `.kindling` and everything that works on it. `lock` names the command that wants to be
    the only one; reading commands leave it empty and run beside a session.

    Raises:
        StoreError: `.kindling` cannot be written, or another session holds the lock.
        UsageError: The folder of the Kindlingfile does not exist.
    """
    if not options.root.is_dir():
        raise UsageError(f"There is no folder `{options.root}`")
    clock = SystemClock()
    state_dir = options.state_dir
    environment = with_embedded(environment)
    async with AsyncExitStack() as stack:
        store = stack.enter_context(Store.open(state_dir))
        if lock:
            stack.enter_context(
                SessionLock(state_dir, command=lock, at=clock.time(), session=session)
            )
        processes = HostProcesses(state_dir)
        stack.push_async_callback(processes.close)
        if lock:
            await processes.end_leftovers()
        stats = StatCache(store)
        stack.callback(_save, stats)
        blobs = FileBlobs(state_dir / "blobs")
        project = Project(
            options,
            store=store,
            clock=clock,
            environment=environment,
            say=say,
            subcommand=subcommand,
            need_target=need_target,
            guard=lambda: processes.watched(environment),
        )

        async def target() -> tuple[KubeContext, dict[str, str]]:
            if project.target is None:
                raise ClusterError("This graph uses no cluster")
            context, found = await reached(project.target.context, environment, start=bool(lock))
            return context, dict(found)

        async def connect_cluster() -> Cluster:
            return await connections.cluster(*await target())

        async def connect_containers() -> ContainerEngine:
            home = home_of(project.target.context, environment) if project.target else None
            if home is None:
                return await connections.containers(processes, environment, options.root)
            assert project.target is not None
            await reached(project.target.context, environment, start=bool(lock))
            await asyncio.to_thread(_one_import_at_a_time)
            return await node_images(home, processes, environment, options.root)

        def make_operating() -> Operating:
            from kindling.operator.controller.run import holder

            return Operating(
                begin=connections.operator(target),
                holder=holder,
                identity=f"{lock}-{session}@{socket.gethostname()}",
                say=lambda line: say(Where(options.file.name), line),
            )

        world = SessionWorld(
            root=options.root,
            state_dir=state_dir,
            project=options.root.name,
            clock=clock,
            processes=processes,
            environment=environment,
            blobs=blobs,
            connect_cluster=connect_cluster,
            connect_containers=connect_containers,
            make_operating=make_operating if lock else None,
        )
        stack.push_async_callback(world.close)
        yield Tools(
            options=options,
            store=store,
            project=project,
            world=world,
            inputs=InputReader(options.root, TreeReader(options.root, stats), environment),
            redactor=Redactor(),
            executors=Executors(),
        )


def _save(stats: StatCache) -> None:
    # What cannot be kept is read from the files once more: no reason to end in an error.
    with suppress(StoreError):
        stats.save()


async def run_session(
    options: SessionOptions,
    reporter: Reporter,
    environment: Mapping[str, str] | None = None,
    *,
    connections: Connections = REAL,
    started: Callable[[Session], None] | None = None,
) -> int:
    """Run `up` or `ci` to its end; the exit code. `started` is told the session before it runs.

    Raises:
        KindlingError: The session could not begin. Whatever happens later is a notice.
    """
    environment = dict(os.environ) if environment is None else environment
    clock = SystemClock()
    name = session_name(clock)
    state_dir = options.state_dir
    loop = asyncio.get_running_loop()
    redactor = Redactor()
    # What pods and programs say may hold secrets that no file of the project has.
    redactor.learn(await asyncio.to_thread(known_values, backup_of(state_dir, environment)))

    def say(where: Where, line: str) -> None:
        text = f"{where.file}: {line}" if where.file != options.file.name else line
        message = Message(clock.time(), Level.INFO, redactor.text(text))
        loop.call_soon_threadsafe(reporter.notice, message)

    async with AsyncExitStack() as stack:
        tools = await stack.enter_async_context(
            open_tools(
                options,
                environment=environment,
                say=say,
                lock=options.command,
                session=name,
                connections=connections,
            )
        )
        tools = replace(tools, redactor=redactor)
        listeners = Fan([LogKeeper(SessionLog(state_dir, name)), reporter])
        session = Session(
            options,
            Parts(
                reporter=listeners,
                store=tools.store,
                world=tools.world,
                executors=tools.executors,
                project=tools.project,
                settler=Settler(
                    world=tools.world,
                    store=tools.store,
                    executors=tools.executors,
                    inputs=tools.inputs,
                    redactor=redactor,
                    session=name,
                    once=options.once,
                ),
                follower=Follower(options.root, clock),
                routing=Routing(options.root, tools.store, tools.inputs),
                journal=JournalWriter(Journal.open(state_dir, name)),
                redactor=redactor,
                session=name,
            ),
        )
        _on_signals(session, stack)
        if started is not None:
            started(session)
        await stack.enter_async_context(serve(state_dir, lambda r: _answer(session, r)))
        try:
            return await session.run()
        finally:
            listeners.close()


def _on_signals(session: Session, stack: AsyncExitStack) -> None:
    """The first signal ends the session in order, the second one at once.

    Programs that run others often pass on to them what the terminal has told them already, so that
    signals right after the first one are no second wish.
    """
    loop = asyncio.get_running_loop()
    first: list[float] = []

    def on_signal() -> None:
        if not first:
            first.append(loop.time())
            session.post(Interrupted())
        elif loop.time() - first[0] >= _ONE_SIGNAL:
            # Everything that matters is on disk, and the guardian ends the processes.
            os._exit(130)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with suppress(ValueError, NotImplementedError):  # not on the main thread, as in tests
            loop.add_signal_handler(number, on_signal)
            stack.callback(loop.remove_signal_handler, number)


async def _answer(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:
    """What the running session says to a request of another process."""
    match request.get("ask"):
        case "status":
            return {"nodes": [to_json(view) for view in session.board.views.values()]}
        case "trigger":
            reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            names = tuple(str(name) for name in request.get("names", ()))
            session.post(Ask(names, bool(request.get("force")), reply))
            return await reply
        case other:
            return {"error": f"This session does not know the request `{other}`"}
