"""Images as files: what `docker save` writes, in its old form and its new one, and OCI layouts."""

from __future__ import annotations

import asyncio
import io
import json
import posixpath
import tarfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import IO, TYPE_CHECKING, Any

from kindling.cluster.images.blobs import BlobError, BlobWriter
from kindling.cluster.images.manifest import (
    INDEX,
    LAYER,
    MANIFEST,
    Descriptor,
    ManifestError,
    choose,
    diff_ids,
    encode,
    parse_manifest,
    write_manifest,
)
from kindling.cluster.images.protocol import Image, PullError
from kindling.cluster.images.reference import Reference, parse_reference
from kindling.cluster.images.tape import ArchiveError, Source, Stopped, decompressed
from kindling.cluster.images.threads import in_thread

if TYPE_CHECKING:
    from kindling.cluster.images.store import ImageStore

__all__ = ["layer_type", "load_archive", "save_archive"]

_CHUNK = 256 * 1024
_MOST_JSON = 8 * 1024 * 1024
_MOST_MEMBERS = 100_000
_NAME_KEYS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


@dataclass(frozen=True, slots=True)
class _Found:
    """An image of an archive whose blobs and layers are in place, still without a name."""

    manifest: str
    media_type: str
    names: tuple[Reference, ...]


async def load_archive(store: ImageStore, path: Path, name: str) -> tuple[Image, ...]:
    """See `ImageStore.load`."""
    try:
        found = await in_thread(lambda stop: _read(store, path, name, stop))
        images = []
        for item in found:
            image = await store.adopt(
                item.manifest,
                media_type=item.media_type,
                names=tuple((store.place(name), name.tag) for name in item.names),
            )
            if image is None:
                raise ArchiveError(f"{name} holds an image for another kind of machine")
            images.append(image)
    except (ManifestError, BlobError, PullError) as error:
        raise ArchiveError(f"{name} is no image archive: {error}") from error
    return tuple(images)


def layer_type(head: bytes) -> str:
    """The media type of a layer, by its first bytes."""
    if head[:2] == b"\x1f\x8b":
        return f"{LAYER}+gzip"
    return f"{LAYER}+zstd" if head[:4] == b"\x28\xb5\x2f\xfd" else LAYER


def _read(store: ImageStore, path: Path, name: str, stop: Event) -> list[_Found]:
    with _plain(store, path, stop) as file:
        archive = _Archive(file)
        if archive.has("manifest.json"):
            listed = archive.json("manifest.json")
            if not isinstance(listed, list):
                raise ArchiveError("`manifest.json` of the archive is no list")
            return [_from_docker(store, archive, entry, stop) for entry in listed]
        if archive.has("index.json"):
            return list(_from_layout(store, archive, stop))
    raise ArchiveError(
        f"{name} is no image archive: it has neither `manifest.json` nor `index.json`"
    )


def _from_docker(
    store: ImageStore, archive: _Archive, entry: Mapping[str, Any], stop: Event
) -> _Found:
    try:
        config = archive.content(str(entry["Config"]))
        wanted = diff_ids(json.loads(config))
        files = [str(name) for name in entry.get("Layers") or ()]
        names = [parse_reference(str(name)) for name in entry.get("RepoTags") or ()]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArchiveError(f"`manifest.json` of the archive is broken: {error}") from error
    if len(files) != len(wanted):
        raise ArchiveError(f"the image has {len(files)} layers, its configuration {len(wanted)}")
    layers = [
        _layer(store, archive.open(name), diff_id, stop)
        for name, diff_id in zip(files, wanted, strict=True)
    ]
    store.blobs.put(config)
    return _Found(store.blobs.put(write_manifest(config, layers)), MANIFEST, tuple(names))


def _layer(store: ImageStore, file: IO[bytes], diff_id: str, stop: Event) -> Descriptor:
    """Keep a layer as a blob, and unpack it in the same pass where it is not here yet."""
    writer = store.blobs.writer()
    try:
        tee = _Tee(file, writer, stop)
        media_type = layer_type(tee.peek(4))
        if store.layers.has(diff_id):
            if media_type == LAYER and store.blobs.has(diff_id):
                return Descriptor(diff_id, store.blobs.size(diff_id), media_type)
        else:
            store.layers.unpack(decompressed(tee), diff_id, stop)
        while tee.read(_CHUNK):
            pass
        return Descriptor(writer.commit(), writer.size, media_type)
    finally:
        writer.abort()


