"""What tests of workloads play: the controllers of a cluster in memory, and a death at any step."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from kindling.graph.spec import ObjectRef
from kindling.kube.protocol import Cluster, EventKind
from kindling.objects.identity import canonical
from kindling.sync.notices import Notice
from kindling.sync.template.session import Session
from kindling.sync.workload.records import Record, Records
from kindling.testing.cluster import FakeCluster

NAMESPACE = "default"
REVISION = "deployment.kubernetes.io/revision"


def deployment(name: str = "web", replicas: int = 1, **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    container = {
        "name": "app",
        "image": "busybox:1.36",
        "command": ["sh", "-c", "sleep 1000"],
        "args": ["x"],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container]},
            },
            **spec,
        },
    }


def stateful_set(name: str = "db", replicas: int = 2, **spec: Any) -> dict[str, Any]:
    return {**deployment(name, replicas, serviceName=name, **spec), "kind": "StatefulSet"}


def ref_of(manifest: Mapping[str, Any]) -> ObjectRef:
    return ObjectRef("apps/v1", manifest["kind"], manifest["metadata"]["name"], NAMESPACE)


def session(name: str = "s1", **fields: Any) -> Session:
    told = {"argv": ("sh", "-c", "sleep 1000", "x"), **fields}
    return Session(name, "ada@desk", "2026-01-02T03:04:05Z", "./web", "", "", **told)


def agents(machine: str) -> bytes:
    """An agent for whatever machine."""
    return f"agent for {machine}".encode()


def silent(notice: Notice) -> None:
    """Nobody listens."""
    del notice


class Controller:
    """Makes pods of Deployments and StatefulSets. `breaks` says of a pod template why its pods do
    not come; empty where they do."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.breaks: Callable[[Mapping[str, Any]], str] = _never
        self.made = 0

    def settle(self) -> None:
        """Do what is to be done until nothing is."""
        for _ in range(50):
            before = [item["metadata"]["resourceVersion"] for item in self.cluster.objects()]
            for item in self.cluster.objects("Deployment"):
                self._deployment(item)
            for item in self.cluster.objects("StatefulSet"):
                self._stateful_set(item)
            if before == [o["metadata"]["resourceVersion"] for o in self.cluster.objects()]:
                return
        raise AssertionError("the controllers find no end")

    def _deployment(self, item: Any) -> None:
        digest = sha256(canonical(item["spec"]["template"]).encode()).hexdigest()[:8]
        sets = [
            s for s in self.cluster.objects("ReplicaSet") if _owner(s) == item["metadata"]["uid"]
        ]
        current = next((s for s in sets if s["metadata"]["name"].endswith(digest)), None)
        number = max((int(s["metadata"]["annotations"][REVISION]) for s in sets), default=0)
        newest = current is not None and number == int(current["metadata"]["annotations"][REVISION])
        if not newest:
            number += 1
            current = self.cluster.put(
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "metadata": {
                        "name": f"{item['metadata']['name']}-{digest}",
                        "namespace": NAMESPACE,
                        "labels": {
                            **item["spec"]["selector"]["matchLabels"],
                            "pod-template-hash": digest,
                        },
                        "annotations": {REVISION: str(number)},
                        "ownerReferences": [_reference(item)],
                    },
                    "spec": {"template": item["spec"]["template"], "selector": {}},
                }
            )
        assert current is not None
        annotations = item["metadata"].get("annotations") or {}
        if annotations.get(REVISION) != str(number):
            item = copy.deepcopy(item)
            item["metadata"]["annotations"] = {**annotations, REVISION: str(number)}
            item = self.cluster.put(item)
        self._observed(item, {})
        for pod in self.cluster.objects("Pod"):
            if _owner(pod) in {s["metadata"]["uid"] for s in sets} - {current["metadata"]["uid"]}:
                self.cluster.remove(_pod_ref(pod))
        mine = [p for p in self.cluster.objects("Pod") if _owner(p) == current["metadata"]["uid"]]
        for _ in range(len(mine), item["spec"]["replicas"]):
            self.made += 1
            name = f"{current['metadata']['name']}-{self.made}"
            self._pod(name, item["spec"]["template"], current, {"pod-template-hash": digest})

    def _stateful_set(self, item: Any) -> None:
        digest = sha256(canonical(item["spec"]["template"]).encode()).hexdigest()[:8]
        strategy = item["spec"].get("updateStrategy") or {}
        self._observed(item, {"updateRevision": digest})
        here = {
            p["metadata"]["name"]: p
            for p in self.cluster.objects("Pod")
            if _owner(p) == item["metadata"]["uid"]
        }
        for number in range(item["spec"]["replicas"]):
            name = f"{item['metadata']['name']}-{number}"
            pod = here.get(name)
            old = pod and pod["metadata"]["labels"]["controller-revision-hash"] != digest
            if pod is not None and old and strategy.get("type") != "OnDelete":
                self.cluster.remove(_pod_ref(pod))
                pod = None
            if pod is None:
                self.made += 1
                self._pod(
                    name, item["spec"]["template"], item, {"controller-revision-hash": digest}
                )

    def _observed(self, item: Any, more: Mapping[str, Any]) -> None:
        status = {"observedGeneration": item["metadata"]["generation"], **more}
        if item.get("status") != status:
            self.cluster.set_status(ref_of(item), status)

    def _pod(
        self, name: str, template: Mapping[str, Any], owner: Any, labels: Mapping[str, str]
    ) -> None:
        metadata = template.get("metadata") or {}
        why = self.breaks(template)
        state: dict[str, Any] = (
            {"waiting": {"reason": why, "message": "no such image: not found"}}
            if why
            else {"running": {"startedAt": "2026-01-02T03:04:05Z"}}
        )
        self.cluster.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": NAMESPACE,
                    "labels": {**(metadata.get("labels") or {}), **labels},
                    "annotations": dict(metadata.get("annotations") or {}),
                    "ownerReferences": [_reference(owner)],
                },
                "spec": {**template["spec"], "nodeName": "node-1"},
                "status": {
                    "phase": "Pending" if why else "Running",
                    "conditions": [] if why else [{"type": "Ready", "status": "True"}],
                    "containerStatuses": [
                        {
                            "name": one["name"],
                            "state": state,
                            "containerID": f"fake://{self.made}" + (f"-{at}" if at else ""),
                            "restartCount": 0,
                        }
                        for at, one in enumerate(template["spec"]["containers"])
                    ],
                },
            }
        )


