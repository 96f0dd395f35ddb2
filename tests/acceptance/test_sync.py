"""Which way a saved file goes: into the container where one is, and through a build where not.

The sync session is a stand-in that keeps what it was told; everything else is a real session of
`up` before a cluster and an engine in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from kindling.engine.notices import NodeStatus
from kindling.errors import ClusterError, ExecutionError
from kindling.graph.codec import command_from_json, event_from_json
from kindling.graph.replay import replay
from kindling.store.journal import read_journal, sessions
from kindling.sync.notices import Acted, Carried, Released
from kindling.sync.rules.failures import Action
from kindling.sync.session.order import Order, Outcome, Standing
from kindling.sync.source.tree import SourceTree

if TYPE_CHECKING:
    from kindling.build.protocol import BuildRequest, ImageInfo, LineSink
    from kindling.testing.outside import Outside
    from kindling.testing.workbench import Running, Workbench


@dataclass
class Sessions:
    """All sessions that were begun, and what the next ones answer."""

    made: list[FakeSession] = field(default_factory=list)
    answers: list[Outcome] = field(default_factory=list)
    wait: asyncio.Event | None = None
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    refuse: str = ""

    @property
    def last(self) -> FakeSession:
        return self.made[-1]


class FakeSession:
    """Looks at the source as the real one does, and keeps the paths that it was to carry."""

    known: Sessions

    def __init__(self, order: Order, *, tell: Callable[[Any], None], **rest: Any) -> None:
        del rest
        self.order = order
        self.carried: list[tuple[str, ...]] = []
        self.rescans = 0
        self.stopped = False
        self._tell = tell
        self._standing = asyncio.Event()
        self._source: SourceTree | None = None
        self.report: Callable[[Standing], None] | None = None
        self.known.made.append(self)

    @property
    def entries(self) -> Mapping[str, str]:
        return {} if self._source is None else self._source.entries

    async def start(self) -> None:
        if self.known.refuse:
            raise ClusterError(self.known.refuse)
        self._source = await SourceTree.open(self.order.context, self.order.steps)

    async def changed(
        self, paths: Collection[str], *, rescan: bool = False, since: float = 0.0
    ) -> Outcome:
        del since
        assert self._source is not None
        assert not self.stopped
        if self.known.wait is not None:
            self.known.waiting.set()
            await self.known.wait.wait()
        self.rescans += rescan
        root = self.order.context.root
        looked = await self._source.look(None if rescan else [str(root / one) for one in paths])
        if self.known.answers:
            return self.known.answers.pop(0)
        changed = looked.changed
        if not self.order.everything:  # what changed before it began is told by its caller
            changed = tuple(sorted({*changed, *paths}))
        if not changed:
            return Outcome(Action.DONE, "nothing changed")
        self.carried.append(changed)
        self._tell(Carried(changed, len(changed), 0, 1234, 1, 0.014))
        self._tell(Acted("SIGHUP", 0.002))
        return Outcome(Action.DONE, places=len(changed), size=1234, containers=1)

    async def follow(self, report: Callable[[Standing], None] | None = None) -> None:
        self.report = report
        await self._standing.wait()

    async def stop(self, *, restore: bool = True, fresh: bool = True) -> Released:
        del restore, fresh
        self.stopped = True
        return Released("the template is as it was")


@pytest.fixture
def syncs(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> Sessions:
    del outside  # every session of this file acts upon it
    known = Sessions()
    monkeypatch.setattr(FakeSession, "known", known, raising=False)
    monkeypatch.setattr("kindling.sync.session.session.SyncSession", FakeSession)
    return known


WORKLOAD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: x}}
  template:
    metadata: {labels: {app: x}}
    spec: {containers: [{name: main, image: web}]}
"""

BUILT = """
docker_build("web", "web", live_update = [fall_back_on("web/deps.txt"), sync("web/src", "/app")])
k8s_yaml("web.yaml")
k8s_resource("web", pod_readiness = "ignore"%s)
"""

NODES = ("image:web", "apply:web", "rollout:web", "sync:web")


def built(bench: Workbench, more: str = "", text: str = "") -> None:
    bench.write("web/Dockerfile", "FROM scratch\nCOPY . /\n")
    bench.write("web/src/a.txt", "1")
    bench.write("web/deps.txt", "1")
    bench.write("web/notes.md", "1")
    bench.write("web.yaml", WORKLOAD)
    bench.write("Kindlingfile", BUILT % more + text)


async def carried(session: Running, syncs: Sessions, count: int) -> None:
    await session.until(lambda: sum(len(one.carried) for one in syncs.made) >= count)


