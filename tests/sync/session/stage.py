"""What tests of sessions act upon: containers that are folders of this machine.

The agents in them are real, and so are their supervisors. What they say of processes is made up:
their own processes are this machine's, and no signal of a test must reach those.
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kindling.graph.node import FileSet
from kindling.graph.spec import ObjectRef
from kindling.lang.declared import LiveUpdateStep, SyncStep
from kindling.sync.agent.frames import Status
from kindling.sync.notices import Notice
from kindling.sync.protocol import (
    CannotCarryError,
    Container,
    Contents,
    LinkLostError,
    NoRoomError,
    Process,
    Sent,
)
from kindling.sync.rules.landing import Context
from kindling.sync.runtimes.plan import Overrides
from kindling.sync.session.order import Order, Report
from kindling.sync.session.session import SyncSession
from kindling.sync.template.patch import CONTROL_FOLDER
from kindling.sync.transport.link import AgentLink
from kindling.sync.trees.batch import Batch
from kindling.sync.trees.manifest import TreeManifest
from kindling.sync.workload.records import Records
from kindling.testing.agents import ProcessStream
from kindling.testing.cluster import FakeCluster
from kindling.testing.processes import FakeProcesses
from tests.sync.workload.playing import NAMESPACE, Controller, controlled, deployment, ref_of

LIMIT = 60.0


class RealClock:
    """Real time, with waits cut short: what waits for a moment here waits for nothing."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def time(self) -> float:
        return 1_700_000_000.0 + self._loop.time()

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class FolderLink:
    """A link to a folder that stands for a container. `pod` says what its programs do."""

    def __init__(self, inner: AgentLink, stream: ProcessStream, pod: Pod) -> None:
        self._inner = inner
        self.stream = stream
        self._pod = pod

    @property
    def machine(self) -> str:
        return self._inner.machine

    @property
    def way(self) -> str:
        return "agent"

    async def resolve(self, place: str) -> str:
        return await self._inner.resolve(place)

    async def tree(self, places: Sequence[str], skip: Collection[str] = ()) -> TreeManifest:
        await self._pod.held("tree")
        self._pod.trees += 1
        return await self._inner.tree(places, skip)

    async def apply(self, batch: Batch, contents: Contents) -> Sent:
        await self._pod.held("apply")
        await self._pod.before_apply(self)
        self._pod.fit(batch)
        for one in batch.puts:
            self._pod.own(one.path)
        return await self._inner.apply(batch, contents)

    async def try_out(self, place: str) -> None:
        await self._pod.held("try_out")
        self._pod.own(place)
        await self._inner.try_out(place)

    async def run(
        self,
        argv: Sequence[str],
        *,
        folder: str = "/",
        variables: Mapping[str, str] | None = None,
        log: Callable[[str], None] | None = None,
        timeout: float = 600.0,
    ) -> int:
        del variables, timeout
        self._pod.ran.append((tuple(argv), folder))
        code, lines = self._pod.commands.get(tuple(argv), (0, ()))
        for line in lines:
            if log is not None:
                log(line)
        return code

    async def read(self, path: str, most: int = 1 << 20) -> bytes | None:
        # An absolute path is this machine's own.
        return await self._inner.read(path.lstrip("/"), most)

    async def processes(self) -> tuple[Process, ...]:
        return tuple(self._pod.processes)

    async def signal(self, pid: int, name: str) -> None:
        self._pod.signals.append((pid, name))
        self._pod.on_signal(self._pod)

    async def status(self) -> Status | None:
        return self._pod.status

    async def restart(self, name: str = "TERM", grace: float = 10.0) -> Status:
        del name, grace
        return await self._pod.restart()

    async def close(self) -> None:
        await self._inner.close()


def _nothing(pod: Pod) -> None:
    del pod


