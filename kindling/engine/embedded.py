"""The embedded cluster as a session's target: started when it is needed, reached by its own
kubeconfig, and given images by its own builder."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kindling.build.protocol import (
    BuildRequest,
    ContainerEngine,
    EngineVersion,
    ImageInfo,
    LineSink,
)
from kindling.cluster.home import ClusterHome
from kindling.cluster.record import read_settings
from kindling.errors import ClusterError, ContainerError, KindlingError
from kindling.kube.contexts import KubeContext, Product, kubeconfig_paths, read_kubeconfig

if TYPE_CHECKING:
    from kindling.executors.protocol import ProcessRunner

__all__ = [
    "NodeImages",
    "home_of",
    "load_images",
    "node_images",
    "reached",
    "with_embedded",
]

_PREFIX = "kindling-"


def home_of(context: KubeContext, environment: Mapping[str, str]) -> ClusterHome | None:
    """The embedded cluster that a context leads to; None for any other cluster, one of the same
    name on another machine included."""
    if context.product is not Product.EMBEDDED or not context.cluster.startswith(_PREFIX):
        return None
    home = ClusterHome.of(context.cluster.removeprefix(_PREFIX), environment)
    return home if not context.server or home.exists else None


def with_embedded(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with the kubeconfigs of this user's embedded clusters behind those that it
    names: `kindling up` writes none of the user's own, and both we and the programs that a session
    starts have to find the cluster."""
    files = [str(path) for path in kubeconfig_paths(environment)]
    own = [str(home.kubeconfig) for home in ClusterHome.all(environment)]
    first = str(ClusterHome.of(environment=environment).kubeconfig)
    return {**environment, "KUBECONFIG": os.pathsep.join(dict.fromkeys([*files, first, *own]))}


async def reached(
    context: KubeContext, environment: Mapping[str, str], *, start: bool
) -> tuple[KubeContext, Mapping[str, str]]:
    """Where to connect for a context, and with which environment. The embedded cluster is started
    if that is wanted; all others are left as they are.

    Raises:
        ClusterError: It does not come up, or is stopped and not to be started.
    """
    home = home_of(context, environment)
    if home is None:
        return context, environment
    from kindling.cluster import daemon

    found = await asyncio.to_thread(
        lambda: daemon.ensure(home, environment) if start else daemon.status(home)
    )
    if not found.ready:
        raise ClusterError(
            f"The embedded cluster `{home.name}` is not ready: {found.problem}",
            hint="`kindling up` starts it, and so does `kindling cluster start`.",
        )
    if context.server not in ("", found.settings.server):
        return context, environment  # the user's own way there, such as a proxy
    own = {**environment, "KUBECONFIG": str(home.kubeconfig)}
    there = await asyncio.to_thread(read_kubeconfig, own)
    return replace(there.find(home.context), namespace=context.namespace), own


