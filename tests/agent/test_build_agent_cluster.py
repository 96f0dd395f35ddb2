"""The agent in a real cluster, with no more rights than its account has.

Kaniko's image cannot be had here; one that takes its command line stands in for it. Only the row
about the registry builds a real image, by Debian's buildah.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from kindling.agent.agent import BuildAgent, Limits
from kindling.agent.folder import Folder
from kindling.agent.kaniko import KanikoBuilder
from kindling.agent.pods import AGENT_LABEL, BuildSettings
from kindling.agent.serve import Options, workers
from kindling.build.protocol import BuildContext, BuildRequest
from kindling.engine.clock import SystemClock
from kindling.executors.processes import HostProcesses
from kindling.graph.spec import ObjectRef
from kindling.kube.client import connect
from kindling.kube.contexts import read_kubeconfig
from kindling.kube.errors import AlreadyExistsError, ForbiddenError
from kindling.kube.protocol import Cluster, EventKind, Object
from kindling.operator.controller.definitions import install_definitions
from kindling.operator.definitions.core import GROUP
from kindling.operator.pools.desired import Agent, desired_pool
from tests.agent.archives import archive
from tests.target import connect_engine, embedded

pytestmark = pytest.mark.cluster

STANDIN = Path(__file__).parent / "standin"
BASE = "busybox:1.36"
POOL = {
    "apiVersion": f"{GROUP}/v1alpha1",
    "kind": "CIRunnerPool",
    "metadata": {"name": "pool", "uid": ""},
    "spec": {
        "githubUsername": "jeff",
        "repository": "owner/name",
        "tokenSecretRef": {"name": "token"},
    },
}
DSE = f"""\
apiVersion: {GROUP}/v1alpha1
kind: DevStagingEnvironment
metadata: {{name: jeff-api}}
spec:
  deployment: {{image: "registry:5000/api:jeff-abc", port: 8080, replicas: 1}}
  service: {{port: 80}}
"""


async def standin(root: Path, base: str) -> str:
    """The name of the stand-in's image, which the node has."""
    text = f'FROM {base}\nCOPY executor /kaniko/executor\nENTRYPOINT ["/kaniko/executor"]\n'
    digest = hashlib.sha256(text.encode() + (STANDIN / "executor").read_bytes()).hexdigest()
    name = f"kindling-test-kaniko:{digest[:12]}"
    host = HostProcesses(root / ".kindling")
    engine = await connect_engine(host, root)
    try:
        context = BuildContext(STANDIN, STANDIN)
        scratch = root / "contexts"
        made = BuildRequest(context, text, scratch, "standin", tags=(f"docker.io/library/{name}",))
        await engine.build(made, unheard)
    finally:
        await engine.close()
        await host.close()
    if embedded() is None:
        load = shlex.split(os.environ["KINDLING_LOAD_COMMAND"])
        await asyncio.to_thread(
            subprocess.run, [*load, name], check=True, stdout=subprocess.DEVNULL, timeout=120
        )
    return name


async def docker(*argv: str) -> None:
    await asyncio.to_thread(
        subprocess.run, ["docker", *argv], check=True, capture_output=True, timeout=150
    )


def unheard(line: str, stream: str = "stdout") -> None:
    del line, stream


async def first(
    cluster: Cluster, kind: str, namespace: str, true: Callable[[list[Object]], bool]
) -> list[Object]:
    """The objects of a kind as soon as something is true of them."""
    there: dict[str, Object] = {}
    events = cluster.watch("v1", kind, namespace=namespace)
    async with asyncio.timeout(120), aclosing(events):
        async for event in events:
            if event.kind is EventKind.SYNCED:
                there = {one["metadata"]["name"]: one for one in event.items}
            elif event.kind is EventKind.DELETED:
                there.pop(event.object["metadata"]["name"], None)
            elif event.kind is not EventKind.AWAY:
                there[event.object["metadata"]["name"]] = event.object
            if true(list(there.values())):
                return list(there.values())
    raise AssertionError("unreachable")


