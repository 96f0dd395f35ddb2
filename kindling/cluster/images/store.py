"""The node's images: found by name, loaded, tagged, removed; everything else here works on it.

    folder/blobs/sha256/...     manifests, configurations and layers as they came, by digest
    folder/layers/HEX/fs        unpacked layers, by the digest of their plain tar
    folder/images.db            which manifests are here, their names, the cache of builds
    folder/tmp                  what is not finished; emptied at start

Blobs and layers become visible by a rename, and count once the database names them: a process that
is killed at any moment leaves an image whole or not there, and what it left besides is collected by
the next `collect`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kindling.cluster.images.blobs import BlobError, Blobs, digest_of
from kindling.cluster.images.catalogue import Catalogue, ManifestRow
from kindling.cluster.images.host_image import host_image, is_host_image
from kindling.cluster.images.layers import Layers
from kindling.cluster.images.manifest import (
    Manifest,
    ManifestError,
    choose,
    diff_ids,
    machine,
    parse_manifest,
)
from kindling.cluster.images.protocol import HOST_IMAGE, Credentials, Image, PullError
from kindling.cluster.images.reference import Reference, is_image_id, parse_reference
from kindling.cluster.images.shelf import Shelf
from kindling.cluster.images.tape import LIMITS, Limits
from kindling.cluster.images.threads import in_thread

__all__ = ["ImageInUseError", "ImageStore", "Removed"]

_GRACE_SECS = 3600.0
"""Blobs that no manifest names are kept this long: a push sends them before their manifest."""

_DANGLING = 20
"""How many images without a name are kept, newest first, for builds that return to them."""

_CACHED_STEPS = 1000


class ImageInUseError(Exception):
    """An image that is not removed, because a container uses it."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What a removal came to: the names that are gone, and the ids of the images that are."""

    untagged: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()


