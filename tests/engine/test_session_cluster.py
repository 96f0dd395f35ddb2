"""Whole sessions against a real cluster, and the engine and registry that come with it."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from kindling.engine.down import run_down
from kindling.engine.notices import NodeStatus
from kindling.graph.outcome import Verdict
from kindling.graph.spec import ObjectRef
from kindling.kube.contexts import read_kubeconfig
from kindling.kube.errors import NotFoundError
from kindling.kube.protocol import Cluster
from kindling.testing.workbench import Collected, Workbench
from tests.target import way

pytestmark = pytest.mark.cluster

KINDLINGFILE = """
docker_build("web-{ns}", "app")
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
COPY index.html /www/index.html
CMD ["httpd", "-f", "-p", "8000", "-h", "/www"]
"""

CHAIN = ("image:web-{ns}", "{way}:web-{ns}", "apply:web", "rollout:web")


@pytest.fixture
def port(unused_tcp_port: int) -> int:
    return unused_tcp_port


@pytest.fixture
def web(bench: Workbench, ns: str, port: int) -> Workbench:
    bench.environment["DOCKER_HOST"] = os.environ.get("DOCKER_HOST", "")
    bench.write("app/Dockerfile", DOCKERFILE)
    bench.write("app/index.html", "one")
    bench.write("Kindlingfile", KINDLINGFILE.format(ns=ns, port=port))
    return bench


def chain(ns: str) -> tuple[str, ...]:
    return tuple(part.format(ns=ns, way=way()) for part in CHAIN)


async def fetch(port: int) -> str:
    def get() -> str:
        with urllib.request.urlopen(f"http://localhost:{port}/", timeout=5) as answer:
            return str(answer.read().decode())

    return await asyncio.to_thread(get)


async def test_up_serves_an_edit_runs_just_the_chain_and_a_touch_runs_nothing(
    web: Workbench, ns: str, port: int
) -> None:
    async with web.up() as session:
        await session.settled(*chain(ns), f"portforward:web-{port}", seconds=90)
        assert await fetch(port) == "one"
        # On first contact the way images travel is a guess; nothing may leave by a wrong one.
        assert not session.result.verdicts(f"{'push' if way() == 'load' else 'load'}:web-{ns}")
        mark = session.mark()
        web.write("app/index.html", "two")
        result = await session.settled(*chain(ns), mark=mark, seconds=60)
        await session.until(
            lambda: session.result.views[f"portforward:web-{port}"].status is NodeStatus.DONE
        )
        result.assert_only_ran(*chain(ns))
        # The forward hears of the new pod by a watch of its own, some milliseconds later.
        async with asyncio.timeout(5):
            while await fetch(port) != "two":
                pass  # each look takes a round trip
        mark = session.mark()
        os.utime(web.root / "app/index.html")
        await session.settled(f"image:web-{ns}", mark=mark)
        session.since(mark).assert_only_ran()
    again = await web.run("ci")
    assert again.exit_code == 0, again.explain()
    again.assert_only_ran(f"portforward:web-{port}")


async def test_drift_is_repaired_at_the_next_start(
    web: Workbench, ns: str, cluster: Cluster
) -> None:
    await web.run("up")
    deployment = ObjectRef("apps/v1", "Deployment", "web", ns)
    await cluster.delete(deployment)
    await cluster.wait_deleted(deployment)
    result = await web.run("up")
    assert result.exit_code == 0, result.explain()
    result.assert_ran("apply:web", "rollout:web")
    assert result.verdicts(f"image:web-{ns}") == [Verdict.UNCHANGED]
    await cluster.get(deployment)


async def test_an_object_dropped_from_the_file_leaves_the_cluster_and_the_others_stay(
    web: Workbench, ns: str, cluster: Cluster
) -> None:
    extra = f"""
