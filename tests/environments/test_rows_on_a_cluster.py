"""Rows 14, 15, 16 and 18 on a real API server, with the program in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kindling.graph.spec import ObjectRef
from kindling.kube.errors import NotFoundError
from kindling.kube.protocol import Cluster, EventKind, Object
from kindling.operator.controller.definitions import install_definitions
from kindling.operator.definitions.core import GROUP, VERSION
from kindling.operator.install.manifests import INSTALLATION_LABEL
from kindling.operator.pools.desired import MANAGER

pytestmark = pytest.mark.cluster

API = f"{GROUP}/{VERSION}"
LIMIT = 120.0

SERVE = "mkdir /w && echo hello > /w/index.html && echo serving && exec httpd -f -p 8080 -h /w"
CRASH = "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $n; done; exit 3"


def manifests(script: str) -> str:
    environment = {
        "apiVersion": API,
        "kind": "DevStagingEnvironment",
        "metadata": {"name": "orders"},
        "spec": {
            "deployment": {
                "image": "busybox:1.36",
                "port": 8080,
                "command": ["sh", "-c", script],
                "env": [{"name": "GREETING", "value": "hello"}],
            },
            "service": {"port": 80},
        },
    }
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings"},
        "data": {"a": "1"},
    }
    return f"{json.dumps(settings)}\n---\n{json.dumps(environment)}\n"


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int
    out: str
    err: str


Kindling = Callable[..., Awaitable[Outcome]]


@pytest.fixture
def kindling(tmp_path: Path) -> Kindling:
    """The program, in an empty folder."""

    async def call(*args: str) -> Outcome:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kindling", *args),
            cwd=tmp_path,
            env={**os.environ, "NO_COLOR": "1"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return Outcome(process.returncode, out.decode(), err.decode())

    return call


async def test_row_15_an_environment_is_deployed_awaited_and_edited(
    kindling: Kindling, ns: str, tmp_path: Path
) -> None:
    good = tmp_path / "good.yaml"
    good.write_text(manifests(SERVE))

    done = await kindling("deploy", "-f", str(good), "-n", ns, "--json", "--timeout", "2m")
    assert done.code == 0, done
    form = json.loads(done.out)
    assert [one["result"] for one in form["objects"]] == ["created", "created"]
    assert form["environments"] == [{"namespace": ns, "name": "orders", "ready": True, "url": ""}]

    edited = await kindling("env", "set", "orders", "GREETING=bye", "MORE=1", "-n", ns)
    assert edited.code == 0, edited
    listed = await kindling("env", "list", "orders", "-n", ns)
    assert listed.out == "GREETING=bye\nMORE=1\n"
    said = await kindling("logs", "orders", "-n", ns)
    assert "serving" in said.out, said


async def test_rows_15_and_16_one_that_crashes_is_told_with_the_end_of_its_log(
    kindling: Kindling, ns: str, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(manifests(CRASH))
    failed = await kindling("deploy", "-f", str(bad), "-n", ns, "--timeout", "2m")
    assert failed.code == 1, failed
    assert "container orders: CrashLoopBackOff" in failed.err, failed
    assert "| line 12" in failed.err, failed
    found = await seen(kindling, ns)
    assert all(node["ready"] for node in found["nodes"])
    assert [(one["name"], one["ready"]) for one in found["environments"]] == [("orders", False)]
    assert [(one["name"], one["environment"]) for one in found["deployments"]] == [
        ("orders", "orders")
    ]
    sick = next(one for one in found["unhealthy_pods"] if one["container"] == "orders")
    assert sick["exit_code"] == 3
    assert sick["log"][-10:] == [f"line {n}" for n in range(3, 13)]


async def test_row_14_pools_and_their_tokens_go_and_the_rest_stays(
    kindling: Kindling, cluster: Cluster, ns: str
) -> None:
    await install_definitions(cluster)
    await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns}})
    for name in ("github-runner-token", "other"):
        head = {"name": name, "namespace": ns}
        await cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": head})
    head = {"name": "jeff-runner-pool", "namespace": ns}
    spec: dict[str, Any] = {
        "githubUsername": "jeff",
        "repository": "jeff/shop",
        "tokenSecretRef": {"name": "github-runner-token"},
    }
    pool = await cluster.create(
        {"apiVersion": API, "kind": "GithubActionRunnerPool", "metadata": head, "spec": spec}
    )
    environment = json.loads(manifests(SERVE).split("---")[1])
    environment["metadata"]["namespace"] = ns
    await cluster.create(environment)
    labels = {
        "app.kubernetes.io/instance": "jeff-runner-pool",
        "app.kubernetes.io/managed-by": MANAGER,
    }
    owner = {key: pool[key] for key in ("apiVersion", "kind")}
    owner |= {key: pool["metadata"][key] for key in ("name", "uid")}
    await run_pod(cluster, ns, "jeff-runner", labels, "echo ready; exec sleep 600", owner)

    done = await kindling("reset", "-y", "-n", ns, "--timeout", "120")
    assert done.code == 0, done
    assert await there(cluster, ns, "GithubActionRunnerPool", API) == []
    assert await there(cluster, ns, "DevStagingEnvironment", API) == ["orders"]
    secrets = await there(cluster, ns, "Secret")
    assert ("other" in secrets, "github-runner-token" in secrets) == (True, False)
    assert await there(cluster, ns, "Pod") == []
    again = await kindling("reset", "-y", "-n", ns)
    assert (again.code, "nothing to reset" in again.err) == (0, True), again


async def test_row_18_the_operators_log_is_followed(
    kindling: Kindling, cluster: Cluster, ns: str, tmp_path: Path
) -> None:
    await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns}})
    labels = {INSTALLATION_LABEL: ns}
    script = f"echo begins in {ns}; sleep 600 & trap 'exit 0' TERM; wait"
    await run_pod(cluster, ns, "kindling-operator", labels, script, {})
    done = await kindling("logs", "--operator", "--all")
    assert f"begins in {ns}" in done.out, done
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kindling", "logs", "--operator", "-F"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        # Tests that run in the background of a shell are deaf to it, and so would the program be.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    async with asyncio.timeout(LIMIT):
        async for line in process.stdout:
            if f"begins in {ns}".encode() in line:
                break
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert process.returncode == 130


async def seen(kindling: Kindling, ns: str) -> dict[str, Any]:
    """What a status tells of the cluster; asked again where the machine is so busy that the cluster
    took longer than a status waits."""
    async with asyncio.timeout(LIMIT):
        while True:
            state = await kindling("status", "-n", ns, "--json")
            found: dict[str, Any] = json.loads(state.out)["cluster"]
            if found["answers"]:
                return found


async def run_pod(
    cluster: Cluster,
    ns: str,
    name: str,
    labels: dict[str, str],
    script: str,
    owner: dict[str, Any],
) -> None:
    """A Deployment of one pod that runs."""
    container = {"name": "main", "image": "busybox:1.36", "command": ["sh", "-c", script]}
    metadata: dict[str, Any] = {"name": name, "namespace": ns, "labels": labels}
    if owner:
        metadata["ownerReferences"] = [owner]
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }
    spec = {"selector": {"matchLabels": labels}, "template": template}
    await cluster.create(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
    )
    ref = ObjectRef("apps/v1", "Deployment", name, ns)
    fields = (("metadata.name", name),)
    async with asyncio.timeout(LIMIT):
        async with aclosing(
            cluster.watch("apps/v1", "Deployment", namespace=ns, fields=fields)
        ) as events:
            async for event in events:
                items: tuple[Object, ...] = event.items
                if event.kind is not EventKind.SYNCED:
                    items = (event.object,)
                if any((one.get("status") or {}).get("readyReplicas") for one in items if one):
                    return
    raise AssertionError(f"{ref} never ran")


async def there(cluster: Cluster, ns: str, kind: str, api_version: str = "v1") -> list[str]:
    try:
        listing = await cluster.list(api_version, kind, namespace=ns)
    except NotFoundError:
        return []
    return sorted(str(one["metadata"]["name"]) for one in listing.items)