async def test_a_saved_file_is_carried_and_nothing_is_built(
    bench: Workbench, outside: Outside, syncs: Sessions
) -> None:
    """The session that goes on takes it; it is not begun anew."""
    built(bench)
    async with bench.up() as session:
        await session.settled(*NODES)
        for content in ("2", "3"):
            bench.write("web/src/a.txt", content)
            await carried(session, syncs, int(content) - 1)
        assert syncs.last.carried == [("web/src/a.txt",)] * 2
        assert outside.builds() == ["web"]
        assert len(syncs.made) == 1
        log = session.result.log("sync:web")
        assert "synced web/src/a.txt, 1.2 KB, 14 ms" in log
        assert "SIGHUP, 2 ms" in log
    assert syncs.last.stopped, "the end of the session gives the workload back"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("web/deps.txt", "`web/deps.txt` is in `fall_back_on`"),
        ("web/notes.md", "`web/notes.md` is in no `sync` step"),
        ("web/Dockerfile", "`web/Dockerfile` is in `fall_back_on`"),
    ],
)
async def test_what_cannot_be_carried_builds_and_says_why(
    bench: Workbench, outside: Outside, syncs: Sessions, path: str, why: str
) -> None:
    """The workload is given back before it is written, and taken again when its pods are there."""
    built(bench)
    async with bench.up() as session:
        await session.settled(*NODES)
        mark = session.mark()
        bench.write(path, bench.read(path) + "\n# more\n")
        result = await session.settled(*NODES, mark=mark)
        assert outside.builds() == ["web"] * 2
        assert why in result.views["image:web"].reasons
        first, second = syncs.made
        assert first.stopped
        assert not second.stopped
        assert not second.carried, "the new image holds it all"


