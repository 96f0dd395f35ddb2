"""An operator that is installed for a namespace of the test's own, so that none is silenced
elsewhere; and processes that run one with its rights and no others."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from kindling.graph.spec import ObjectRef
from kindling.kube.contexts import read_kubeconfig
from kindling.kube.protocol import Cluster, EventKind, Object
from kindling.operator.controller.definitions import install_definitions
from kindling.operator.definitions.core import GROUP, VERSION
from kindling.operator.definitions.environment import KIND
from kindling.operator.install.applying import belonging
from kindling.operator.install.manifests import NAME, Installation, operator_objects
from kindling.operator.install.removal import remove_operator

LIMIT = 120.0


@dataclass(slots=True)
class Program:
    """A `kindling` that runs, and what it has written to standard error so far."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    more: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def said(self, pattern: str) -> str:
        """The first line that matches, as soon as there is one."""
        async with asyncio.timeout(LIMIT), self.more:
            while True:
                for line in self.lines:
                    if re.search(pattern, line):
                        return line
                assert self.process.returncode is None, self.lines
                await self.more.wait()

    async def read(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            async with self.more:
                self.lines.append(line.decode().rstrip())
                self.more.notify_all()
        await self.process.wait()
        async with self.more:
            self.more.notify_all()

    async def stop(self) -> int:
        """Its exit code after SIGTERM."""
        self.process.terminate()
        async with asyncio.timeout(LIMIT):
            return await self.process.wait()


@asynccontextmanager
async def kindling(*args: str, kubeconfig: str = "") -> AsyncIterator[Program]:
    """The program as a process; killed if it still runs in the end."""
    environment = {**os.environ, **({"KUBECONFIG": kubeconfig} if kubeconfig else {})}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kindling", *args),
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    program = Program(process)
    reading = asyncio.create_task(program.read(), name="read kindling")
    try:
        yield program
    finally:
        if process.returncode is None:
            process.kill()
        await reading


async def until(
    cluster: Cluster, ref: ObjectRef, holds: Callable[[Object], bool], limit: float = LIMIT
) -> Object:
    """The object, as soon as it is there and as wanted."""
    last: Object = {}
    events = cluster.watch(
        ref.api_version, ref.kind, namespace=ref.namespace, fields=(("metadata.name", ref.name),)
    )
    try:
        async with asyncio.timeout(limit), aclosing(events):
            async for event in events:
                synced = event.kind is EventKind.SYNCED
                for last in event.items if synced else (event.object,):
                    if last and event.kind is not EventKind.DELETED and holds(last):
                        return last
    except TimeoutError:
        raise AssertionError(f"{ref} is not as wanted after {limit} s: {last}") from None
    raise AssertionError("a watch ended")


def ready(environment: Object) -> bool:
    """Whether an environment's latest spec stands."""
    status = environment.get("status") or {}
    return status.get("observedGeneration") == environment["metadata"]["generation"] and any(
        one["type"] == "Ready" and one["status"] == "True" for one in status["conditions"]
    )


def environment(namespace: str, name: str = "shop", **deployment: Any) -> dict[str, Any]:
    """An environment whose one pod needs no image but busybox."""
    spec = {
        "image": "busybox:1.36",
        "port": 8080,
        "command": ["sh", "-c", "mkdir -p /tmp/www && exec httpd -f -p 8080 -h /tmp/www"],
        "healthCheck": {"type": "tcp", "initialDelaySeconds": 0, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "1m"}},
    }
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"deployment": {**spec, **deployment}, "service": {"port": 80}},
    }


@pytest.fixture
async def told(cluster: Cluster, ns: str) -> AsyncIterator[Installation]:
    """An operator in `ns`, for `ns` alone. What of it is elsewhere goes with the test."""
    yield Installation("kindling:1", ns, (ns,))
    if await belonging(cluster, ns):
        await remove_operator(cluster, ns)


@pytest.fixture
async def account(cluster: Cluster, told: Installation, tmp_path: Path) -> str:
    """A kubeconfig that knows the rights of that operator, and no others. It does not run."""
    ns = told.namespace
    await install_definitions(cluster)
    for manifest in operator_objects(told):
        if manifest["kind"] != "Deployment":
            await cluster.apply(manifest)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": "operator-token",
            "namespace": ns,
            "annotations": {"kubernetes.io/service-account.name": NAME},
        },
    }
    await cluster.create(secret)
    ref = ObjectRef("v1", "Secret", "operator-token", ns)
    made = await until(cluster, ref, lambda one: "token" in (one.get("data") or {}))
    token = base64.b64decode(made["data"]["token"]).decode()
    kubeconfig = read_kubeconfig(os.environ)
    document = kubeconfig.minified(kubeconfig.current_name)
    document["users"][0]["user"] = {"token": token}
    path = tmp_path / "account"
    path.touch(0o600)
    path.write_text(yaml.safe_dump(document))
    return str(path)
