"""`apply`: objects into the cluster, in install order, and out again in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from itertools import groupby
from typing import Any, TypeVar

from kindling.errors import ClusterError, KindlingError
from kindling.executors.custom_deploy import deploy, destroy
from kindling.executors.ingress import ingress_addresses
from kindling.executors.placing import ensure_kind
from kindling.executors.protocol import Failed, Job, Observation, Outcome, Succeeded
from kindling.executors.removal import remove
from kindling.executors.wanted import output_digest, record_of, ref_of, wanted
from kindling.executors.writing import RefusedError, Writer
from kindling.graph.node import Kind
from kindling.graph.outcome import Failure, FailureKind, Output
from kindling.graph.spec import ApplySpec, CustomDeploySpec, ObjectRef
from kindling.kube.definitions import wait_served
from kindling.kube.errors import InvalidError, NotFoundError
from kindling.kube.protocol import Cluster, Object
from kindling.objects.compare import differences, digest_of, project
from kindling.objects.identity import (
    Manifest,
    install_rank,
    same_object,
)
from kindling.objects.inject import owner_of

__all__ = ["ApplyExecutor"]

_PARALLEL = 10
_ESTABLISH_LIMIT = 30.0
_SERVER_WRITTEN = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")

T = TypeVar("T")


class ApplyExecutor:
    """Writes objects by server-side apply; the output is their identities and digests."""

    @property
    def kind(self) -> Kind:
        return Kind.APPLY

    async def run(self, job: Job) -> Outcome:
        cluster = await job.world.cluster()
        if isinstance(job.node.spec, CustomDeploySpec):
            return Succeeded(await deploy(job, job.node.spec, cluster))
        spec = _spec(job)

        def say(line: str) -> None:
            job.log(line, "kindling")

        writer = Writer(cluster, job.world.project, spec.recreate, spec.timeout, say)
        written: list[dict[str, Any]] = []
        try:
            for _, group in groupby(
                wanted(job, spec.objects, spec.images), key=lambda item: install_rank(item[0].kind)
            ):
                items = list(group)
                for ref, _ in items:
                    await ensure_kind(cluster, ref, say)

                async def write(item: tuple[ObjectRef, Manifest]) -> dict[str, Any]:
                    ref, manifest = item
                    live = await writer.write(ref, manifest)
                    say(f"{ref}: {_what_happened(job, ref, live)}")
                    return _record(live, manifest)

                written += await _each(items, write)
                for ref, _ in items:
                    if ref.kind == "CustomResourceDefinition":
                        await wait_served(cluster, ref, limit=_ESTABLISH_LIMIT)
        except RefusedError as error:
            return Failed(Failure(FailureKind.REFUSED, error.message, error.details, error.hint))
        urls = await ingress_addresses(cluster, [ref_of(entry) for entry in written])
        return Succeeded(_output(written, urls))

    async def observe(self, job: Job, recorded: Output) -> Observation:
        cluster, spec = await job.world.cluster(), job.node.spec
        manifests = (
            dict(wanted(job, spec.objects, spec.images)) if isinstance(spec, ApplySpec) else {}
        )

        async def look(entry: Mapping[str, Any]) -> str:
            ref = ref_of(entry)
            manifest = next((m for r, m in manifests.items() if same_object(r, ref)), None)
            return await _drift(cluster, ref, entry, manifest, job.world.project)

        found = await _each(list(recorded.data.get("objects", ())), look)
        drifted = [line for line in found if line]
        if not drifted:
            return Observation(same=True)
        more = f" (and {len(drifted) - 1} more)" if len(drifted) > 1 else ""
        return Observation(same=False, difference=drifted[0] + more)

    async def restore(self, job: Job, cached: Output) -> bool:
        return False

    async def undo(self, job: Job, recorded: Output) -> tuple[str, ...]:
        cluster = await job.world.cluster()
        if isinstance(job.node.spec, CustomDeploySpec):
            return await destroy(job, job.node.spec, cluster, recorded)
        refs = [ref_of(entry) for entry in recorded.data.get("objects", ())]
        return await remove(
            cluster, refs, job.world.project, lambda line: job.log(line, "kindling")
        )

    async def diff(self, job: Job) -> tuple[str, ...]:
        """What a run would do to each object, one line each; nothing for those it would leave
        alone.

        `job.inputs` holds the references known so far: of an image that is yet to be built, the old
        one. Asks the server to apply without writing.

        Raises:
            KindlingError: The cluster cannot be asked.
        """
        if not isinstance(job.node.spec, ApplySpec):
            return ("its own command decides what to deploy",)
        spec = job.node.spec
        cluster = await job.world.cluster()
        objects = list(wanted(job, spec.objects, spec.images, lenient=True))

        async def compare(item: tuple[ObjectRef, Manifest]) -> str:
            return await _forecast(cluster, *item, spec, job.world.project)

        lines = [line for line in await _each(objects, compare) if line]
        for entry in job.previous.data.get("objects", ()) if job.previous else ():
            ref = ref_of(entry)
            if not any(same_object(ref, other) for other, _ in objects):
                lines.append(f"delete {ref}")
        return tuple(lines)


def _spec(job: Job) -> ApplySpec:
    assert isinstance(job.node.spec, ApplySpec)
    return job.node.spec


def _record(live: Object, manifest: Manifest) -> dict[str, Any]:
    entry = record_of(live, manifest)
    if _ends_by_itself(manifest):
        entry["ends"] = True
    return entry


def _ends_by_itself(manifest: Manifest) -> bool:
    """A Job that is removed some time after its end: that it is gone is no drift."""
    spec = manifest.get("spec") or {}
    return manifest.get("kind") == "Job" and "ttlSecondsAfterFinished" in spec


def _output(written: list[dict[str, Any]], urls: tuple[str, ...] = ()) -> Output:
    data = {"objects": written} | ({"urls": list(urls)} if urls else {})
    return Output(output_digest({"objects": written}), data)


def _what_happened(job: Job, ref: ObjectRef, live: Object) -> str:
    before = next(
        (
            entry
            for entry in (job.previous.data.get("objects", ()) if job.previous else ())
            if same_object(ref_of(entry), ref)
        ),
        None,
    )
    if before is None or before.get("uid") != live["metadata"]["uid"]:
        return "applied"
    return "applied again"


async def _drift(
    cluster: Cluster,
    ref: ObjectRef,
    entry: Mapping[str, Any],
    manifest: Manifest | None,
    owner: str,
) -> str:
    try:
        live = await cluster.get(ref)
    except NotFoundError:
        return "" if entry.get("ends") else f"{ref} is gone"
    if live["metadata"].get("deletionTimestamp"):
        return f"{ref} is being deleted"
    if manifest is None:
        return "" if live["metadata"]["uid"] == entry["uid"] else f"{ref} was made anew"
    if owner_of(live) not in ("", owner):
        return f"{ref} now belongs to the project `{owner_of(live)}`"
    if digest_of(live, manifest) == entry["digest"]:
        return ""
    changed = differences(manifest, live, limit=1)
    return f"drift: {ref} has another {changed[0] if changed else 'content'}"


async def _forecast(
    cluster: Cluster, ref: ObjectRef, manifest: Manifest, spec: ApplySpec, owner: str
) -> str:
    try:
        live = await cluster.get(ref)
    except NotFoundError:
        return f"create {ref}"
    if owner_of(live) not in ("", owner):
        return f"refuse {ref}: it belongs to the project `{owner_of(live)}`"
    try:
        answer = await cluster.apply(manifest, force=True, dry_run=True)
    except InvalidError as error:
        if error.immutable and spec.recreate:
            return f"recreate {ref}: {', '.join(error.immutable)}"
        return f"fail {ref}: {'; '.join(str(cause) for cause in error.causes) or error.message}"
    except ClusterError as error:
        # A webhook that does not allow dry runs: compare what we can see ourselves.
        if error.transient:
            raise
        answer = {**live, **project(live, manifest), **manifest}
    before, after = _comparable(live), _comparable(answer)
    changed = dict.fromkeys([*differences(after, before), *differences(before, after)])
    return f"change {ref}: {', '.join(changed)}" if changed else ""


def _comparable(item: Object) -> dict[str, Any]:
    metadata = {k: v for k, v in item["metadata"].items() if k not in _SERVER_WRITTEN}
    return {**{k: v for k, v in item.items() if k != "status"}, "metadata": metadata}


S = TypeVar("S")


async def _each(items: list[S], work: Callable[[S], Awaitable[T]]) -> list[T]:
    """Do `work` on all items, at most ten at once, in order of items. All are tried before the
    first error is raised; the others are named in its details."""
    slots = asyncio.Semaphore(_PARALLEL)

    async def one(item: S) -> T:
        async with slots:
            return await work(item)

    results = await asyncio.gather(*(one(item) for item in items), return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    if errors:
        first = errors[0]
        others = [error.message for error in errors[1:] if isinstance(error, KindlingError)]
        if isinstance(first, KindlingError) and others:
            first.details = (*first.details, *(f"also: {message}" for message in others))
        raise first
    return [result for result in results if not isinstance(result, BaseException)]
