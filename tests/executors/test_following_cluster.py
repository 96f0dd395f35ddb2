"""Many rollouts followed at once on a real cluster, and a line to it that breaks.

A small proxy of the test's own stands before the API server, so that a connection can be cut and a
server can go away without anybody else noticing.
"""

from __future__ import annotations

import asyncio
import copy
import os
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import yaml

from kindling.engine.clock import SystemClock
from kindling.errors import ClusterError
from kindling.executors.apply import ApplyExecutor
from kindling.executors.protocol import Job, Live, Outcome, ReadinessReport, Succeeded
from kindling.executors.rollout import RolloutExecutor
from kindling.graph.node import Kind
from kindling.graph.outcome import Output
from kindling.graph.spec import ApplySpec, ObjectRef, RolloutSpec
from kindling.kube.client import KubeCluster, connect
from kindling.kube.contexts import choose_target, read_kubeconfig
from kindling.kube.wire import Wire
from kindling.objects.identity import object_spec
from kindling.testing.jobs import JobWorld

pytestmark = pytest.mark.cluster

BUSYBOX = "busybox:1.36"
"""On the node before the first test: see `tests/conftest.py`."""


class Proxy:
    """A TCP proxy before the API server, which can cut its connections and refuse new ones."""

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        self.away = False
        self._target = (host, port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.away:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        ends = [writer]
        self._writers.add(writer)
        try:
            back, forth = await asyncio.open_connection(*self._target)
            ends.append(forth)
            self._writers.add(forth)
            await asyncio.gather(_pipe(reader, forth), _pipe(back, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in ends:
                self._writers.discard(end)
                end.transport.abort()
            self._tasks.discard(task)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.transport.abort()


@dataclass(slots=True)
class Line:
    """What goes over the wire: watches and lists by path, and how many watches are open."""

    open: int
    most: int
    watches: Counter[str]
    lists: Counter[str]


def counted(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Line:
    line = Line(0, 0, Counter(), Counter())
    stream, request = wire.stream, wire.request

    @asynccontextmanager
    async def counting(path: str, doing: str, **more: Any) -> AsyncIterator[aiohttp.StreamReader]:
        watch = ("watch", "true") in more.get("params", ())
        async with stream(path, doing, **more) as body:
            if watch:
                line.watches[path] += 1
                line.open += 1
                line.most = max(line.most, line.open)
            try:
                yield body
            finally:
                line.open -= watch

    async def asking(method: str, path: str, doing: str, **more: Any) -> Any:
        if doing.startswith("list "):
            line.lists[path] += 1
        return await request(method, path, doing, **more)

    monkeypatch.setattr(wire, "stream", counting)
    monkeypatch.setattr(wire, "request", asking)
    return line


@dataclass(slots=True)
class Place:
    """A namespace of the test's own, seen through the proxy."""

    world: JobWorld
    cluster: KubeCluster
    namespace: str
    proxy: Proxy
    line: Line

    async def applied(self, *manifests: dict[str, Any]) -> Output:
        specs = tuple(object_spec(m, self.namespace) for m in manifests)
        job = self.world.job(Kind.APPLY, ApplySpec(specs), name="it")
        outcome = await ApplyExecutor().run(job)
        assert isinstance(outcome, Succeeded), outcome
        return outcome.output

    def job(self, manifest: dict[str, Any], applied: Output) -> Job:
        ref = object_spec(manifest, self.namespace).ref
        spec = RolloutSpec("apply:it", (ref,))
        return self.world.job(Kind.ROLLOUT, spec, inputs={"apply:it": applied}, once=True)

    async def rolled_out(self, *manifests: dict[str, Any]) -> list[Succeeded]:
        applied = await self.applied(*manifests)
        async with asyncio.timeout(120):
            outcomes = await asyncio.gather(
                *(RolloutExecutor().run(self.job(manifest, applied)) for manifest in manifests)
            )
        assert all(isinstance(outcome, Succeeded) for outcome in outcomes), outcomes
        return [outcome for outcome in outcomes if isinstance(outcome, Succeeded)]


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    config = read_kubeconfig()
    context = choose_target(config).context
    server = urlsplit(context.server)
    proxy = Proxy(server.hostname or "", server.port or 443)
    await proxy.start()
    raw = copy.deepcopy(dict(config.raw))
    for entry in raw["clusters"]:
        entry["cluster"]["server"] = f"https://127.0.0.1:{proxy.port}"
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(raw), "utf-8")
    environment = {**os.environ, "KUBECONFIG": str(file)}
    cluster = await connect(choose_target(read_kubeconfig(environment)).context, environment)
    namespace = f"kube-follow-{uuid.uuid4().hex[:8]}"
    line = counted(cluster._wire, monkeypatch)
    world = JobWorld(tmp_path, clock=SystemClock(), api=cluster, project=namespace)
    world.environment = environment
    try:
        await cluster.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        )
        yield Place(world, cluster, namespace, proxy, line)
    finally:
        proxy.away = False
        await cluster.delete(ObjectRef("v1", "Namespace", namespace))
        await cluster.close()
        await proxy.close()


def workload(
    kind: str, name: str, *, replicas: int | None = 1, version: str = "1"
) -> dict[str, Any]:
    labels = {"app": name}
    main = {
        "name": "main",
        "image": BUSYBOX,
        "command": ["sh", "-c", "exec sleep 600"],
        "env": [{"name": "VERSION", "value": version}],
        "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1},
    }
    pod = {"terminationGracePeriodSeconds": 0, "containers": [main]}
    spec: dict[str, Any] = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    if replicas is not None:
        spec["replicas"] = replicas
    if kind == "StatefulSet":
        spec["serviceName"] = name
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 # what it waits for is in the cluster
            await asyncio.sleep(0.02)


async def close(lives: Sequence[Live | None]) -> None:
    for live in lives:
        if live is not None:
            await live.close()


async def test_fifteen_rollouts_share_four_watches_and_one_mending(place: Place) -> None:
    """Also: who leaves disturbs nobody, and nothing is left behind in the end."""
    before = asyncio.all_tasks()
    manifests = [workload("Deployment", f"w{n}", replicas=1 if n < 3 else 0) for n in range(15)]
    outcomes = await place.rolled_out(*manifests)
    assert place.line.most <= 4
    assert max(place.line.watches.values()) == 1, place.line.watches
    assert max(place.line.lists.values()) == 1, place.line.lists

    reports: dict[int, list[bool]] = {n: [] for n in range(15)}

    def reporter(n: int) -> Callable[[ReadinessReport], None]:
        return lambda report: reports[n].append(report.ready)

    following = [
        asyncio.create_task(outcome.live.follow(reporter(n)))
        for n, outcome in enumerate(outcomes)
        if outcome.live is not None
    ]
    following[0].cancel()
    await asyncio.wait([following[0]])
    await close([outcomes[0].live])

    watched, open_before = Counter(place.line.watches), place.line.open
    place.proxy.cut()
    # A fast cluster has a new pod ready before all watches are back: nothing would be told.
    await until(lambda: (place.line.watches - watched).total() >= open_before)
    (name,) = outcomes[1].output.data["pods"]
    await place.cluster.delete(ObjectRef("v1", "Pod", name, place.namespace), grace=0)
    await until(lambda: bool(reports[1]) and reports[1][-1])
    assert reports[1][0] is False
    assert not any(reports[n] for n in range(2, 15))
    mended = place.line.watches - watched
    assert max(mended.values()) == 1, mended
    assert place.line.open <= 4

    for task in following:
        task.cancel()
    await asyncio.wait(following)
    await close([outcome.live for outcome in outcomes])
    await until(lambda: not place.line.open and not place.cluster._shared.sources)
    left = asyncio.all_tasks() - before
    assert [t for t in left if "Proxy" not in repr(t) and "_pipe" not in repr(t)] == []


async def test_a_second_revision_is_never_taken_for_the_first(place: Place) -> None:
    """What the shared watches have cached is older than what was applied just now."""
    (first,) = await place.rolled_out(workload("Deployment", "web"))
    seen = {first.output.digest}
    lives = [first.live]
    for version in "234":
        (next_,) = await place.rolled_out(workload("Deployment", "web", version=version))
        assert next_.output.digest not in seen
        seen.add(next_.output.digest)
        lives.append(next_.live)
    await close(lives)


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
async def test_sets_roll_out_and_roll_on(place: Place, kind: str) -> None:
    replicas = 1 if kind == "StatefulSet" else None
    manifest = workload(kind, "it", replicas=replicas)
    (first,) = await place.rolled_out(manifest)
    assert len(first.output.data["pods"]) == 1
    job = place.job(manifest, await place.applied(manifest))
    assert (await RolloutExecutor().observe(job, first.output)).same
    (second,) = await place.rolled_out(workload(kind, "it", replicas=replicas, version="2"))
    assert second.output.digest != first.output.digest
    assert not (await RolloutExecutor().observe(job, first.output)).same
    await close([first.live, second.live])


async def test_pods_of_a_custom_kind_are_found_through_their_owners(place: Place) -> None:
    """Thing owns a ConfigMap, which owns the pod, as an operator might have it."""
    group = f"{place.namespace}.example.org"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }
    thing = {
        "apiVersion": f"{group}/v1",
        "kind": "Thing",
        "metadata": {"name": "one", "namespace": place.namespace},
    }
    try:
        applied = await place.applied(definition, thing)
        running = asyncio.create_task(RolloutExecutor().run(place.job(thing, applied)))
        made = await place.cluster.get(ObjectRef(f"{group}/v1", "Thing", "one", place.namespace))
        middle = await place.cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": owned(made, "middle", place.namespace),
            }
        )
        pod = workload("Deployment", "x")["spec"]["template"]["spec"]
        assert not running.done()
        await place.cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": owned(middle, "owned", place.namespace),
                "spec": pod,
            }
        )
        async with asyncio.timeout(60):
            outcome: Outcome = await running
        assert isinstance(outcome, Succeeded), outcome
        assert outcome.output.data["pods"] == ["owned"]
        await close([outcome.live])
    finally:
        await place.cluster.delete(
            ObjectRef("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"things.{group}")
        )


def owned(owner: Any, name: str, namespace: str) -> dict[str, Any]:
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    return {"name": name, "namespace": namespace, "ownerReferences": [reference]}


async def test_a_server_that_is_away_for_a_moment_costs_no_state(place: Place) -> None:
    """Observing and undoing fail as unreachable, and do their work once it is back."""
    manifest = workload("Deployment", "web", replicas=0)
    (outcome,) = await place.rolled_out(manifest)
    await close([outcome.live])
    specs = (object_spec(manifest, place.namespace),)
    apply_job = place.world.job(Kind.APPLY, ApplySpec(specs), name="it")
    applied = await place.applied(manifest)
    rollout_job = place.job(manifest, applied)

    place.proxy.away = True
    place.proxy.cut()
    started = time.monotonic()
    for attempt in (
        RolloutExecutor().observe(rollout_job, outcome.output),
        ApplyExecutor().observe(apply_job, applied),
        ApplyExecutor().undo(apply_job, applied),
    ):
        with pytest.raises(ClusterError, match="does not answer") as caught:
            await attempt
        assert caught.value.transient
    assert time.monotonic() - started < 20

    place.proxy.away = False
    observed = await RolloutExecutor().observe(rollout_job, outcome.output)
    assert observed.same
    assert (await ApplyExecutor().observe(apply_job, applied)).same
    await close([observed.live])
    assert await ApplyExecutor().undo(apply_job, applied) == ()
    observed_after = await ApplyExecutor().observe(apply_job, applied)
    assert not observed_after.same


async def test_a_rollout_goes_on_after_the_server_was_away(place: Place) -> None:
    manifest = workload("Deployment", "web")
    applied = await place.applied(manifest)
    running = asyncio.create_task(RolloutExecutor().run(place.job(manifest, applied)))
    async with asyncio.timeout(60):
        await until(lambda: place.line.open >= 4 or running.done())
        place.proxy.away = True
        place.proxy.cut()
        await asyncio.sleep(1.0)
        place.proxy.away = False
        outcome = await running
    assert isinstance(outcome, Succeeded), outcome
    await close([outcome.live])
