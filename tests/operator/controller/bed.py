"""A cluster in memory that knows our kinds, and an operator's pass over it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from kindling.graph.spec import ObjectRef
from kindling.kube.protocol import Cluster, Object
from kindling.operator.controller.reading import SORTS
from kindling.operator.controller.reconcile import Reconciled, Reconciler
from kindling.operator.credentials import Draw
from kindling.testing.clock import FakeClock
from kindling.testing.cluster import FakeCluster
from tests.operator.manifests import Obj

__all__ = ["Bed", "drawing", "env_ref", "ref_of"]

GOOD = {"observedGeneration": 99, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}


def drawing() -> Draw:
    """Another answer at each call, as real randomness gives."""
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


def env_ref(name: str = "shop", namespace: str = "default") -> ObjectRef:
    return ObjectRef("apps.example.com/v1alpha1", "DevStagingEnvironment", name, namespace)


def ref_of(item: Mapping[str, Any]) -> ObjectRef:
    head = item["metadata"]
    return ObjectRef(item["apiVersion"], item["kind"], head["name"], head.get("namespace", ""))


class Bed:
    """The fake cluster as `cluster`; `do` makes one pass. `through` stands between the operator and
    the cluster where a test wants to be in the way."""

    def __init__(self, through: Cluster | None = None) -> None:
        self.cluster = through if isinstance(through, FakeCluster) else FakeCluster()
        for kind in SORTS:
            self.cluster.add_kind("apps.example.com/v1alpha1", kind)
        self.clock = FakeClock()
        self.draw = drawing()
        self.reconciler = self.fresh()

    def fresh(self) -> Reconciler:
        """An operator that knows nothing of what was before."""
        return Reconciler(self.cluster, clock=self.clock, draw=self.draw, image="kindling:test")

    def put(self, obj: Obj) -> Object:
        """As a user writes an environment: a server gives uid and generation."""
        head = {k: v for k, v in obj["metadata"].items() if k not in ("uid", "generation")}
        return self.cluster.put({**obj, "metadata": head})

    async def do(self, name: str = "shop", namespace: str = "default") -> Reconciled:
        return await self.reconciler.environment(namespace, name)

    async def settle(self, name: str = "shop", namespace: str = "default") -> Reconciled:
        """A pass, every Deployment at work, and a pass that sees it."""
        await self.do(name, namespace)
        for one in self.cluster.objects("Deployment"):
            wanted = one["spec"].get("replicas", 1)
            counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), wanted)
            self.cluster.set_status(ref_of(one), GOOD | counts)
        return await self.do(name, namespace)

    def state(self, *kinds: str) -> dict[ObjectRef, Obj]:
        """Objects without what a server counts, but for their owners and statuses."""
        found = {}
        for one in self.cluster.objects():
            if one["kind"] in ("Namespace", "CustomResourceDefinition", "Event"):
                continue
            if kinds and one["kind"] not in kinds:
                continue
            head = {
                key: value
                for key, value in one["metadata"].items()
                if key in ("name", "namespace", "labels", "annotations")
            }
            found[ref_of(one)] = {**one, "metadata": head}
        return found

    def events(self) -> list[tuple[str, str, str]]:
        return [
            (one["type"], one["reason"], one["message"]) for one in self.cluster.objects("Event")
        ]
