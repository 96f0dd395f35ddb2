"""ReplicaSet and ReplicationController: a number of equal pods."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, ClassVar

from kindling.cluster.controllers.controller import Controller, key_of, owner_keys
from kindling.cluster.controllers.kinds import PODS, REPLICA_SETS, REPLICATION_CONTROLLERS
from kindling.cluster.controllers.meta import (
    condition,
    int_or,
    labels,
    matches,
    name_of,
    terminating,
    with_condition,
    without_condition,
)
from kindling.cluster.controllers.ownership import claim, orphans_concern, owned
from kindling.cluster.controllers.pods import (
    available_in,
    create_pod,
    delete_pod,
    is_active,
    pod_of_template,
    ready,
    slow_start,
    standing,
)
from kindling.cluster.controllers.ranking import pods_to_delete
from kindling.cluster.controllers.work import Key
from kindling.cluster.model.api import Change, ChangeType, Obj
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import ApiError

__all__ = ["ReplicaSetController", "ReplicationControllerController"]

_BURST = 500  # pods created or deleted in one go


class ReplicaSetController(Controller):
    name = "replicaset"
    kinds = (REPLICA_SETS, PODS)
    resource: ClassVar[ResourceType] = REPLICA_SETS

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.key == self.resource.key:
            return (key_of(change.object),)
        if (
            change.type is ChangeType.MODIFIED
            and change.before is not None
            and standing(change.before) == standing(change.object)
        ):
            return ()
        found: set[Key] = owner_keys(change, self.resource)
        if not found and not terminating(change.object):
            found.update(orphans_concern(self.api, self.resource, change.object))
        return found

    def selector(self, obj: Obj) -> dict[str, Any]:
        found: dict[str, Any] = obj["spec"].get("selector") or {}
        return found

    async def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        owner = self.api.get(self.resource, name, namespace)
        if owner is None:
            return None
        claimed = await claim(self.api, PODS, owner, self.resource, self.selector(owner))
        pods = [pod for pod in claimed if is_active(pod)]
        failure: tuple[str, str] | None = None
        error: ApiError | None = None
        if not terminating(owner):
            try:
                pods = await self._manage(owner, pods)
            except ApiError as refused:
                error = refused
                wanted = int_or(owner["spec"].get("replicas"), 1)
                failure = ("FailedCreate" if len(pods) < wanted else "FailedDelete", str(refused))
                pods = [pod for pod in owned(self.api, PODS, owner) if is_active(pod)]
        again = await self._report(owner, pods, failure)
        if error is not None:
            raise error
        return again

    async def _manage(self, owner: Obj, pods: list[Obj]) -> list[Obj]:
        """Make or end pods until there are as many as wanted; those that are there then."""
        wanted = int_or(owner["spec"].get("replicas"), 1)
        missing = min(wanted - len(pods), _BURST)
        if missing > 0:
            made: list[Obj] = []

            async def make(_: int) -> None:
                pod = pod_of_template(owner["spec"]["template"], self.resource, owner)
                made.append(await create_pod(self.world, self.events, owner, pod))

            await slow_start(missing, make)
            return pods + made
        if missing < 0:
            surplus = pods_to_delete(
                pods,
                min(-missing, _BURST),
                now=self.world.clock.time(),
                doubled=self._related(pods),
            )
            await asyncio.gather(
                *(delete_pod(self.world, self.events, owner, pod) for pod in surplus)
            )
            gone = {name_of(pod) for pod in surplus}
            return [pod for pod in pods if name_of(pod) not in gone]
        return pods

    @staticmethod
    def _related(pods: list[Obj]) -> dict[str, int]:
        """How many pods of the same grandparent a node has: those are doubled up. On one node this
        ranks all alike, so it is only counted for the pods at hand."""
        found: dict[str, int] = {}
        for pod in pods:
            node = pod["spec"].get("nodeName") or ""
            found[node] = found.get(node, 0) + 1
        return found

    async def _report(
        self, owner: Obj, pods: list[Obj], failure: tuple[str, str] | None
    ) -> float | None:
        """Write the status; the seconds until the next pod becomes available."""
        min_ready = int_or(owner["spec"].get("minReadySeconds"), 0)
        now = self.world.clock.time()
        waits = [available_in(pod, min_ready, now) for pod in pods]
        template_labels = (owner["spec"].get("template", {}).get("metadata") or {}).get(
            "labels"
        ) or {}
        wanted_labels = {"matchLabels": template_labels}
        old = owner.get("status") or {}
        status: Obj = {"replicas": len(pods)}
        for field, number in (
            ("fullyLabeledReplicas", sum(matches(wanted_labels, labels(pod)) for pod in pods)),
            ("readyReplicas", sum(ready(pod) for pod in pods)),
            ("availableReplicas", sum(wait == 0.0 for wait in waits)),
        ):
            if number:
                status[field] = number
        status["observedGeneration"] = int_or(owner["metadata"].get("generation"), 0)
        conditions = old.get("conditions") or []
        if failure is None:
            conditions = without_condition(conditions, "ReplicaFailure")
        else:
            found = condition(old, "ReplicaFailure")
            if found is None or found.get("reason") != failure[0]:
                new = {
                    "type": "ReplicaFailure",
                    "status": "True",
                    "reason": failure[0],
                    "message": failure[1],
                }
                conditions = with_condition(conditions, new, now=self.world.now)
        if conditions:
            status["conditions"] = conditions
        await self.write_status(self.resource, owner, status)
        later = [wait for wait in waits if wait]
        return min(later) if later else None


class ReplicationControllerController(ReplicaSetController):
    name = "replicationcontroller"
    kinds = (REPLICATION_CONTROLLERS, PODS)
    resource = REPLICATION_CONTROLLERS

    @property
    def component(self) -> str:
        return "replication-controller"

    def selector(self, obj: Obj) -> dict[str, Any]:
        return {"matchLabels": obj["spec"].get("selector") or {}}
