"""A stage for environments: a cluster in memory, the real passes of the operator, and a test that
plays the controllers and the kubelet."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kindling.executors.operator import OperatorExecutor
from kindling.executors.protocol import Job, Live, Outcome, ReadinessReport, Succeeded
from kindling.graph.node import Kind
from kindling.graph.outcome import Output
from kindling.graph.spec import ObjectRef, ObjectSpec, OperatorSpec
from kindling.kube.protocol import Object
from kindling.testing.clock import FakeClock
from kindling.testing.cluster import FakeCluster
from kindling.testing.jobs import JobWorld
from kindling.testing.operating import FakeOperation

__all__ = ["SHOP", "Stage", "deployment", "manifest"]

_REVISION = "deployment.kubernetes.io/revision"


def manifest(*dependencies: dict[str, Any], name: str = "shop", **spec: Any) -> dict[str, Any]:
    """An environment of an app that listens on 8080."""
    return {
        "apiVersion": "apps.example.com/v1alpha1",
        "kind": "DevStagingEnvironment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "deployment": {"image": "shop:1", "port": 8080},
            "service": {"port": 80},
            "dependencies": list(dependencies),
            **spec,
        },
    }


SHOP = ObjectRef("apps.example.com/v1alpha1", "DevStagingEnvironment", "shop", "default")


def deployment(name: str) -> ObjectRef:
    return ObjectRef("apps/v1", "Deployment", name, "default")


class Stage:
    """A world with such a cluster. Sessions' operators are in `operations`."""

    def __init__(self, root: Path) -> None:
        self.fake = FakeCluster()
        self.fake.add_kind(
            "networking.k8s.io/v1", "IngressClass", "ingressclasses", namespaced=False
        )
        # Pods of the fake are made in 2024: with a clock of that day, they are young.
        self.clock = FakeClock(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
        self.world = JobWorld(root, clock=self.clock, api=self.fake, operator=self._operate)
        self.operations: list[FakeOperation] = []
        self.lines: list[str] = []
        self.executor = OperatorExecutor()

    async def _operate(self, namespace: str) -> str:
        if not self.operations:
            self.operations.append(FakeOperation(self.fake, (namespace,), self.lines.append))
            await self.operations[0].settled()
        return "this session"

    async def away(self) -> None:
        """The session has ended, and with it its operator."""
        for operation in self.operations:
            await operation.stop()
        self.operations.clear()

    def job(self, wanted: dict[str, Any], *, once: bool = False, **more: Any) -> Job:
        head = wanted["metadata"]
        ref = ObjectRef(wanted["apiVersion"], wanted["kind"], head["name"], head["namespace"])
        timeout = more.pop("timeout", 10.0)
        images = more.pop("images", ())
        spec = OperatorSpec(ObjectSpec(ref, json.dumps(wanted)), images, timeout)
        return self.world.job(Kind.OPERATOR, spec, name=head["name"], once=once, **more)

    async def run(self, job: Job) -> Outcome:
        return await self.executor.run(job)

    async def output(self, job: Job) -> Output:
        """What comes of a run that succeeds, with nothing left of it but what it wrote."""
        outcome = await self.run(job)
        assert isinstance(outcome, Succeeded), outcome
        assert outcome.live is not None
        await outcome.live.close()
        return outcome.output

    def play(self, name: str, *, ready: bool = True, waiting: str = "", message: str = "") -> None:
        """The controllers and the kubelet: one pod of a Deployment of an environment."""
        ref = deployment(name)
        live = next(one for one in self.fake.objects("Deployment") if _name(one) == name)
        labels = live["spec"]["selector"]["matchLabels"]
        template = live["spec"]["template"]
        annotated = {
            **live,
            "metadata": {
                **live["metadata"],
                "annotations": {**live["metadata"]["annotations"], _REVISION: "1"},
            },
        }
        made = self.fake.put(annotated, manager="kube-controller-manager")
        sets = self.fake.put(
            _owned(made, "apps/v1", "ReplicaSet", f"{name}-1", {**labels, "pod-template-hash": "1"})
            | {"spec": {}}
        )
        status = {"name": _name(live), "restartCount": 0, "state": {"running": {}}}
        if waiting:
            status["state"] = {"waiting": {"reason": waiting, "message": message}}
        self.fake.put(
            _owned(sets, "v1", "Pod", f"{name}-1-x", {**labels, **template["metadata"]["labels"]})
            | {
                "spec": {"containers": [{"name": "it", "readinessProbe": {"tcpSocket": {}}}]},
                "status": {
                    "phase": "Running",
                    "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
                    "containerStatuses": [status],
                },
            }
        )
        count = 1 if ready else 0
        self.fake.set_status(
            ref,
            {
                "observedGeneration": made["metadata"]["generation"],
                "replicas": 1,
                "updatedReplicas": 1,
                "availableReplicas": count,
            },
        )

    @asynccontextmanager
    async def following(self, live: Live | None) -> AsyncIterator[list[ReadinessReport]]:
        """The reports of a live part, while it is followed."""
        assert live is not None
        reports: list[ReadinessReport] = []
        task = asyncio.create_task(live.follow(reports.append))
        try:
            yield reports
            if task.done():
                task.result()
        finally:
            task.cancel()
            await asyncio.wait([task])
            await live.close()

    async def until(self, holds: Callable[[], object]) -> None:
        """Let everything run until `holds()` is true."""
        for _ in range(200):
            if holds():
                return
            await self.clock.settle()
        raise AssertionError("it never came true")


def _owned(owner: Object, version: str, kind: str, name: str, labels: Any) -> dict[str, Any]:
    controller = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": _name(owner),
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": owner["metadata"]["namespace"],
            "labels": labels,
            "annotations": {_REVISION: "1"},
            "ownerReferences": [controller],
        },
    }


def _name(item: Object) -> str:
    return str(item["metadata"]["name"])
