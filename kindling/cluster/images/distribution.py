"""A registry of our own: the OCI distribution API 1.1 over the node's own blobs and names.

What is pushed is unpacked before the push is answered, so that a pod can run it at once; what is
tagged here under the registry's name can be pulled from it at once. No logins: it is served on
loopback and inside the cluster's network alone, and refuses what comes from browsers.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

from kindling.cluster.images.asgi import Receive, Request, Scope, Send, lifespan, trusted
from kindling.cluster.images.blobs import BlobError, BlobWriter, digest_of, is_digest
from kindling.cluster.images.manifest import ACCEPTED, INDEX, ManifestError, parse_manifest
from kindling.cluster.images.reference import valid_repository, valid_tag
from kindling.cluster.images.shelf import OWN
from kindling.cluster.images.tape import ArchiveError

if TYPE_CHECKING:
    from kindling.cluster.images.store import ImageStore

__all__ = ["Distribution"]

_ROUTE = re.compile(
    r"/v2/(?P<name>.+?)/(?:(?P<kind>manifests|blobs|tags|referrers)/(?P<rest>.+?))/?"
)
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_UPLOAD_SECS = 3600.0
_MOST_UPLOADS = 1000
_CHUNK = 1024 * 1024
_WRITE = 1024 * 1024


class _RefusedError(Exception):
    """An answer in the error form of the specification."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})


class _Upload:
    """A blob that a client is sending, in one request or several."""

    def __init__(self, writer: BlobWriter) -> None:
        self.writer = writer
        self.touched = time.monotonic()
        self.busy = asyncio.Lock()


