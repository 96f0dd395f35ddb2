"""Deployment: rolls pods from one template to the next, and keeps the way back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kindling.cluster.controllers.controller import OPTIONS, Controller, key_of, owner_keys
from kindling.cluster.controllers.kinds import DEPLOYMENTS, PODS, REPLICA_SETS
from kindling.cluster.controllers.meta import (
    condition,
    controlled_by,
    int_or,
    name_of,
    namespace_of,
    notes_of,
    selects_nothing,
    terminating,
    uid_of,
)
from kindling.cluster.controllers.ownership import claim, orphans_concern, owned
from kindling.cluster.controllers.pods import available, finished, is_active
from kindling.cluster.controllers.progress import (
    complete,
    counted,
    has_deadline,
    progressed,
    put,
    timed_out_in,
)
from kindling.cluster.controllers.revisions import (
    DESIRED,
    MAX_REPLICAS,
    REVISION,
    annotations_of_revision,
    find_new,
    highest_revision,
    int_annotation,
    new_replica_set,
    same_template,
    sized_annotations,
)
from kindling.cluster.controllers.rolling import (
    Bounds,
    Group,
    bounds_of,
    new_size,
    old_sizes,
    proportional_sizes,
)
from kindling.cluster.controllers.work import Key
from kindling.cluster.model.api import Change, ChangeType, DeleteOptions, Obj
from kindling.cluster.model.status import ApiError

__all__ = ["DeploymentController"]


class DeploymentController(Controller):
    """One pass moves the ReplicaSets one step; their changes bring on the next pass."""

    name = "deployment"
    kinds = (DEPLOYMENTS, REPLICA_SETS, PODS)

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.key == DEPLOYMENTS.key:
            return (key_of(change.object),)
        if change.resource.key == PODS.key:
            return self._recreated(change)
        found = owner_keys(change, DEPLOYMENTS)
        if not found and not terminating(change.object):
            found.update(orphans_concern(self.api, DEPLOYMENTS, change.object))
        return found

    def _recreated(self, change: Change) -> Iterable[Key]:
        """A Deployment that recreates waits for the last old pod to be gone."""
        if change.type is not ChangeType.DELETED and not finished(change.object):
            return
        for namespace, name in owner_keys(change, REPLICA_SETS):
            replica_set = self.api.get(REPLICA_SETS, name, namespace)
            for reference in (replica_set or {"metadata": {}})["metadata"].get(
                "ownerReferences", ()
            ):
                if reference.get("kind") == "Deployment":
                    yield (namespace, str(reference["name"]))

    async def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        deployment = self.api.get(DEPLOYMENTS, name, namespace)
        if deployment is None:
            return None
        if selects_nothing(deployment["spec"].get("selector")):
            self.events.warning(
                deployment,
                "SelectingAll",
                "This deployment is selecting all pods. A non-empty selector is required.",
            )
            return None
        sets = await claim(
            self.api, REPLICA_SETS, deployment, DEPLOYMENTS, deployment["spec"]["selector"]
        )
        if terminating(deployment):
            new, old = self._told_apart(deployment, sets)
            await self._report(deployment, new, old, rollout=False)
            return None
        deployment = await self._note_pause(deployment)
        if deployment["spec"].get("paused") or self._resized(deployment, sets):
            return await self._resize(deployment, sets)
        if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
            return await self._recreate(deployment, sets)
        return await self._roll(deployment, sets)

    @staticmethod
    def _told_apart(deployment: Obj, sets: Sequence[Obj]) -> tuple[Obj | None, list[Obj]]:
        new = find_new(deployment, sets)
        return new, [one for one in sets if new is None or uid_of(one) != uid_of(new)]

    async def _note_pause(self, deployment: Obj) -> Obj:
        """Say in the conditions that it is paused or resumed, so that the time does not count."""
        current = condition(deployment.get("status"), "Progressing")
        reason = (current or {}).get("reason")
        if not has_deadline(deployment) or reason == "ProgressDeadlineExceeded":
            return deployment
        paused = bool(deployment["spec"].get("paused"))
        if paused == (reason == "DeploymentPaused"):
            return deployment
        new = {
            "type": "Progressing",
            "status": "Unknown",
            "reason": "DeploymentPaused" if paused else "DeploymentResumed",
            "message": "Deployment is paused" if paused else "Deployment is resumed",
        }
        status = deployment.get("status") or {}
        conditions = put(status.get("conditions"), new, self.world.clock.time())
        return await self.write_status(
            DEPLOYMENTS, deployment, {**status, "conditions": conditions}
        )

    @staticmethod
    def _resized(deployment: Obj, sets: Sequence[Obj]) -> bool:
        """Whether the wanted number changed since the ReplicaSets were sized."""
        wanted = int_or(deployment["spec"].get("replicas"), 1)
        return any(
            DESIRED in notes_of(one) and int_annotation(one, DESIRED) != wanted
            for one in sets
            if int_or(one["spec"].get("replicas"), 0) > 0
        )

    # --- the three ways on ---------------------------------------------------------------------

    async def _resize(self, deployment: Obj, sets: Sequence[Obj]) -> float | None:
        """Follow a new number of replicas without moving the rollout."""
        deployment, new, old = await self._synced(deployment, sets, create=False)
        bounds = bounds_of(deployment["spec"])
        everything = [*old, *([new] if new else [])]
        active = [one for one in everything if int_or(one["spec"].get("replicas"), 0) > 0]
        sizes: dict[str, int] = {}
        if len(active) <= 1:
            only = active[0] if active else new or (max(old, key=_age) if old else None)
            if only is not None:
                sizes = {name_of(only): bounds.replicas}
        elif new is not None and self._saturated(new, bounds):
            sizes = {name_of(one): 0 for one in old}
        elif (deployment["spec"].get("strategy") or {}).get("type") != "Recreate":
            known = int_or((deployment.get("status") or {}).get("replicas"), 0)
            sizes = proportional_sizes(bounds, [self._group(one) for one in active], known)
        scaled = {}
        for one in everything:
            if name_of(one) in sizes:
                scaled[name_of(one)] = await self._scale(
                    deployment, one, sizes[name_of(one)], bounds
                )
        old = [scaled.get(name_of(one), one) for one in old]
        new = scaled.get(name_of(new), new) if new else None
        if deployment["spec"].get("paused"):
            await self._clean_up(deployment, old)
        return await self._report(deployment, new, old, rollout=False)

    async def _recreate(self, deployment: Obj, sets: Sequence[Obj]) -> float | None:
        deployment, new, old = await self._synced(deployment, sets, create=False)
        bounds = bounds_of(deployment["spec"])
        shrunk = [
            await self._scale(deployment, one, 0, bounds)
            if int_or(one["spec"].get("replicas"), 0)
            else one
            for one in old
        ]
        if shrunk != old:
            return await self._report(deployment, new, shrunk)
        if any(not finished(pod) for one in old for pod in owned(self.api, PODS, one)):
            return await self._report(deployment, new, old)
        if new is None:
            deployment, new, old = await self._synced(deployment, sets, create=True)
        if new is not None:
            new = await self._scale(deployment, new, bounds.replicas, bounds)
        if complete(deployment, deployment.get("status") or {}):
            await self._clean_up(deployment, old)
        return await self._report(deployment, new, old)

    async def _roll(self, deployment: Obj, sets: Sequence[Obj]) -> float | None:
        deployment, new, old = await self._synced(deployment, sets, create=True)
        if new is None:
            return None
        bounds = bounds_of(deployment["spec"])
        size = int_or(new["spec"].get("replicas"), 0)
        total = size + sum(int_or(one["spec"].get("replicas"), 0) for one in old)
        wanted = bounds.replicas if size >= bounds.replicas else new_size(bounds, True, size, total)
        if wanted != size:
            new = await self._scale(deployment, new, wanted, bounds)
            return await self._report(deployment, new, old)
        sizes = old_sizes(bounds, [self._group(one) for one in old], self._group(new))
        if sizes:
            old = [
                await self._scale(deployment, one, sizes[name_of(one)], bounds)
                if name_of(one) in sizes
                else one
                for one in old
            ]
            return await self._report(deployment, new, old)
        if complete(deployment, deployment.get("status") or {}):
            await self._clean_up(deployment, old)
        return await self._report(deployment, new, old)

    # --- revisions -----------------------------------------------------------------------------

    async def _synced(
        self, deployment: Obj, sets: Sequence[Obj], *, create: bool
    ) -> tuple[Obj, Obj | None, list[Obj]]:
        """The Deployment, its newest ReplicaSet and the old ones, with revisions as they are to
        be. Without `create`, a template that has no ReplicaSet yet gets none."""
        new, old = self._told_apart(deployment, sets)
        revision = highest_revision(old) + 1
        bounds = bounds_of(deployment["spec"])
        made = False
        if new is None:
            if not create:
                return deployment, None, old
            size = new_size(
                bounds,
                (deployment["spec"].get("strategy") or {}).get("type") != "Recreate",
                0,
                sum(int_or(one["spec"].get("replicas"), 0) for one in old),
            )
            new = await self._create(deployment, revision, size, bounds)
            made = True
        else:
            new = await self._annotated(deployment, new, revision)
        revision = max(revision, int_annotation(new, REVISION))
        if notes_of(deployment).get(REVISION) != str(revision):
            # It goes along with the status, for an ordinary change would count as a new generation.
            notes = {**notes_of(deployment), REVISION: str(revision)}
            deployment = {
                **deployment,
                "metadata": {**deployment["metadata"], "annotations": notes},
            }
        status = deployment.get("status") or {}
        if has_deadline(deployment) and (made or condition(status, "Progressing") is None):
            state = {
                "type": "Progressing",
                "status": "True",
                "reason": "NewReplicaSetCreated" if made else "FoundNewReplicaSet",
                "message": f'Created new replica set "{name_of(new)}"'
                if made
                else f'Found new replica set "{name_of(new)}"',
            }
            conditions = put(status.get("conditions"), state, self.world.clock.time())
            deployment = {**deployment, "status": {**status, "conditions": conditions}}
        return deployment, new, old

    async def _annotated(self, deployment: Obj, new: Obj, revision: int) -> Obj:
        wanted = annotations_of_revision(deployment, new, revision)
        spec = new["spec"]
        min_ready = int_or(deployment["spec"].get("minReadySeconds"), 0)
        same_wait = int_or(spec.get("minReadySeconds"), 0) == min_ready
        if wanted == notes_of(new) and same_wait:
            return new
        meta = {**new["metadata"], "annotations": wanted}
        changed = {**new, "metadata": meta, "spec": {**spec, "minReadySeconds": min_ready}}
        return await self.api.update(REPLICA_SETS, changed, options=OPTIONS)

    async def _create(self, deployment: Obj, revision: int, size: int, bounds: Bounds) -> Obj:
        wanted = new_replica_set(deployment, revision, size, bounds)
        name, namespace = name_of(wanted), namespace_of(deployment)
        try:
            made = await self.api.create(REPLICA_SETS, wanted, namespace, OPTIONS)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                await self._cannot_create(deployment, name, error)
                raise
            there = self.api.get(REPLICA_SETS, name, namespace)
            if (
                there is not None
                and controlled_by(there, deployment)
                and same_template(there["spec"]["template"], deployment["spec"]["template"])
            ):
                return there
            # Somebody else has this name: the next hash is another.
            status = dict(deployment.get("status") or {})
            status["collisionCount"] = int_or(status.get("collisionCount"), 0) + 1
            await self.write_status(DEPLOYMENTS, deployment, status)
            raise
        if size:
            self.events.normal(
                deployment,
                "ScalingReplicaSet",
                f"Scaled up replica set {name} from 0 to {size}",
            )
        return made

    async def _cannot_create(self, deployment: Obj, name: str, error: ApiError) -> None:
        message = f'Failed to create new replica set "{name}": {error}'
        if has_deadline(deployment):
            status = deployment.get("status") or {}
            state = {
                "type": "Progressing",
                "status": "False",
                "reason": "ReplicaSetCreateError",
                "message": message,
            }
            conditions = put(status.get("conditions"), state, self.world.clock.time())
            await self.write_status(DEPLOYMENTS, deployment, {**status, "conditions": conditions})
        self.events.warning(deployment, "ReplicaSetCreateError", message)

    # --- parts ---------------------------------------------------------------------------------

    def _group(self, replica_set: Obj) -> Group:
        """How many of its pods serve is counted on the pods themselves and not on its status alone,
        which may tell of pods that fail or are on their way out by now."""
        size = int_or(replica_set["spec"].get("replicas"), 0)
        wait = int_or(replica_set["spec"].get("minReadySeconds"), 0)
        now = self.world.clock.time()
        serving = sum(
            is_active(pod) and available(pod, wait, now)
            for pod in owned(self.api, PODS, replica_set)
        )
        told = int_or((replica_set.get("status") or {}).get("availableReplicas"), 0)
        return Group(
            name_of(replica_set),
            size,
            min(serving, told, size),
            _age(replica_set),
            int_annotation(replica_set, MAX_REPLICAS),
        )

    def _saturated(self, new: Obj, bounds: Bounds) -> bool:
        group = self._group(new)
        return (
            int_annotation(new, DESIRED) == bounds.replicas
            and group.size == bounds.replicas
            and group.available == bounds.replicas
        )

    async def _scale(self, deployment: Obj, replica_set: Obj, size: int, bounds: Bounds) -> Obj:
        before = int_or(replica_set["spec"].get("replicas"), 0)
        notes = {**notes_of(replica_set), **sized_annotations(bounds)}
        if before == size and notes == notes_of(replica_set):
            return replica_set
        changed: dict[str, Any] = {
            **replica_set,
            "metadata": {**replica_set["metadata"], "annotations": notes},
            "spec": {**replica_set["spec"], "replicas": size},
        }
        made = await self.api.update(REPLICA_SETS, changed, options=OPTIONS)
        if before != size:
            word = "up" if size > before else "down"
            self.events.normal(
                deployment,
                "ScalingReplicaSet",
                f"Scaled {word} replica set {name_of(made)} from {before} to {size}",
            )
        return made

    async def _clean_up(self, deployment: Obj, old: Sequence[Obj]) -> None:
        """Delete the oldest revisions beyond the limit, unless they still have pods."""
        limit = int_or(deployment["spec"].get("revisionHistoryLimit"), 10)
        alive = [one for one in old if not terminating(one)]
        alive.sort(key=lambda one: (int_annotation(one, REVISION), _age(one)))
        for one in alive[: max(len(alive) - limit, 0)]:
            status = one.get("status") or {}
            seen = int_or(status.get("observedGeneration"), 0)
            if (
                int_or(status.get("replicas"), 0)
                or int_or(one["spec"].get("replicas"), 0)
                or seen < int_or(one["metadata"].get("generation"), 0)
            ):
                continue
            await _delete(self, one)

    async def _report(
        self, deployment: Obj, new: Obj | None, old: Sequence[Obj], *, rollout: bool = True
    ) -> float | None:
        """Write the status; the seconds until the deadline of progress."""
        now = self.world.clock.time()
        sets = [*old, *([new] if new else [])]
        status = counted(deployment, sets, new, now)
        if rollout:
            status = progressed(deployment, status, sets, new, now)
        stored = self.api.get(DEPLOYMENTS, name_of(deployment), namespace_of(deployment))
        if (
            stored is None
            or (stored.get("status") or {}) != status
            or notes_of(stored) != notes_of(deployment)
        ):
            deployment = await self.api.update(
                DEPLOYMENTS, {**deployment, "status": status}, "status", OPTIONS
            )
        left = timed_out_in(deployment, status, now) if rollout else None
        return None if left is None else left + 1


async def _delete(controller: DeploymentController, replica_set: Obj) -> None:
    try:
        await controller.api.delete(
            REPLICA_SETS,
            name_of(replica_set),
            namespace_of(replica_set),
            DeleteOptions(uid=uid_of(replica_set)),
        )
    except ApiError as error:
        if error.code != 404:
            raise


def _age(obj: Obj) -> str:
    return str(obj["metadata"].get("creationTimestamp") or "")
