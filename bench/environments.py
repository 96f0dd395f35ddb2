"""Environments and their operator, beside `kubectl apply` of the same objects as plain manifests.

The embedded cluster is one of the bench's own. The real one is that of KUBECONFIG. Each gets
namespaces of its own, which are deleted afterwards, and the definitions, which stay in the real
one.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import secrets
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.embedded import IMAGE, Place
from bench.peers import KINDLING, WORK
from bench.timing import Row, Table

__all__ = ["measure"]

MANY, SOME = 200, 30
_LIMIT = 300.0
_KIND = ("apps.example.com/v1alpha1", "DevStagingEnvironment")
_CHILDREN = (("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "Secret"))
_COUNTED = (
    _KIND,
    *_CHILDREN,
    ("v1", "PersistentVolumeClaim"),
    ("networking.k8s.io/v1", "Ingress"),
    ("coordination.k8s.io/v1", "Lease"),
    ("v1", "Event"),
)
_QUIET = 8.0
"""Seconds without a change after which a cluster's own controllers have come to rest."""

Obj = dict[str, Any]


def measure(table: Table, rounds: int, *, idle: float, storm: int) -> None:
    """Add the sections. `idle` seconds are watched for writes; `storm` environments, if any, are
    put through a storm whose end is looked at."""
    if shutil.which("kubectl") is None:
        table.remark("environments", "not measured: there is no kubectl")
        return
    for name, kubeconfig in _clusters():
        os.environ["KUBECONFIG"] = str(kubeconfig)
        asyncio.run(_measure(table, name, kubeconfig, rounds, idle, storm))


def _clusters() -> Iterator[tuple[str, Path]]:
    real = os.environ.get("KUBECONFIG")
    with _embedded() as kubeconfig:
        yield "embedded", kubeconfig
    if real:
        yield "real cluster", Path(real)


@contextmanager
def _embedded() -> Iterator[Path]:
    data = WORK / "environments"
    environment = {**os.environ, "XDG_DATA_HOME": str(data)}

    def kindling(*words: str) -> None:
        subprocess.run(
            [KINDLING, "cluster", *words, "--name", "bench"],
            env=environment,
            check=True,
            capture_output=True,
            timeout=120,
        )

    kindling("start", "--no-kubeconfig")
    try:
        kindling("load", IMAGE)
        yield data / "kindling" / "clusters" / "bench" / "kubeconfig"
    finally:
        kindling("reset", "--yes")


async def _measure(
    table: Table, name: str, kubeconfig: Path, rounds: int, idle: float, storm: int
) -> None:
    from kindling.kube.client import connect
    from kindling.kube.contexts import read_kubeconfig
    from kindling.operator.controller.definitions import install_definitions

    context = read_kubeconfig(os.environ).current
    assert context is not None
    cluster = await connect(context, os.environ)
    try:
        await install_definitions(cluster)
        bench = _Bench(cluster, name, kubeconfig, table)
        await bench.ready(rounds)
        await bench.many(rounds, idle)
        if storm:
            await bench.storm(storm)
    finally:
        await cluster.close()


