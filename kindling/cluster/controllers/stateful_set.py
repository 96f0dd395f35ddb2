"""StatefulSet: pods with names and volumes of their own, one after another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kindling.cluster.controllers.controller import OPTIONS, Controller, key_of, owner_keys
from kindling.cluster.controllers.history import (
    current_revision,
    revisions_of,
    template_of,
    trim,
)
from kindling.cluster.controllers.kinds import CLAIMS, PODS, STATEFUL_SETS
from kindling.cluster.controllers.meta import int_or, name_of, namespace_of, terminating, uid_of
from kindling.cluster.controllers.ownership import claim, orphans_concern
from kindling.cluster.controllers.pods import available_in, finished
from kindling.cluster.controllers.stateful_pods import (
    claims_for,
    first_ordinal,
    healthy,
    ordinal_of,
    partition_of,
    revision_of,
    running_and_ready,
    stateful_pod,
)
from kindling.cluster.controllers.work import Key
from kindling.cluster.model.api import Change, DeleteOptions, Obj
from kindling.cluster.model.status import ApiError

__all__ = ["StatefulSetController"]


@dataclass(slots=True)
class _View:
    """One pass over a set: what it wants and what it has."""

    owner: Obj
    pods: list[Obj]
    current: Obj
    update: Obj
    collisions: int
    first: int
    wanted: int
    min_ready: int
    ordered: bool

    @property
    def ordinals(self) -> range:
        return range(self.first, self.first + self.wanted)

    def at(self, ordinal: int) -> Obj | None:
        for pod in self.pods:
            if ordinal_of(self.owner, pod) == ordinal:
                return pod
        return None


class StatefulSetController(Controller):
    name = "statefulset"
    kinds = (STATEFUL_SETS, PODS)

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.key == STATEFUL_SETS.key:
            return (key_of(change.object),)
        found = owner_keys(change, STATEFUL_SETS)
        if not found and not terminating(change.object):
            found.update(orphans_concern(self.api, STATEFUL_SETS, change.object))
        return found

    async def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        owner = self.api.get(STATEFUL_SETS, name, namespace)
        if owner is None:
            return None
        spec = owner["spec"]
        pods = await claim(self.api, PODS, owner, STATEFUL_SETS, spec.get("selector"))
        pods = [pod for pod in pods if ordinal_of(owner, pod) is not None]
        known = await revisions_of(self.api, owner, STATEFUL_SETS)
        update, collisions = await current_revision(
            self.api, owner, STATEFUL_SETS, known, hash_label=False
        )
        told = (owner.get("status") or {}).get("currentRevision")
        current = next((one for one in known if name_of(one) == told), update)
        view = _View(
            owner,
            pods,
            current,
            update,
            collisions,
            first_ordinal(owner),
            int_or(spec.get("replicas"), 1),
            int_or(spec.get("minReadySeconds"), 0),
            (spec.get("podManagementPolicy") or "OrderedReady") == "OrderedReady",
        )
        error: ApiError | None = None
        if not terminating(owner):
            try:
                await self._move(view)
            except ApiError as refused:
                error = refused
        again = await self._report(view)
        used = {revision_of(pod) for pod in view.pods} | {name_of(current), name_of(update)}
        await trim(self.api, known, used, int_or(spec.get("revisionHistoryLimit"), 10))
        if error is not None:
            raise error
        return again

    # --- moving --------------------------------------------------------------------------------

    async def _move(self, view: _View) -> None:
        """Go as far as order allows: fill the places, then end what is beyond them, then update."""
        await self._retain(view)
        now = self.world.clock.time()
        for ordinal in view.ordinals:
            pod = view.at(ordinal)
            if pod is not None and finished(pod):
                if not terminating(pod):
                    self.events.warning(
                        view.owner,
                        "RecreatingFailedPod",
                        f"StatefulSet {_key_text(view.owner)} is recreating failed Pod"
                        f" {name_of(pod)}",
                    )
                    await self._delete(view, pod)
                # The place is free once it is gone.
                if view.ordered:
                    return
                continue
            if pod is None:
                await self._create(view, ordinal)
                if view.ordered:
                    return
                continue
            if view.ordered and (
                terminating(pod)
                or not running_and_ready(pod)
                or available_in(pod, view.min_ready, now) != 0.0
            ):
                return
        if not await self._shrink(view):
            return
        await self._roll(view)

    async def _shrink(self, view: _View) -> bool:
        """End the pods beyond the wanted number, the highest first; False while that is not
        done."""
        surplus = [
            (ordinal, pod)
            for pod in view.pods
            if (ordinal := ordinal_of(view.owner, pod)) is not None and ordinal not in view.ordinals
        ]
        surplus.sort(key=lambda pair: pair[0], reverse=True)
        inside = [pod for ordinal in view.ordinals if (pod := view.at(ordinal)) is not None]
        unhealthy = next((pod for pod in inside if not healthy(pod)), None)
        for _, pod in surplus:
            if terminating(pod):
                if view.ordered:
                    return False
                continue
            if view.ordered and unhealthy is not None and not running_and_ready(pod):
                return False
            await self._delete(view, pod)
            if view.ordered:
                return False
        return True

    async def _roll(self, view: _View) -> None:
        """Replace pods of old revisions, the last ordinal first, each once those above serve."""
        strategy = view.owner["spec"].get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        lowest = view.first + partition_of(view.owner)
        for ordinal in reversed(view.ordinals):
            pod = view.at(ordinal)
            if ordinal < lowest:
                return
            if pod is None:
                return
            if revision_of(pod) != name_of(view.update) and not terminating(pod):
                await self._delete(view, pod)
                return
            now = self.world.clock.time()
            if not healthy(pod) or available_in(pod, view.min_ready, now) != 0.0:
                return

    async def _create(self, view: _View, ordinal: int) -> None:
        owner = view.owner
        strategy = owner["spec"].get("updateStrategy") or {}
        old = strategy.get("type", "RollingUpdate") == "RollingUpdate" and (
            ordinal < view.first + partition_of(owner)
        )
        revision = view.current if old else view.update
        pod = stateful_pod(owner, template_of(revision), name_of(revision), ordinal)
        name = name_of(pod)
        for wanted in claims_for(owner, ordinal).values():
            if not await self._claim(view, wanted, name):
                return
        try:
            made = await self.api.create(PODS, pod, namespace_of(owner), OPTIONS)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                raise
            self.events.warning(
                owner,
                "FailedCreate",
                f"create Pod {name} in StatefulSet {name_of(owner)} failed error: {error}",
            )
            raise
        view.pods.append(made)
        self.events.normal(
            owner,
            "SuccessfulCreate",
            f"create Pod {name} in StatefulSet {name_of(owner)} successful",
        )

    async def _claim(self, view: _View, wanted: Obj, pod: str) -> bool:
        """See that a pod's claim is there; False while an old one of that name is going."""
        owner = view.owner
        there = self.api.get(CLAIMS, name_of(wanted), namespace_of(owner))
        if there is not None:
            return not terminating(there) or not self._deletes(owner, "whenScaled")
        if self._deletes(owner, "whenDeleted"):
            wanted["metadata"]["ownerReferences"] = [_plain_owner(STATEFUL_SETS, owner)]
        text = f"Claim {name_of(wanted)} Pod {pod} in StatefulSet {name_of(owner)}"
        try:
            await self.api.create(CLAIMS, wanted, namespace_of(owner), OPTIONS)
        except ApiError as error:
            self.events.warning(owner, "FailedCreate", f"create {text} failed error: {error}")
            raise
        self.events.normal(owner, "SuccessfulCreate", f"create {text} success")
        return True

    async def _delete(self, view: _View, pod: Obj) -> None:
        owner = view.owner
        try:
            await self.api.delete(
                PODS, name_of(pod), namespace_of(pod), DeleteOptions(uid=uid_of(pod))
            )
        except ApiError as error:
            if error.code in (404, 409):
                return
            raise
        self.events.normal(
            owner,
            "SuccessfulDelete",
            f"delete Pod {name_of(pod)} in StatefulSet {name_of(owner)} successful",
        )

    # --- claims that go with the set or its pods -------------------------------------------------

    @staticmethod
    def _deletes(owner: Obj, when: str) -> bool:
        policy = owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
        return bool(policy.get(when) == "Delete")

    async def _retain(self, view: _View) -> None:
        """Have claims be owned by whatever's end they are not to survive."""
        if not view.owner["spec"].get("volumeClaimTemplates"):
            return
        with_set = self._deletes(view.owner, "whenDeleted")
        with_pod = self._deletes(view.owner, "whenScaled")
        for pod in view.pods:
            ordinal = ordinal_of(view.owner, pod)
            if ordinal is None:
                continue
            beyond = ordinal not in view.ordinals
            for wanted in claims_for(view.owner, ordinal).values():
                found = self.api.get(CLAIMS, name_of(wanted), namespace_of(view.owner))
                if found is None:
                    continue
                owners = []
                if with_set and not (with_pod and beyond):
                    owners = [_plain_owner(STATEFUL_SETS, view.owner)]
                elif with_pod and beyond:
                    owners = [_plain_owner(PODS, pod)]
                await self._own(view, found, pod, owners)

    async def _own(self, view: _View, found: Obj, pod: Obj, owners: list[Obj]) -> None:
        meta = found["metadata"]
        mine = {uid_of(view.owner), uid_of(pod)}
        others = [
            reference
            for reference in meta.get("ownerReferences") or ()
            if reference.get("uid") not in mine
        ]
        if [*others, *owners] == list(meta.get("ownerReferences") or ()):
            return
        changed = {**found, "metadata": {**meta, "ownerReferences": [*others, *owners]}}
        await self.api.update(CLAIMS, changed, options=OPTIONS)

    # --- status --------------------------------------------------------------------------------

    async def _report(self, view: _View) -> float | None:
        now = self.world.clock.time()
        owner, pods = view.owner, view.pods
        waits = [
            available_in(pod, view.min_ready, now) if running_and_ready(pod) else None
            for pod in pods
        ]

        def of(revision: Obj) -> int:
            return sum(
                revision_of(pod) == name_of(revision) and not terminating(pod) for pod in pods
            )

        ready_count = sum(running_and_ready(pod) for pod in pods)
        update_count, current_count = of(view.update), of(view.current)
        current = name_of(view.current)
        strategy = (owner["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate")
        if strategy == "RollingUpdate" and update_count == len(pods) == ready_count == view.wanted:
            current, current_count = name_of(view.update), update_count
        status: Obj = {
            "observedGeneration": int_or(owner["metadata"].get("generation"), 0),
            "replicas": len(pods),
            "availableReplicas": sum(wait == 0.0 for wait in waits),
            "currentRevision": current,
            "updateRevision": name_of(view.update),
            "collisionCount": view.collisions,
        }
        for field, number in (
            ("readyReplicas", ready_count),
            ("currentReplicas", current_count),
            ("updatedReplicas", update_count),
        ):
            if number:
                status[field] = number
        if conditions := (owner.get("status") or {}).get("conditions"):
            status["conditions"] = conditions
        await self.write_status(STATEFUL_SETS, owner, status)
        later: Sequence[float] = [wait for wait in waits if wait]
        return min(later) if later else None


def _key_text(obj: Obj) -> str:
    return f"{namespace_of(obj)}/{name_of(obj)}"


def _plain_owner(resource: Any, owner: Obj) -> Obj:
    """An owner that does not control."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": name_of(owner),
        "uid": uid_of(owner),
    }
