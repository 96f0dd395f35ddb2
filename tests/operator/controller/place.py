"""A namespace of a real cluster, in which an operator acts, and waiting for what it does."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kindling.build.protocol import BuildContext, BuildRequest
from kindling.executors.processes import HostProcesses
from kindling.graph.spec import ObjectRef
from kindling.kube.contexts import KubeContext, read_kubeconfig
from kindling.kube.protocol import Cluster, EventKind, Object
from kindling.operator.controller.lease import Terms
from kindling.operator.controller.reconcile import Reconciled, Reconciler
from kindling.operator.controller.run import Operation, Scope, start
from tests.operator.controller.bed import env_ref
from tests.operator.manifests import Obj
from tests.target import connect_engine, embedded

__all__ = ["LISTENER", "Place", "app", "build_listener", "conditions", "own_context"]

LIMIT = 120.0
LISTENER = "kindling-test-listener:1"
"""Stands for a backing service: it takes connections where its type is asked for."""

_LISTENER = """\
FROM busybox:1.36
ENTRYPOINT ["sh", "-c", "exec httpd -f -p ${PORT:-6379} -h /tmp"]
"""


def own_context() -> KubeContext:
    context = read_kubeconfig(os.environ).current
    assert context is not None
    return context


async def build_listener(root: Path) -> None:
    """Put the image into the node."""
    host = HostProcesses(root / ".kindling")
    engine = await connect_engine(host, root)

    def quiet(line: str, stream: str = "stdout") -> None:
        del line, stream

    try:
        request = BuildRequest(
            BuildContext(root, root),
            _LISTENER,
            root,
            name=LISTENER,
            tags=(LISTENER,),
        )
        await engine.build(request, quiet)
    finally:
        await engine.close()
        await host.close()
    command = os.environ.get("KINDLING_LOAD_COMMAND", "").split()
    if command and embedded() is None:
        load = [*command, LISTENER]
        await asyncio.to_thread(subprocess.run, load, check=True, stdout=subprocess.DEVNULL)


def app(name: str = "shop", **spec: Any) -> Obj:
    """An environment whose application serves at once. Keywords replace parts of its spec."""
    deployment = {
        "image": "busybox:1.36",
        "port": 8080,
        "command": ["httpd", "-f", "-p", "8080", "-h", "/tmp"],
        "healthCheck": {"type": "tcp", "initialDelaySeconds": 0, "periodSeconds": 1},
    }
    deployment |= spec.pop("deployment", {})
    return {
        "apiVersion": "apps.example.com/v1alpha1",
        "kind": "DevStagingEnvironment",
        "metadata": {"name": name},
        "spec": {"deployment": deployment, "service": {"port": 80}} | spec,
    }


def redis(**more: Any) -> Obj:
    return {"type": "redis", "image": LISTENER} | more


def conditions(item: Mapping[str, Any], sort: str = "Ready") -> tuple[str, str, str]:
    """Status, reason and message of a condition; empty before it is told."""
    for one in (item.get("status") or {}).get("conditions") or ():
        if one["type"] == sort:
            return one["status"], one["reason"], one["message"]
    return "", "", ""


@dataclass
class Place:
    """`operators` are those that were started here, the newest last."""

    cluster: Cluster
    namespace: str
    operators: list[Operation] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    async def operate(
        self, identity: str = "first", terms: Terms | None = None, *, pools: bool = True
    ) -> Operation:
        """An operator of the namespace. It stands by where one of the whole cluster acts, which
        another test may have installed."""
        operation = await start(
            own_context(),
            dict(os.environ),
            Scope((self.namespace,)),
            identity=identity,
            image="busybox:1.36",
            say=self.said.append,
            terms=terms,
            pools=pools,
        )
        self.operators.append(operation)
        async with asyncio.timeout(LIMIT):
            await operation.settled()
        return operation

    async def close(self) -> None:
        for operation in self.operators:
            await operation.stop()

    async def write(self, obj: Obj) -> Object:
        """As a user applies it."""
        head = {**obj["metadata"], "namespace": self.namespace}
        return await self.cluster.apply({**obj, "metadata": head}, manager="user", force=True)

    async def look(self, name: str = "shop") -> Reconciled:
        """A pass of somebody who knows nothing yet, beside the operator that acts."""
        return await Reconciler(self.cluster, image="busybox:1.36").environment(
            self.namespace, name
        )

    async def at_rest(self, name: str = "shop") -> None:
        """Return once nothing is left to be done, when the operator that acts has come to its end
        too: the last word of a status comes a moment after `Ready`."""
        async with asyncio.timeout(LIMIT):
            while (await self.look(name)).writes:
                continue

    def ref(self, kind: str, name: str = "shop") -> ObjectRef:
        versions = {
            "Deployment": "apps/v1",
            "Ingress": "networking.k8s.io/v1",
            "Role": "rbac.authorization.k8s.io/v1",
            "RoleBinding": "rbac.authorization.k8s.io/v1",
            "DevStagingEnvironment": env_ref().api_version,
            "GithubActionRunnerPool": env_ref().api_version,
        }
        return ObjectRef(versions.get(kind, "v1"), kind, name, self.namespace)

    async def get(self, kind: str, name: str = "shop") -> Object:
        return await self.cluster.get(self.ref(kind, name))

    async def names(self, kind: str) -> set[str]:
        """Objects of a kind that belong to an environment or a pool."""
        version = self.ref(kind).api_version
        listing = await self.cluster.list(version, kind, namespace=self.namespace)
        return {
            one["metadata"]["name"]
            for one in listing.items
            if one["metadata"].get("ownerReferences")
        }

    async def until(
        self,
        kind: str,
        name: str,
        wanted: Callable[[Object | None], object],
        limit: float = LIMIT,
    ) -> Object:
        """Wait until an object is as it is wanted to be; None stands for one that is not there."""
        ref = self.ref(kind, name)
        last: Object | None = None
        events = self.cluster.watch(
            ref.api_version,
            kind,
            namespace=self.namespace,
            fields=(("metadata.name", name),),
        )
        try:
            async with asyncio.timeout(limit), aclosing(events):
                async for event in events:
                    if event.kind is EventKind.AWAY:
                        continue
                    found: Sequence[Object] = (event.object,)
                    if event.kind is EventKind.SYNCED:
                        found = event.items
                    last = found[0] if found and event.kind is not EventKind.DELETED else None
                    if wanted(last):
                        return last or {}
        except TimeoutError:
            told = (last or {}).get("status") or (last or {}).get("spec")
            raise AssertionError(f"{ref} is not as wanted: {told}; {self.said}") from None
        raise AssertionError("a watch ended by itself")

    async def ready(self, name: str = "shop", generation: int = 0) -> Object:
        """Wait until an environment is ready as of its newest, or a given, generation."""

        def is_ready(live: Object | None) -> bool:
            if live is None or conditions(live)[0] != "True":
                return False
            observed = live["status"].get("observedGeneration", 0)
            return bool(observed >= max(generation, live["metadata"]["generation"]))

        return await self.until("DevStagingEnvironment", name, is_ready)

    async def not_ready(self, reason: str, name: str = "shop", *, about: str = "") -> Object:
        def is_told(live: Object | None) -> bool:
            told = conditions(live or {})
            return told[:2] == ("False", reason) and about in told[2]

        return await self.until("DevStagingEnvironment", name, is_told)

    async def gone(self, kind: str, name: str) -> None:
        await self.until(kind, name, lambda live: live is None)
