"""The images that are here, in memory: made out of the catalogue, with the names people use."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from kindling.cluster.images.blobs import Blobs
from kindling.cluster.images.catalogue import Catalogue, ManifestRow
from kindling.cluster.images.host_image import HOST_MARK
from kindling.cluster.images.layers import Layers
from kindling.cluster.images.manifest import ManifestError, diff_ids, image_config
from kindling.cluster.images.protocol import Image
from kindling.cluster.images.reference import Reference
from kindling.cluster.runtime.protocol import RootFs

__all__ = ["OWN", "Shelf"]

OWN = "-"
"""The host that names in our own registry are stored under, since its port may change."""


class Shelf:
    """`images` by id, and `names` (stored repository and tag) by image id. `own_hosts` are those of
    our own registry, the one to be shown first."""

    def __init__(
        self, catalogue: Catalogue, blobs: Blobs, layers: Layers, own_hosts: tuple[str, ...]
    ) -> None:
        self._catalogue = catalogue
        self._blobs = blobs
        self._layers = layers
        self.own_hosts = own_hosts
        self.images: dict[str, Image] = {}
        self.names: dict[str, list[tuple[str, str]]] = {}
        for row in list(catalogue.manifests.values()):
            self.take_up(row)
        self.refresh()

    def place(self, reference: Reference) -> str:
        """The repository that a reference is stored under."""
        if reference.host in self.own_hosts:
            return f"{OWN}/{reference.path}"
        return reference.repository

    def shown(self, repository: str) -> str:
        """A stored repository as people write it."""
        host, _, path = repository.partition("/")
        if host == OWN:
            host = self.own_hosts[0] if self.own_hosts else "localhost"
        return f"{host}/{path}"

    def take_up(self, row: ManifestRow) -> None:
        """Put the image of a recorded manifest among those in memory."""
        known = self.images.get(row.image)
        if known is not None and self._undated(row.image):
            self.images[row.image] = replace(known, created=row.added)
        if not row.image or known is not None:
            return
        try:
            config = json.loads(self._blobs.read(row.image))
            wanted = diff_ids(config)
            sizes = [self._layers.size(diff_id) for diff_id in wanted]
        except (OSError, ValueError, ManifestError):
            # Someone took files away under us: the image is not here, and can be had again.
            self._catalogue.forget(
                manifests=[row.digest],
                names=[name for name, it in self._catalogue.names.items() if it == row.digest],
                held=[held for held in self._catalogue.held if held[1] == row.digest],
            )
            return
        self.images[row.image] = Image(
            id=row.image,
            config=image_config(config),
            root=RootFs(
                tuple(self._layers.path(diff_id) for diff_id in wanted),
                host=bool(config.get(HOST_MARK)),
            ),
            size=sum(sizes),
            created=_created(config) or row.added,
        )

    def _undated(self, image: str) -> bool:
        with contextlib.suppress(OSError, ValueError):
            return not _created(json.loads(self._blobs.read(image)))
        return False

    def refresh(self) -> None:
        """Make the names of the images in memory those of the catalogue, and let go of images
        whose last manifest is gone."""
        rows = self._catalogue.manifests
        here = {row.image for row in rows.values()}
        names: dict[str, list[tuple[str, str]]] = {}
        digests: dict[str, list[str]] = {}
        for name, digest in self._catalogue.names.items():
            if digest in rows:
                names.setdefault(rows[digest].image, []).append(name)
        for repository, digest in self._catalogue.held:
            if digest in rows:
                digests.setdefault(rows[digest].image, []).append(
                    f"{self.shown(repository)}@{digest}"
                )
        self.names = names
        for image, found in list(self.images.items()):
            if image not in here:
                del self.images[image]
                continue
            shown = tuple(
                sorted(f"{self.shown(place)}:{tag}" for place, tag in names.get(image, ()))
            )
            known = tuple(sorted(digests.get(image, ())))
            if (found.names, found.digests) != (shown, known):
                self.images[image] = replace(found, names=shown, digests=known)


def _created(config: Mapping[str, Any]) -> float:
    """Seconds since the epoch; 0 for an image that hides when it was made."""
    text = str(config.get("created") or "")
    with contextlib.suppress(ValueError):
        return max(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp(), 0.0)
    return 0.0