class NodeImages:
    """The images of an embedded cluster's node, and its builder, behind `ContainerEngine`.

    What a command of the user built is in the Docker engine, if there is one. What the node does
    not have is looked up there; what both have under one name is the node's, until it is delivered.
    """

    def __init__(
        self,
        node: ContainerEngine,
        docker: Callable[[], Awaitable[ContainerEngine]],
        own: tuple[str, ...] = (),
    ) -> None:
        """`own` are the names of the node's own registry, such as `localhost:5050`."""
        self._own = tuple(f"{host}/" for host in own)
        self._node = node
        self._connect = docker
        self._docker: ContainerEngine | None = None
        self._silent = False

    async def version(self) -> EngineVersion:
        return await self._node.version()

    async def build(self, request: BuildRequest, log: LineSink) -> ImageInfo:
        return await self._node.build(request, log)

    async def inspect(self, ref: str) -> ImageInfo | None:
        return await (await self._holder(ref)).inspect(ref)

    async def tags(self, name: str) -> tuple[ImageInfo, ...]:
        found = await self._node.tags(name)
        other = await self._other()
        more = await other.tags(name) if other is not None else ()
        return tuple(sorted((*found, *more), key=lambda image: -image.created))

    async def tag(self, image: str, ref: str) -> None:
        await (await self._holder(image)).tag(image, ref)

    async def remove(self, ref: str) -> bool:
        """Takes it away from both: a name that is removed must not be found in the other. What was
        pushed to the node's own registry stays there, as it would in any other."""
        gone = not ref.startswith(self._own) and await self._node.remove(ref)
        other = await self._other()
        return (other is not None and await other.remove(ref)) or gone

    async def push(self, ref: str, log: LineSink) -> str:
        return await (await self._holder(ref)).push(ref, log)

    async def save(self, ref: str, path: Path) -> None:
        await (await self._holder(ref)).save(ref, path)

    async def load(self, path: Path) -> tuple[str, ...]:
        return await self._node.load(path)

    async def deliver(self, ref: str) -> None:
        """Make the node have the image `ref`, by way of an archive if the Docker engine has it
        and what the node has under that name is another.

        Raises:
            ContainerError: Neither has it.
        """
        here = await self._node.inspect(ref)
        other = await self._other()
        there = await other.inspect(ref) if other is not None else None
        if other is None or there is None:
            if here is not None:
                return
            raise ContainerError(
                f"there is no image `{ref}`: neither the node nor a Docker engine has it",
                hint="Build or pull it first, or name an archive that `docker save` wrote.",
            )
        if here is not None and here.id == there.id:
            return
        with tempfile.TemporaryDirectory(prefix="kindling-load-") as folder:
            archive = Path(folder) / "image.tar"
            await other.save(ref, archive)
            await self._node.load(archive)

    async def delivered(self, ref: str) -> bool:
        return await self._node.inspect(ref) is not None

    async def close(self) -> None:
        await self._node.close()
        if self._docker is not None:
            await self._docker.close()

    async def _holder(self, ref: str) -> ContainerEngine:
        other = await self._other()
        if other is None or await self._node.inspect(ref) is not None:
            return self._node
        return other

    async def _other(self) -> ContainerEngine | None:
        """The Docker engine, if one answers."""
        if self._docker is None and not self._silent:
            try:
                self._docker = await self._connect()
            except KindlingError:
                self._silent = True  # there is none: most who use this cluster have none
        return self._docker


async def load_images(
    home: ClusterHome,
    images: Sequence[str],
    environment: Mapping[str, str],
    say: Callable[[str], None],
) -> None:
    """Put images into the node, by name from the Docker engine or from archives.

    Raises:
        KindlingError: One could not be loaded; those before it were.
    """
    from kindling.executors.processes import HostProcesses

    programs = HostProcesses()
    try:
        node = await node_images(home, programs, environment, Path.cwd())
        try:
            for image in images:
                path = Path(image)
                if await asyncio.to_thread(path.is_file):
                    try:
                        refs = await node.load(path)
                    except ContainerError as error:
                        raise ClusterError(
                            f"Cannot load `{image}`: {error.message}",
                            hint="Archives are what `docker save` writes, and OCI layouts.",
                        ) from error
                    for ref in refs:
                        say(f"{image}: {ref}")
                elif await asyncio.to_thread(path.is_dir):
                    raise ClusterError(f"`{image}` is a folder, neither an image nor an archive")
                elif image.endswith(".tar"):
                    raise ClusterError(f"There is no file `{image}`")
                else:
                    await node.deliver(image)
                    say(image)
        finally:
            await node.close()
    finally:
        await programs.close()


async def node_images(
    home: ClusterHome, programs: ProcessRunner, environment: Mapping[str, str], root: Path
) -> NodeImages:
    """The node's images and builder, once they have answered.

    Raises:
        ContainerError: They do not.
    """
    from kindling.build.docker_engine import connect

    own = {**environment, "DOCKER_HOST": f"unix://{home.engine_socket}"}
    node = await connect(programs, own, root)
    port = (await asyncio.to_thread(read_settings, home)).registry_port
    hosts = (f"localhost:{port}", f"127.0.0.1:{port}")
    return NodeImages(node, lambda: connect(programs, environment, root), hosts)