@dataclass(eq=False)
class Pod:
    """One container: a folder, and what its programs do."""

    container: Container
    root: Path
    processes: list[Process] = field(default_factory=list)
    signals: list[tuple[int, str]] = field(default_factory=list)
    on_signal: Callable[[Pod], None] = _nothing
    ran: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    commands: dict[tuple[str, ...], tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    restarts: int = 0
    status: Status | None = None
    lives: bool = True
    """Whether the program lives when it is started."""
    slow: asyncio.Event | None = None
    """Until it is set, nothing is applied."""
    waiting: bool = False
    gates: dict[str, tuple[asyncio.Event, asyncio.Event]] = field(default_factory=dict)
    """Calls of its links that tell that they have come, and wait until they may go on."""
    cuts: int = 0
    """So many of the next batches break the connection."""
    closed: bool = False
    foreign: bool = False
    """Its files are another user's."""
    full: bool = False
    room: int | None = None
    """So many bytes may be put by one batch."""
    trees: int = 0
    """How often its tree was read."""
    links: list[FolderLink] = field(default_factory=list)

    async def held(self, call: str) -> None:
        if call in self.gates:
            come, on = self.gates[call]
            come.set()
            await on.wait()

    async def before_apply(self, link: FolderLink) -> None:
        if self.slow is not None:
            self.waiting = True
            await self.slow.wait()
        if self.cuts:
            self.cuts -= 1
            link.stream.cut()
        if self.full:
            raise NoRoomError(f"{self.container}: the disk is full", hint="Make room.")
        if self.closed:
            raise CannotCarryError(f"{self.container}: it is a read-only file system")

    def own(self, place: str) -> None:
        """Refuse a place of another user. Volumes that a session brings are everybody's."""
        if self.foreign and not place.startswith(f"{CONTROL_FOLDER.strip('/')}/"):
            raise CannotCarryError(f"Cannot change `/{place}`: permission denied", hint="--chown")

    def fit(self, batch: Batch) -> None:
        left = self.room
        for one in batch.puts if left is not None else ():
            left = (left or 0) - (one.size or 0)
            if left < 0:
                raise NoRoomError(f"Cannot change `/{one.path}`: the disk is full", place=one.path)

    async def restart(self) -> Status:
        self.restarts += 1
        self.status = Status(0, 100 + self.restarts, self.restarts, 1, True)
        answer = self.status
        if not self.lives:
            self.status = Status(0, 0, self.restarts, 1, False)
        return answer

    def holds(self) -> dict[str, str]:
        """What is in the folder beside what stands for the kernel: path to what it is."""
        return tree_of(self.root)


def tree_of(root: Path) -> dict[str, str]:
    """Path to kind, mode and content."""
    found: dict[str, str] = {}
    for path in sorted(root.rglob("*")):
        inner = path.relative_to(root).as_posix()
        if inner == "proc" or inner.startswith("proc/"):
            continue
        seen = path.lstat()
        if stat.S_ISLNK(seen.st_mode):
            found[inner] = f"link {path.readlink()}"
        elif stat.S_ISDIR(seen.st_mode):
            found[inner] = f"dir {seen.st_mode & 0o777:o}"
        else:
            found[inner] = f"file {seen.st_mode & 0o777:o} {path.read_bytes()!r}"
    return found


class Stage:
    """A cluster, a source folder and sessions between them."""

    def __init__(self, binary: Path, folder: Path, cluster: FakeCluster) -> None:
        self.binary = binary
        self.folder = folder
        self.cluster = cluster
        self.controller: Controller | None = None
        self.source = folder / "source"
        self.source.mkdir()
        self.records = Records(folder / "records")
        self.processes = FakeProcesses()
        self.notices: list[Notice] = []
        self.pods: dict[str, Pod] = {}
        """By name of the pod and id of the container."""
        self.argv: tuple[str, ...] = ("python3", "app.py")
        self.prepare: Callable[[Pod], None] = _nothing
        """What is in a container when it begins."""
        self.away = False
        self.clock = RealClock()
        self.ref = ObjectRef("apps/v1", "Deployment", "web", NAMESPACE)
        self._streams: list[FolderLink] = []

    def write(self, path: str, content: str = "x\n", mode: int = 0o644) -> str:
        """Write a file of the source; its path."""
        file = self.source / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        file.chmod(mode)
        return path

    def deploy(self, replicas: int = 1, *, also: Sequence[str] = (), **container: Any) -> None:
        """`also`: other containers, like the first."""
        manifest = deployment("web", replicas)
        own = manifest["spec"]["template"]["spec"]["containers"][0]
        del own["args"]
        own.update({"command": list(self.argv), **container})
        spec = manifest["spec"]["template"]["spec"]
        spec["containers"] += [{**own, "name": name} for name in also]
        self.ref = ref_of(manifest)
        self.cluster.put(manifest)

    def session(
        self,
        *,
        steps: Sequence[LiveUpdateStep] = (SyncStep(".", "/app"),),
        restart: bool = False,
        **more: Any,
    ) -> SyncSession:
        given = {name: more.pop(name) for name in ("images",) if name in more}
        overrides = more.pop("overrides", Overrides(restart=restart))
        order = Order(
            self.ref,
            tuple(steps),
            Context("image:web", self.source, (FileSet((".",)),)),
            overrides=overrides,
            **more,
        )
        return SyncSession(
            order,
            cluster=self.cluster,
            records=self.records,
            processes=self.processes,
            clock=self.clock,
            tell=self.notices.append,
            folder=self.folder / "scratch",
            agents=lambda machine: machine.encode(),
            connect=self.connect,
            **given,
        )

    async def connect(self, container: Container) -> FolderLink:
        if self.away:
            raise LinkLostError(f"{container}: there is no way just now")
        pod = self.pod_of(container)
        words = [str(self.binary), "serve", str(pod.root)]
        stream = await ProcessStream.start(words, f"serve {container}")
        link = FolderLink(await AgentLink.open(stream, str(container)), stream, pod)
        pod.links.append(link)
        self._streams.append(link)
        return link

    def restart_container(self) -> None:
        """The container of the first pod is started anew: another one, with nothing in it."""
        pod = dict(self.cluster.objects("Pod")[0])
        (status,) = pod["status"]["containerStatuses"]
        again = {**status, "containerID": "fake://again", "restartCount": 1}
        pod["status"] = {**pod["status"], "containerStatuses": [again]}
        self.cluster.put(pod)

    def pod_of(self, container: Container) -> Pod:
        key = f"{container.pod}-{container.id.rpartition('/')[2]}"
        pod = self.pods.get(key)
        if pod is None:
            pod = self.pods[key] = Pod(container, self.folder / "pods" / key)
            (pod.root / "proc/1").mkdir(parents=True)
            words = self.argv
            (pod.root / "proc/1/cmdline").write_bytes(
                b"".join(word.encode() + b"\0" for word in words)
            )
            pod.processes = [Process(1, 0, 1, "1", tuple(words))]
            if container.supervised:
                pod.status = Status(0, 100, 0, 0, True)
            self.prepare(pod)
        return pod

    def pod(self, at: int = 0) -> Pod:
        """The newest containers, in the order in which they came."""
        return self.current[at]

    @property
    def current(self) -> list[Pod]:
        """The containers of pods that are there."""
        there = {
            (item["metadata"]["name"], one["containerID"])
            for item in self.cluster.objects("Pod")
            for one in item["status"]["containerStatuses"]
        }
        pods = self.pods.values()
        return [p for p in pods if (p.container.pod, p.container.id) in there]

    def told(self, kind: type[Any]) -> list[Any]:
        return [one for one in self.notices if isinstance(one, kind)]

    async def until(self, what: Callable[[], bool], said: str = "") -> None:
        try:
            async with asyncio.timeout(LIMIT):
                while not what():  # noqa: ASYNC110 - the disk tells nobody
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError(f"{said or what} did not come; told: {self.notices}") from None

    def assert_equal(self, *more: str) -> None:
        """Every container has below /app what the source has, and beside it only `more`."""
        wanted = tree_of(self.source)
        for pod in self.current:
            found = tree_of(pod.root / "app")
            for extra in more:
                assert found.pop(extra, None), f"{extra} is not in {sorted(found)}"
            assert found == wanted, pod.container


@asynccontextmanager
async def staged(binary: Path, folder: Path) -> AsyncIterator[Stage]:
    cluster = FakeCluster()
    stage = Stage(binary, folder, cluster)
    async with controlled(cluster) as controller:
        stage.controller = controller
        try:
            yield stage
        finally:
            for link in stage._streams:
                await link.close()


@asynccontextmanager
async def running(
    stage: Stage, session: SyncSession, report: Report | None = None
) -> AsyncIterator[SyncSession]:
    """A session that has started and is followed; stopped at the end."""
    try:
        await session.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(session.follow(report))
            try:
                yield session
            finally:
                await session.stop()
    finally:
        await session.stop()
    del stage
