"""The narrow door to the node's images, and the values that go through it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from kindling.cluster.runtime.protocol import RootFs

__all__ = ["HOST_IMAGE", "Credentials", "Image", "ImageConfig", "Images", "PullError"]

HOST_IMAGE = "kindling.dev/host"
"""The image that is this machine's own root file system; any tag of it means the same."""


class PullError(Exception):
    """An image that cannot be had. `reason` is the kubelet's (`ErrImagePull`, `ErrImageNeverPull`,
    `InvalidImageName`); the text is what the registry or the parser said, as containerd words
    it."""

    def __init__(self, message: str, reason: str = "ErrImagePull") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Credentials:
    """A login for the registry `host`, out of a pull secret or docker's own configuration."""

    host: str
    username: str
    password: str


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says about running it (the OCI image configuration's `config`)."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    user: str = ""
    cwd: str = "/"
    labels: tuple[tuple[str, str], ...] = ()
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    stop_signal: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is here, ready to run. `id` is `sha256:...` of its configuration; `names` are
    full references (`docker.io/library/busybox:1.36`), `digests` are `name@sha256:...`."""

    id: str
    config: ImageConfig
    root: RootFs
    names: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    size: int = 0
    created: float = 0.0


class Images(Protocol):
    """The node's images. References are as in a pod: `busybox`, `localhost:5000/a:1`,
    `x@sha256:...`."""

    def find(self, reference: str) -> Image | None:
        """The image of a reference or id, if it is here. Raises `PullError`
        (`InvalidImageName`)."""
        ...

    async def pull(self, reference: str, credentials: tuple[Credentials, ...] = ()) -> Image:
        """Fetch it from its registry, layers that are here excepted. Two pulls of one reference are
        one. Raises `PullError`."""
        ...

    def all(self) -> tuple[Image, ...]: ...

    def lease(self, image: str) -> AbstractContextManager[None]:
        """Within it the image of this id keeps its layers: containers run on them."""
        ...
