"""Sending an image to a registry: the layers that it lacks, three at a time, then the manifest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from kindling.cluster.images.blobs import digest_of
from kindling.cluster.images.manifest import Descriptor, choose, parse_manifest
from kindling.cluster.images.protocol import Credentials, Image
from kindling.cluster.images.pull import logins_for
from kindling.cluster.images.reference import Reference
from kindling.cluster.images.registry_client import RegistryClient, RegistryError
from kindling.cluster.images.store import ImageStore

__all__ = ["push_image"]

_AT_ONCE = 3


async def push_image(
    store: ImageStore,
    image: Image,
    reference: Reference,
    credentials: tuple[Credentials, ...] = (),
    tell: Callable[[str, str], None] = lambda _id, _what: None,
) -> tuple[str, int]:
    """Push; the digest and size of the manifest. `tell` gets a layer's short digest and what became
    of it. An image of our own registry is there already.

    Raises:
        RegistryError: The registry refuses, or is not there.
    """
    digest = store.resolve(reference) or store.manifest_of(image.id)
    if not digest:
        raise RegistryError(f"{reference} is this machine itself, and cannot be pushed")
    data = store.blobs.read(digest)
    manifest = parse_manifest(data)
    if reference.host in store.own_hosts:
        store.tag(digest, reference)
        return digest, len(data)
    if image.root.host:
        raise RegistryError(
            f"{reference} is built on kindling.dev/host, and runs on this machine alone"
        )
    if manifest.is_index:
        data = store.blobs.read(choose(manifest).digest)
        manifest = parse_manifest(data)
    assert manifest.config is not None
    places = asyncio.Semaphore(_AT_ONCE)
    with store.pin(manifest.parts):
        async with RegistryClient(
            reference, await logins_for(store, reference, credentials), scope="pull,push"
        ) as registry:

            async def send(item: Descriptor, name: str) -> None:
                async with places:
                    if await registry.has_blob(item.digest):
                        tell(name, "Layer already exists")
                        return
                    await registry.push_blob(item.digest, store.blobs.path(item.digest))
                    tell(name, "Pushed")

            layers = {item.digest: item for item in manifest.layers}
            for item in layers.values():
                tell(_short(item), "Preparing")
            try:
                async with asyncio.TaskGroup() as group:
                    for item in layers.values():
                        group.create_task(send(item, _short(item)), name=f"push {_short(item)}")
            except BaseExceptionGroup as error:
                raise error.exceptions[0] from error
            if not await registry.has_blob(manifest.config.digest):
                config = manifest.config.digest
                await registry.push_blob(config, store.blobs.path(config))
            await registry.push_manifest(
                reference.tag or digest_of(data), data, manifest.media_type
            )
    return digest_of(data), len(data)


def _short(item: Descriptor) -> str:
    return item.digest.removeprefix("sha256:")[:12]
