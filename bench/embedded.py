"""The embedded cluster beside a real one: start, pods, applies, lists and watches.

The embedded one is made anew in a folder of its own. The real one is that of KUBECONFIG; its start
is measured too when KINDLING_REALCLUSTER names a kit with `up` and `down` (all that is in that
cluster is lost). etcd of such a kit runs without fsync, while every write here is on disk before it
is acknowledged.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.peers import KINDLING, WORK
from bench.timing import Row, Table, milliseconds

__all__ = ["measure"]

IMAGE = "busybox:1.36"
PODS, MAPS, LISTED, WATCHES = 30, 100, 1000, 100
_READS_AGAIN = (
    "kubectl 1.30 and later parse the OpenAPI v3 document for each object; Kubernetes 1.20 has none"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A cluster to measure, and a namespace there that is ours."""

    name: str
    kubeconfig: Path
    namespace: str = "kindling-bench"

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            ["kubectl", "--kubeconfig", str(self.kubeconfig), "-n", self.namespace, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def session(self) -> tuple[str, ssl.SSLContext]:
        """The server's address, and TLS with the user's certificate."""
        config = yaml.safe_load(self.kubeconfig.read_text("utf-8"))
        cluster = config["clusters"][0]["cluster"]
        user = config["users"][0]["user"]
        context = ssl.create_default_context(cadata=_decoded(cluster, "certificate-authority"))
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for key in ("client-certificate", "client-key"):
                path = Path(folder) / key
                path.write_text(_decoded(user, key))
                paths.append(str(path))
            context.load_cert_chain(*paths)
        return cluster["server"], context


def _decoded(entry: Mapping[str, Any], key: str) -> str:
    import base64

    if f"{key}-data" in entry:
        return base64.b64decode(entry[f"{key}-data"]).decode()
    return Path(entry[key]).read_text("utf-8")


def measure(table: Table, rounds: int) -> None:
    """Add the sections of the embedded cluster to the table."""
    if shutil.which("kubectl") is None:
        table.remark("embedded cluster", "not measured: there is no kubectl")
        return
    data = WORK / "clusters"
    environment = {**os.environ, "XDG_DATA_HOME": str(data)}

    def kindling(*words: str) -> None:
        subprocess.run(
            [KINDLING, "cluster", *words, "--name", "bench"],
            env=environment,
            check=True,
            capture_output=True,
            timeout=120,
        )

    starts, restarts = [], []
    try:
        for _ in range(rounds):
            kindling("reset", "--yes")
            starts.append(_timed(lambda: kindling("start", "--no-kubeconfig")))
            kindling("stop")
            restarts.append(_timed(lambda: kindling("start", "--no-kubeconfig")))
        rows = [
            Row("kindling cluster start, new", tuple(starts)),
            Row("kindling cluster start, again", tuple(restarts)),
        ]
        rows += _real_start(os.environ.get("KINDLING_REALCLUSTER", ""))
        table.section("cold start until the node is Ready", rows)
        kubeconfig = data / "kindling" / "clusters" / "bench" / "kubeconfig"
        places = [Place("embedded", kubeconfig)]
        has_image = _load(kindling)
        if real := os.environ.get("KUBECONFIG"):
            places.append(Place("real cluster", Path(real)))
        _compare(table, places, rounds, has_image)
        from bench.embedded_inside import inside

        holder = json.loads((kubeconfig.parent / "session.lock").read_text("utf-8"))
        inside(table, Place("embedded", kubeconfig, "kindling-inside"), holder["pid"], has_image)
    finally:
        kindling("reset", "--yes")


def _load(kindling: Callable[..., None]) -> bool:
    try:
        kindling("load", IMAGE)
    except subprocess.CalledProcessError:
        return False
    return True


def _real_start(kit: str) -> list[Row]:
    if not kit:
        return []
    subprocess.run([f"{kit}/down"], check=True, capture_output=True, timeout=120)
    seconds = _timed(
        lambda: subprocess.run([f"{kit}/up"], check=True, capture_output=True, timeout=300)
    )
    subprocess.run([f"{kit}/load", IMAGE], check=True, capture_output=True, timeout=120)
    return [Row("a real Kubernetes 1.20", (seconds,))]


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _compare(table: Table, places: list[Place], rounds: int, has_image: bool) -> None:
    for place in places:
        place.kubectl("create", "namespace", place.namespace)
    try:
        if has_image:
            _section(table, f"pod of {IMAGE}: create to Running", places, PODS, _pod)
        _section(table, f"kubectl apply of {MAPS} new ConfigMaps", places, rounds, _apply_new)
        again = f"kubectl apply of the same {MAPS} again"
        _section(table, again, places, rounds, _apply_again, _READS_AGAIN)
        for place in places:
            place.kubectl("apply", "--server-side", "-f", "-", stdin=_maps("list", LISTED))
        _section(table, f"list of {LISTED:,} objects, JSON", places, rounds, _list)
        _section(table, f"kubectl get of {LISTED:,} objects", places, rounds, _get)
        _section(table, f"one write seen by {WATCHES} watches", places, rounds, _fan_out)
    finally:
        for place in places:
            place.kubectl("delete", "namespace", place.namespace, "--wait=false")


def _section(
    table: Table,
    title: str,
    places: list[Place],
    rounds: int,
    work: Callable[[Place, int], float],
    note: str = "",
) -> None:
    samples: dict[str, list[float]] = {place.name: [] for place in places}
    for number in range(rounds):
        for place in places:
            samples[place.name].append(work(place, number))
    rows = []
    for name, times in samples.items():
        worst = f"slowest {milliseconds(max(times))}" if rounds >= PODS else ""
        rows.append(Row(name, tuple(times), note or worst))
        note = ""
    table.section(title, rows)


def _maps(prefix: str, count: int) -> str:
    items = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{prefix}-{number:04}", "labels": {"set": prefix}},
            "data": {"key": "value " * 20},
        }
        for number in range(count)
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _apply_new(place: Place, number: int) -> float:
    text = _maps(f"new-{number}", MAPS)
    return _timed(lambda: place.kubectl("apply", "-f", "-", stdin=text))


