"""The scheduler: gives pods to the node, or says why not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kindling.cluster.controllers.claims import Waiting, waiting_for_claims
from kindling.cluster.controllers.controller import Controller, World, key_of
from kindling.cluster.controllers.fit import Misfit, misfits, unschedulable_message
from kindling.cluster.controllers.kinds import CLAIMS, NODES, PODS, VOLUMES
from kindling.cluster.controllers.meta import (
    condition,
    name_of,
    namespace_of,
    terminating,
    uid_of,
    with_condition,
)
from kindling.cluster.controllers.occupancy import Occupancy
from kindling.cluster.controllers.pods import finished
from kindling.cluster.controllers.work import Key
from kindling.cluster.model.api import Change, ChangeType, Obj, WriteOptions
from kindling.cluster.model.status import ApiError

__all__ = ["SELECTED_NODE", "Scheduler"]

SELECTED_NODE = "volume.kubernetes.io/selected-node"
"""The annotation by which a claim learns where its first consumer is to run."""

_OPTIONS = WriteOptions(field_manager="kube-scheduler")


class Scheduler(Controller):
    """Pods that cannot go anywhere are parked until a node, a claim or another pod changes.

    What nodes are filled with is followed by the watch; a pod whose binding is being written counts
    from the moment of the decision.
    """

    name = "scheduler"
    kinds = (PODS, NODES, CLAIMS, VOLUMES)

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._parked: dict[Key, bool] = {}
        """Pods that wait; True for those that wait for company."""
        self._filled: dict[str, Occupancy] = {}
        self._doubtful = True
        """Whether the watch began, or began anew, so that ends of pods may have gone unseen."""

    @property
    def component(self) -> str:
        return "default-scheduler"

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.key != PODS.key:
            return list(self._parked)
        pod = change.object
        node = str(pod["spec"].get("nodeName") or "")
        left = change.type is ChangeType.DELETED or finished(pod)
        if left:
            self._parked.pop(key_of(pod), None)
            gone = [filled.drop(uid_of(pod)) for filled in self._filled.values()]
            return list(self._parked) if any(gone) else ()
        if not node:
            return (key_of(pod),)
        known = uid_of(pod) in self._on(node)
        self._doubtful |= known and change.before is None
        self._on(node).put(pod)
        self._parked.pop(key_of(pod), None)
        return () if known else [key for key, company in self._parked.items() if company]

    def _on(self, node: str) -> Occupancy:
        return self._filled.setdefault(node, Occupancy())

    def _count_anew(self) -> None:
        self._doubtful = False
        self._filled = {}
        for pod in self.api.select(PODS):
            if pod["spec"].get("nodeName") and not finished(pod):
                self._on(str(pod["spec"]["nodeName"])).put(pod)

    async def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        pod = self.api.get(PODS, name, namespace)
        if pod is None or terminating(pod) or finished(pod):
            self._parked.pop(key, None)
            return None
        spec = pod["spec"]
        if (spec.get("schedulerName") or "default-scheduler") != "default-scheduler":
            return None
        if spec.get("nodeName"):
            self._parked.pop(key, None)
            return None
        self._parked[key] = bool((spec.get("affinity") or {}).get("podAffinity"))
        if spec.get("schedulingGates"):
            await self._note(
                pod,
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "SchedulingGated",
                    "message": "Scheduling is blocked due to non-empty scheduling gates",
                },
            )
            return None
        nodes = self.api.select(NODES)
        waiting = waiting_for_claims(self.api, pod)
        if waiting is not None and waiting.objection:
            await self._refuse(
                pod, unschedulable_message((), before=waiting.objection, nodes=len(nodes))
            )
            return None
        if self._doubtful:
            self._count_anew()
        found: list[list[Misfit]] = []
        for node in nodes:
            objections = misfits(pod, node, self._on(name_of(node)))
            if not objections:
                await self._place(pod, node, waiting)
                return None
            found.append(objections)
        await self._refuse(pod, unschedulable_message(found))
        return None

    async def _place(self, pod: Obj, node: Obj, waiting: Waiting | None) -> None:
        if waiting is not None:
            await self._select_node(pod, node, waiting)
            return
        uid = uid_of(pod)
        filled = self._on(name_of(node))
        filled.put(pod)
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name_of(pod), "namespace": namespace_of(pod)},
            "target": {"kind": "Node", "name": name_of(node)},
        }
        try:
            await self.api.update(PODS, binding, "binding", _OPTIONS)
        except BaseException as error:
            filled.drop(uid)
            now = self.api.get(PODS, name_of(pod), namespace_of(pod))
            if now is not None and now["spec"].get("nodeName") and not finished(now):
                self._on(str(now["spec"]["nodeName"])).put(now)  # somebody else has placed it
            if isinstance(error, ApiError) and error.code == 404:
                return
            raise
        self._parked.pop(key_of(pod), None)
        where = f"{namespace_of(pod)}/{name_of(pod)}"
        self.events.normal(pod, "Scheduled", f"Successfully assigned {where} to {name_of(node)}")

    async def _select_node(self, pod: Obj, node: Obj, waiting: Waiting) -> None:
        """Tell the pod's unbound claims where they are wanted; the pod waits until they are bound,
        which comes back as a change of theirs."""
        for name in waiting.unbound:
            claim = self.api.get(CLAIMS, name, namespace_of(pod))
            if claim is None:
                continue
            notes = claim["metadata"].get("annotations") or {}
            if notes.get(SELECTED_NODE) != name_of(node):
                change = {"metadata": {"annotations": {SELECTED_NODE: name_of(node)}}}
                await self.api.patch(CLAIMS, name, change, namespace_of(pod), options=_OPTIONS)

    async def _refuse(self, pod: Obj, message: str) -> None:
        changed = await self._note(
            pod,
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": message,
            },
        )
        if changed:
            self.events.warning(pod, "FailedScheduling", message)

    async def _note(self, pod: Obj, new: dict[str, Any]) -> bool:
        """Set the condition `PodScheduled`; False when it says so already."""
        status = pod.get("status") or {}
        old = condition(status, "PodScheduled")
        if old is not None and all(old.get(key) == value for key, value in new.items()):
            return False
        new = {"lastProbeTime": None, **new}
        conditions = with_condition(status.get("conditions"), new, now=self.world.now)
        # A pod may have ended its life meanwhile, and it is the node that knows best.
        try:
            await self.write_status(PODS, pod, {**status, "conditions": conditions})
        except ApiError as error:
            if error.code != 404:
                raise
        return True
