"""DaemonSet: a pod on every node, of which there is one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any

from kindling.cluster.controllers.controller import Controller, key_of, owner_keys
from kindling.cluster.controllers.fit import misfits
from kindling.cluster.controllers.history import (
    REVISION_LABEL,
    current_revision,
    revisions_of,
    trim,
)
from kindling.cluster.controllers.kinds import DAEMON_SETS, NODES, PODS
from kindling.cluster.controllers.meta import (
    int_or,
    labels,
    name_of,
    notes_of,
    terminating,
)
from kindling.cluster.controllers.occupancy import Occupancy
from kindling.cluster.controllers.ownership import claim, orphans_concern
from kindling.cluster.controllers.pods import (
    available_in,
    create_pod,
    delete_pod,
    finished,
    oldest_first,
    phase,
    pod_of_template,
    ready,
)
from kindling.cluster.controllers.rolling import percent
from kindling.cluster.controllers.work import Key
from kindling.cluster.model.api import Change, Obj, Selection
from kindling.cluster.model.status import ApiError

__all__ = ["DaemonSetController"]

_GENERATION = "deprecated.daemonset.template.generation"
_TOLERATED = (
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)


class DaemonSetController(Controller):
    name = "daemonset"
    kinds = (DAEMON_SETS, PODS, NODES)

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.key == DAEMON_SETS.key:
            return (key_of(change.object),)
        if change.resource.key == NODES.key:
            if change.before is not None and _placing(change.before) == _placing(change.object):
                return ()  # a heartbeat
            return [key_of(one) for one in self.api.select(DAEMON_SETS, Selection())]
        found = owner_keys(change, DAEMON_SETS)
        if not found and not terminating(change.object):
            found.update(orphans_concern(self.api, DAEMON_SETS, change.object))
        return found

    async def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        owner = self.api.get(DAEMON_SETS, name, namespace)
        if owner is None:
            return None
        spec = owner["spec"]
        pods = await claim(self.api, PODS, owner, DAEMON_SETS, spec.get("selector"))
        known = await revisions_of(self.api, owner, DAEMON_SETS)
        update, collisions = await current_revision(
            self.api, owner, DAEMON_SETS, known, hash_label=True
        )
        digest = labels(update).get(REVISION_LABEL, "")
        error: ApiError | None = None
        if not terminating(owner):
            try:
                for node in self.api.select(NODES):
                    await self._on_node(owner, node, pods, digest)
                await self._leave_gone_nodes(owner, pods)
            except ApiError as refused:
                error = refused
        pods = await claim(self.api, PODS, owner, DAEMON_SETS, spec.get("selector"))
        again = await self._report(owner, pods, digest, collisions)
        used = {name_of(update)} | {
            name_of(one)
            for one in known
            if any(
                labels(pod).get(REVISION_LABEL) == labels(one).get(REVISION_LABEL) for pod in pods
            )
        }
        await trim(self.api, known, used, int_or(spec.get("revisionHistoryLimit"), 10))
        if error is not None:
            raise error
        return again

    async def _on_node(self, owner: Obj, node: Obj, pods: Sequence[Obj], digest: str) -> None:
        """Bring one node to what it is to have."""
        here = oldest_first([pod for pod in pods if _node_of(pod) == name_of(node)])
        runs, stays = self._belongs(owner, node)
        if not runs and not (stays and here):
            for pod in here:
                if not terminating(pod):
                    await delete_pod(self.world, self.events, owner, pod)
            return
        for pod in here:
            if phase(pod) == "Failed" and not terminating(pod):
                where = f"{pod['metadata'].get('namespace')}/{name_of(pod)}"
                self.events.warning(
                    owner,
                    "FailedDaemonPod",
                    f"Found failed daemon pod {where} on node {name_of(node)}, will try to kill it",
                )
                await delete_pod(self.world, self.events, owner, pod)
        alive = [pod for pod in here if not finished(pod)]
        if any(terminating(pod) for pod in alive):
            alive_now = [pod for pod in alive if not terminating(pod)]
            if not alive_now and not self._surges(owner):
                return  # the next comes when this one is gone
        keep = [pod for pod in alive if not terminating(pod)]
        if not keep:
            if runs and not any(phase(pod) == "Failed" for pod in here):
                await self._create(owner, node, digest)
            return
        strategy = (owner["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate")
        old = [pod for pod in keep if labels(pod).get(REVISION_LABEL) != digest]
        new = [pod for pod in keep if pod not in old]
        for surplus in [*new[1:], *old[1:]]:
            await delete_pod(self.world, self.events, owner, surplus)
        if strategy == "OnDelete" or not old:
            return
        if self._surges(owner):
            # The new one comes first, and the old one goes when that serves.
            if not new:
                await self._create(owner, node, digest)
            elif ready(new[0]):
                await delete_pod(self.world, self.events, owner, old[0])
        else:
            await delete_pod(self.world, self.events, owner, old[0])

    @staticmethod
    def _surges(owner: Obj) -> bool:
        rolling = (owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
        return percent(rolling.get("maxSurge", 0), 1, up=True) > 0

    def _belongs(self, owner: Obj, node: Obj) -> tuple[bool, bool]:
        """Whether a pod is to be started on a node, and whether one that is there may stay."""
        pod = self._pod(owner, node, "")
        nobody = Occupancy()
        bare = {**node, "status": {}}  # room is for the scheduler to judge
        if not misfits(pod, bare, nobody):
            return True, True
        taints = (node.get("spec") or {}).get("taints") or ()
        lasting = [taint for taint in taints if taint.get("effect") == "NoExecute"]
        spec = {**(node.get("spec") or {}), "taints": lasting}
        return False, not misfits(pod, {**bare, "spec": spec}, nobody)

    async def _create(self, owner: Obj, node: Obj, digest: str) -> None:
        await create_pod(self.world, self.events, owner, self._pod(owner, node, digest))

    @staticmethod
    def _pod(owner: Obj, node: Obj, digest: str) -> Obj:
        pod = pod_of_template(owner["spec"]["template"], DAEMON_SETS, owner)
        found = pod["metadata"].setdefault("labels", {})
        found[REVISION_LABEL] = digest
        if generation := notes_of(owner).get(_GENERATION):
            found["pod-template-generation"] = generation
        spec = pod["spec"]
        spec["tolerations"] = _with_tolerations(spec)
        spec["affinity"] = _pinned(spec.get("affinity"), name_of(node))
        return pod

    async def _leave_gone_nodes(self, owner: Obj, pods: Sequence[Obj]) -> None:
        nodes = {name_of(node) for node in self.api.select(NODES)}
        for pod in pods:
            if _node_of(pod) not in nodes and not terminating(pod):
                await delete_pod(self.world, self.events, owner, pod)

    async def _report(
        self, owner: Obj, pods: Sequence[Obj], digest: str, collisions: int
    ) -> float | None:
        now = self.world.clock.time()
        wait = int_or(owner["spec"].get("minReadySeconds"), 0)
        counts = dict.fromkeys(
            ("desired", "current", "misscheduled", "ready", "available", "updated"), 0
        )
        later: list[float] = []
        for node in self.api.select(NODES):
            runs, _ = self._belongs(owner, node)
            here = [
                pod
                for pod in oldest_first(pods)
                if _node_of(pod) == name_of(node) and not terminating(pod) and not finished(pod)
            ]
            if not runs:
                counts["misscheduled"] += bool(here)
                continue
            counts["desired"] += 1
            if not here:
                continue
            counts["current"] += 1
            serving = [pod for pod in here if ready(pod)]
            counts["ready"] += bool(serving)
            waits = [available_in(pod, wait, now) for pod in serving]
            counts["available"] += any(left == 0.0 for left in waits)
            later += [left for left in waits if left]
            counts["updated"] += any(labels(pod).get(REVISION_LABEL) == digest for pod in here)
        status: Obj = {
            "currentNumberScheduled": counts["current"],
            "numberMisscheduled": counts["misscheduled"],
            "desiredNumberScheduled": counts["desired"],
            "numberReady": counts["ready"],
            "observedGeneration": int_or(owner["metadata"].get("generation"), 0),
        }
        for field, number in (
            ("updatedNumberScheduled", counts["updated"]),
            ("numberAvailable", counts["available"]),
            ("numberUnavailable", counts["desired"] - counts["available"]),
            ("collisionCount", collisions),
        ):
            if number:
                status[field] = number
        await self.write_status(DAEMON_SETS, owner, status)
        return min(later) if later else None


def _placing(node: Obj) -> tuple[Any, Any]:
    return node.get("spec"), labels(node)


def _node_of(pod: Obj) -> str:
    """The node a pod is on, or is meant for while it is not yet bound."""
    if pod["spec"].get("nodeName"):
        return str(pod["spec"]["nodeName"])
    node = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    for term in node.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and field.get("values"):
                return str(field["values"][0])
    return ""


def _with_tolerations(spec: Obj) -> list[Obj]:
    found = deepcopy(spec.get("tolerations") or [])
    wanted = list(_TOLERATED)
    if spec.get("hostNetwork"):
        wanted.append(("network-unavailable", "NoSchedule"))
    for name, effect in wanted:
        toleration = {
            "key": f"node.kubernetes.io/{name}",
            "operator": "Exists",
            "effect": effect,
        }
        if toleration not in found:
            found.append(toleration)
    return found


def _pinned(affinity: Obj | None, node: str) -> Obj:
    """The affinity with the node's name in every term of it."""
    result = deepcopy(affinity or {})
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    place = [{"key": "metadata.name", "operator": "In", "values": [node]}]
    nodes = result.setdefault("nodeAffinity", {})
    terms = (nodes.get(required) or {}).get("nodeSelectorTerms") or [{}]
    nodes[required] = {"nodeSelectorTerms": [{**term, "matchFields": place} for term in terms]}
    return result
