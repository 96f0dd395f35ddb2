"""A cluster, a registry and an engine that go away, refuse, or are changed by others."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from kindling.engine.notices import NodeStatus
from kindling.graph.event import HoldReason
from kindling.graph.node import NodeId
from kindling.graph.outcome import Verdict
from kindling.graph.spec import ObjectRef
from kindling.kube.contexts import read_kubeconfig
from kindling.kube.protocol import Cluster
from kindling.store.database import Store
from kindling.testing.workbench import Running, Workbench
from tests.target import way

pytestmark = pytest.mark.cluster

Kindle = Callable[..., subprocess.Popen[bytes]]
Until = Callable[..., None]

NAMESPACE = """
k8s_yaml(blob('''
apiVersion: v1
kind: Namespace
metadata: {{name: {ns}}}
'''))
"""

MAPS = """
k8s_yaml(blob('\\n---\\n'.join(['''
apiVersion: v1
kind: ConfigMap
metadata: {{name: map-%d, namespace: {ns}}}
data: {{word: {word}}}
''' % i for i in range({count})])))
"""

WEB = """
docker_build("web-{ns}", "app")
k8s_yaml(blob('''
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: {ns}}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: web-{ns}
        readinessProbe:
          exec: {{command: [cat, /www/index.html]}}
          periodSeconds: 1
          failureThreshold: 1
'''))
k8s_resource("web", port_forwards = [port_forward({port}, 8000)])
"""

DOCKERFILE = """
FROM busybox:1.36
COPY index.html /www/index.html
CMD ["httpd", "-f", "-p", "8000", "-h", "/www"]
"""


class Proxy:
    """A TCP proxy that can be cut and restored, on one port all the while."""

    def __init__(self, host: str, port: int, own: int) -> None:
        self.port = own
        self._to = (host, port)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def restore(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Refuse connections, and break all there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            writer.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._to)
            self._open.add(up_writer)
            try:
                await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))
            finally:
                self._open.discard(up_writer)
                up_writer.close()
        except OSError:
            writer.transport.abort()
        finally:
            self._open.discard(writer)
            writer.close()
            self._tasks.discard(task)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


@pytest.fixture
async def proxy(
    bench: Workbench, tmp_path: Path, unused_tcp_port_factory: Callable[[], int]
) -> AsyncIterator[Proxy]:
    """Stands between the workbench and the API server."""
    document: Any = read_kubeconfig(os.environ).raw
    server = urlsplit(document["clusters"][0]["cluster"]["server"])
    proxy = Proxy(server.hostname or "", server.port or 443, unused_tcp_port_factory())
    document["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{proxy.port}"
    document["clusters"][0]["cluster"]["tls-server-name"] = server.hostname
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(document))
    bench.environment["KUBECONFIG"] = str(tmp_path / "kubeconfig")
    await proxy.restore()
    yield proxy
    await proxy.cut()


@pytest.fixture
def web(bench: Workbench, ns: str, unused_tcp_port: int) -> Workbench:
    bench.environment["DOCKER_HOST"] = os.environ.get("DOCKER_HOST", "")
    bench.write("app/Dockerfile", DOCKERFILE)
    bench.write("app/index.html", "one")
    bench.write("Kindlingfile", (NAMESPACE + WEB).format(ns=ns, port=unused_tcp_port))
    return bench


def status(session: Running, id_: str) -> NodeStatus | None:
    view = session.session.board.views.get(id_)  # type: ignore[call-overload]
    return view.status if view else None


async def maps(cluster: Cluster, ns: str) -> dict[str, str]:
    listing = await cluster.list("v1", "ConfigMap", namespace=ns)
    return {
        item["metadata"]["name"]: item["data"]["word"]
        for item in listing.items
        if item["metadata"]["name"].startswith("map-")
    }


async def get(port: int) -> str:
    def read() -> str:
        try:
            with urllib.request.urlopen(f"http://localhost:{port}/", timeout=2) as answer:
                return str(answer.read().decode())
        except (OSError, urllib.error.URLError):
            return ""

    return await asyncio.to_thread(read)


async def served(port: int) -> None:
    """Wait until the page comes; nothing of ours tells when."""
    async with asyncio.timeout(20):
        while await get(port) != "one":  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_an_api_server_that_goes_away_in_the_middle_of_an_apply(
    bench: Workbench, ns: str, proxy: Proxy, cluster: Cluster
) -> None:
    """Cluster nodes wait for it, local ones go on, and all is done when it is back."""
    local = 'local_resource("here", cmd = "cp in.txt out.txt", deps = ["in.txt"])\n'
    text = NAMESPACE + MAPS + local
    bench.write("in.txt", "1")
    bench.write("Kindlingfile", text.format(ns=ns, word="one", count=1))
    async with bench.up() as session:
        await session.settled("apply:uncategorized", "local:here", seconds=30)
        bench.write("Kindlingfile", text.format(ns=ns, word="two", count=150))
        await session.until(
            lambda: any("map-1" in line for line in session.result.log("apply:uncategorized"))
        )
        await proxy.cut()
        await session.until(
            lambda: status(session, "apply:uncategorized") is not NodeStatus.RUNNING
        )
        bench.write("in.txt", "2")
        await session.until(
            lambda: (
                bench.read("out.txt") == "2" and status(session, "local:here") is NodeStatus.DONE
            )
        )
        await session.until(
            lambda: any(
                (view := session.session.board.views[id_]).status is NodeStatus.HELD
                and view.hold is not None
                and view.hold.reason is HoldReason.CLUSTER
                for id_ in session.session.board.views
                if id_.startswith("apply:")
            ),
            seconds=30,
        )
        await proxy.restore()
        await session.until(
            lambda: all(
                view.status is NodeStatus.DONE for view in session.session.board.views.values()
            ),
            seconds=40,
        )
        assert await maps(cluster, ns) == {f"map-{i}": "two" for i in range(150)}
        result = await session.stop()
        assert result.exit_code == 0
    again = await bench.run("up")
    assert again.exit_code == 0, again.explain()
    again.assert_only_ran()


async def test_ci_gives_up_on_a_cluster_that_goes_away_and_names_it(
    bench: Workbench, ns: str, proxy: Proxy
) -> None:
    bench.write("Kindlingfile", (NAMESPACE + MAPS).format(ns=ns, word="one", count=1))
    assert (await bench.run("ci")).exit_code == 0
    await proxy.cut()
    result = await bench.run("ci")
    assert result.exit_code == 1
    assert result.end.seconds < 20
    text = result.explain() + result.end.error
    assert f"127.0.0.1:{proxy.port}" in text
    assert "refuses connections" in text
    assert "bug" not in text


async def test_ci_that_loses_the_cluster_in_the_middle_of_an_apply_is_finished_by_the_next(
    bench: Workbench, ns: str, proxy: Proxy, cluster: Cluster
) -> None:
    bench.write("Kindlingfile", (NAMESPACE + MAPS).format(ns=ns, word="one", count=150))
    run = asyncio.create_task(bench.run("ci"))
    async with asyncio.timeout(20):
        while not await maps(cluster, ns):  # noqa: ASYNC110 every look lets the others go on
            await asyncio.sleep(0)
    await proxy.cut()
    result = await run
    assert result.exit_code == 1, result.explain()
    assert result.end.seconds < 40
    assert f"127.0.0.1:{proxy.port}" in result.explain() + result.end.error
    assert len(await maps(cluster, ns)) < 150
    await proxy.restore()
    assert (await bench.run("ci")).exit_code == 0
    assert len(await maps(cluster, ns)) == 150
    (await bench.run("ci")).assert_only_ran()


async def test_rollouts_and_forwards_outlive_an_absence_of_the_api_server(
    web: Workbench, proxy: Proxy, unused_tcp_port: int
) -> None:
    forward = f"portforward:web-{unused_tcp_port}"
    async with web.up() as session:
        await session.settled("rollout:web", forward, seconds=50)
        mark = session.mark()
        await proxy.cut()
        await session.until(
            lambda: any(v.status is NodeStatus.UNREADY for v in session.since(mark).views.values()),
            seconds=20,
        )
        await proxy.restore()
        await session.until(
            lambda: all(
                view.status is NodeStatus.DONE for view in session.session.board.views.values()
            ),
            seconds=40,
        )
        await served(unused_tcp_port)
        # Nothing was built or applied again for it.
        ran = {id_ for id_ in session.since(mark).ran if not id_.startswith(("cluster", "portf"))}
        assert ran == set(), session.since(mark).explain()


@pytest.mark.parametrize("answer", [403, 500, None])
async def test_a_registry_that_refuses_is_named_and_tried_again(
    web: Workbench,
    answer: int | None,
    cluster: Cluster,
    unused_tcp_port_factory: Callable[[], int],
) -> None:
    own = unused_tcp_port_factory()
    registry = (await cluster.facts()).registry
    if registry is None:
        pytest.skip("the cluster announces no registry")
    host, _, port = registry.host.partition(":")

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 {answer} No\r\nContent-Length: 0\r\n\r\n".encode())
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(refuse, "127.0.0.1", own) if answer else None
    web.write("Kindlingfile", f'default_registry("localhost:{own}")\n' + web.read("Kindlingfile"))
    proxy = Proxy(host, int(port), own)
    try:
        async with web.up() as session:
            await session.until(
                lambda: any(
                    view.failure and f"localhost:{own}" in view.failure.summary
                    for view in session.result.views.values()
                ),
                seconds=30,
            )
            failed = [v for v in session.result.views.values() if v.failure]
            assert failed[0].id.startswith(("registry:", "push:"))
            assert failed[0].failure is not None
            if answer:
                text = " ".join((failed[0].failure.summary, *failed[0].failure.details))
                assert str(answer) in text or "refus" in text or "denied" in text, text
            if server is not None:
                server.close()
                server = None
            await proxy.restore()
            if not failed[0].failure.transient:
                await web.ask("trigger", failed[0].id)
            await session.settled("rollout:web", seconds=50)
            assert status(session, "rollout:web") is NodeStatus.DONE
    finally:
        if server is not None:
            server.close()
        await proxy.cut()


async def test_a_session_killed_in_the_middle_of_a_build_repeats_only_that_build(
    bench: Workbench, ns: str, kindle: Kindle, until: Until
) -> None:
    slow = "FROM busybox:1.36\nCOPY word /word\nRUN cat /word && sleep 6 && echo {ns}\n"
    bench.write("slow/Dockerfile", slow.format(ns=ns))
    bench.write("slow/word", "words")
    bench.write("quick/Dockerfile", f"FROM busybox:1.36\nCOPY word /word\nRUN echo {ns}\n")
    bench.write("quick/word", "words")
    pods = "".join(
        f"""