def _apply_again(place: Place, number: int) -> float:
    text = _maps(f"new-{number}", MAPS)
    return _timed(lambda: place.kubectl("apply", "-f", "-", stdin=text))


def _get(place: Place, _: int) -> float:
    return _timed(lambda: place.kubectl("get", "configmaps", "-l", "set=list"))


def _list(place: Place, _: int) -> float:
    async def ask() -> float:
        async with _client(place) as (http, base):
            path = f"{base}/api/v1/namespaces/{place.namespace}/configmaps?labelSelector=set%3Dlist"
            async with http.get(path) as answer:  # the connection is there before the clock runs
                await answer.read()
            began = time.perf_counter()
            async with http.get(path) as answer:
                body = await answer.read()
            seconds = time.perf_counter() - began
        assert len(json.loads(body)["items"]) == LISTED
        return seconds

    return asyncio.run(ask())


def _pod(place: Place, number: int) -> float:
    name = f"pod-{number}"
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": IMAGE, "command": ["sleep", "1000"]}],
        },
    }

    async def run() -> float:
        async with _client(place) as (http, base):
            pods = f"{base}/api/v1/namespaces/{place.namespace}/pods"
            watch = f"{pods}?watch=1&fieldSelector=metadata.name%3D{name}"
            async with http.get(watch) as events:
                began = time.perf_counter()
                async with http.post(pods, json=body) as answer:
                    assert answer.status == 201, await answer.text()
                phase = ""
                while phase != "Running":
                    line = await events.content.readline()
                    phase = json.loads(line)["object"]["status"].get("phase", "")
                seconds = time.perf_counter() - began
            async with http.delete(f"{pods}/{name}?gracePeriodSeconds=0"):
                pass
            return seconds

    return asyncio.run(run())


def _fan_out(place: Place, number: int) -> float:
    name = f"watched-{number}"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}

    async def run() -> float:
        async with _client(place) as (http, base):
            maps = f"{base}/api/v1/namespaces/{place.namespace}/configmaps"
            watch = f"{maps}?watch=1&fieldSelector=metadata.name%3D{name}"
            ready = [asyncio.Event() for _ in range(WATCHES)]

            async def follow(mine: asyncio.Event) -> float:
                async with http.get(watch) as events:
                    mine.set()
                    await events.content.readline()
                    return time.perf_counter()

            async with asyncio.TaskGroup() as group:
                following = [group.create_task(follow(event)) for event in ready]
                for event in ready:
                    await event.wait()
                began = time.perf_counter()
                async with http.post(maps, json=body) as answer:
                    assert answer.status == 201, await answer.text()
            return max(task.result() for task in following) - began

    return asyncio.run(run())


class _client:  # noqa: N801 (used like a function)
    """An HTTP session with a cluster and its address."""

    def __init__(self, place: Place) -> None:
        import aiohttp

        server, context = place.session()
        self._server = server
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        self._http = aiohttp.ClientSession(
            connector=connector, read_bufsize=2**22, timeout=aiohttp.ClientTimeout(total=120)
        )

    async def __aenter__(self) -> tuple[Any, str]:
        return self._http, self._server

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()
