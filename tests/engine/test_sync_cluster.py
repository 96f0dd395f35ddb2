"""Files saved during a session, on a real cluster: carried, built where they must be, and every
workload put back exactly, whichever way the session ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from kindling.engine.notices import NodeStatus
from kindling.graph.outcome import Verdict
from kindling.graph.spec import ObjectRef
from kindling.kube.protocol import Cluster
from kindling.testing.workbench import Running, Workbench

pytestmark = pytest.mark.cluster

PATIENCE = 120.0

BUILT = """
docker_build("web-{ns}", "app", live_update = [
    fall_back_on("app/deps.txt"), sync("app/www", "/www"), restart_container(),
])
k8s_yaml(blob('''
apiVersion: v1
kind: Namespace
metadata: {{name: {ns}}}
---
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
        ports: [{{containerPort: 8000}}]
        readinessProbe: {{httpGet: {{path: /, port: 8000}}, periodSeconds: 1}}
'''))
k8s_resource("web", port_forwards = [port_forward({port}, 8000)])
"""

DOCKERFILE = """
FROM busybox:1.36
COPY . /
CMD ["sh", "-c", "mkdir -p /served && cp -r /www/. /served && exec httpd -f -p 8000 -h /served"]
"""
"""What is served is a copy made at the start, so that only a restart shows a new file."""

PREBUILT = """
service("web", "busybox:1.36", 8000, namespace = "{ns}",
    command = ["sh", "-c", "mkdir -p /www && exec httpd -f -p 8000 -h /www"],
    sync = [sync("www", "/www")],
    port_forwards = [port_forward({port}, 8000)])
