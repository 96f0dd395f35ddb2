"""An environment in a cluster, as the operator makes it, whose application is `client.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kindling.graph.spec import ObjectRef
from kindling.kube.protocol import Cluster, EventKind
from kindling.operator.controller.definitions import install_definitions
from kindling.operator.controller.reconcile import Reconciler
from tests.images import need

__all__ = ["Stage", "stand"]

PYTHON = "python:3.12-slim"
_CLIENT = (Path(__file__).parent / "client.py").read_text(encoding="utf-8")
_RUN = ("python3", "-c", "import os; exec(os.environ['CLIENT'])")
_LIMIT = 120.0


@dataclass(frozen=True, slots=True)
class Stage:
    """An environment that stands. `name` is that of its application."""

    cluster: Cluster
    namespace: str
    name: str

    async def call(self, *arguments: str) -> str:
        """What the client says in the application's pod, whose variables are all that it has."""
        pod = await self._ready(self.name)
        result = await self.cluster.exec(
            self.namespace, pod["metadata"]["name"], self.name, [*_RUN, *arguments]
        )
        told = result.stdout.decode(), result.stderr.decode()
        assert result.code == 0, told
        return told[0]

    async def variables(self) -> Mapping[str, str]:
        """The application's environment."""
        pod = await self._ready(self.name)
        result = await self.cluster.exec(
            self.namespace, pod["metadata"]["name"], self.name, ["env", "-0"]
        )
        lines = result.stdout.decode().rstrip("\0").split("\0")
        return dict(line.split("=", 1) for line in lines)

    async def renew(self, service: str) -> None:
        """Another pod in the place of a backing service's."""
        name = f"{self.name}-{service}"
        old = await self._ready(name)
        await self.cluster.delete(
            ObjectRef("v1", "Pod", old["metadata"]["name"], self.namespace),
            uid=old["metadata"]["uid"],
        )
        await self._ready(name, but=old["metadata"]["uid"])

    async def _ready(self, deployment: str, but: str = "") -> Mapping[str, Any]:
        """The ready pod of a Deployment, as soon as there is one other than the one of that uid."""
        labels = (("app.kubernetes.io/name", deployment),)
        try:
            async with (
                asyncio.timeout(_LIMIT),
                aclosing(
                    self.cluster.watch("v1", "Pod", namespace=self.namespace, labels=labels)
                ) as events,
            ):
                async for event in events:
                    for pod in event.items or (event.object,):
                        if event.kind is not EventKind.DELETED and pod and _serves(pod, but):
                            return pod
        except TimeoutError:
            pods = await self.cluster.list("v1", "Pod", namespace=self.namespace)
            told = {one["metadata"]["name"]: one.get("status") for one in pods.items}
            raise AssertionError(f"no pod of {deployment} is ready: {told}") from None
        raise AssertionError("the watch ended")


def _serves(pod: Mapping[str, Any], but: str) -> bool:
    head, conditions = pod["metadata"], pod.get("status", {}).get("conditions", ())
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and head["uid"] != but and not head.get("deletionTimestamp")


async def stand(cluster: Cluster, namespace: str, *dependencies: Mapping[str, Any]) -> Stage:
    """An environment with these dependencies, as one pass of the operator makes it."""
    need(PYTHON)
    await install_definitions(cluster)
    await cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    environment = {
        "apiVersion": "apps.example.com/v1alpha1",
        "kind": "DevStagingEnvironment",
        "metadata": {"name": "shop", "namespace": namespace},
        "spec": {
            "deployment": {
                "image": PYTHON,
                "port": 8080,
                "command": list(_RUN),
                "args": ["serve"],
                "env": [{"name": "PORT", "value": "8080"}, {"name": "CLIENT", "value": _CLIENT}],
                "healthCheck": {"type": "http", "initialDelaySeconds": 0, "periodSeconds": 1},
            },
            "service": {"port": 80},
            "dependencies": [dict(one) for one in dependencies],
        },
    }
    await cluster.apply(environment)
    done = await Reconciler(cluster).environment(namespace, "shop")
    assert done.problems == ()
    return Stage(cluster, namespace, "shop")
