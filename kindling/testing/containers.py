"""A container engine that lives in memory, behind the `ContainerEngine` protocol.

An image is the digest of what it was built from, so that the same request makes the same image. The
only instruction that does anything is `RUN exit N`, which fails the build.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import stat
from dataclasses import replace
from pathlib import Path

from kindling.build.context import list_context
from kindling.build.errors import registry_of
from kindling.build.protocol import BuildRequest, EngineVersion, ImageInfo, LineSink
from kindling.errors import ContainerError, ExecutionError

__all__ = ["FakeContainers"]


class FakeContainers:
    """Images by id, references by name, and registries that take every push.

    `problem`, once set, is what every call raises (`ContainerError("no Docker engine answers")`).
    `requests` and `pushes` record what was asked.
    """

    def __init__(self) -> None:
        self.problem: ContainerError | None = None
        self.requests: list[BuildRequest] = []
        self.pushes: list[str] = []
        self.registries: dict[str, str] = {}
        """What was pushed: reference to image id."""
        self._images: dict[str, ImageInfo] = {}
        self._refs: dict[str, str] = {}
        self._now = 0

    def add(self, ref: str, content: str = "") -> str:
        """Put an image under `ref`, as if it had been pulled; its id."""
        image = _digest(content or ref)
        self._keep(image)
        self._refs[_full(ref)] = image
        return image

    @property
    def refs(self) -> dict[str, str]:
        """Every reference with the id it names."""
        return dict(self._refs)

    async def version(self) -> EngineVersion:
        self._check()
        return EngineVersion("0.0", "1.41", "linux/amd64")

    async def inspect(self, ref: str) -> ImageInfo | None:
        self._check()
        image = ref if ref in self._images else self._refs.get(_full(ref), "")
        return self._info(image) if image else None

    async def tags(self, name: str) -> tuple[ImageInfo, ...]:
        self._check()
        ids = {id_ for ref, id_ in self._refs.items() if _name(ref) == name}
        found = [self._info(id_) for id_ in ids]
        found = [replace(i, tags=tuple(t for t in i.tags if _name(t) == name)) for i in found]
        return tuple(sorted(found, key=lambda image: -image.created))

    async def build(self, request: BuildRequest, log: LineSink) -> ImageInfo:
        self._check()
        self.requests.append(request)
        steps = [line for line in request.dockerfile.splitlines() if line.strip()]
        for number, step in enumerate(steps, 1):
            log(f"Step {number}/{len(steps)} : {step}")
            if fails := re.match(r"RUN exit (\d+)", step):
                raise ExecutionError(
                    f"the build failed at step {number} of {len(steps)}: {step}: "
                    f"exited with code {fails[1]}"
                )
        content = hashlib.sha256(request.dockerfile.encode())
        for found in re.finditer(r"^FROM (\S+)", request.dockerfile, re.MULTILINE):
            content.update((self._refs.get(_full(found[1])) or found[1]).encode())
        content.update(repr((request.build_args, request.target, request.platform)).encode())
        for file in list_context(request.context):
            content.update(repr((file.name, file.mode)).encode())
            if stat.S_ISREG(file.mode):
                content.update(await asyncio.to_thread(Path(file.path).read_bytes))
        image = "sha256:" + content.hexdigest()
        self._keep(image)
        for tag in request.tags:
            self._refs[_full(tag)] = image
        return self._info(image)

    async def tag(self, image: str, ref: str) -> None:
        self._check()
        found = await self.inspect(image)
        if found is None:
            raise ContainerError(f"cannot tag `{image}` as `{ref}`: No such image: {image}")
        self._refs[_full(ref)] = found.id

    async def push(self, ref: str, log: LineSink) -> str:
        self._check()
        image = self._refs.get(_full(ref))
        if image is None:
            raise ContainerError(
                f"cannot push `{ref}`: An image does not exist locally with the tag"
            )
        log(f"The push refers to repository [{registry_of(ref)}]")
        self.pushes.append(ref)
        self.registries[_full(ref)] = image
        return _digest(f"manifest of {image}")

    async def remove(self, ref: str) -> bool:
        self._check()
        image = self._refs.pop(_full(ref), "")
        if image and image not in self._refs.values():
            del self._images[image]
        return bool(image)

    async def save(self, ref: str, path: Path) -> None:
        self._check()
        image = await self.inspect(ref)
        if image is None:
            raise ContainerError(f"cannot save `{ref}`: No such image: {ref}")
        await asyncio.to_thread(path.write_text, f"{image.id} {_full(ref)}")

    async def load(self, path: Path) -> tuple[str, ...]:
        self._check()
        image, ref = (await asyncio.to_thread(path.read_text)).split()
        self._keep(image)
        if ref != image:
            self._refs[ref] = image
        return (ref,)

    async def close(self) -> None:
        """Nothing is open."""

    def _check(self) -> None:
        if self.problem is not None:
            raise self.problem

    def _keep(self, image: str) -> None:
        self._now += 1
        self._images.setdefault(image, ImageInfo(image, created=float(self._now)))

    def _info(self, image: str) -> ImageInfo:
        tags = tuple(sorted(ref for ref, id_ in self._refs.items() if id_ == image))
        return replace(self._images[image], tags=tags)


def _digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _full(ref: str) -> str:
    return ref if ":" in ref.rpartition("/")[2] else f"{ref}:latest"


def _name(ref: str) -> str:
    return _full(ref).rpartition(":")[0]