docker_build("{name}-{ns}", "{name}")
k8s_yaml(blob('''
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {ns}}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: {name}, image: {name}-{ns}, command: [sleep, "1000"]}}]
'''))
"""
        for name in ("quick", "slow")
    )
    bench.write("Kindlingfile", NAMESPACE.format(ns=ns) + pods)
    session = kindle(bench, "up", "--plain")
    until(lambda: recorded(bench, f"{way()}:quick-{ns}"), seconds=40)
    assert not recorded(bench, f"image:slow-{ns}")
    session.send_signal(signal.SIGKILL)
    session.wait()
    result = await bench.run("up")
    assert result.exit_code == 0, result.explain()
    assert result.verdicts(f"image:quick-{ns}") == [Verdict.UNCHANGED]
    assert result.verdicts(f"{way()}:quick-{ns}") == [Verdict.UNCHANGED]
    assert result.verdicts(f"image:slow-{ns}") == [Verdict.RAN]
    (await bench.run("up")).assert_only_ran()


def said(bench: Workbench) -> str:
    return bench.read("said.txt") if (bench.root / "said.txt").exists() else ""


def recorded(bench: Workbench, id_: str) -> bool:
    if not (bench.root / ".kindling/state.db").exists():
        return False
    with Store.open(bench.root / ".kindling") as store:
        return store.record(NodeId(id_)) is not None


async def test_a_session_killed_in_the_middle_of_an_apply_leaves_no_orphan(
    bench: Workbench, ns: str, kindle: Kindle, until: Until, cluster: Cluster
) -> None:
    """Also when what it had written is in the file no more."""
    bench.write("Kindlingfile", (NAMESPACE + MAPS).format(ns=ns, word="one", count=200))
    session = kindle(bench, "up", "--plain")
    until(lambda: "map-5" in said(bench), seconds=30)
    session.send_signal(signal.SIGKILL)
    session.wait()
    before = await maps(cluster, ns)
    assert before
    bench.write("Kindlingfile", (NAMESPACE + MAPS).format(ns=ns, word="two", count=3))
    result = await bench.run("up")
    assert result.exit_code == 0, result.explain()
    assert await maps(cluster, ns) == {f"map-{i}": "two" for i in range(3)}
    (await bench.run("up")).assert_only_ran()


async def test_a_namespace_that_somebody_deletes_is_noticed_and_made_again_when_asked(
    web: Workbench, ns: str, cluster: Cluster
) -> None:
    async with web.up() as session:
        await session.settled("rollout:web", seconds=50)
        ref = ObjectRef("v1", "Namespace", ns)
        await cluster.delete(ref)
        await session.until(lambda: status(session, "rollout:web") is not NodeStatus.DONE)
        await cluster.wait_deleted(ref)
        mark = session.mark()
        await web.ask("trigger", "uncategorized", "web", force=True)
        await session.until(lambda: Verdict.RAN in session.since(mark).verdicts("rollout:web"),
                            seconds=40)  # fmt: skip
        await session.until(
            lambda: all(
                view.status is NodeStatus.DONE for view in session.session.board.views.values()
            ),
            seconds=30,
        )
        await cluster.get(ObjectRef("apps/v1", "Deployment", "web", ns))


async def test_two_projects_share_a_namespace_and_leave_each_others_objects_alone(
    bench: Workbench, ns: str, cluster: Cluster
) -> None:
    one = Workbench(bench.root / "one", bench.environment)
    two = Workbench(bench.root / "two", bench.environment)
    one.write("Kindlingfile", (NAMESPACE + MAPS).format(ns=ns, word="one", count=2))
    assert (await one.run("up")).exit_code == 0
    other = "k8s_yaml(blob('''{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name},"
    other += " namespace: {ns}}}, data: {{word: two}}}}'''))\n"
    two.write("Kindlingfile", other.format(name="map-1", ns=ns))
    refused = await two.run("up")
    assert refused.exit_code == 1
    refused.assert_failed("apply:uncategorized", "ConfigMap/map-1", "`one`", "`two`")
    assert (await maps(cluster, ns))["map-1"] == "one"
    two.write("Kindlingfile", other.format(name="map-two", ns=ns))
    assert (await two.run("up")).exit_code == 0
    (await one.run("up")).assert_only_ran()
    two.write("Kindlingfile", other.format(name="map-three", ns=ns))
    assert (await two.run("up")).exit_code == 0
    assert await maps(cluster, ns) == {"map-0": "one", "map-1": "one", "map-three": "two"}


async def test_a_port_forward_outlives_ten_pods(
    web: Workbench, ns: str, cluster: Cluster, unused_tcp_port: int
) -> None:
    async with web.up() as session:
        await session.settled("rollout:web", f"portforward:web-{unused_tcp_port}", seconds=50)
        gone: set[str] = set()
        for _ in range(10):
            await served(unused_tcp_port)
            async with asyncio.timeout(15):
                pods = (await cluster.list("v1", "Pod", namespace=ns)).items
                names = {pod["metadata"]["name"] for pod in pods} - gone
                for name in names:
                    await cluster.delete(ObjectRef("v1", "Pod", name, ns), grace=0)
                gone |= names
        assert len(gone) >= 10
        await served(unused_tcp_port)
        ports = {e for v in session.session.board.views.values() for e in v.endpoints}
        assert any(str(unused_tcp_port) in url for url in ports)


async def test_ready_edges_hold_while_a_pod_is_unready_and_go_on_after(
    web: Workbench, ns: str, cluster: Cluster
) -> None:
    web.write("in.txt", "1")
    web.write(
        "Kindlingfile",
        web.read("Kindlingfile")
        + 'local_resource("after", cmd = "cat in.txt >> log.txt", deps = ["in.txt"],'
        + ' resource_deps = ["web"])\n',
    )
    async with web.up() as session:
        await session.settled("rollout:web", "local:after", seconds=50)
        pods = (await cluster.list("v1", "Pod", namespace=ns)).items
        pod = next(p["metadata"]["name"] for p in pods)
        move = ("mv", "/www/index.html", "/www/away.html")
        await cluster.exec(ns, pod, "web", move)
        await session.until(lambda: status(session, "rollout:web") is NodeStatus.UNREADY)
        web.write("in.txt", "2")
        await session.until(
            lambda: (
                (view := session.session.board.views["local:after"]).hold is not None  # type: ignore[index]
                and view.hold.reason is HoldReason.DEPENDENCY
            )
        )
        assert web.read("log.txt") == "1"
        await cluster.exec(ns, pod, "web", (move[0], move[2], move[1]))
        await session.until(lambda: web.read("log.txt") == "12")
        counts = Counter(session.result.verdicts("rollout:web"))
        assert counts[Verdict.RAN] == 1