def _from_layout(store: ImageStore, archive: _Archive, stop: Event) -> Iterator[_Found]:
    index = parse_manifest(archive.content("index.json"), INDEX)
    for item in index.manifests:
        if item.annotations and dict(item.annotations).get("vnd.docker.reference.type"):
            continue  # a statement about another manifest
        notes = dict(item.annotations)
        name = next((notes[key] for key in _NAME_KEYS if notes.get(key)), "")
        names: tuple[Reference, ...] = ()
        if "/" in name or ":" in name:
            names = (parse_reference(name),)
        digest, media_type = item.digest, item.media_type
        manifest = parse_manifest(archive.blob(digest), media_type)
        if manifest.is_index:
            chosen = choose(manifest)
            digest, media_type = chosen.digest, chosen.media_type
            manifest = parse_manifest(archive.blob(digest), media_type)
        if manifest.config is None or not manifest.is_image:
            continue
        config = archive.blob(manifest.config.digest)
        try:
            wanted = diff_ids(json.loads(config))
        except (ValueError, AttributeError) as error:
            raise ArchiveError(f"the image configuration is broken: {error}") from error
        for layer, diff_id in zip(manifest.layers, wanted, strict=False):
            made = _layer(store, archive.open(_blob_name(layer.digest)), diff_id, stop)
            if made.digest != layer.digest:
                raise ArchiveError(f"layer {layer.digest} of the archive is really {made.digest}")
        store.blobs.put(config, manifest.config.digest)
        store.blobs.put(archive.blob(digest), digest)
        yield _Found(digest, media_type, names)


class _Archive:
    """Random access to the members of a plain tar file, links among them followed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._members: dict[str, tarfile.TarInfo] = {}
        try:
            self._tar = tarfile.TarFile(fileobj=_Guarded(file))
            for member in self._tar:
                self._members[posixpath.normpath(member.name)] = member
                if len(self._members) > _MOST_MEMBERS:
                    raise ArchiveError("the archive has too many members")
        except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
            raise ArchiveError(f"not an image archive: {error}") from error

    def has(self, name: str) -> bool:
        return name in self._members

    def open(self, name: str) -> IO[bytes]:
        member = self._members.get(posixpath.normpath(name))
        for _ in range(8):
            if member is None or not (member.issym() or member.islnk()):
                break
            # Old archives have each layer once and link to it from the other images.
            base = posixpath.dirname(member.name) if member.issym() else ""
            member = self._members.get(posixpath.normpath(posixpath.join(base, member.linkname)))
        file = self._tar.extractfile(member) if member is not None and member.isfile() else None
        if file is None:
            raise ArchiveError(f"the archive lacks `{name[:200]}`")
        return file

    def content(self, name: str) -> bytes:
        data = self.open(name).read(_MOST_JSON + 1)
        if len(data) > _MOST_JSON:
            raise ArchiveError(f"`{name[:200]}` of the archive is too large")
        return data

    def json(self, name: str) -> Any:
        try:
            return json.loads(self.content(name))
        except ValueError as error:
            raise ArchiveError(f"`{name[:200]}` of the archive is no JSON: {error}") from error

    def blob(self, digest: str) -> bytes:
        return self.content(_blob_name(digest))


class _Guarded(io.RawIOBase):
    """A file that tarfile may not read too much of at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        if size < 0 or size > _MOST_JSON:
            raise ValueError(f"a header wants {size} bytes")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class _Tee:
    """What is read is written to a blob too."""

    def __init__(self, file: Source, writer: BlobWriter, stop: Event) -> None:
        self._file = file
        self._writer = writer
        self._stop = stop
        self._head = b""

    def peek(self, size: int) -> bytes:
        self._head = self._take(size)
        return self._head

    def read(self, size: int = _CHUNK, /) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._take(size)

    def _take(self, size: int) -> bytes:
        if self._stop.is_set():
            raise Stopped
        data = self._file.read(size)
        self._writer.write(data)
        return data