class _Bench:
    """One cluster."""

    def __init__(self, cluster: Any, name: str, kubeconfig: Path, table: Table) -> None:
        self.cluster, self.name, self.kubeconfig, self.table = cluster, name, kubeconfig, table

    async def ready(self, rounds: int) -> None:
        """Some environments whose pods run."""
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(rounds):
            environments = [_serving(f"ready-{number:02}") for number in range(SOME)]
            async with self._namespace() as place, _operator(place):
                ours.append(await self._until_ready(place, environments))
            async with self._namespace() as place:
                plain = _children(environments, place.namespace)
                theirs.append(await asyncio.to_thread(_apply_and_wait, place, plain))
        rows = [
            Row("kubectl apply of their objects, and wait", tuple(theirs)),
            Row("kubectl apply of environments, to Ready", tuple(ours)),
        ]
        self.table.section(f"{SOME} environments of {IMAGE} to Ready, {self.name}", rows)

    async def many(self, rounds: int, idle: float) -> None:
        """Many environments with a dependency each, without pods, and what follows: nothing."""
        ours: list[float] = []
        applied: list[float] = []
        theirs: dict[str, list[float]] = {"": [], "--server-side": []}
        environments = [_with_redis(f"many-{number:03}") for number in range(MANY)]
        count, note = 0, list[str]()
        for round_ in range(rounds):
            for option, samples in theirs.items():
                async with self._namespace(pods=False) as place:
                    plain = _children(environments, place.namespace)
                    samples.append(await asyncio.to_thread(_apply, place, plain, option))
            async with self._namespace(pods=False) as place, _operator(place) as pid:
                wanted = {
                    (one["kind"], one["metadata"]["name"])
                    for one in _children(environments, place.namespace)
                }
                count = len(wanted)
                seconds, done = await self._until_written(place, environments, wanted)
                ours.append(done)
                applied.append(seconds)
                if round_ == rounds - 1:
                    note = await self._idle(place, pid, idle)
        rows = [
            Row(f"kubectl apply of the {count:,} objects", tuple(theirs[""])),
            Row("kubectl apply --server-side of them", tuple(theirs["--server-side"])),
            Row("kubectl apply of environments alone", tuple(applied)),
            Row("the same, to the last child's write", tuple(ours)),
        ]
        title = f"{MANY} environments with a dependency, without pods, {self.name}"
        self.table.section(title, rows)
        self.table.section(
            f"the operator of {MANY} idle environments in {idle:.0f} s, {self.name}",
            [Row("", note=line) for line in note],
        )

    async def storm(self, count: int) -> None:
        """The storm of the tests, as large as is wanted."""
        from tests.operator.storm.killing import forbid_pods, weather

        async with self._namespace(pods=False) as place:
            await forbid_pods(self.cluster, place.namespace)
            began = time.perf_counter()
            storm = await weather(self.cluster, place.namespace, WORK, count, seed=1, lives=5)
            seconds = time.perf_counter() - began
        note = f"{storm.acts} acts, 5 operators killed, nothing wrong after {seconds:.0f} s"
        self.table.remark(f"a storm over {count} environments, {self.name}", note)

    @asynccontextmanager
    async def _namespace(self, *, pods: bool = True) -> AsyncIterator[Place]:
        """A namespace, and without `pods` none are made or none are placed."""
        place = Place(self.name, self.kubeconfig, f"kindling-bench-{secrets.token_hex(3)}")
        place.kubectl("create", "namespace", place.namespace)
        embedded = self.name == "embedded"
        node = place.kubectl("get", "nodes", "-o", "name").strip().removeprefix("node/")
        try:
            if not pods:
                place.kubectl("create", "quota", "none", "--hard=pods=0")
                if embedded:  # it keeps no quotas, and is ours alone
                    place.kubectl("cordon", node)
            yield place
        finally:
            if pods:  # they need not be asked kindly
                force = ("--all", "--grace-period=0", "--force", "--wait=false")
                place.kubectl("delete", _KIND[1], *force)
                place.kubectl("delete", "deployments", *force)
                place.kubectl("delete", "pods", *force)
            place.kubectl("delete", "namespace", place.namespace, "--timeout=180s")
            if embedded and not pods:
                place.kubectl("uncordon", node)

    async def _until_ready(self, place: Place, environments: Sequence[Obj]) -> float:
        waiting = {one["metadata"]["name"] for one in environments}

        def see(live: Obj) -> None:
            conditions = (live.get("status") or {}).get("conditions") or ()
            if any(one["type"] == "Ready" and one["status"] == "True" for one in conditions):
                waiting.discard(live["metadata"]["name"])

        _, seconds = await self._follow(place, environments, (_KIND,), see, waiting)
        return seconds

    async def _until_written(
        self, place: Place, environments: Sequence[Obj], wanted: Collection[tuple[str, str]]
    ) -> tuple[float, float]:
        waiting = set(wanted)

        def see(live: Obj) -> None:
            waiting.discard((live["kind"], live["metadata"]["name"]))

        return await self._follow(place, environments, _CHILDREN, see, waiting)

    async def _follow(
        self,
        place: Place,
        environments: Sequence[Obj],
        kinds: Sequence[tuple[str, str]],
        see: Callable[[Obj], None],
        waiting: set[Any],
    ) -> tuple[float, float]:
        """How long `kubectl apply` took, and how long until nothing was waited for any more."""
        done = asyncio.Event()

        async def watch(version: str, kind: str) -> None:
            events = self.cluster.watch(version, kind, namespace=place.namespace)
            async with aclosing(events):
                async for event in events:
                    for one in event.items or (event.object,):
                        if one:
                            see(one)
                    if not waiting:
                        done.set()

        tasks = [asyncio.create_task(watch(*kind)) for kind in kinds]
        try:
            began = time.perf_counter()
            text = _text(environments)
            await asyncio.to_thread(place.kubectl, "apply", "-f", "-", stdin=text)
            applied = time.perf_counter() - began
            async with asyncio.timeout(_LIMIT):
                await done.wait()
            return applied, time.perf_counter() - began
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _idle(self, place: Place, pid: int, seconds: float) -> list[str]:
        """What is written while nothing happens, and what the operator takes for it."""
        from kindling.operator.controller.writing import OPERATOR_MANAGER

        counted: Counter[str] = Counter()
        news = asyncio.Event()

        async def watch(version: str, kind: str) -> None:
            events = self.cluster.watch(version, kind, namespace=place.namespace)
            async with aclosing(events):
                async for event in events:
                    if not event.object:
                        continue
                    by = (event.object.get("source") or {}).get("component", "")
                    if kind == "Event" and by != OPERATOR_MANAGER:
                        counted["others"] += 1  # of pods that cannot be, for example
                        continue
                    counted[kind] += 1
                    if kind != "Lease":
                        news.set()

        tasks = [asyncio.create_task(watch(*kind)) for kind in _COUNTED]
        try:
            await _quiet(news)
            counted.clear()
            before = _spent(pid)
            await asyncio.sleep(seconds)
            share = (_spent(pid) - before) / seconds
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        renewals, others = counted.pop("Lease", 0), counted.pop("others", 0)
        told = ", ".join(f"{kind} {number}" for kind, number in sorted(counted.items()))
        return [
            f"writes: {counted.total()}{f' ({told})' if told else ''}; "
            f"renewals of its Lease: {renewals}, events of the cluster's controllers: {others}",
            f"{share:.2%} of a processor, {_resident(pid)} MB in memory",
        ]


