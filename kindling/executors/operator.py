"""`operator`: an environment into the cluster, and an operator that makes of it what it says.

The node is done when an operator has written the children that the environment asks for; how they
are goes on being told. What an operator would write is known without one, so that a plan can show
it, and a look can tell whether something is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kindling.executors.environment import app_refs, dependency_refs, environment_of, told_by
from kindling.executors.ingress import ingress_addresses
from kindling.executors.placing import ensure_kind
from kindling.executors.protocol import Failed, Job, Observation, Outcome, Succeeded
from kindling.executors.reconciled import Pass
from kindling.executors.reconciling import Reconciling, problem_failure
from kindling.executors.removal import remove
from kindling.executors.wanted import output_digest, record_of, ref_of, wanted
from kindling.executors.writing import RefusedError, Writer
from kindling.graph.node import Kind
from kindling.graph.outcome import Failure, FailureKind, Output
from kindling.graph.spec import ObjectRef, OperatorSpec
from kindling.kube.errors import NotFoundError
from kindling.kube.protocol import Cluster, Object
from kindling.objects.compare import differences, digest_of
from kindling.objects.identity import Manifest
from kindling.objects.inject import owner_of
from kindling.objects.pods import Patience
from kindling.operator.marks import HASH_ANNOTATION
from kindling.operator.model import Environment, read_environment
from kindling.operator.parts import deployment_part
from kindling.operator.rules import problems

if TYPE_CHECKING:
    from kindling.operator.controller.preview import Change

__all__ = ["OperatorExecutor"]

_GONE_LIMIT = 120.0
"""Seconds for the children of an environment to go. A server that has known the kind for moments
only takes half a minute to see that they are to, and a claim stays while a pod uses it."""


class OperatorExecutor:
    """Writes an environment and waits until it has been reconciled.

    The output tells the environment, and the app's own objects as an apply would; its digest is of
    what was asked for, so that a status that comes and goes changes nothing.
    """

    def __init__(self, patience: Patience = Patience()) -> None:  # noqa: B008 # frozen
        self._patience = patience

    @property
    def kind(self) -> Kind:
        return Kind.OPERATOR

    async def run(self, job: Job) -> Outcome:
        spec, (ref, manifest) = _spec(job), _wanted(job)
        environment = read_environment(manifest)
        if not isinstance(environment, Environment):
            return Failed(_refused([str(fault) for fault in environment]))
        found = problems(environment)
        if blocking := [str(one) for one in found if one.blocking]:
            return Failed(_refused(blocking))
        for problem in found:
            job.log(str(problem), "kindling")
        cluster = await job.world.cluster()

        def say(line: str) -> None:
            job.log(line, "kindling")

        await ensure_kind(cluster, ref, say)
        before = await _read(cluster, ref)
        try:
            written = await Writer(cluster, job.world.project, False, spec.timeout, say).write(
                ref, manifest
            )
        except RefusedError as error:
            return Failed(Failure(FailureKind.REFUSED, error.message, error.details, error.hint))
        if forgotten := differences(manifest, written):
            return Failed(_forgotten(forgotten))
        ref = _placed(ref, written)
        who = await _operate(job, ref)
        say(f"{ref}: {_what_happened(before, written)}, reconciled by {who}")
        return await self._reconciled(job, cluster, ref, written, who)

    async def observe(self, job: Job, recorded: Output) -> Observation:
        cluster = await job.world.cluster()
        entry: Mapping[str, Any] = recorded.data["environment"]
        ref, (_, manifest) = ref_of(entry), _wanted(job)
        try:
            live = await cluster.get(ref)
        except NotFoundError:
            return Observation(same=False, difference=f"{ref} is gone")
        difference = _difference(ref, live, entry, manifest, job.world.project)
        if not difference:
            told = told_by(live)
            if not told.seen:
                difference = f"no operator has seen the latest change of {ref}"
            else:
                difference = told.problem or told.waiting or await _missing(cluster, live)
        if difference:
            return Observation(same=False, difference=difference)

        async def begin() -> None:
            # In a session that ends by itself there is nothing left to be done for it.
            if not job.once:
                await _operate(job, ref)

        live_part = Reconciling(job, cluster, ref, live, self._patience, begin=begin)
        return Observation(same=True, live=live_part)

    async def restore(self, job: Job, cached: Output) -> bool:
        return False

    async def undo(self, job: Job, recorded: Output) -> tuple[str, ...]:
        """Delete the environments of the record and wait until their children are gone too."""
        cluster = await job.world.cluster()
        entries = recorded.data.get("environments") or [recorded.data["environment"]]
        kept: list[str] = []

        def say(line: str) -> None:
            job.log(line, "kindling")

        for ref in map(ref_of, entries):
            live = await _read(cluster, ref)
            mine = live is not None and owner_of(live) == job.world.project
            children = await _children(cluster, live) if live is not None and mine else ()
            for child in children:
                if child["kind"] == "PersistentVolumeClaim":
                    name = child["metadata"]["name"]
                    say(f"the volume claim `{name}` goes with {ref}, and so does its data")
            left = await remove(cluster, [ref], job.world.project, say)
            kept += left
            if not left:
                await asyncio.gather(*(_gone(cluster, child) for child in children))
        return tuple(kept)

    async def diff(self, job: Job) -> tuple[str, ...]:
        """What a run would do to the environment and to its children, one line each.

        Raises:
            KindlingError: The cluster cannot be asked.
        """
        from kindling.operator.controller.preview import preview

        ref, manifest = _wanted(job, lenient=True)
        environment = read_environment(manifest)
        faults = environment if not isinstance(environment, Environment) else ()
        wrong = faults or [p for p in problems(environment) if p.blocking]  # type: ignore[arg-type]
        if wrong:
            return (f"fail {ref}: {'; '.join(map(str, wrong))}",)
        cluster = await job.world.cluster()
        live = await _read(cluster, ref)
        owner = owner_of(live) if live is not None else ""
        if owner not in ("", job.world.project):
            return (f"refuse {ref}: it belongs to the project `{owner}`",)
        lines: list[str] = []
        if live is None:
            lines.append(f"create {ref}")
        elif changed := differences(manifest, live):
            lines.append(f"change {ref}: {', '.join(changed)}")
        lines += [_line(change) for change in await preview(cluster, manifest)]
        previous = job.previous.data.get("environment") if job.previous else None
        if previous is not None and not _same(ref_of(previous), ref, cluster.namespace):
            lines.append(f"delete {ref_of(previous)}")
        return tuple(lines)

    async def _reconciled(
        self, job: Job, cluster: Cluster, ref: ObjectRef, written: Object, who: str
    ) -> Outcome:
        """Wait until an operator has done what the environment asks for."""
        limit = _spec(job).timeout
        look = Pass(cluster, ref, written)

        def failed(failure: Failure) -> Failed:
            live = Reconciling(job, cluster, ref, look.live, self._patience, well=False)
            return Failed(failure, live=live)

        try:
            async with asyncio.timeout(limit):
                told = await look.over()
        except TimeoutError:
            if (told := told_by(look.live)).problem:
                return failed(problem_failure(ref, told))
            return failed(
                Failure(
                    FailureKind.TIMEOUT,
                    f"{ref} was not reconciled within {limit:g} s",
                    (f"it is {who} that has to do it",),
                    "Is that operator at work? Its log says what it does",
                )
            )
        if told.problem:
            return failed(problem_failure(ref, told))
        output = await _output(job, cluster, look.live)
        return Succeeded(output, live=Reconciling(job, cluster, ref, look.live, self._patience))


def _spec(job: Job) -> OperatorSpec:
    assert isinstance(job.node.spec, OperatorSpec)
    return job.node.spec


def _wanted(job: Job, *, lenient: bool = False) -> tuple[ObjectRef, Manifest]:
    spec = _spec(job)
    return next(iter(wanted(job, (spec.object,), spec.images, lenient=lenient)))


def _placed(ref: ObjectRef, live: Object) -> ObjectRef:
    """Who it is in the cluster, where a manifest may have named no namespace."""
    return ObjectRef(ref.api_version, ref.kind, ref.name, live["metadata"].get("namespace") or "")


def _same(one: ObjectRef, other: ObjectRef, default: str) -> bool:
    return (one.kind, one.name, one.namespace or default) == (
        other.kind,
        other.name,
        other.namespace or default,
    )


async def _read(cluster: Cluster, ref: ObjectRef) -> Object | None:
    try:
        return await cluster.get(ref)
    except NotFoundError:
        return None


async def _operate(job: Job, ref: ObjectRef) -> str:
    return await job.world.operate(ref.namespace, ref.name, job.log)


def _what_happened(before: Object | None, written: Object) -> str:
    if before is None or before["metadata"]["uid"] != written["metadata"]["uid"]:
        return "applied"
    return "applied again"


def _refused(lines: list[str]) -> Failure:
    return Failure(
        FailureKind.REFUSED,
        lines[0],
        tuple(lines[1:]),
        "Nothing was written: change the field where the environment is declared",
    )


def _forgotten(fields: tuple[str, ...] | list[str]) -> Failure:
    return Failure(
        FailureKind.CLUSTER,
        f"The cluster's definition of the kind does not keep [{', '.join(fields)}]",
        ("it is older than this kindling, or somebody else's",),
        "`kindling operator install` brings it up to date",
    )


async def _output(job: Job, cluster: Cluster, live: Object) -> Output:
    """What an operator has made: the environment, and the app's own objects."""
    _, manifest = _wanted(job)
    environment = environment_of(live)
    refs = app_refs(environment) if environment is not None else ()
    found = [one for ref in refs if (one := await _read(cluster, ref)) is not None]
    objects = [
        {
            "apiVersion": one["apiVersion"],
            "kind": one["kind"],
            "name": one["metadata"]["name"],
            "namespace": one["metadata"].get("namespace", ""),
            "uid": one["metadata"]["uid"],
            "digest": (one["metadata"].get("annotations") or {}).get(HASH_ANNOTATION, ""),
        }
        for one in found
    ]
    content: dict[str, Any] = {"environment": record_of(live, manifest), "objects": objects}
    urls = await ingress_addresses(cluster, [ref_of(one) for one in objects])
    data = content | {"observedGeneration": live["metadata"].get("generation", 0)}
    return Output(output_digest(content), data | ({"urls": list(urls)} if urls else {}))


