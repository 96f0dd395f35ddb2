"""One `docker_build`: from its spec and files to an image under its content tag."""

from __future__ import annotations

import asyncio
import os
import posixpath
from collections.abc import Mapping

from kindling.build.dockerfile import substitute_bases
from kindling.build.protocol import BuildContext, BuildRequest
from kindling.errors import ExecutionError, HostError
from kindling.executors.protocol import Job
from kindling.graph.node import NodeId
from kindling.graph.outcome import Output
from kindling.graph.spec import DockerImageSpec
from kindling.objects.reference import local_reference, parse_reference

__all__ = ["base_images", "run_docker_build"]


async def run_docker_build(job: Job, spec: DockerImageSpec) -> Output:
    """Build, tag, and say what came of it.

    Raises:
        ExecutionError: A step failed.
        HostError: The Dockerfile or the context is not there.
        ContainerError: The engine is not there.
    """
    request = await asyncio.to_thread(build_request, job, spec)
    engine = await job.world.containers()
    image = await engine.build(request, job.log)
    local = local_reference(spec.ref, image.id)
    extra = [_full(tag, spec.ref) for tag in spec.extra_tags]
    for ref in (local, *extra):
        await engine.tag(image.id, ref)
    return Output(
        image.id,
        {
            "ref": spec.ref,
            "image_id": image.id,
            "local": local,
            "tags": extra,
            "reference": "",
            "roll": "",
        },
    )


def build_request(job: Job, spec: DockerImageSpec) -> BuildRequest:
    """What to ask of the engine. Blocking: reads the Dockerfile."""
    root = job.world.root
    path = root / spec.dockerfile if spec.dockerfile else None
    text = spec.dockerfile_contents
    if path is not None:
        try:
            text = path.read_text("utf-8", "surrogateescape")
        except OSError as error:
            raise HostError(
                f"cannot read the Dockerfile `{spec.dockerfile}`: {error.strerror}"
            ) from error
    return BuildRequest(
        context=_context(job, spec),
        dockerfile=substitute_bases(text, base_images(job, spec.bases), dict(spec.build_args)),
        scratch=job.world.state_dir / "contexts",
        name=job.node.id,
        dockerfile_path=path,
        build_args=spec.build_args,
        target=spec.target,
        platform=spec.platform,
        network=spec.network,
        pull=spec.pull,
        ssh=spec.ssh,
        secrets=spec.secrets,
        extra_hosts=spec.extra_hosts,
        cache_from=spec.cache_from,
    )


def base_images(job: Job, pairs: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """For each reference to an image of this graph, what to use in its place: the image just built.

    Raises:
        ExecutionError: The image's node has no output, though it must come first.
    """
    found: dict[str, str] = {}
    for ref, node in pairs:
        output = job.inputs.get(NodeId(node))
        if output is None:
            raise ExecutionError(f"the image `{ref}` it builds upon (`{node}`) is not built")
        found[ref] = str(output.data.get("local") or output.data.get("reference"))
    return found


def _context(job: Job, spec: DockerImageSpec) -> BuildContext:
    """The context with the very rules by which the node's key counts its files."""
    root = job.world.root
    wanted = posixpath.normpath(spec.context)
    for files in job.node.files:
        if wanted in (posixpath.normpath(path) for path in files.paths):
            return BuildContext(root, root / spec.context, files.ignore, files.only)
    return BuildContext(root, root / spec.context)


def _full(tag: str, ref: str) -> str:
    """An extra tag as a reference: Tilt takes whole references, and so do we; a bare tag is of
    `ref`."""
    if "/" in tag or ":" in tag or os.path.sep in tag:
        return tag
    return f"{parse_reference(ref).familiar_name}:{tag}" if tag else ref
