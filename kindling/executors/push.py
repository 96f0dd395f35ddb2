"""Images into a registry, under the tag of their content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kindling.build.registry import LoginNeededError, RegistryClient
from kindling.errors import ExecutionError
from kindling.executors.protocol import Job, Observation, Outcome, Succeeded
from kindling.graph.node import Kind, NodeId
from kindling.graph.outcome import Output
from kindling.graph.spec import PushSpec
from kindling.objects.reference import RegistryName, content_tag, registry_name

__all__ = ["PushExecutor", "input_data"]


class PushExecutor:
    """Uploads an image unless the registry holds it already; its output is what the cluster
    pulls."""

    @property
    def kind(self) -> Kind:
        return Kind.PUSH

    async def run(self, job: Job) -> Outcome:
        spec = _spec(job)
        image = input_data(job, spec.image)
        if image.get("reference"):  # it needs no push: its builder delivered it, or nobody may
            return Succeeded(_as_it_is(image))
        name = _name(job, spec)
        tag = content_tag(str(image["image_id"]))
        pushed, pulled = name.pushed(tag), name.pulled(tag)
        if await _held(pushed, str(image["image_id"])):
            job.log(f"the registry has `{pushed}` already", "kindling")
        else:
            engine = await job.world.containers()
            await engine.tag(str(image["image_id"]), pushed)
            try:
                await engine.push(pushed, job.log)
            finally:
                # The engine needs the name only to know where to push.
                if pushed != image["local"]:
                    await engine.remove(pushed)
        return Succeeded(
            Output(
                pulled,
                {"reference": pulled, "roll": "", "pushed": pushed, "image": image["image_id"]},
            )
        )

    async def observe(self, job: Job, recorded: Output) -> Observation:
        pushed = recorded.data.get("pushed")
        if not pushed:
            return Observation(same=True)
        if await _held(str(pushed), str(recorded.data.get("image", "")), unknown=True):
            return Observation(same=True)
        return Observation(same=False, difference=f"`{pushed}` was not found in the registry")

    async def restore(self, job: Job, cached: Output) -> bool:
        return False

    async def undo(self, job: Job, recorded: Output) -> tuple[str, ...]:
        return ()


def input_data(job: Job, node: str) -> Mapping[str, Any]:
    """What the predecessor `node` produced.

    Raises:
        ExecutionError: Nothing, though it must come first.
    """
    output = job.inputs.get(NodeId(node))
    if output is None:
        raise ExecutionError(f"`{node}`, which it needs, has no result")
    return output.data


async def _held(pushed: str, image_id: str, *, unknown: bool = False) -> bool:
    """Whether the registry holds this image under this reference; `unknown` where it wants a
    login."""
    host, _, rest = pushed.partition("/")
    repository, _, tag = rest.rpartition(":")
    try:
        held = await RegistryClient(host).manifest(repository, tag)
    except LoginNeededError:
        return unknown
    return held is not None and held.is_image(image_id)


def _name(job: Job, spec: PushSpec) -> RegistryName:
    registry = input_data(job, spec.registry)
    return registry_name(
        spec.ref,
        str(registry["push"]),
        str(registry.get("pull") or ""),
        str(registry.get("single_name") or ""),
    )


def _as_it_is(image: Mapping[str, Any]) -> Output:
    reference, roll = str(image["reference"]), str(image.get("roll", ""))
    return Output(f"{reference} {roll}".strip(), {"reference": reference, "roll": roll})


def _spec(job: Job) -> PushSpec:
    assert isinstance(job.node.spec, PushSpec)
    return job.node.spec
