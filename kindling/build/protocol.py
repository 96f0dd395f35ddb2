"""The narrow door to a container engine, and the values that go through it.

Everything above this room sees an engine through `ContainerEngine` alone. The Docker one is in
`docker_engine`; `kindling.testing.containers` has one that lives in memory. References are those
that `docker` takes: `name`, `name:tag`, `host:port/name:tag` or an image id (`sha256:...`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from kindling.graph.node import IgnoreRule

__all__ = [
    "BuildContext",
    "BuildRequest",
    "ContainerEngine",
    "EngineVersion",
    "ImageConfig",
    "ImageInfo",
    "LineSink",
    "NodeEngine",
    "ProgramResult",
    "Programs",
]

Pairs = tuple[tuple[str, str], ...]


class LineSink(Protocol):
    """Takes one line of output, without its end."""

    def __call__(self, line: str, stream: str = "stdout") -> None: ...


class ProgramResult(Protocol):
    """How a program ended."""

    @property
    def code(self) -> int: ...

    @property
    def stdout(self) -> bytes: ...

    @property
    def stderr(self) -> bytes: ...


class Programs(Protocol):
    """What this room needs of a process runner; the executors' `ProcessRunner` is one."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log: LineSink | None = None,
        stdin: bytes = b"",
        timeout: float = 0.0,
        keep_output: bool = True,
    ) -> ProgramResult: ...


@dataclass(frozen=True, slots=True)
class EngineVersion:
    """Who answers: the engine's version, its API's, and the platform it builds for."""

    version: str
    api: str
    platform: str


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image runs, and where, when nobody says otherwise."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    folder: str = ""
    user: str = ""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> ImageConfig:
        """From a configuration as images and engines write it."""
        return cls(
            tuple(map(str, config.get("Entrypoint") or ())),
            tuple(map(str, config.get("Cmd") or ())),
            str(config.get("WorkingDir") or ""),
            str(config.get("User") or ""),
        )


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """An image that an engine holds. `id` is `sha256:...`; `tags` are full `name:tag` references.

    `created` is in seconds since the epoch. `digests` are `name@sha256:...`, one for each registry
    that the engine has pushed it to or pulled it from. `config` is what `inspect` alone tells.
    """

    id: str
    tags: tuple[str, ...] = ()
    created: float = 0.0
    digests: tuple[str, ...] = ()
    config: ImageConfig | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class BuildContext:
    """The files that a build sees: what lies below `folder`, less what is ignored.

    `root` is the graph's root, which the bases of `ignore` and the paths of `only` are relative to.
    `only` empty means everything. The `.dockerignore` of the Dockerfile (or else of the folder)
    holds besides. The folder need not exist when `only` is what counts: it is then an empty
    context.
    """

    root: Path
    folder: Path
    ignore: tuple[IgnoreRule, ...] = ()
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One image to be built from a Dockerfile.

    `name` says what is built, unlike any other that is built at the same time in `scratch`.
    `dockerfile` is the text to build from. `dockerfile_path` is the file it was read from, None
    where there is none; the text may differ from the file's (a base image put in the place of a
    name). `tags` are full references that the result gets. `scratch` is a folder of ours for what
    must be written down on the way. `secrets` and `ssh` are as `docker build` takes them.
    """

    context: BuildContext
    dockerfile: str
    scratch: Path
    name: str = ""
    dockerfile_path: Path | None = None
    tags: tuple[str, ...] = ()
    build_args: Pairs = ()
    target: str = ""
    platform: str = ""
    network: str = ""
    pull: bool = False
    ssh: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = ()


@runtime_checkable
class NodeEngine(Protocol):
    """An engine whose images are those of a cluster's node: what it built is there already."""

    async def deliver(self, ref: str) -> None:
        """Make the node have the image `ref`, out of the Docker engine of this machine if that has
        one of this name. Raises `ContainerError` when nobody has it."""
        ...

    async def delivered(self, ref: str) -> bool:
        """Whether the node has the image `ref`."""
        ...


class ContainerEngine(Protocol):
    """A builder and store of images. Every method raises `ContainerError` where the engine refuses,
    vanishes or is not allowed to us, and `HostError` where this machine lacks something."""

    async def version(self) -> EngineVersion:
        """Ask the engine who it is: the cheapest proof that it is there."""
        ...

    async def inspect(self, ref: str) -> ImageInfo | None:
        """The image under a reference or id; None when the engine has none."""
        ...

    async def tags(self, name: str) -> tuple[ImageInfo, ...]:
        """Every image that has a tag of the repository `name` (which carries no tag), newest
        first."""
        ...

    async def build(self, request: BuildRequest, log: LineSink) -> ImageInfo:
        """Build, line by line into `log`. Cancelling stops the build.

        Raises:
            ExecutionError: A step of the Dockerfile failed; the message names it.
        """
        ...

    async def tag(self, image: str, ref: str) -> None:
        """Give an image (a reference or an id) one more reference."""
        ...

    async def push(self, ref: str, log: LineSink) -> str:
        """Upload to the registry that `ref` names; the manifest's digest. Uses the credentials of
        the user's Docker configuration, its helpers included."""
        ...

    async def remove(self, ref: str) -> bool:
        """Take a reference away, and the image with its last one. False when there was none, or
        when a container still uses it."""
        ...

    async def save(self, ref: str, path: Path) -> None:
        """Write the image as a Docker archive to `path`, whole or not at all."""
        ...

    async def load(self, path: Path) -> tuple[str, ...]:
        """Take in the images of an archive; the references or ids that it brought."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