class Distribution:
    """The registry as an ASGI app."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._uploads: dict[str, _Upload] = {}
        self._swept = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        request = Request(scope, receive, send)
        try:
            if not trusted(request, self._store.own_hosts):
                raise _RefusedError(403, "DENIED", "requests of browsers are refused")
            await self._route(request)
        except _RefusedError as refusal:
            error = {"code": refusal.code, "message": str(refusal), "detail": None}
            await request.json(refusal.status, {"errors": [error]}, refusal.headers)
        except ConnectionError:
            pass  # the client went away; there is nobody to answer

    def close(self) -> None:
        """Drop what clients had begun to send."""
        for upload in self._uploads.values():
            upload.writer.abort()
        self._uploads.clear()

    async def _route(self, request: Request) -> None:
        path = request.path
        if path in ("/v2", "/v2/"):
            await request.json(200, {}, _VERSION)
            return
        if path == "/v2/_catalog":
            await self._catalog(request)
            return
        match = _ROUTE.fullmatch(path)
        if match is None:
            # `blobs/uploads/` has nothing after it for the expression above.
            raise _RefusedError(404, "NAME_UNKNOWN", f"there is nothing at {path}")
        name, kind, rest = match["name"], match["kind"], match["rest"]
        if name.endswith("/blobs") and kind == "blobs":
            name = name.removesuffix("/blobs")
        if not valid_repository(name):
            raise _RefusedError(400, "NAME_INVALID", f"invalid repository name `{name}`")
        if kind == "tags" and rest == "list":
            await self._tags(request, name)
        elif kind == "referrers":
            empty = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
            await request.json(200, empty, {"Content-Type": INDEX})
        elif kind == "manifests":
            await self._manifest(request, name, rest)
        elif kind == "blobs" and (rest == "uploads" or rest.startswith("uploads/")):
            await self._upload(request, name, rest.removeprefix("uploads").strip("/"))
        elif kind == "blobs":
            await self._blob(request, rest)
        else:
            raise _RefusedError(404, "NAME_UNKNOWN", f"there is nothing at {path}")

    # Lists ---------------------------------------------------------------------------------------

    async def _catalog(self, request: Request) -> None:
        names = sorted(
            {
                repository.removeprefix(f"{OWN}/")
                for repository, _ in (*self._store.catalogue.names, *self._store.catalogue.held)
                if repository.startswith(f"{OWN}/")
            }
        )
        page, headers = _page(request, names, "/v2/_catalog")
        await request.json(200, {"repositories": page}, headers)

    async def _tags(self, request: Request, name: str) -> None:
        place = f"{OWN}/{name}"
        tags = sorted(tag for place_, tag in self._store.catalogue.names if place_ == place)
        if not tags and not any(held == place for held, _ in self._store.catalogue.held):
            raise _RefusedError(404, "NAME_UNKNOWN", f"repository {name} not known to registry")
        page, headers = _page(request, tags, f"/v2/{name}/tags/list")
        await request.json(200, {"name": name, "tags": page}, headers)

    # Manifests -----------------------------------------------------------------------------------

    async def _manifest(self, request: Request, name: str, wanted: str) -> None:
        place = f"{OWN}/{name}"
        if not is_digest(wanted) and not valid_tag(wanted):
            raise _RefusedError(400, "TAG_INVALID", f"invalid tag `{wanted}`")
        if request.method == "PUT":
            await self._put_manifest(request, name, wanted)
            return
        catalogue = self._store.catalogue
        digest = wanted if is_digest(wanted) else catalogue.names.get((place, wanted), "")
        row = catalogue.manifests.get(digest)
        if row is None:
            raise _RefusedError(404, "MANIFEST_UNKNOWN", f"manifest unknown: {name}:{wanted}")
        if request.method in ("GET", "HEAD"):
            headers = {
                "Content-Type": row.media_type,
                "Docker-Content-Digest": digest,
                "ETag": f'"{digest}"',
                **_VERSION,
            }
            await request.answer(200, self._store.blobs.read(digest), headers)
        elif request.method == "DELETE":
            self._store.forget_manifest(place, digest, "" if is_digest(wanted) else wanted)
            await request.answer(202)
        else:
            raise _unsupported(request)

    async def _put_manifest(self, request: Request, name: str, wanted: str) -> None:
        data = await request.body()
        if data is None:
            raise _RefusedError(413, "SIZE_INVALID", "a manifest may have 4 MiB")
        digest = digest_of(data)
        if is_digest(wanted) and digest != wanted:
            raise _RefusedError(400, "DIGEST_INVALID", f"the manifest is {digest}, not {wanted}")
        media_type = request.headers.get("content-type", "")
        try:
            manifest = parse_manifest(data, media_type)
            if manifest.media_type not in ACCEPTED:
                raise ManifestError(f"unsupported media type {manifest.media_type}")
            for part in manifest.parts:
                known = part in self._store.catalogue.manifests or self._store.blobs.has(part)
                if not known:
                    raise _RefusedError(
                        404, "MANIFEST_BLOB_UNKNOWN", f"blob unknown to registry: {part}"
                    )
            place = f"{OWN}/{name}"
            with self._store.pin([digest, *manifest.parts]):
                await asyncio.to_thread(self._store.blobs.put, data)
                await self._store.adopt(
                    digest,
                    media_type=manifest.media_type,
                    names=() if is_digest(wanted) else ((place, wanted),),
                    held=(place,),
                )
        except (ManifestError, ArchiveError, BlobError) as error:
            raise _RefusedError(400, "MANIFEST_INVALID", f"manifest invalid: {error}") from error
        headers = {"Location": f"/v2/{name}/manifests/{digest}", "Docker-Content-Digest": digest}
        await request.answer(201, headers=headers | _VERSION)

    # Blobs ---------------------------------------------------------------------------------------

    async def _blob(self, request: Request, digest: str) -> None:
        if not is_digest(digest):
            raise _RefusedError(400, "DIGEST_INVALID", f"invalid digest `{digest}`")
        if not self._store.blobs.has(digest):
            raise _RefusedError(404, "BLOB_UNKNOWN", f"blob unknown to registry: {digest}")
        if request.method == "DELETE":
            if not self._store.remove_blob(digest):
                raise _RefusedError(405, "UNSUPPORTED", "a manifest names this blob")
            await request.answer(202)
            return
        if request.method not in ("GET", "HEAD"):
            raise _unsupported(request)
        size = self._store.blobs.size(digest)
        headers = {
            "Content-Type": "application/octet-stream",
            "Docker-Content-Digest": digest,
            "ETag": f'"{digest}"',
            "Accept-Ranges": "bytes",
            **_VERSION,
        }
        start, end, status = 0, size, 200
        if (wanted := _RANGE.fullmatch(request.headers.get("range", ""))) is not None:
            start = int(wanted[1])
            end = min(int(wanted[2]) + 1 if wanted[2] else size, size)
            if start >= end:
                raise _RefusedError(416, "BLOB_UPLOAD_INVALID", "no such range")
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
            status = 206
        await request.begin(status, headers | {"Content-Length": str(end - start)})
        if request.method == "GET":
            with self._store.blobs.open(digest) as file:
                file.seek(start)
                left = end - start
                while left and (data := await asyncio.to_thread(file.read, min(left, _CHUNK))):
                    left -= len(data)
                    await request.write(data)
        await request.end()

    async def _upload(self, request: Request, name: str, number: str) -> None:
        if not number:
            if request.method != "POST":
                raise _unsupported(request)
            await self._begin_upload(request, name)
            return
        upload = self._uploads.get(number)
        if upload is None:
            raise _RefusedError(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        if upload.busy.locked():
            raise _RefusedError(409, "BLOB_UPLOAD_INVALID", "this upload is under way already")
        async with upload.busy:
            upload.touched = time.monotonic()
            match request.method:
                case "GET":
                    await request.answer(204, headers=_progress(name, number, upload))
                case "PATCH":
                    await self._receive(request, name, number, upload)
                    await request.answer(202, headers=_progress(name, number, upload))
                case "PUT":
                    await self._receive(request, name, number, upload)
                    await self._finish(request, name, number, upload)
                case "DELETE":
                    del self._uploads[number]
                    upload.writer.abort()
                    await request.answer(204)
                case _:
                    raise _unsupported(request)

    async def _begin_upload(self, request: Request, name: str) -> None:
        mount = request.one("mount")
        if is_digest(mount) and self._store.blobs.has(mount):
            await request.answer(201, headers=_done(name, mount))
            return
        now = time.monotonic()
        for old in [n for n, it in self._uploads.items() if now - it.touched > _UPLOAD_SECS]:
            self._uploads.pop(old).writer.abort()
        if len(self._uploads) >= _MOST_UPLOADS:
            raise _RefusedError(429, "TOOMANYREQUESTS", "too many uploads are under way")
        if now - self._swept > _UPLOAD_SECS:
            # What was pushed and never named by a manifest.
            self._swept = now
            self._store.collect()
        number = uuid.uuid4().hex
        upload = self._uploads[number] = _Upload(self._store.blobs.writer())
        if request.one("digest"):
            async with upload.busy:
                await self._receive(request, name, number, upload)
                await self._finish(request, name, number, upload)
        else:
            await request.answer(202, headers=_progress(name, number, upload))

    async def _receive(self, request: Request, name: str, number: str, upload: _Upload) -> None:
        """Add the body of a request to an upload."""
        if said := request.headers.get("content-range", ""):
            start = said.removeprefix("bytes ").partition("-")[0]
            if start != str(upload.writer.size):
                raise _RefusedError(
                    416,
                    "RANGE_INVALID",
                    "this is not the next piece",
                    _progress(name, number, upload),
                )
        waiting = bytearray()
        try:
            async for chunk in request.chunks():
                waiting += chunk
                if len(waiting) >= _WRITE:
                    await asyncio.to_thread(upload.writer.write, bytes(waiting))
                    waiting.clear()
            upload.writer.write(bytes(waiting))
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            del self._uploads[number]
            upload.writer.abort()
            raise _RefusedError(
                507, "UNKNOWN", f"cannot store the blob: {error.strerror}"
            ) from error

    async def _finish(self, request: Request, name: str, number: str, upload: _Upload) -> None:
        digest = request.one("digest")
        del self._uploads[number]
        try:
            if not is_digest(digest):
                raise _RefusedError(400, "DIGEST_INVALID", f"invalid digest `{digest}`")
            await asyncio.to_thread(upload.writer.commit, digest)
        except BlobError as error:
            raise _RefusedError(400, "DIGEST_INVALID", str(error)) from error
        finally:
            upload.writer.abort()
        await request.answer(201, headers=_done(name, digest))


_VERSION = {"Docker-Distribution-API-Version": "registry/2.0"}


def _page(request: Request, items: list[str], path: str) -> tuple[list[str], dict[str, str]]:
    """What of a sorted list was asked for, and the link to the rest."""
    last = request.one("last")
    rest = list(itertools.dropwhile(lambda item: item <= last, items)) if last else items
    text = request.one("n")
    if not text:
        return rest, {}
    if not text.isdigit():
        raise _RefusedError(400, "PAGINATION_NUMBER_INVALID", f"`{text}` is no number of results")
    page = rest[: int(text)]
    if page and len(page) < len(rest):
        return page, {"Link": f'<{path}?last={quote(page[-1])}&n={text}>; rel="next"'}
    return page, {}


def _progress(name: str, number: str, upload: _Upload) -> dict[str, str]:
    return {
        "Location": f"/v2/{name}/blobs/uploads/{number}",
        "Docker-Upload-UUID": number,
        "Range": f"0-{max(upload.writer.size - 1, 0)}",
        **_VERSION,
    }


def _done(name: str, digest: str) -> dict[str, str]:
    return {
        "Location": f"/v2/{name}/blobs/{digest}",
        "Docker-Content-Digest": digest,
        **_VERSION,
    }


def _unsupported(request: Request) -> _RefusedError:
    return _RefusedError(405, "UNSUPPORTED", f"{request.method} is not supported here")