async def make(cluster: Cluster, namespace: str) -> None:
    head = {"name": namespace}
    with contextlib.suppress(AlreadyExistsError):
        await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": head})


async def account(cluster: Cluster, namespace: str, path: Path) -> dict[str, str]:
    """An environment whose kubeconfig is that of a runner pool's account, with its rights."""
    await make(cluster, namespace)
    pool = {**POOL, "metadata": {**POOL["metadata"], "namespace": namespace}}  # type: ignore[dict-item]
    made = desired_pool(pool, {"github-token"}, Agent("kindling:latest", ("kindling",)))
    assert not made.problems
    for one in made.objects:
        if one["kind"] != "Deployment":
            await cluster.apply(one)
    secret: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": "runner",
            "namespace": namespace,
            "annotations": {"kubernetes.io/service-account.name": "jeff-runner"},
        },
    }
    await cluster.apply(secret)
    found = await first(
        cluster,
        "Secret",
        namespace,
        lambda all_: any(
            one["metadata"]["name"] == "runner" and (one.get("data") or {}).get("token")
            for one in all_
        ),
    )
    token = next(one["data"]["token"] for one in found if one["metadata"]["name"] == "runner")
    raw = read_kubeconfig(os.environ).raw
    current = next(one for one in raw["contexts"] if one["name"] == raw["current-context"])
    user = {"name": "runner", "user": {"token": base64.b64decode(token).decode()}}
    place = {"cluster": current["context"]["cluster"], "user": "runner", "namespace": namespace}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "runner",
        "clusters": list(raw["clusters"]),
        "users": [user],
        "contexts": [{"name": "runner", "context": place}],
    }
    path.write_text(yaml.safe_dump(document))  # noqa: ASYNC240 (a test's own small file)
    return {**os.environ, "KUBECONFIG": str(path)}


@dataclass
class Site:
    """A folder with an agent on it."""

    path: Path
    cluster: Cluster
    """With the agent's rights."""
    namespace: str

    def ask(self, name: str, destination: str = "registry:5000/x:y", **files: bytes) -> None:
        held = {"Dockerfile": b"FROM scratch\n"} | files
        (self.path / f"{name}.tar.gz").write_bytes(archive(held))
        (self.path / f"{name}.dest").write_text(destination)
        (self.path / f"{name}.request").write_text(name)

    def read(self, name: str) -> str:
        return (self.path / name).read_text()

    async def answer(self, name: str, head: str = ".") -> tuple[int, str]:
        """Exit code and log of a request, once it is answered."""
        async with asyncio.timeout(150):
            while not (self.path / f"{name}{head}done").exists():  # noqa: ASYNC110 (as jobs do it)
                await asyncio.sleep(0.05)
        return int(self.read(f"{name}{head}exitcode")), self.read(f"{name}{head}log")

    async def logged(self, name: str, text: str) -> None:
        async with asyncio.timeout(150):
            while text not in (self.read(f"{name}.log") if self.has(f"{name}.log") else ""):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def has(self, name: str) -> bool:
        return (self.path / name).exists()


@asynccontextmanager
async def serving(cluster: Cluster, ns: str, tmp_path: Path, **changes: Any) -> AsyncIterator[Site]:
    environment = await account(cluster, ns, tmp_path / "runner.yaml")
    context = read_kubeconfig(environment).current
    assert context is not None
    path = tmp_path / "builds"
    path.mkdir()
    settings = BuildSettings(ns, agent="runner-x", **changes)
    mine = await connect(context, environment)
    folder = Folder(path)
    folder.open()
    options = Options(path, settings)
    builder = KanikoBuilder(mine, settings, SystemClock())
    lines: list[str] = []
    limits = Limits(rescan=0.1)
    carry = workers(builder, mine, options, {"PATH": os.environ["PATH"]})
    agent = BuildAgent(folder, carry, SystemClock(), lines.append, limits)
    stop = asyncio.Event()
    run = asyncio.create_task(agent.run(stop))
    try:
        yield Site(path, mine, ns)
    finally:
        stop.set()
        await run
        folder.close()
        await mine.close()


