"""Small duties: pods nobody needs, old events, taints of the node, and who is evicted by them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kindling.cluster.controllers.controller import OPTIONS, Controller, World, key_of
from kindling.cluster.controllers.kinds import EVENTS, NODES, PODS
from kindling.cluster.controllers.meta import (
    condition,
    name_of,
    namespace_of,
    parse_time,
    terminating,
    uid_of,
)
from kindling.cluster.controllers.pods import finished, oldest_first
from kindling.cluster.controllers.work import Key
from kindling.cluster.model.api import Change, ChangeType, DeleteOptions, Obj
from kindling.cluster.model.status import ApiError

__all__ = ["EventExpiry", "NodeLifecycle", "PodGarbage", "TaintEviction"]

_EVENT_LIFE = 3600.0  # seconds
_KEPT_PODS = 12_500  # pods that have ended; as kube-controller-manager's default
_QUARANTINE = 40.0  # seconds that a pod outlives its node, should that only be late
_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_NOT_READY = "node.kubernetes.io/not-ready"
_UNREACHABLE = "node.kubernetes.io/unreachable"
_OURS = (_UNSCHEDULABLE, _NOT_READY, _UNREACHABLE)


class PodGarbage(Controller):
    """Removes pods whose node is gone, and the oldest of too many that have ended."""

    name = "pod-garbage-collector"
    kinds = (PODS, NODES)

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._missing_since: dict[str, float] = {}

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.key == NODES.key:
            relevant = change.type is ChangeType.DELETED or change.before is None
        else:
            relevant = change.type is not ChangeType.DELETED and self._doubtful(change)
        return (("", "all"),) if relevant else ()

    def _doubtful(self, change: Change) -> bool:
        """Whether a pod has just ended, is on its way out unbound, or is on no node of ours."""
        pod, before = change.object, change.before
        node = pod["spec"].get("nodeName")
        if finished(pod) and (before is None or not finished(before)):
            return True
        return self.api.get(NODES, str(node)) is None if node else terminating(pod)

    async def reconcile(self, key: Key) -> float | None:  # noqa: ARG002  # there is but one
        nodes = {name_of(node) for node in self.api.select(NODES)}
        now = self.world.clock.time()
        again: float | None = None
        ended: list[Obj] = []
        missing: set[str] = set()
        for pod in self.api.select(PODS):
            node = pod["spec"].get("nodeName")
            if finished(pod):
                ended.append(pod)
            if not node and terminating(pod):
                await self._remove(pod)
            elif node and node not in nodes:
                missing.add(node)
                since = self._missing_since.setdefault(node, now)
                if since + _QUARANTINE <= now:
                    await self._remove(pod)
                else:
                    again = since + _QUARANTINE - now
        for node in set(self._missing_since) - missing:
            del self._missing_since[node]
        for pod in oldest_first(ended)[: max(len(ended) - _KEPT_PODS, 0)]:
            await self._remove(pod)
        return again

    async def _remove(self, pod: Obj) -> None:
        options = DeleteOptions(grace=0, uid=uid_of(pod))
        try:
            await self.api.delete(PODS, name_of(pod), namespace_of(pod), options)
        except ApiError as error:
            if error.code not in (404, 409):
                raise


class EventExpiry(Controller):
    """Forgets events an hour after they were last seen."""

    name = "event-expiry"
    kinds = (EVENTS,)

    def keys(self, change: Change) -> Iterable[Key]:
        return () if change.type is ChangeType.DELETED else (key_of(change.object),)

    async def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        event = self.api.get(EVENTS, name, namespace)
        if event is None:
            return None
        series = event.get("series") or {}
        seen = max(
            parse_time(text)
            for text in (
                event.get("lastTimestamp"),
                event.get("eventTime"),
                series.get("lastObservedTime"),
                event["metadata"].get("creationTimestamp"),
            )
        )
        left = seen + _EVENT_LIFE - self.world.clock.time()
        if left > 0:
            return left
        try:
            await self.api.delete(EVENTS, name, namespace)
        except ApiError as error:
            if error.code != 404:
                raise
        return None


class NodeLifecycle(Controller):
    """Keeps the taints that follow from a node's state: cordoned, not ready, not heard of.

    Unlike the real one it adds no `NoExecute` taints, since with a single node there is nowhere
    else to go.
    """

    name = "node"
    kinds = (NODES,)

    async def reconcile(self, key: Key) -> float | None:
        node = self.api.get(NODES, key[1])
        if node is None or terminating(node):
            return None
        spec = node.get("spec") or {}
        ready = condition(node.get("status"), "Ready")
        wanted: list[str] = []
        if spec.get("unschedulable"):
            wanted.append(_UNSCHEDULABLE)
        if ready is not None and ready.get("status") == "False":
            wanted.append(_NOT_READY)
        elif ready is not None and ready.get("status") == "Unknown":
            wanted.append(_UNREACHABLE)
        there: list[Obj] = list(spec.get("taints") or ())
        taints: list[Obj] = [
            taint
            for taint in there
            if taint.get("key") not in _OURS
            or taint.get("effect") != "NoSchedule"
            or taint["key"] in wanted
        ]
        held = {(taint.get("key"), taint.get("effect")) for taint in taints}
        for name in wanted:
            if (name, "NoSchedule") not in held:
                taints.append({"key": name, "effect": "NoSchedule", "timeAdded": self.world.now})
        if taints == there:
            return None
        new: dict[str, Any] = {**spec, "taints": taints}
        if not taints:
            del new["taints"]
        await self.api.update(NODES, {**node, "spec": new}, options=OPTIONS)
        return None


class TaintEviction(Controller):
    """Deletes pods that do not tolerate a `NoExecute` taint of their node, or no longer."""

    name = "taint-eviction"
    kinds = (PODS, NODES)

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._since: dict[tuple[str, str], float] = {}
        """When a pod's taint was first seen, for taints that do not say."""

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.key == PODS.key:
            pod, before = change.object, change.before
            if change.type is ChangeType.DELETED or not pod["spec"].get("nodeName"):
                return ()
            if before is not None and before["spec"] == pod["spec"]:
                return ()
            return (key_of(pod),)
        before = change.before or {}
        if _no_execute(before) == _no_execute(change.object):
            return ()
        return [
            key_of(pod)
            for pod in self.api.select(PODS)
            if pod["spec"].get("nodeName") == name_of(change.object)
        ]

    async def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        pod = self.api.get(PODS, name, namespace)
        node = self.api.get(NODES, str(pod["spec"].get("nodeName") or "")) if pod else None
        if pod is None or node is None or terminating(pod) or finished(pod):
            return None
        left: float | None = None
        now = self.world.clock.time()
        taints = _no_execute(node)
        uid = uid_of(pod)
        for key_ in [one for one in self._since if one[0] == uid]:
            if key_[1] not in {str(taint.get("key")) for taint in taints}:
                del self._since[key_]
        for taint in taints:
            may_stay = _tolerated_for(pod, taint)
            if may_stay is None:
                continue
            seen = self._since.setdefault((uid, str(taint.get("key"))), now)
            until = parse_time(taint.get("timeAdded"), seen) + may_stay - now
            left = until if left is None else min(left, until)
        if left is None:
            return None
        if left > 0:
            return left
        self._since = {one: since for one, since in self._since.items() if one[0] != uid}
        self.events.normal(
            pod, "TaintManagerEviction", f"Marking for deletion Pod {namespace}/{name}"
        )
        try:
            await self.api.delete(PODS, name, namespace, DeleteOptions(uid=uid_of(pod)))
        except ApiError as error:
            if error.code not in (404, 409):
                raise
        return None


def _no_execute(node: Obj) -> list[Obj]:
    taints = (node.get("spec") or {}).get("taints") or ()
    return [taint for taint in taints if taint.get("effect") == "NoExecute"]


def _tolerated_for(pod: Obj, taint: Obj) -> float | None:
    """The seconds that a pod may stay despite a taint; None for ever."""
    allowed = 0.0
    for toleration in pod["spec"].get("tolerations") or ():
        if toleration.get("effect") not in (None, "", "NoExecute"):
            continue
        if toleration.get("key") not in (None, "", taint.get("key")):
            continue
        if toleration.get("operator") != "Exists" and (toleration.get("value") or "") != (
            taint.get("value") or ""
        ):
            continue
        if toleration.get("tolerationSeconds") is None:
            return None
        allowed = max(allowed, float(toleration["tolerationSeconds"]))
    return allowed
