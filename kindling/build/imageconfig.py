"""What an image runs, from wherever it can be learnt: the engine that has it, else its registry.

Images are named as a pod's status names what runs (`sha256:...`, `docker-pullable://name@sha256:`),
or as its template does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from kindling.build.protocol import ContainerEngine, ImageConfig
from kindling.build.registry import RegistryClient
from kindling.errors import ConfigError, ContainerError, KindlingError
from kindling.objects.reference import parse_reference

__all__ = ["ImageConfigs"]

_HUB = "docker.io"
_HUB_HOST = "registry-1.docker.io"

Told = tuple[Sequence[str], Sequence[str], str, str]
"""ENTRYPOINT, CMD, WORKDIR, USER."""


class ImageConfigs:
    """Asks the engine that `engine` opens (None: there is none), then the registry. What nobody
    can tell is None: whoever asks has other ways."""

    def __init__(
        self,
        engine: Callable[[], Awaitable[ContainerEngine | None]],
        *,
        registry: Callable[[str], RegistryClient] = RegistryClient,
        hosts: Callable[[str], str] = str,
    ) -> None:
        """`hosts` gives the name by which this machine reaches a registry of the cluster's."""
        self._open = engine
        self._engine: ContainerEngine | None = None
        self._opened = False
        self._registry = registry
        self._hosts = hosts

    async def __call__(self, image: str) -> Told | None:
        image = image.partition("://")[2] or image
        found = await self._of_engine(image) or await self._of_registry(image)
        if found is None:
            return None
        return found.entrypoint, found.command, found.folder, found.user

    async def close(self) -> None:
        if self._engine is not None:
            await self._engine.close()

    async def _of_engine(self, image: str) -> ImageConfig | None:
        if not self._opened:
            self._opened = True
            try:
                self._engine = await self._open()
            except KindlingError:
                self._engine = None
        if self._engine is None:
            return None
        try:
            found = await self._engine.inspect(image)
        except ContainerError:
            return None
        return found.config if found is not None else None

    async def _of_registry(self, image: str) -> ImageConfig | None:
        try:
            reference = parse_reference(image)
        except ConfigError:
            return None
        host = _HUB_HOST if reference.domain == _HUB else self._hosts(reference.domain)
        which = reference.digest or reference.tag or "latest"
        try:
            return await self._registry(host).config(reference.path, which)
        except ContainerError:
            return None