"""


TWICE = """
docker_build("web-{ns}", "app", live_update = [sync("app/www", "/www")])
k8s_yaml(blob('''
apiVersion: v1
kind: Namespace
metadata: {{name: {ns}}}
---
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
        command: [httpd, -f, -p, "8000", -h, /www]
        ports: [{{containerPort: 8000}}]
      - name: worker
        image: web-{ns}
        command: [httpd, -f, -p, "8001", -h, /www]
        ports: [{{containerPort: 8001}}]
'''))
k8s_resource("web", port_forwards = [port_forward({port}, 8000), port_forward({other}, 8001)])
"""


async def template(cluster: Cluster, ns: str) -> str:
    live = await cluster.get(ObjectRef("apps/v1", "Deployment", "web", ns))
    return json.dumps(live["spec"]["template"], sort_keys=True)


async def holder(cluster: Cluster, ns: str) -> str:
    """The session that has the workload; empty: none."""
    live = await cluster.get(ObjectRef("apps/v1", "Deployment", "web", ns))
    return str((live["metadata"].get("annotations") or {}).get("kindling.dev/session", ""))


async def answers(port: int, text: str) -> None:
    """Wait until the new answer is served."""

    def get() -> str:
        try:
            with urllib.request.urlopen(f"http://localhost:{port}/", timeout=5) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError) as error:
            return str(error)

    last = ""
    try:
        async with asyncio.timeout(PATIENCE):
            while last != text:
                last = await asyncio.to_thread(get)
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"wanted {text!r}, got {last!r}") from None


async def done(session: Running, *ids: str, mark: int = 0) -> None:
    await session.settled(*ids, mark=mark, seconds=PATIENCE)
    views = session.since(mark).views
    bad = {id_: views[id_].failure for id_ in ids if views[id_].status is NodeStatus.FAILED}
    assert not bad, session.result.explain()


async def test_a_live_update_is_served_and_what_it_cannot_do_is_built(
    bench: Workbench, cluster: Cluster, ns: str, unused_tcp_port: int
) -> None:
    bench.environment["DOCKER_HOST"] = os.environ.get("DOCKER_HOST", "")
    bench.write("app/Dockerfile", DOCKERFILE)
    bench.write("app/www/index.html", "one")
    bench.write("app/deps.txt", "1")
    bench.write("Kindlingfile", BUILT.format(ns=ns, port=unused_tcp_port))
    result = await bench.run("ci")
    assert result.exit_code == 0, result.explain()
    assert any("nothing to carry" in line for line in result.log("sync:web"))
    before = await template(cluster, ns)
    async with bench.up() as session:
        await done(session, "sync:web", f"portforward:web-{unused_tcp_port}")
        assert await template(cluster, ns) != before
        mark = session.mark()
        bench.write("app/www/index.html", "two")
        await answers(unused_tcp_port, "two")
        assert Verdict.RAN not in session.since(mark).verdicts(f"image:web-{ns}")
        mark = session.mark()
        bench.write("app/deps.txt", "2")
        # The session lets go of the workload for the new image, and takes it again.
        await done(session, f"image:web-{ns}", "apply:web", "rollout:web", "sync:web", mark=mark)
        why = "`app/deps.txt` is in `fall_back_on`"
        assert why in session.since(mark).views[f"image:web-{ns}"].reasons
        await answers(unused_tcp_port, "two")
        assert await holder(cluster, ns)
    after = json.loads(await template(cluster, ns))
    (container,) = after["spec"]["containers"]
    old = json.loads(before)
    assert container.pop("image") != old["spec"]["containers"][0].pop("image")
    assert after == old, "but for the image it is as it was"


async def test_two_containers_of_one_image_are_both_carried_to_and_nothing_is_built(
    bench: Workbench, cluster: Cluster, ns: str, unused_tcp_port_factory: Callable[[], int]
) -> None:
    bench.environment["DOCKER_HOST"] = os.environ.get("DOCKER_HOST", "")
    bench.write("app/Dockerfile", "FROM busybox:1.36\nCOPY . /\n")
    bench.write("app/www/index.html", "one")
    ports = unused_tcp_port_factory(), unused_tcp_port_factory()
    bench.write("Kindlingfile", TWICE.format(ns=ns, port=ports[0], other=ports[1]))
    async with bench.up() as session:
        await done(session, "sync:web", *(f"portforward:web-{port}" for port in ports))
        before = await template(cluster, ns)
        assert await holder(cluster, ns)
        mark = session.mark()
        bench.write("app/www/index.html", "two")
        for port in ports:
            await answers(port, "two")
        assert Verdict.RAN not in session.since(mark).verdicts(f"image:web-{ns}")
        assert await template(cluster, ns) == before, "files alone need nothing of the template"
    assert await template(cluster, ns) == before
    assert not await holder(cluster, ns)


async def test_a_prebuilt_image_is_synced_and_put_back_after_any_end(
    bench: Workbench, cluster: Cluster, ns: str, unused_tcp_port: int
) -> None:
    bench.write("www/index.html", "one")
    bench.write("Kindlingfile", PREBUILT.format(ns=ns, port=unused_tcp_port))
    async with bench.up() as session:
        await done(session, "rollout:web")
        await done(session, "sync:web")
        await answers(unused_tcp_port, "one")
        bench.write("www/index.html", "two")
        await answers(unused_tcp_port, "two")
        assert (await bench.ask("trigger", "rollback:web"))["nodes"] == ["rollback:web"]
        await session.until(
            lambda: session.result.views["sync:web"].status is NodeStatus.UNREADY,
            seconds=PATIENCE,
        )
        before = await template(cluster, ns)
        assert not await holder(cluster, ns)
    assert await template(cluster, ns) == before
    killed = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kindling", "up", "--plain"),
        cwd=bench.root,
        env={**os.environ, **bench.environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            while not await holder(cluster, ns):
                assert killed.returncode is None
                await asyncio.sleep(0.05)
    finally:
        killed.send_signal(signal.SIGKILL)
        await killed.wait()
    async with bench.up() as session:
        await done(session, "rollback:web", "sync:web")
        assert "held by a sync session" in str(session.result.views["rollback:web"].reasons)
        await answers(unused_tcp_port, "two")
    assert await template(cluster, ns) == before
    assert not await holder(cluster, ns)