@contextmanager
def _plain(store: ImageStore, path: Path, stop: Event) -> Iterator[IO[bytes]]:
    """The archive as a plain tar file; a compressed one is unpacked to a file of ours."""
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(0)
        if layer_type(head) == LAYER:
            yield file
            return
        source = decompressed(file)
        temporary = store.blobs.new_path()
        try:
            with temporary.open("x+b") as unpacked:
                while data := source.read(_CHUNK):
                    if stop.is_set():
                        raise Stopped
                    if unpacked.tell() > store.layers.room():
                        raise ArchiveError("the archive unpacks to more than there is room for")
                    unpacked.write(data)
                unpacked.seek(0)
                yield unpacked
        finally:
            temporary.unlink(missing_ok=True)


# Saving ------------------------------------------------------------------------------------------


async def save_archive(store: ImageStore, references: tuple[str, ...]) -> AsyncIterator[bytes]:
    """See `ImageStore.save`. Both forms in one: `manifest.json` and an OCI layout over the same
    blobs, as Docker has written it since version 25."""
    docker, index, wanted = _listing(store, references)
    for piece in _member("blobs/", b"", directory=True):
        yield piece
    for piece in _member("blobs/sha256/", b"", directory=True):
        yield piece
    for digest in sorted(wanted):
        size = store.blobs.size(digest)
        yield _header(_blob_name(digest), size)
        with store.blobs.open(digest) as file:
            while data := await asyncio.to_thread(file.read, _CHUNK * 4):
                yield data
        yield b"\0" * (-size % tarfile.BLOCKSIZE)
    layout = encode({"imageLayoutVersion": "1.0.0"})
    listed = encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": index})
    for name, data in (
        ("index.json", listed),
        ("manifest.json", json.dumps(docker).encode()),
        ("oci-layout", layout),
    ):
        for piece in _member(name, data):
            yield piece
    yield b"\0" * 1024


def _listing(
    store: ImageStore, references: tuple[str, ...]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], set[str]]:
    docker: dict[str, dict[str, Any]] = {}
    index: list[dict[str, Any]] = []
    wanted: set[str] = set()
    for reference in references:
        image = store.find(reference)
        digest = store.manifest_of(image.id) if image is not None else ""
        if image is None or not digest:
            raise KeyError(reference)
        row = store.catalogue.manifests[digest]
        manifest = parse_manifest(store.blobs.read(digest), row.media_type)
        if manifest.is_index:
            digest = choose(manifest).digest
            row = store.catalogue.manifests[digest]
            manifest = parse_manifest(store.blobs.read(digest), row.media_type)
        wanted |= {digest, *manifest.parts}
        entry = docker.setdefault(
            image.id,
            {
                "Config": _blob_name(image.id),
                "RepoTags": [],
                "Layers": [_blob_name(layer.digest) for layer in manifest.layers],
            },
        )
        descriptor = Descriptor(digest, row.size, row.media_type).json()
        if reference.removeprefix("sha256:") != image.id.removeprefix("sha256:"):
            name = parse_reference(reference)
            entry["RepoTags"].append(f"{name.familiar}:{name.tag}")
            descriptor["annotations"] = {
                _NAME_KEYS[0]: f"{name.repository}:{name.tag}",
                _NAME_KEYS[1]: name.tag,
            }
        index.append(descriptor)
    return list(docker.values()), index, wanted


def _blob_name(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _header(name: str, size: int, *, directory: bool = False) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o755 if directory else 0o644
    info.type = tarfile.DIRTYPE if directory else tarfile.REGTYPE
    return info.tobuf(tarfile.PAX_FORMAT)


def _member(name: str, data: bytes, *, directory: bool = False) -> Iterator[bytes]:
    yield _header(name, len(data), directory=directory)
    yield data + b"\0" * (-len(data) % tarfile.BLOCKSIZE)
