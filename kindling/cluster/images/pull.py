"""Fetching an image from its registry: what is not here already, three layers at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from kindling.cluster.images.blobs import BlobError
from kindling.cluster.images.credentials import docker_credentials, same_registry
from kindling.cluster.images.manifest import (
    Descriptor,
    Manifest,
    ManifestError,
    choose,
    diff_ids,
    machine,
    parse_manifest,
)
from kindling.cluster.images.protocol import Credentials, Image, PullError
from kindling.cluster.images.reference import Reference
from kindling.cluster.images.registry_client import RegistryClient, RegistryError
from kindling.cluster.images.tape import ArchiveError

if TYPE_CHECKING:
    from kindling.cluster.images.store import ImageStore

__all__ = ["logins_for", "pull_image"]

_AT_ONCE = 3
_WRITE = 1024 * 1024

Progress = Callable[[str, str, int, int], None]


async def logins_for(
    store: ImageStore, reference: Reference, credentials: tuple[Credentials, ...]
) -> list[Credentials]:
    """What to log in with: what was given for this registry, then the user's own login."""
    found = [login for login in credentials if same_registry(login.host, reference.host)]
    own = await docker_credentials(reference.host, store.environment)
    return [*found, own] if own is not None else found


async def pull_image(
    store: ImageStore,
    reference: Reference,
    credentials: tuple[Credentials, ...],
    progress: Progress | None,
) -> Image:
    """See `Images.pull`."""
    begin = f'failed to pull and unpack image "{reference}"'
    async with RegistryClient(
        reference, await logins_for(store, reference, credentials)
    ) as registry:
        wanted = reference.digest or reference.tag
        try:
            digest, media_type = await registry.head(wanted)
        except RegistryError as error:
            why = f"{reference}: not found" if error.status == 404 else str(error)
            raise PullError(f'{begin}: failed to resolve reference "{reference}": {why}') from error
        try:
            return await _fetch(store, reference, registry, digest, media_type, progress)
        except (RegistryError, ManifestError, ArchiveError, BlobError) as error:
            raise PullError(f"{begin}: {error}") from error
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise PullError(f"{begin}: write blobs: {why}") from error


async def _fetch(
    store: ImageStore,
    reference: Reference,
    registry: RegistryClient,
    digest: str,
    media_type: str,
    progress: Progress | None,
) -> Image:
    top, top_type = digest, media_type
    manifest = await _manifest(store, registry, digest, media_type)
    names = ((store.place(reference), reference.tag),) if reference.tag else ()
    held = (store.place(reference),)
    with store.pin([top]):
        if manifest.is_index:
            chosen = choose(manifest)
            digest, media_type = chosen.digest, chosen.media_type
            manifest = await _manifest(store, registry, digest, media_type)
        if manifest.config is None or not manifest.is_image:
            raise ManifestError(f"{reference} is no image to run")
        with store.pin([digest, *manifest.parts]):
            await _parts(store, registry, manifest, progress)
            if digest != top:
                await store.adopt(digest, media_type=media_type)
                image = await store.adopt(top, media_type=top_type, names=names, held=held)
            else:
                image = await store.adopt(digest, media_type=media_type, names=names, held=held)
    if image is None:
        system, architecture, _ = machine()
        raise ManifestError(
            f"no match for platform in manifest: {system}/{architecture}: not found"
        )
    return image


async def _manifest(
    store: ImageStore, registry: RegistryClient, digest: str, media_type: str
) -> Manifest:
    if store.blobs.has(digest):
        return parse_manifest(store.blobs.read(digest), media_type)
    data, media_type = await registry.manifest(digest)
    manifest = parse_manifest(data, media_type)
    await asyncio.to_thread(store.blobs.put, data, digest)
    return manifest


async def _parts(
    store: ImageStore, registry: RegistryClient, manifest: Manifest, progress: Progress | None
) -> None:
    assert manifest.config is not None
    await _blob(store, registry, manifest.config, None)
    try:
        config = json.loads(store.blobs.read(manifest.config.digest))
        wanted = diff_ids(config)
    except (ValueError, AttributeError) as error:
        raise ManifestError(f"the image configuration is broken: {error}") from error
    if len(wanted) != len(manifest.layers):
        raise ManifestError("mismatched image rootfs and manifest layers")
    places = asyncio.Semaphore(_AT_ONCE)

    async def layer(item: Descriptor, diff_id: str) -> None:
        async with places:
            await _blob(store, registry, item, progress)
            await store.ensure_layer(item.digest, diff_id)
            _tell(progress, item, "Pull complete", item.size)

    with store.pin(wanted):
        try:
            async with asyncio.TaskGroup() as group:
                for item, diff_id in zip(manifest.layers, wanted, strict=True):
                    group.create_task(layer(item, diff_id), name=f"layer {item.digest[:19]}")
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from group_error
        for item, diff_id in zip(manifest.layers, wanted, strict=True):
            # In place by now; a layer that two places name was unpacked once.
            await store.ensure_layer(item.digest, diff_id)


async def _blob(
    store: ImageStore, registry: RegistryClient, item: Descriptor, progress: Progress | None
) -> None:
    """Fetch a blob, unless it is here. A connection that breaks is tried once more."""
    if store.blobs.has(item.digest):
        _tell(progress, item, "Already exists", item.size)
        return
    for last in (False, True):
        try:
            await _download(store, registry, item, progress)
            return
        except RegistryError as error:
            if last or error.status:
                raise


async def _download(
    store: ImageStore, registry: RegistryClient, item: Descriptor, progress: Progress | None
) -> None:
    writer = store.blobs.writer()
    waiting = bytearray()
    try:
        async with registry.blob(item.digest) as chunks:
            async for chunk in chunks:
                waiting += chunk
                if len(waiting) >= _WRITE:
                    await asyncio.to_thread(writer.write, bytes(waiting))
                    waiting.clear()
                    _tell(progress, item, "Downloading", writer.size)
                if item.size and writer.size + len(waiting) > item.size:
                    raise BlobError(
                        f"blob {item.digest} has more than the {item.size} bytes that the manifest"
                        " says"
                    )
        writer.write(bytes(waiting))
        _tell(progress, item, "Download complete", writer.size)
        try:
            await asyncio.to_thread(writer.commit, item.digest)
        except BlobError as error:
            raise BlobError(
                f"failed commit on ref: unexpected commit digest {writer.digest}, expected"
                f" {item.digest}: failed precondition"
            ) from error
    finally:
        writer.abort()


def _tell(progress: Progress | None, item: Descriptor, what: str, done: int) -> None:
    if progress is not None:
        progress(item.digest.removeprefix("sha256:")[:12], what, done, item.size)
