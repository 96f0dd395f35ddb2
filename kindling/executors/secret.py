"""`secret`: a Secret that is created where there is none, and never touched again.

Whoever patched a key of it keeps that key, whatever is applied later: there is no code path here
that writes to a Secret that exists.
"""

from __future__ import annotations

import base64
import hashlib

from kindling.executors.placing import ensure_namespace
from kindling.executors.protocol import Job, Observation, Outcome, Succeeded
from kindling.graph.node import Kind
from kindling.graph.outcome import Output
from kindling.graph.spec import ObjectRef, SecretSpec
from kindling.kube.errors import AlreadyExistsError, NotFoundError
from kindling.kube.protocol import Cluster, Object
from kindling.objects.inject import OWNER_LABEL

__all__ = ["SecretExecutor"]


class SecretExecutor:
    """Creates a Secret if it is absent. Its output is the name and the names of the keys."""

    @property
    def kind(self) -> Kind:
        return Kind.SECRET

    async def run(self, job: Job) -> Outcome:
        spec = _spec(job)
        cluster = await job.world.cluster()
        ref = _ref(spec, cluster)
        live = await _live(cluster, ref)
        if live is None:
            # A Secret comes before the workloads that need it, and so may come before their
            # namespace.
            await ensure_namespace(
                cluster, ref.namespace, job.world.project, lambda line: job.log(line, "kindling")
            )
            try:
                live = await cluster.create(_manifest(spec, ref, job.world.project))
                job.log(f"{ref}: created", "kindling")
            except AlreadyExistsError:
                live = await cluster.get(ref)
        else:
            job.log(f"{ref}: it exists, so it is left as it is", "kindling")
        return Succeeded(_output(ref, live))

    async def observe(self, job: Job, recorded: Output) -> Observation:
        cluster = await job.world.cluster()
        ref = _ref(_spec(job), cluster)
        if await _live(cluster, ref) is None:
            return Observation(same=False, difference=f"{ref} is gone")
        return Observation(same=True)

    async def restore(self, job: Job, cached: Output) -> bool:
        return False

    async def undo(self, job: Job, recorded: Output) -> tuple[str, ...]:
        cluster = await job.world.cluster()
        ref = _ref(_spec(job), cluster)
        if await _live(cluster, ref) is None:
            return ()
        return (f"{ref} was kept: it may hold credentials that somebody put there",)


def _spec(job: Job) -> SecretSpec:
    assert isinstance(job.node.spec, SecretSpec)
    return job.node.spec


def _ref(spec: SecretSpec, cluster: Cluster) -> ObjectRef:
    return ObjectRef("v1", "Secret", spec.name, spec.namespace or cluster.namespace)


async def _live(cluster: Cluster, ref: ObjectRef) -> Object | None:
    try:
        return await cluster.get(ref)
    except NotFoundError:
        return None


def _manifest(spec: SecretSpec, ref: ObjectRef, project: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": spec.type,
        "metadata": {
            "name": ref.name,
            "namespace": ref.namespace,
            "labels": {OWNER_LABEL: project},
        },
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in spec.literals},
    }


def _output(ref: ObjectRef, live: Object) -> Output:
    uid = str(live["metadata"]["uid"])
    data = {
        "name": ref.name,
        "namespace": ref.namespace,
        "uid": uid,
        "keys": sorted(live.get("data") or ()),
    }
    # Values are left out of the digest too: it is shown, and short values can be guessed from one.
    return Output("sha256:" + hashlib.sha256(uid.encode()).hexdigest(), data)