@asynccontextmanager
async def controlled(cluster: FakeCluster) -> AsyncIterator[Controller]:
    """A cluster whose controllers act on every change."""
    controller = Controller(cluster)
    controller.settle()

    async def follow(api_version: str, kind: str) -> None:
        async with aclosing(cluster.watch(api_version, kind)) as events:
            async for event in events:
                if event.kind is not EventKind.AWAY:
                    controller.settle()

    tasks = [
        asyncio.create_task(follow(*kind))
        for kind in (("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("v1", "Pod"))
    ]
    try:
        yield controller
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result


class Killed(BaseException):
    """`kill -9`: nothing runs after it."""


class Fate:
    """Death at the `at`-th step, before it is done or when it is done and nobody has heard of it.
    Afterwards nothing is done any more."""

    def __init__(self, at: int, *, done: bool) -> None:
        self.at = at
        self.done = done
        self.steps = 0

    @property
    def dead(self) -> bool:
        return self.steps > self.at or (self.steps == self.at and not self.done)

    def step(self) -> None:
        self.steps += 1
        if self.dead:
            raise Killed

    def after(self) -> None:
        if self.steps >= self.at:
            self.steps = self.at + 1
            raise Killed


class MortalRecords(Records):
    def __init__(self, folder: Path, fate: Fate) -> None:
        super().__init__(folder)
        self._fate = fate

    def save(self, record: Record) -> None:
        self._fate.step()
        super().save(record)
        self._fate.after()

    def forget(self, session: str) -> None:
        self._fate.step()
        super().forget(session)
        self._fate.after()


class _Mortal:
    def __init__(self, cluster: Cluster, fate: Fate) -> None:
        self._cluster = cluster
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._cluster, name)
        if name not in {"facts", "get", "list", "create", "patch", "delete", "apply", "pods_of"}:
            return value

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._fate.step()
            result = await value(*args, **kwargs)
            self._fate.after()
            return result

        return call


def mortal(cluster: Cluster, fate: Fate) -> Cluster:
    """The cluster as one sees it who may die at any call."""
    return cast("Cluster", _Mortal(cluster, fate))


def _never(template: Mapping[str, Any]) -> str:
    del template
    return ""


def _owner(item: Mapping[str, Any]) -> str:
    references = item["metadata"].get("ownerReferences") or ()
    return str(references[0]["uid"]) if references else ""


def _reference(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": item["apiVersion"],
        "kind": item["kind"],
        "name": item["metadata"]["name"],
        "uid": item["metadata"]["uid"],
        "controller": True,
    }


def _pod_ref(pod: Mapping[str, Any]) -> ObjectRef:
    return ObjectRef("v1", "Pod", pod["metadata"]["name"], NAMESPACE)