async def _quiet(news: asyncio.Event) -> None:
    async with asyncio.timeout(_LIMIT):
        with suppress(TimeoutError):
            while True:
                async with asyncio.timeout(_QUIET):
                    await news.wait()
                news.clear()


@asynccontextmanager
async def _operator(place: Place) -> AsyncIterator[int]:
    """`kindling operator run`, once it acts. Its process."""
    words = ("operator", "run", "--namespace", place.namespace, "--identity", "bench")
    child = await asyncio.create_subprocess_exec(
        KINDLING, *words, cwd=WORK, stderr=asyncio.subprocess.PIPE
    )
    assert child.stderr is not None
    reader = child.stderr
    line = b""
    async with asyncio.timeout(_LIMIT):
        while b"acting" not in line:
            line = await reader.readline()
            if not line or b"standing by" in line:
                child.kill()
                raise RuntimeError(f"the operator cannot act: {line.decode()}")

    async def hear() -> None:
        async for _ in reader:
            pass

    hearing = asyncio.create_task(hear())
    try:
        yield child.pid
    finally:
        child.send_signal(signal.SIGTERM)
        await child.wait()
        await hearing


def _environment(name: str, deployment: Obj, **spec: Any) -> Obj:
    return {
        "apiVersion": _KIND[0],
        "kind": _KIND[1],
        "metadata": {"name": name},
        "spec": {"deployment": deployment, "service": {"port": 80}, **spec},
    }


def _serving(name: str) -> Obj:
    return _environment(
        name,
        {
            "image": IMAGE,
            "port": 8080,
            "command": ["httpd", "-f", "-p", "8080", "-h", "/tmp"],
            "healthCheck": {"type": "tcp", "initialDelaySeconds": 0, "periodSeconds": 1},
        },
    )


def _with_redis(name: str) -> Obj:
    return _environment(name, {"image": IMAGE, "port": 8080}, dependencies=[{"type": "redis"}])


def _children(environments: Sequence[Obj], namespace: str) -> list[Obj]:
    """The objects that an environment stands for, as somebody would write them by hand."""
    from kindling.operator.credentials import Known
    from kindling.operator.desired import desired

    found: list[Obj] = []
    for one in environments:
        head = {**one["metadata"], "namespace": namespace, "uid": "none", "generation": 1}
        for child in desired({**one, "metadata": head}, Known(), secrets.token_bytes).objects:
            head = {k: v for k, v in child["metadata"].items() if k != "ownerReferences"}
            found.append({**child, "metadata": head})
    return found


def _text(items: Sequence[Obj]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)})


def _apply(place: Place, plain: Sequence[Obj], option: str) -> float:
    words = ("apply", *option.split(), "-f", "-")
    return _timed(lambda: place.kubectl(*words, stdin=_text(plain)))


def _apply_and_wait(place: Place, plain: Sequence[Obj]) -> float:
    def work() -> None:
        place.kubectl("apply", "-f", "-", stdin=_text(plain))
        ready = ("--for=condition=Available", f"--timeout={_LIMIT:.0f}s")
        place.kubectl("wait", *ready, "deployments", "--all")

    return _timed(work)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _spent(pid: int) -> float:
    """Seconds of processor time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    if platform.system() != "Linux":
        return 0
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS:"))