class ImageStore:
    """The images in `folder`. Implements `Images`; one process at a time, one event loop.

    `own_hosts` are the names (with ports) by which our own registry is reached from this machine
    and from pods, the first one being that which is shown; `serve_as` sets them later. `in_use`
    gives the ids of images that containers use now. `environment` says where Docker's
    configuration is.
    """

    def __init__(
        self,
        folder: Path,
        *,
        own_hosts: tuple[str, ...] = (),
        in_use: Callable[[], frozenset[str]] = frozenset,
        environment: Mapping[str, str] | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self.blobs = Blobs(folder)
        self.layers = Layers(folder, self.blobs, limits)
        self.catalogue = Catalogue(folder / "images.db")
        self._shelf = Shelf(self.catalogue, self.blobs, self.layers, own_hosts)
        self.in_use = in_use
        self.environment = environment
        self._pulls: dict[str, asyncio.Task[Image]] = {}
        self._unpacking: dict[str, asyncio.Lock] = {}
        self._pinned: Counter[str] = Counter()
        self._leases: Counter[str] = Counter()
        self.collect(grace=0.0)

    def close(self) -> None:
        """Let go of the folder. Pulls must have ended."""
        self.catalogue.close()

    @property
    def own_hosts(self) -> tuple[str, ...]:
        return self._shelf.own_hosts

    def serve_as(self, own_hosts: tuple[str, ...]) -> None:
        """Say under which hosts our own registry is reached from now on."""
        self._shelf.own_hosts = own_hosts
        self._shelf.refresh()

    # What the node asks --------------------------------------------------------------------------

    def find(self, reference: str) -> Image | None:
        if is_image_id(reference):
            return self._shelf.images.get("sha256:" + reference.removeprefix("sha256:"))
        parsed = parse_reference(reference)
        if is_host_image(parsed):
            return host_image()
        digest = self.resolve(parsed)
        row = self.catalogue.manifests.get(digest)
        return self._shelf.images.get(row.image) if row is not None else None

    async def pull(self, reference: str, credentials: tuple[Credentials, ...] = ()) -> Image:
        return await self.pull_watched(reference, credentials)

    async def pull_watched(
        self,
        reference: str,
        credentials: tuple[Credentials, ...] = (),
        progress: Callable[[str, str, int, int], None] | None = None,
    ) -> Image:
        """`pull`, told of each layer: its short digest, what happens to it, bytes done, bytes in
        all."""
        from kindling.cluster.images.pull import pull_image

        parsed = parse_reference(reference)
        if is_host_image(parsed):
            return host_image()
        if parsed.host == HOST_IMAGE.partition("/")[0]:
            # Nobody serves that name: whoever came to own it would choose what runs here.
            raise PullError(f'image "{parsed}" does not exist: there is only {HOST_IMAGE}')
        if parsed.host in self.own_hosts:
            found = self.find(reference)
            if found is None:
                raise PullError(
                    f'failed to pull and unpack image "{parsed}": failed to resolve reference'
                    f' "{parsed}": {parsed}: not found'
                )
            return found
        key = str(parsed)
        if key not in self._pulls:
            task = asyncio.create_task(
                pull_image(self, parsed, credentials, progress), name=f"pull {key}"
            )
            self._pulls[key] = task
            task.add_done_callback(lambda _: self._pulls.pop(key, None))
        task = self._pulls[key]
        self._leases[key] += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._leases[key] -= 1
            if not self._leases[key]:
                del self._leases[key]
                if not task.done():  # nobody wants it any more
                    task.cancel()
                    await asyncio.wait([task])
                    if not task.cancelled():
                        task.exception()  # seen: those who would be told have gone

    def all(self) -> tuple[Image, ...]:
        return (*self._shelf.images.values(), host_image())

    @contextlib.contextmanager
    def lease(self, image: str) -> Iterator[None]:
        """Keep the layers of an image id for as long as this is open."""
        self._leases[image] += 1
        try:
            yield
        finally:
            self._leases[image] -= 1
            if not self._leases[image]:
                del self._leases[image]

    @contextlib.contextmanager
    def pin(self, digests: Iterable[str]) -> Iterator[None]:
        """Keep blobs and layers that nothing names yet for as long as this is open."""
        pinned = Counter(digests)
        self._pinned += pinned
        try:
            yield
        finally:
            self._pinned -= pinned

    # Names ---------------------------------------------------------------------------------------

    def place(self, reference: Reference) -> str:
        """The repository that a reference is stored under: our own registry's whatever its port."""
        return self._shelf.place(reference)

    def resolve(self, reference: Reference) -> str:
        """The digest of the manifest or index that a reference stands for; empty for none."""
        if reference.digest:
            return reference.digest if reference.digest in self.catalogue.manifests else ""
        return self.catalogue.names.get((self.place(reference), reference.tag), "")

    def manifest_of(self, image: str) -> str:
        """The newest manifest of an image id."""
        rows = [row for row in self.catalogue.manifests.values() if row.image == image]
        return max(rows, key=lambda row: row.added).digest if rows else ""

    def tag(self, image: str, reference: Reference) -> None:
        """Give an image (its id) or a manifest (its digest) one more name.

        Raises:
            KeyError: It is not here.
        """
        row = self.catalogue.manifests[
            image if image in self.catalogue.manifests else self.manifest_of(image)
        ]
        self.catalogue.add(row, names=[(self.place(reference), reference.tag)])
        self._shelf.refresh()
        self._shed()

    def config(self, image: str) -> dict[str, Any]:
        """The whole configuration of an image id."""
        if image == host_image().id and image not in self._shelf.images:
            from kindling.cluster.images.host_image import host_config

            return host_config()
        value: dict[str, Any] = json.loads(self.blobs.read(image))
        return value

    # Adding --------------------------------------------------------------------------------------

    async def adopt(
        self,
        digest: str,
        *,
        media_type: str = "",
        names: tuple[tuple[str, str], ...] = (),
        held: tuple[str, ...] = (),
        progress: Callable[[str], Awaitable[None]] | None = None,
    ) -> Image | None:
        """Record a manifest whose parts are all among the blobs, unpacking what it needs here.

        `names` are stored repositories and tags. Returns the image, None for what is no image of
        this machine.

        Raises:
            ManifestError, ArchiveError, BlobError: Something in it is not right.
        """
        data = self.blobs.read(digest)
        manifest = parse_manifest(data, media_type)
        image = ""
        if manifest.is_index:
            with contextlib.suppress(ManifestError):
                row = self.catalogue.manifests.get(choose(manifest).digest)
                image = row.image if row is not None else ""
        elif manifest.is_image:
            image = await self._unpack(manifest, progress)
        row = ManifestRow(
            digest, manifest.media_type, len(data), image, manifest.parts, time.time()
        )
        self.catalogue.add(row, names, held)
        self._shelf.take_up(row)
        self._shelf.refresh()
        self._shed()
        return self._shelf.images.get(image)

    async def _unpack(
        self, manifest: Manifest, progress: Callable[[str], Awaitable[None]] | None
    ) -> str:
        assert manifest.config is not None
        try:
            config = json.loads(self.blobs.read(manifest.config.digest))
            wanted = diff_ids(config)
        except (ValueError, AttributeError) as error:
            raise ManifestError(f"the image configuration is broken: {error}") from error
        except FileNotFoundError as error:
            raise BlobError(f"blob {manifest.config.digest} is missing") from error
        if (config.get("os"), config.get("architecture")) not in (machine()[:2], (None, None)):
            return ""
        if len(wanted) != len(manifest.layers):
            raise ManifestError(
                f"the image has {len(manifest.layers)} layers, and its configuration {len(wanted)}"
            )
        for layer, diff_id in zip(manifest.layers, wanted, strict=True):
            await self.ensure_layer(layer.digest, diff_id)
            if progress is not None:
                await progress(layer.digest)
        return manifest.config.digest

    async def ensure_layer(self, digest: str, diff_id: str) -> None:
        """Unpack the blob of a layer, unless that layer is here. Two for one layer are one."""
        if self.layers.has(diff_id):
            return
        lock = self._unpacking.setdefault(diff_id, asyncio.Lock())
        async with lock:
            try:
                await in_thread(lambda stop: self.layers.unpack_blob(digest, diff_id, stop))
            except FileNotFoundError as error:
                if self.blobs.has(digest):
                    raise
                raise BlobError(f"blob {digest} is missing") from error
        self._unpacking.pop(diff_id, None)

    async def load(self, path: Path, name: str = "") -> tuple[Image, ...]:
        """The images of an archive: `docker save` of any version, or an OCI layout, each plain or
        compressed as a whole. `name` is what to call the file in errors.

        Raises:
            ArchiveError: It is no such archive; nothing of it is kept.
        """
        from kindling.cluster.images.archive import load_archive

        return await load_archive(self, path, name or f"`{path.name}`")

    def save(self, references: tuple[str, ...]) -> AsyncIterator[bytes]:
        """An archive of images as `docker load` of any version, and `load`, take it.

        Raises:
            KeyError: One of them is not here.
        """
        from kindling.cluster.images.archive import save_archive

        return save_archive(self, references)

    # Removing ------------------------------------------------------------------------------------

    def remove(self, reference: str, *, force: bool = False) -> Removed:
        """Take a name away, and with the last one the image. An id takes all of its names.

        Raises:
            KeyError: There is none.
            ImageInUseError: A container uses the image, and this is its last name.
        """
        image = self.find(reference)
        if image is None or image.id not in self._shelf.images:
            raise KeyError(reference)
        names = list(self._shelf.names.get(image.id, ()))
        if not is_image_id(reference):
            parsed = parse_reference(reference)
            if parsed.digest and not parsed.tag:
                place = self.place(parsed)
                names = [name for name in names if name[0] == place]
            else:
                names = [(self.place(parsed), parsed.tag)]
        elif len(names) > 1 and not force:
            raise ImageInUseError(
                f"unable to delete {image.id.removeprefix('sha256:')[:12]} (must be forced) - image"
                " is referenced in multiple repositories"
            )
        last = len(names) == len(self._shelf.names.get(image.id, ()))
        if last and not force and self._used(image.id):
            raise ImageInUseError(
                f'conflict: unable to remove repository reference "{reference}" (must force)'
                " - a container is using its referenced image"
                f" {image.id.removeprefix('sha256:')[:12]}"
            )
        untagged = tuple(f"{self._shelf.shown(repository)}:{tag}" for repository, tag in names)
        left = {repository for repository, _ in self._shelf.names.get(image.id, ())} - {
            repository for repository, _ in names
        }
        digests = {row.digest for row in self.catalogue.manifests.values() if row.image == image.id}
        held = [row for row in self.catalogue.held if row[1] in digests and row[0] not in left]
        self.catalogue.forget(names=names, held=held)
        deleted = self._drop([image.id]) if last and not self._used(image.id) else ()
        self._shelf.refresh()
        return Removed(untagged, deleted)

    def prune_builds(self) -> int:
        """Forget every step of a build that could be used again; the bytes that this freed."""
        before = self._live()
        freed = sum(entry.size for entry in self.catalogue.cache())
        self.catalogue.uncache([entry.key for entry in self.catalogue.cache()])
        self._free(before)
        return freed

    def forget_manifest(self, repository: str, digest: str, tag: str = "") -> None:
        """Take a manifest out of a stored repository, or just one tag of it."""
        names = [
            name
            for name, it in self.catalogue.names.items()
            if it == digest and name[0] == repository and tag in ("", name[1])
        ]
        held = [] if tag else [(repository, digest)]
        self.catalogue.forget(names=names, held=held)
        row = self.catalogue.manifests.get(digest)
        if row is not None and row.image:
            self._shelf.refresh()
            if not self._shelf.names.get(row.image) and not self._used(row.image):
                self._drop([row.image])
        elif digest not in self.catalogue.names.values():
            self.catalogue.forget(manifests=[digest])
        self._shelf.refresh()

    def remove_blob(self, digest: str) -> bool:
        """Remove a blob that no manifest names; False when one does."""
        if digest in self._live()[0]:
            return False
        self.blobs.remove(digest)
        return True

    def cache_folder(self, name: str) -> Path:
        """The folder that builds keep under a name between them (`RUN --mount=type=cache`)."""
        path = self._folder / "build" / digest_of(name.encode()).removeprefix("sha256:")[:32]
        path.mkdir(parents=True, exist_ok=True)
        return path

    def prune(self) -> Removed:
        """Remove every image that has no name and that nobody uses."""
        loose = [image for image in self._shelf.images if not self._shelf.names.get(image)]
        return Removed(deleted=self._drop([image for image in loose if not self._used(image)]))

    def _shed(self) -> None:
        """Forget the images without a name that came first, and the oldest steps of builds."""
        came: dict[str, float] = {}
        for row in self.catalogue.manifests.values():
            if row.image and not self._shelf.names.get(row.image) and not self._pinned[row.digest]:
                came[row.image] = max(came.get(row.image, 0.0), row.added)
        if len(came) > _DANGLING:
            old = sorted(came, key=lambda image: came[image])[:-_DANGLING]
            self._drop([image for image in old if not self._used(image)])
        cache = self.catalogue.cache()
        if len(cache) > _CACHED_STEPS:
            self.catalogue.uncache([entry.key for entry in cache[:-_CACHED_STEPS]])

    def _drop(self, images: list[str]) -> tuple[str, ...]:
        gone = set(images)
        named = set(self.catalogue.names.values())
        rows = [
            row.digest
            for row in self.catalogue.manifests.values()
            if row.image in gone and row.digest not in named
        ]
        held = [row for row in self.catalogue.held if row[1] in set(rows)]
        before = self._live()
        self.catalogue.forget(manifests=rows, held=held)
        self._shelf.refresh()
        self._free(before)
        return tuple(image for image in images if image not in self._shelf.images)

    def _free(self, before: tuple[set[str], set[str]]) -> None:
        """Remove the blobs and layers that something named before, and nothing does now."""
        blobs, layers = self._live()
        for digest in before[0] - blobs:
            self.blobs.remove(digest)
        for diff_id in before[1] - layers:
            self.layers.remove(diff_id)

    def collect(self, *, grace: float = _GRACE_SECS) -> None:
        """Remove every blob and layer that nothing names, blobs once they are `grace` seconds
        old."""
        blobs, layers = self._live()
        for diff_id in list(self.layers.all()):
            if diff_id not in layers and not self._unpacking:
                self.layers.remove(diff_id)
        now = time.time()
        for digest, written in list(self.blobs.all()):
            if digest not in blobs and now - written >= grace:
                self.blobs.remove(digest)

    def _live(self) -> tuple[set[str], set[str]]:
        """The blobs and the layers that something names."""
        blobs = set(self._pinned)
        layers = set(self._pinned)
        for row in self.catalogue.manifests.values():
            blobs.add(row.digest)
            blobs.update(row.parts)
        for entry in self.catalogue.cache():
            blobs.add(entry.blob)
            layers.add(entry.diff_id)
        for image in self._shelf.images.values():
            layers.update("sha256:" + path.parent.name for path in image.root.layers)
        return blobs, layers

    def _used(self, image: str) -> bool:
        return bool(self._leases[image]) or image in self.in_use()
