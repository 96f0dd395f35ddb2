"""Images: `docker_build` and `custom_build`.

Whatever builds it, an image ends up in the Docker engine under a tag named by its content
(`api:kindling-0123456789abcdef`), so that the same bits have the same name and nothing behind them
runs. The exceptions are images of which the user names the tag and forbids the push, and those that
a command delivers by itself: their reference is used as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from kindling.build.protocol import ContainerEngine, ImageInfo
from kindling.errors import ContainerError, ExecutionError
from kindling.executors.custom_image import run_custom_build
from kindling.executors.docker_image import run_docker_build
from kindling.executors.protocol import Failed, Job, LogSink, Observation, Outcome, Succeeded
from kindling.graph.node import Kind
from kindling.graph.outcome import Failure, FailureKind, Output
from kindling.graph.spec import CustomImageSpec, DockerImageSpec
from kindling.objects.reference import TAG_PREFIX, parse_reference

__all__ = ["KEPT_TAGS", "ImageExecutor"]

KEPT_TAGS = 3
"""How many of our tags of one image name the engine keeps; older ones are removed after a build."""


class ImageExecutor:
    """Builds an image, finds it again, and names it anew when its tag was lost."""

    @property
    def kind(self) -> Kind:
        return Kind.IMAGE

    async def run(self, job: Job) -> Outcome:
        spec = job.node.spec
        try:
            if isinstance(spec, DockerImageSpec):
                output = await run_docker_build(job, spec)
            else:
                assert isinstance(spec, CustomImageSpec)
                output = await run_custom_build(job, spec)
        except ExecutionError as error:
            return Failed(
                Failure(
                    FailureKind.BUILD, error.message, error.details, error.hint, error.transient
                )
            )
        if local := str(output.data["local"]):
            await prune_tags(await job.world.containers(), local, job.log)
        return Succeeded(output)

    async def observe(self, job: Job, recorded: Output) -> Observation:
        data = recorded.data
        if not data.get("image_id"):
            return Observation(same=True)  # it never was in the engine
        engine = await job.world.containers()
        for ref in _names(recorded):
            found = await engine.inspect(ref)
            if found is None:
                return Observation(same=False, difference=f"`{ref}` was not found in the engine")
            if found.id != data["image_id"]:
                return Observation(same=False, difference=f"`{ref}` is another image by now")
        return Observation(same=True)

    async def restore(self, job: Job, cached: Output) -> bool:
        image = cached.data.get("image_id")
        if not image:
            return False  # what a command delivered by itself cannot be seen from here
        engine = await job.world.containers()
        if await engine.inspect(image) is None:
            return False
        for ref in _names(cached):
            await engine.tag(image, ref)
        return True

    async def undo(self, job: Job, recorded: Output) -> tuple[str, ...]:
        return ()


async def prune_tags(engine: ContainerEngine, local: str, log: LogSink) -> None:
    """Remove our old tags beside `local`. The images of the last `KEPT_TAGS` builds stay, and so
    does every tag that is not ours."""
    name = parse_reference(local).familiar_name
    prefix = f"{name}:{TAG_PREFIX}"
    try:
        old = [
            tag
            for tag in _newest_first(await engine.tags(name), local)
            if tag.startswith(prefix) and _is_content_tag(tag.removeprefix(prefix))
        ]
        for tag in old[KEPT_TAGS:]:
            await engine.remove(tag)
    except ContainerError as error:
        # The image is built; that the engine did not clean up is no failure of it.
        log(f"old images of `{name}` were not removed: {error.message}", "kindling")


def _newest_first(images: Sequence[ImageInfo], current: str) -> list[str]:
    tags = [tag for image in images for tag in sorted(image.tags)]
    # A build that came from the layer cache is as old as its first time, and yet the newest of all.
    return [current, *(tag for tag in tags if tag != current)]


def _is_content_tag(rest: str) -> bool:
    return len(rest) == 16 and all(c in "0123456789abcdef" for c in rest)


def _names(output: Output) -> list[str]:
    """Every reference in the engine that must name the image."""
    data = output.data
    own = [str(ref) for ref in data.get("tags", ())]
    return [str(data["local"]), *own] if data.get("local") else own
