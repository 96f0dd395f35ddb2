"""Unpacked layers, each once, by the digest of its plain tar (`diff id`)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

from kindling.cluster.images.blobs import Blobs, remove_tree
from kindling.cluster.images.tape import LIMITS, ArchiveError, Limits, Source, decompressed
from kindling.cluster.images.unpack import unpack

__all__ = ["Layers"]


_RESERVE = 512 * 1024 * 1024


class Layers:
    """Folders in overlayfs form, beside `blobs`. A layer appears by a rename, whole."""

    def __init__(self, folder: Path, blobs: Blobs, limits: Limits = LIMITS) -> None:
        self._folder = folder / "layers"
        self._blobs = blobs
        self._limits = limits
        self._folder.mkdir(parents=True, exist_ok=True)

    def path(self, diff_id: str) -> Path:
        """The folder that is the layer."""
        return self._place(diff_id) / "fs"

    def has(self, diff_id: str) -> bool:
        return self._place(diff_id).is_dir()

    def size(self, diff_id: str) -> int:
        """Bytes of its files."""
        return int(self._record(diff_id)["size"])

    def owners(self, diff_id: str) -> dict[str, tuple[int, int]]:
        """The owners by path that its files should have and do not, because we are not root."""
        return {path: (uid, gid) for path, (uid, gid) in self._record(diff_id)["owners"].items()}

    def room(self) -> int:
        """How many bytes more the disk may take of us: what is free, less a reserve for all else
        that must go on when an archive turns out to be a bomb."""
        return max(shutil.disk_usage(self._folder).free - _RESERVE, 0)

    def unpack(self, source: Source, diff_id: str = "", stop: Event | None = None) -> str:
        """Unpack a plain tar stream; its diff id. Blocking.

        Raises:
            ArchiveError: It is broken, hostile, or not `diff_id`; nothing is kept.
        """
        place = self._blobs.new_path()
        limits = replace(self._limits, size=min(self._limits.size, self.room()))
        try:
            (place / "fs").mkdir(parents=True)
            (place / "fs").chmod(0o755)
            done = unpack(source, place / "fs", limits=limits, stop=stop)
            if diff_id and done.diff_id != diff_id:
                raise ArchiveError(
                    f"the layer unpacks to {done.diff_id}, and the image says {diff_id}"
                )
            self._appear(place, done.diff_id, done.size, done.owners)
        finally:
            if place.exists():
                remove_tree(place)
        return done.diff_id

    def unpack_blob(self, digest: str, diff_id: str, stop: Event | None = None) -> None:
        """Unpack a blob, compressed or not, unless the layer is here. Blocking."""
        if not self.has(diff_id):
            with self._blobs.open(digest) as file:
                self.unpack(decompressed(file), diff_id, stop)

    def adopt(self, folder: Path, diff_id: str, size: int) -> None:
        """Take a folder in overlayfs form as a layer; it is moved, or removed where we have it."""
        if self.has(diff_id):
            remove_tree(folder)
            return
        place = self._blobs.new_path()
        place.mkdir()
        try:
            os.rename(folder, place / "fs")
            self._appear(place, diff_id, size, {})
        finally:
            if place.exists():
                remove_tree(place)

    def remove(self, diff_id: str) -> None:
        """Idempotent."""
        place = self._place(diff_id)
        if place.exists():
            # Gone in one step, so that a process killed meanwhile leaves no half of a layer.
            trash = self._blobs.new_path()
            os.rename(place, trash)
            remove_tree(trash)

    def all(self) -> Iterator[str]:
        with os.scandir(self._folder) as entries:
            for entry in entries:
                yield f"sha256:{entry.name}"

    def _appear(
        self, place: Path, diff_id: str, size: int, owners: dict[str, tuple[int, int]]
    ) -> None:
        (place / "layer.json").write_text(json.dumps({"size": size, "owners": owners}), "utf-8")
        if not self.has(diff_id):
            try:
                os.rename(place, self._place(diff_id))
            except OSError:
                if not self.has(diff_id):  # else another thread was first with the same content
                    raise

    def _place(self, diff_id: str) -> Path:
        return self._folder / self._blobs.path(diff_id).name

    def _record(self, diff_id: str) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(
            (self._place(diff_id) / "layer.json").read_text("utf-8")
        )
        return record