def builds(pods: list[Object]) -> list[Object]:
    return [one for one in pods if AGENT_LABEL in (one["metadata"].get("labels") or {})]


async def test_rows_45_and_46_builds_applies_and_scripts_with_the_rights_of_a_pool(
    cluster: Cluster, ns: str, tmp_path: Path
) -> None:
    """Also a context far larger than what pipes hold, several builds at once, and no pod left."""
    await install_definitions(cluster)
    big = secrets.token_bytes(24 << 20)
    async with serving(cluster, ns, tmp_path, image=await standin(tmp_path, BASE)) as site:
        site.ask("good", "registry:5000/good:jeff-abc", big=big)
        site.ask("bad", code=b"77")
        (site.path / "api-dse.yaml").write_text(DSE)
        (site.path / "api-dse.apply").write_text("")
        (site.path / "say.sh").write_text("echo hello; exit 3")
        (site.path / "say.kubectl").write_text("")
        code, log = await site.answer("good")
        assert code == 0, log
        assert "INFO destination registry:5000/good:jeff-abc, cache registry:5000/cache" in log
        assert hashlib.sha256(big).hexdigest() in log
        assert log.endswith("INFO done\n")
        code, log = await site.answer("bad")
        # Nothing says in which order lines of the two streams come.
        assert (code, log.count("\nerror: as told\n")) == (77, 1), log
        assert site.read("bad.done") == "bad\n"
        code, log = await site.answer("api-dse", ".apply-")
        assert (code, log) == (0, "devstagingenvironment/jeff-api created\n")
        assert await site.answer("say", ".kubectl-") == (3, "hello\n")
    live = await cluster.get(
        ObjectRef(f"{GROUP}/v1alpha1", "DevStagingEnvironment", "jeff-api", ns)
    )
    assert live["spec"]["service"]["port"] == 80
    await first(cluster, "Pod", ns, lambda pods: not builds(pods))


async def test_a_job_that_takes_its_request_back_leaves_no_pod(
    cluster: Cluster, ns: str, tmp_path: Path
) -> None:
    async with serving(cluster, ns, tmp_path, image=await standin(tmp_path, BASE)) as site:
        site.ask("api", slow=b"")
        await site.logged("api", "INFO slow")
        assert builds(await first(cluster, "Pod", ns, lambda pods: bool(builds(pods))))
        (site.path / "api.request.processing").unlink()
        await first(cluster, "Pod", ns, lambda pods: not builds(pods))
        assert not site.has("api.done")


async def test_an_image_of_builds_that_is_nowhere_is_named_in_the_log(
    cluster: Cluster, ns: str, tmp_path: Path
) -> None:
    image = "kindling-test-nowhere:1"
    async with serving(cluster, ns, tmp_path, image=image, starting=2.0) as site:
        site.ask("api")
        code, log = await site.answer("api")
    assert code == 125, log
    assert "the build never ran: its pod does not start" in log
    assert image in log
    await first(cluster, "Pod", ns, lambda pods: not builds(pods))


async def test_row_43_the_account_applies_environments_and_reads_no_secret_anywhere(
    cluster: Cluster, ns: str, tmp_path: Path
) -> None:
    if embedded() is not None:
        pytest.skip("the embedded cluster has no RBAC")
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
    async with serving(cluster, ns, tmp_path) as site:
        for namespace in (ns, "kube-system", "default"):
            for kind in ("Secret", "ConfigMap"):
                with pytest.raises(ForbiddenError):
                    await site.cluster.list("v1", kind, namespace=namespace)
        for namespace in ("kube-system", "default"):
            with pytest.raises(ForbiddenError):
                await site.cluster.list("v1", "Pod", namespace=namespace)
        (site.path / "map.yaml").write_text(text)
        (site.path / "map.apply").write_text("")
        code, log = await site.answer("map", ".apply-")
    assert code == 1
    assert "may apply DevStagingEnvironments in its own namespace, nothing else" in log


