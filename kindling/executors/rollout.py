"""`rollout`: follow pods until the new revision serves, and say what ails them where it does
not."""

from __future__ import annotations

import asyncio

from kindling.errors import ExecutionError
from kindling.executors.following import Following
from kindling.executors.protocol import (
    Job,
    Observation,
    Outcome,
)
from kindling.graph.node import Kind, NodeId
from kindling.graph.outcome import Output
from kindling.graph.spec import ObjectRef, Readiness, RolloutSpec
from kindling.objects.pods import (
    Patience,
)
from kindling.objects.revision import Progress
from kindling.objects.workloads import WORKLOAD_KINDS

__all__ = ["RolloutExecutor", "session_of"]


class RolloutExecutor:
    """Waits for a resource's pods. The output's digest is the revision of the pod templates, so
    that a pod that is merely restarted changes nothing."""

    def __init__(self, patience: Patience = Patience()) -> None:  # noqa: B008 # frozen
        self._patience = patience

    @property
    def kind(self) -> Kind:
        return Kind.ROLLOUT

    async def run(self, job: Job) -> Outcome:
        following = await self._following(job)
        if job.previous is not None:
            following.recall(job.previous)
        try:
            return await following.until_settled(job)
        except BaseException:
            await following.close()
            raise

    async def observe(self, job: Job, recorded: Output) -> Observation:
        following = await self._following(job)
        if job.node.spec and _spec(job).readiness is Readiness.IGNORE:
            return Observation(same=True, live=following)
        health = await following.look(recorded)
        if health.progress is not Progress.READY:
            return Observation(same=False, difference=health.text)
        if recorded.data.get("revision") not in ("", health.revision):
            return Observation(same=False, difference="its pods have another template")
        return Observation(same=True, live=None if health.ended else following)

    async def restore(self, job: Job, cached: Output) -> bool:
        return False

    async def undo(self, job: Job, recorded: Output) -> tuple[str, ...]:
        """Nothing of its own: the objects go with the apply."""
        return ()

    async def _following(self, job: Job) -> Following:
        cluster = await job.world.cluster()
        return Following(job, cluster, _objects(job), self._patience)


async def session_of(job: Job) -> str:
    """Which sync session has a workload of this rollout now, and so a template of its own, in
    words; empty where none has, or one that is over, whose part is put back first."""
    from kindling.executors.sync import records_folder
    from kindling.kube.errors import NotFoundError
    from kindling.objects.identity import display_name
    from kindling.sync.template.session import held
    from kindling.sync.workload.agents import find_record
    from kindling.sync.workload.liveness import Life, life_of
    from kindling.sync.workload.records import Records

    cluster = await job.world.cluster()
    for ref in _objects(job):
        try:
            other = held(await cluster.get(ref))
        except NotFoundError:
            continue
        if other is None:
            continue
        mine = await asyncio.to_thread(Records(records_folder(job)).get, other.name)
        record = mine or await find_record(cluster, other.name, ref.namespace)
        over = record is not None and (
            record.stays or life_of(record.holder, record.session) is Life.DEAD
        )
        if not over:
            return f"{other} has {display_name(ref)}"
    return ""


def _spec(job: Job) -> RolloutSpec:
    assert isinstance(job.node.spec, RolloutSpec)
    return job.node.spec


def _objects(job: Job) -> tuple[ObjectRef, ...]:
    """The workloads of the spec; where a command decided what to deploy, those that it printed.

    The namespace is the one the object has in the cluster, as the apply recorded it.
    """
    spec = _spec(job)
    output = job.inputs.get(NodeId(spec.apply))
    applied = [
        ObjectRef(o["apiVersion"], o["kind"], o["name"], o.get("namespace") or "")
        for o in (output.data.get("objects", ()) if output else ())
    ]
    if not spec.objects:
        return tuple(r for r in applied if r.kind in WORKLOAD_KINDS and r.kind != "PodTemplate")
    found = []
    for ref in spec.objects:
        same = [r for r in applied if (r.kind, r.name) == (ref.kind, ref.name)]
        exact = [r for r in same if not ref.namespace or r.namespace == ref.namespace]
        found.append((exact or [ref])[0])
    if not found:
        raise ExecutionError("there is no workload to follow")
    return tuple(found)