k8s_yaml(blob('''
apiVersion: v1
kind: ConfigMap
metadata: {{name: extra, namespace: {ns}}}
data: {{a: b}}
'''))
"""
    base = web.read("Kindlingfile")
    web.write("Kindlingfile", base + extra)
    assert (await web.run("up")).exit_code == 0
    ref = ObjectRef("v1", "ConfigMap", "extra", ns)
    await cluster.get(ref)
    web.write("Kindlingfile", base)
    assert (await web.run("up")).exit_code == 0
    with pytest.raises(NotFoundError):
        await cluster.get(ref)
    await cluster.get(ObjectRef("apps/v1", "Deployment", "web", ns))


async def test_a_crash_loop_fails_ci_with_pod_container_reason_and_last_lines(
    web: Workbench,
) -> None:
    web.write(
        "app/Dockerfile",
        'FROM busybox:1.36\nCMD ["sh", "-c", "echo the database is missing; exit 7"]\n',
    )
    result = await web.run("ci")
    assert result.exit_code == 1
    result.assert_failed("rollout:web", "web", "7", "the database is missing")
    assert result.end.seconds < 60


async def test_a_port_where_nothing_listens_fails_ci_and_is_no_success_at_a_second_look(
    web: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kindling.executors.portforward._PATIENCE", 0.0)
    text = web.read("Kindlingfile").replace(", 8000)])", ", 8001)])")
    web.write("Kindlingfile", text)
    result = await web.run("ci")
    assert result.exit_code == 1
    failed = next(id_ for id_ in result.views if id_.startswith("portforward:"))
    assert result.verdicts(failed) == [Verdict.FAILED]


async def test_down_removes_objects_in_reverse_and_says_what_it_kept(
    web: Workbench, ns: str, cluster: Cluster
) -> None:
    await web.run("up")
    collected = Collected()
    code = await run_down(web.options("down"), collected, web.environment)
    assert code == 0
    with pytest.raises(NotFoundError):
        await cluster.get(ObjectRef("apps/v1", "Deployment", "web", ns))
    last = collected.notices[-1]
    assert any(ns in line for line in last.kept), last  # type: ignore[union-attr]
    again = await web.run("up")
    assert again.exit_code == 0, again.explain()
    assert again.verdicts(f"image:web-{ns}") == [Verdict.UNCHANGED]
    again.assert_ran("apply:web", "rollout:web")


@pytest.fixture
def production(tmp_path: Path) -> Path:
    """A kubeconfig that leads to the same cluster by a name that no local product uses."""
    document: Any = read_kubeconfig(os.environ).raw
    document = json.loads(json.dumps(document))
    for entry in (*document["clusters"], *document["contexts"]):
        entry["name"] = "production"
    for entry in document["contexts"]:
        entry["context"]["cluster"] = "production"
    document["current-context"] = "production"
    config = tmp_path / "production-kubeconfig"
    config.write_text(yaml.safe_dump(document))
    return config


async def test_a_context_that_nobody_allowed_is_refused_and_nothing_is_applied(
    web: Workbench, production: Path
) -> None:
    web.environment["KUBECONFIG"] = str(production)
    result = await web.run("up")
    assert result.exit_code == 2
    assert 'allow_k8s_contexts("production")' in result.messages[-1]


async def test_a_secret_that_a_user_patched_survives_every_later_apply(
    bench: Workbench, ns: str, cluster: Cluster
) -> None:
    bench.write(
        "Kindlingfile",
        f"""
k8s_yaml(blob('''
apiVersion: v1
kind: Namespace
metadata: {{name: {ns}}}
'''))
secret_if_absent("creds", namespace = "{ns}", literals = {{"token": "placeholder"}})
""",
    )
    first = await bench.run("up")
    assert first.exit_code == 0, first.explain()
    ref = ObjectRef("v1", "Secret", "creds", ns)
    await cluster.patch(ref, {"stringData": {"token": "the-real-one"}})
    before = await cluster.get(ref)
    assert (await bench.run("up")).exit_code == 0
    assert (await cluster.get(ref))["data"] == before["data"]