async def test_row_49_a_killed_agents_build_begins_anew_and_sigterm_ends_it(
    cluster: Cluster, ns: str, tmp_path: Path
) -> None:
    """The program itself: killed while it builds, started again, and then told to stop."""
    environment = await account(cluster, ns, tmp_path / "runner.yaml")
    image = await standin(tmp_path, BASE)
    path = tmp_path / "builds"
    path.mkdir()
    site = Site(path, cluster, ns)
    argv = [sys.executable, "-m", "kindling", "build-agent", "--context", "runner"]
    argv += ["--builds", str(path), "--kaniko-image", image]

    async def started() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *argv, env={**environment, "HOSTNAME": "runner-x"}, stderr=asyncio.subprocess.DEVNULL
        )

    process = await started()
    try:
        site.ask("api", slow=b"")
        await site.logged("api", "INFO slow")
        [killed] = builds(await first(cluster, "Pod", ns, lambda pods: bool(builds(pods))))
        process.kill()
        await process.wait()
        process = await started()
        await site.logged("api", "started again")
        await site.logged("api", "INFO slow")
        [again] = builds(await first(cluster, "Pod", ns, lambda pods: len(builds(pods)) == 1))
        assert again["metadata"]["uid"] != killed["metadata"]["uid"]
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    code, log = await site.answer("api")
    assert code == 143
    assert "told to stop" in log
    await first(cluster, "Pod", ns, lambda pods: not builds(pods))


async def test_row_52_an_image_built_and_pushed_by_a_pod_is_run_by_the_node(
    cluster: Cluster, ns: str, tmp_path: Path
) -> None:
    if embedded() is not None:
        pytest.skip("the embedded cluster has no registry in the cluster")
    subsets = (await cluster.get(ObjectRef("v1", "Endpoints", "registry", "default")))["subsets"]
    buildah = tmp_path / "buildah"
    buildah.mkdir()
    (buildah / "Dockerfile").write_text(
        "FROM debian:bookworm-slim\n"
        "RUN apt-get -qq update && apt-get -qq install -y --no-install-recommends buildah\n"
    )
    await docker("build", "-q", "-t", "kindling-test-buildah:debian", str(buildah))
    word = secrets.token_hex(8)
    await make(cluster, ns)
    head = {"name": "registry", "namespace": ns}
    ports = {"ports": [{"port": 5000}]}
    await cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": head, "spec": ports})
    addresses = {"addresses": [{"ip": one["ip"]} for one in subsets[0]["addresses"]], **ports}
    await cluster.apply(
        {"apiVersion": "v1", "kind": "Endpoints", "metadata": head, "subsets": [addresses]}
    )
    image = await standin(tmp_path, "kindling-test-buildah:debian")
    reference = f"registry:5000/kindling-test-{word}:jeff-abc"
    base = "kindling-test-busybox:1.36"
    for argv in (["tag", BASE, f"localhost:5000/{base}"], ["push", "-q", f"localhost:5000/{base}"]):
        await docker(*argv)
    dockerfile = f'FROM registry:5000/{base}\nCOPY word /word\nCMD ["cat", "/word"]\n'.encode()
    async with serving(cluster, ns, tmp_path, image=image) as site:
        site.ask("api", reference, Dockerfile=dockerfile, word=word.encode())
        code, log = await site.answer("api")
        assert code == 0, log
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "run", "namespace": ns},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "run", "image": reference}]},
    }
    await cluster.create(pod)
    await first(cluster, "Pod", ns, lambda pods: phase(pods, "run") in ("Succeeded", "Failed"))
    lines = [line async for line in cluster.logs(ns, "run", "run")]
    assert lines == [word]


def phase(pods: list[Object], name: str) -> str:
    found = [one for one in pods if one["metadata"]["name"] == name]
    return str(found[0].get("status", {}).get("phase", "")) if found else ""