def _difference(
    ref: ObjectRef, live: Object, entry: Mapping[str, Any], manifest: Manifest, owner: str
) -> str:
    """What of the environment itself is not as it was written."""
    if live["metadata"].get("deletionTimestamp"):
        return f"{ref} is being deleted"
    if owner_of(live) not in ("", owner):
        return f"{ref} now belongs to the project `{owner_of(live)}`"
    if live["metadata"]["uid"] != entry["uid"]:
        return f"{ref} was made anew"
    if digest_of(live, manifest) == entry["digest"]:
        return ""
    changed = differences(manifest, live, limit=1)
    return f"drift: {ref} has another {changed[0] if changed else 'content'}"


async def _missing(cluster: Cluster, live: Object) -> str:
    """What an operator would have to do now, or what the app needs and is not up. A status is as
    old as the last operator that acted."""
    from kindling.operator.controller.preview import preview

    changes = await preview(cluster, live)
    if changes:
        return f"drift: to {_line(changes[0])}"
    environment = environment_of(live)
    for ref in dependency_refs(environment) if environment is not None else ():
        part = deployment_part(await cluster.get(ref), ())
        if not part.ready:
            return part.message
    return ""


async def _children(cluster: Cluster, live: Object) -> tuple[Object, ...]:
    from kindling.operator.controller.reading import SORTS, Asking

    head = live["metadata"]
    return await Asking(cluster).owned(SORTS[live["kind"]], head["namespace"], head["uid"])


async def _gone(cluster: Cluster, child: Object) -> None:
    """The cluster removes what nobody owns any more, a moment later."""
    head = child["metadata"]
    ref = ObjectRef(child["apiVersion"], child["kind"], head["name"], head["namespace"])
    await cluster.wait_deleted(ref, uid=head["uid"], timeout=_GONE_LIMIT)


def _line(change: Change) -> str:
    fields = f": {', '.join(change.fields)}" if change.fields else ""
    return f"{change.verb} {change.ref}{fields}"
