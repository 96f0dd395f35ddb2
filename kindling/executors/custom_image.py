"""One `custom_build`: an image made by a command that is told its name by variables.

As in Tilt, `EXPECTED_REF` is the reference to make, `EXPECTED_REGISTRY`, `EXPECTED_IMAGE` and
`EXPECTED_TAG` are its parts, and `REGISTRY_HOST` is the older name of the first part;
`TILT_IMAGE_i` and `TILT_IMAGE_MAP_i` are the built reference and the name of the i-th of
`image_deps`. There are three ways to agree on the tag:

- none given: a tag of this very run, made content's own afterwards;
- `tag=`: the command knows it and the name without a registry; made content's own afterwards, or
  used as it is with `disable_push`;
- `outputs_image_ref_to=`: the command writes the reference it made to a file.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from kindling.build.protocol import ContainerEngine, ImageInfo, NodeEngine
from kindling.errors import ConfigError, ExecutionError
from kindling.executors.commands import Tail, command_failure, environment, folder
from kindling.executors.docker_image import base_images
from kindling.executors.protocol import Job
from kindling.graph.outcome import Output
from kindling.graph.spec import CustomImageSpec
from kindling.objects.reference import (
    RegistryName,
    local_reference,
    parse_reference,
    registry_name,
)

__all__ = ["run_custom_build"]

_MAX_REF_FILE = 4096


@dataclass(frozen=True, slots=True)
class _Expected:
    """What the command is to make: the reference for it, and the one that the cluster would
    pull."""

    ref: str
    pulled: str
    registry: str


async def run_custom_build(job: Job, spec: CustomImageSpec) -> Output:
    """Run the command, find what it made, and name it by its content.

    Raises:
        ExecutionError: The command failed, or did not make what it was to make.
        HostError: It cannot be run.
    """
    expected = _expected(job, spec)
    await _run(job, spec, expected)
    made = expected.ref
    if spec.outputs_ref_to:
        made = await asyncio.to_thread(_read_ref, job, spec)
    if spec.skips_local_docker:
        return _delivered(job, spec, made, expected)
    engine = await job.world.containers()
    image = await engine.inspect(made)
    if image is None:
        raise ExecutionError(
            f"the command succeeded, but `{made}` was not found in the engine",
            hint="It must tag what it builds as `$EXPECTED_REF`; a build that never enters the "
            "Docker engine wants `skips_local_docker=True`.",
        )
    if isinstance(engine, NodeEngine):
        # The command built in the Docker engine; the node may hold the bits of the last time.
        await engine.deliver(made)
        image = await engine.inspect(made) or image
    return await _named_by_content(engine, spec, image, made)


async def _named_by_content(
    engine: ContainerEngine, spec: CustomImageSpec, image: ImageInfo, made: str
) -> Output:
    local = local_reference(spec.ref, image.id)
    await engine.tag(image.id, local)
    kept = [made] if spec.tag or spec.outputs_ref_to else []
    if not kept and made != local:
        await engine.remove(made)  # the tag of this run has done its work
    as_it_is = spec.disable_push and bool(kept)
    return Output(
        image.id,
        {
            "ref": spec.ref,
            "image_id": image.id,
            "local": local,
            "tags": kept,
            "reference": made if as_it_is else "",
            "roll": image.id if as_it_is else "",
        },
    )


def _delivered(job: Job, spec: CustomImageSpec, made: str, expected: _Expected) -> Output:
    """The output of a command that keeps its images elsewhere: its word is all there is."""
    reference = made if spec.outputs_ref_to else expected.pulled
    # The tag of this run is new each time; any other may name new bits under an old name.
    new_name = "@sha256:" in reference or not (spec.tag or spec.outputs_ref_to)
    roll = "" if new_name else "sha256:" + hashlib.sha256(job.key.encode()).hexdigest()
    return Output(
        f"{reference} {roll}".strip(),
        {
            "ref": spec.ref,
            "image_id": "",
            "local": "",
            "tags": [],
            "reference": reference,
            "roll": roll,
        },
    )


def _expected(job: Job, spec: CustomImageSpec) -> _Expected:
    name = parse_reference(spec.ref).familiar_name
    if spec.tag:
        return _Expected(f"{name}:{spec.tag}", f"{name}:{spec.tag}", "")
    tag = f"kindling-build-{int(job.world.clock.time() * 1000)}"
    if not spec.host:
        return _Expected(f"{name}:{tag}", f"{name}:{tag}", "")
    there: RegistryName = registry_name(spec.ref, spec.host, spec.host_from_cluster)
    return _Expected(there.pushed(tag), there.pulled(tag), spec.host)


async def _run(job: Job, spec: CustomImageSpec, expected: _Expected) -> None:
    if spec.outputs_ref_to:
        # What an earlier run wrote must never be taken for the word of this one.
        await asyncio.to_thread((job.world.root / spec.outputs_ref_to).unlink, missing_ok=True)
    tail = Tail(job.log)
    result = await job.world.processes.run(
        spec.argv,
        cwd=folder(job, spec.dir),
        env=_environment(job, spec, expected),
        log=tail,
        keep_output=False,
    )
    if result.code != 0:
        failure = command_failure(result.code, tail.lines, what="the build command ")
        raise ExecutionError(failure.summary, details=failure.details, hint=failure.hint)


def _environment(job: Job, spec: CustomImageSpec, expected: _Expected) -> Mapping[str, str]:
    told: dict[str, str] = {}
    if not spec.outputs_ref_to:
        image, _, tag = expected.ref.rpartition(":")
        registry = expected.registry
        told["EXPECTED_REF"] = expected.ref
        told["EXPECTED_IMAGE"] = image.removeprefix(f"{registry}/") if registry else image
        told["EXPECTED_TAG"] = tag
    told["EXPECTED_REGISTRY"] = expected.registry
    if expected.registry:
        told["REGISTRY_HOST"] = expected.registry
    images = base_images(job, spec.images)
    for number, (ref, _) in enumerate(spec.images):
        told[f"TILT_IMAGE_{number}"] = images[ref]
        told[f"TILT_IMAGE_MAP_{number}"] = ref
    # What the file says in `env=` goes over everything, as anywhere else.
    return {**environment(job.world, ()), **told, **dict(spec.env)}


def _read_ref(job: Job, spec: CustomImageSpec) -> str:
    path = job.world.root / spec.outputs_ref_to
    try:
        with path.open("r", encoding="utf-8") as file:
            text = file.read(_MAX_REF_FILE).strip()
    except FileNotFoundError:
        raise ExecutionError(
            f"the command succeeded, but did not write `{spec.outputs_ref_to}`",
            hint="`outputs_image_ref_to` names the file that must hold the reference it made.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ExecutionError(f"cannot read `{spec.outputs_ref_to}`: {error}") from error
    try:
        reference = parse_reference(text)
    except ConfigError as error:
        raise ExecutionError(
            f"`{spec.outputs_ref_to}`: {error.message}", hint=error.hint
        ) from error
    if not reference.tag and not reference.digest:
        raise ExecutionError(
            f"`{spec.outputs_ref_to}` holds `{text}`, which has neither tag nor digest",
            hint="Write the whole reference, such as `api:v1`.",
        )
    return text