async def test_a_file_saved_while_the_image_is_built_comes_with_the_session(
    bench: Workbench, outside: Outside, syncs: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts no second build, and is not lost: what differs from the image is carried."""
    built(bench, text='local_resource("mark", "true", deps = ["mark"], allow_parallel = True)\n')
    began, go_on, build = asyncio.Event(), asyncio.Event(), outside.containers.build

    async def slowly(request: BuildRequest, log: LineSink) -> ImageInfo:
        began.set()
        await go_on.wait()
        return await build(request, log)

    monkeypatch.setattr(outside.containers, "build", slowly)
    async with bench.up() as session:
        await session.until(began.is_set)
        await session.settled("local:mark")
        mark = session.mark()
        bench.write("web/src/a.txt", "2")
        bench.write("mark", "")
        await session.settled("local:mark", mark=mark)  # so that the save before it was seen
        go_on.set()
        await session.settled(*NODES)
        assert syncs.last.carried == [("web/src/a.txt",)]
        assert outside.builds() == ["web"]


async def test_a_file_saved_while_a_build_fails_is_built_again(
    bench: Workbench, outside: Outside, syncs: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No session comes of a build that failed, so what was saved meanwhile may be the mend."""
    built(bench, text='local_resource("mark", "true", deps = ["mark"], allow_parallel = True)\n')
    began, go_on, build = asyncio.Event(), asyncio.Event(), outside.containers.build

    async def badly(request: BuildRequest, log: LineSink) -> ImageInfo:
        if go_on.is_set():
            return await build(request, log)
        began.set()
        await go_on.wait()
        raise ExecutionError("no such command")

    monkeypatch.setattr(outside.containers, "build", badly)
    async with bench.up() as session:
        await session.until(began.is_set)
        await session.settled("local:mark")
        mark = session.mark()
        bench.write("web/src/a.txt", "2")
        bench.write("mark", "")
        await session.settled("local:mark", mark=mark)
        go_on.set()
        await session.settled(*NODES)
        assert outside.builds() == ["web"]
        assert not syncs.last.carried


async def test_a_prebuilt_image_gets_its_files_at_the_start_and_by_every_save(
    bench: Workbench, syncs: Sessions
) -> None:
    """Row 58: `.git` and `node_modules` never; `.dockerignore`, `ignore=` and the usual list hold
    together from the first copy on."""
    bench.write("src/a.txt", "1")
    for path in (".git/HEAD", "node_modules/m/m.js", "a.pyc", "secret.env", "tests/t.py"):
        bench.write(f"src/{path}", "never")
    bench.write("src/dist/shown.js", "")
    bench.write("src/.dockerignore", "secret.env\n")
    bench.write("web.yaml", WORKLOAD)
    bench.write(
        "Kindlingfile",
        'service("shop", "shop:1", 80, sync = ['
        'sync("src", "/app", ignore = ["tests", "!**/dist"])])\n'
        'k8s_resource("shop", pod_readiness = "ignore")\n',
    )
    async with bench.up() as session:
        await session.settled("sync:shop")
        order = syncs.last.order
        assert (order.everything, order.overrides.restart) == (True, True)
        source = await SourceTree.open(order.context, order.steps)
        assert {place for place in source.tree.entries if place.startswith("app/")} == {
            "app/.dockerignore",
            "app/a.txt",
            "app/dist",
            "app/dist/shown.js",
        }
        bench.write("src/b.txt", "1")
        await carried(session, syncs, 1)
        assert syncs.last.carried == [("src/b.txt",)]


@pytest.mark.usefixtures("syncs")
async def test_a_test_runs_again_when_what_it_tests_was_carried(
    bench: Workbench, outside: Outside
) -> None:
    built(bench, text='test("t", "true", resource_deps = ["web"])\n')
    async with bench.up() as session:
        await session.settled(*NODES, "test:t")
        mark = session.mark()
        bench.write("web/src/a.txt", "2")
        await session.settled("test:t", mark=mark)
        assert outside.builds() == ["web"]


async def test_a_session_that_cannot_carry_has_the_image_built(
    bench: Workbench, syncs: Sessions
) -> None:
    built(bench)
    async with bench.up() as session:
        await session.settled(*NODES)
        syncs.answers.append(Outcome(Action.REBUILD, "the disk of the container is full", "b"))
        mark = session.mark()
        bench.write("web/src/a.txt", "2")
        await session.until(lambda: len(syncs.made) == 2)
        result = await session.settled(*NODES, mark=mark)
        assert result.views["image:web"].reasons == ("the disk of the container is full",)


async def test_a_command_that_failed_is_a_failure_until_the_next_save(
    bench: Workbench, outside: Outside, syncs: Sessions
) -> None:
    built(bench)
    async with bench.up() as session:
        await session.settled(*NODES)
        syncs.answers.append(Outcome(Action.REPORT, "a command failed: exit code 1", "a"))
        bench.write("web/src/a.txt", "2")
        await session.until(lambda: "a command failed" in (_failed(session, "sync:web") or ""))
        bench.write("web/src/a.txt", "3")
        await session.until(
            lambda: session.result.views["sync:web"].status is NodeStatus.DONE or None
        )
        assert outside.builds() == ["web"]


async def test_without_a_session_the_image_is_built(
    bench: Workbench, outside: Outside, syncs: Sessions
) -> None:
    """As when the cluster refuses the patch: then files go the long way, and it is tried again."""
    syncs.refuse = "the API server says no"
    built(bench)
    async with bench.up() as session:
        await session.until(lambda: _failed(session, "sync:web"))
        syncs.refuse = ""
        mark = session.mark()
        bench.write("web/src/a.txt", "2")
        await session.settled("image:web", "sync:web", mark=mark)
        assert outside.builds() == ["web"] * 2


async def test_a_manual_resource_carries_when_it_is_asked_to(
    bench: Workbench, outside: Outside, syncs: Sessions
) -> None:
    built(bench, ", trigger_mode = TRIGGER_MODE_MANUAL")
    async with bench.up() as session:
        await session.settled(*NODES)
        bench.write("web/src/a.txt", "2")
        await session.until(
            lambda: session.result.views["sync:web"].status is NodeStatus.HELD or None
        )
        assert not syncs.last.carried
        await bench.ask("trigger", "web")
        await carried(session, syncs, 1)
        assert syncs.last.carried == [("web/src/a.txt",)]
        assert outside.builds() == ["web"]


async def test_ci_has_nothing_to_carry_into_an_image_that_it_has_just_built(
    bench: Workbench, syncs: Sessions
) -> None:
    built(bench)
    result = await bench.run("ci")
    assert result.exit_code == 0, result.explain()
    assert not syncs.made
    assert any("nothing to carry" in line for line in result.log("sync:web"))


async def test_ci_carries_once_into_a_prebuilt_image_and_puts_it_back(
    bench: Workbench, syncs: Sessions
) -> None:
    bench.write("src/a.txt", "1")
    bench.write(
        "Kindlingfile",
        'service("shop", "shop:1", 80, sync = [sync("src", "/app")])\n'
        'k8s_resource("shop", pod_readiness = "ignore")\n',
    )
    result = await bench.run("ci")
    assert result.exit_code == 0, result.explain()
    (one,) = syncs.made
    assert one.stopped


async def test_a_batch_that_takes_long_does_not_keep_a_session_from_ending(
    bench: Workbench, syncs: Sessions
) -> None:
    """As a command of minutes in the container: it is cut off, and the workload given back."""
    built(bench)
    async with bench.up() as session:
        await session.settled(*NODES)
        syncs.wait, syncs.waiting = asyncio.Event(), asyncio.Event()
        bench.write("web/src/a.txt", "2")
        await session.until(syncs.waiting.is_set)
    assert syncs.last.stopped


async def test_a_journal_with_carried_files_replays(bench: Workbench, syncs: Sessions) -> None:
    built(bench)
    async with bench.up() as session:
        await session.settled(*NODES)
        bench.write("web/src/a.txt", "2")
        await carried(session, syncs, 1)
    (name,) = sessions(bench.root / ".kindling")
    rows = [one.data for one in read_journal(bench.root / ".kindling", name) if one.kind == "step"]
    told = [
        (event_from_json(row["event"]), tuple(map(command_from_json, row["commands"])))
        for row in rows
    ]
    assert replay(told) is None


def _failed(session: Running, id_: str) -> str | None:
    view = session.result.views.get(id_)
    if view is None or view.status is not NodeStatus.FAILED or view.failure is None:
        return None
    return view.failure.summary
