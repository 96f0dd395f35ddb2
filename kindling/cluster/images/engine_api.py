"""The part of Docker's Engine API 1.41 that is about images, over the node's own store.

`docker build|pull|push|tag|images|load|save|rmi`, the Docker SDK and our own engine client work
against it with DOCKER_HOST set to its socket. It runs no containers. Serve it on a Unix socket that
only the user can open: whoever can talk to it is trusted, as with Docker.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from kindling.cluster.images import engine_shapes as shapes
from kindling.cluster.images.asgi import Receive, Request, Scope, Send, lifespan
from kindling.cluster.images.blobs import BlobError
from kindling.cluster.images.dockerfile import DockerfileError
from kindling.cluster.images.manifest import ManifestError
from kindling.cluster.images.protocol import Image, PullError
from kindling.cluster.images.push import push_image
from kindling.cluster.images.reference import is_image_id, parse_reference
from kindling.cluster.images.registry_client import RegistryClient, RegistryError
from kindling.cluster.images.store import ImageInUseError, ImageStore
from kindling.cluster.images.tape import ArchiveError
from kindling.cluster.runtime.protocol import Runtime

__all__ = ["EngineApi"]

_PREFIX = re.compile(r"/v1\.\d+(?=/)")
_IMAGE = re.compile(r"/images/(?P<name>.+?)(?:/(?P<verb>json|history|push|tag|get))?")
_DISTRIBUTION = re.compile(r"/distribution/(?P<name>.+)/json")
_PING = {
    "Api-Version": shapes.API_VERSION,
    "Builder-Version": "1",
    "Docker-Experimental": "false",
    "Ostype": "linux",
    "Server": "kindling",
    "Cache-Control": "no-cache, no-store, must-revalidate",
}
_EMPTY = {
    "/containers/json": [],
    "/volumes": {"Volumes": [], "Warnings": None},
    "/networks": [],
}

Tell = Callable[[dict[str, Any]], None]


class _RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class EngineApi:
    """The API as an ASGI app. Without a `runtime`, a build with a RUN fails there."""

    def __init__(self, store: ImageStore, runtime: Runtime | None = None) -> None:
        self._store = store
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        request = Request(scope, receive, send)
        try:
            await self._route(request, _PREFIX.sub("", request.path, count=1))
        except ConnectionError:
            pass  # the client went away; there is nobody to answer
        except _EXPECTED as error:
            status, message = _refusal(error)
            await request.json(status, {"message": message})

    async def _route(self, request: Request, path: str) -> None:
        match request.method, path:
            case (("GET" | "HEAD"), "/_ping"):
                await request.answer(200, b"OK", _PING | {"Content-Type": "text/plain"})
            case "GET", "/version":
                await request.json(200, shapes.version(), _PING)
            case "GET", "/info":
                await request.json(200, shapes.system(self._store), _PING)
            case "GET", ("/containers/json" | "/volumes" | "/networks"):
                await request.json(200, _EMPTY[path])
            case "POST", "/build":
                await self._build(request)
            case "POST", "/build/prune":
                freed = self._store.prune_builds()
                await request.json(200, {"CachesDeleted": [], "SpaceReclaimed": freed})
            case "GET", "/images/json":
                await self._list(request)
            case "POST", "/images/create":
                await self._pull(request)
            case "POST", "/images/load":
                await self._load(request)
            case "POST", "/images/prune":
                await self._prune(request)
            case "GET", "/images/get":
                await self._save(request, tuple(request.query.get("names", ())))
            case method, _ if (found := _IMAGE.fullmatch(path)) is not None:
                await self._image(request, method, found["name"], found["verb"] or "")
            case "GET", _ if (found := _DISTRIBUTION.fullmatch(path)) is not None:
                await self._distribution(request, found["name"])
            case "POST", _ if path.startswith("/containers/"):
                raise _RefusedError(
                    501, "this engine builds and keeps images; containers run in the cluster's pods"
                )
            case _:
                raise _RefusedError(404, "page not found")

    async def _image(self, request: Request, method: str, name: str, verb: str) -> None:
        match method, verb:
            case "GET", "json":
                await request.json(200, shapes.details(self._store, self._find(name)))
            case "GET", "history":
                await request.json(200, self._history(self._find(name)))
            case "GET", "get":
                await self._save(request, (name,))
            case "POST", "tag":
                self._tag(name, request.one("repo"), request.one("tag"))
                await request.answer(201)
            case "POST", "push":
                await self._push(request, name, request.one("tag"))
            case "DELETE", "":
                await self._remove(request, name)
            case _:
                raise _RefusedError(404, "page not found")

    def _find(self, name: str) -> Image:
        found = shapes.find_image(self._store, name)
        if found is None:
            shown = name
            if not is_image_id(name):
                try:
                    parsed = parse_reference(name)
                    shown = f"{parsed.familiar}:{parsed.tag}" if parsed.tag else name
                except PullError:
                    raise _RefusedError(400, "invalid reference format") from None
            raise _RefusedError(404, f"No such image: {shown}")
        return found

    # Short answers -------------------------------------------------------------------------------

    async def _list(self, request: Request) -> None:
        try:
            wanted = shapes.filters(request.one("filters"))
            if name := request.one("filter"):
                wanted.setdefault("reference", []).append(name)
            found = [image for image in self._store.all() if shapes.matches(image, wanted)]
        except ValueError as error:
            raise _RefusedError(400, str(error)) from error
        found.sort(key=lambda image: -image.created)
        await request.json(200, [shapes.summary(image) for image in found])

    def _history(self, image: Image) -> list[dict[str, Any]]:
        rows = [
            {
                "Id": "<missing>",
                "Created": int(image.created),
                "CreatedBy": row.get("created_by", ""),
                "Tags": None,
                "Size": 0,
                "Comment": row.get("comment", ""),
            }
            for row in reversed(self._store.config(image.id).get("history") or ())
        ]
        sizes = [
            self._store.layers.size(f"sha256:{path.parent.name}") for path in image.root.layers
        ]
        history = self._store.config(image.id).get("history") or ()
        for row, said in zip(rows, reversed(history), strict=True):
            if not said.get("empty_layer") and sizes:
                row["Size"] = sizes.pop()
        if rows:
            rows[0] |= {"Id": image.id, "Tags": [shapes.familiar(name) for name in image.names]}
        return rows

    def _tag(self, name: str, repository: str, tag: str) -> None:
        image = self._find(name)
        reference = shapes.reference_of(repository, tag)
        if reference.digest:
            raise _RefusedError(400, "refusing to create a tag with a digest reference")
        try:
            self._store.tag(image.id, reference)
        except KeyError:
            raise _RefusedError(
                400, f"{name} is this machine itself: it has no other name"
            ) from None

    async def _remove(self, request: Request, name: str) -> None:
        image = self._find(name)
        target = image.id
        try:
            if not is_image_id(name) and self._store.find(name) is not None:
                target = name
        except PullError:
            pass
        try:
            gone = self._store.remove(target, force=request.flag("force"))
        except KeyError:
            raise _RefusedError(409, f"{name} is this machine itself") from None
        rows = [{"Untagged": shapes.familiar(it)} for it in gone.untagged]
        await request.json(200, rows + [{"Deleted": it} for it in gone.deleted])

    async def _prune(self, request: Request) -> None:
        wanted = shapes.filters(request.one("filters"))
        before = sum(image.size for image in self._store.all())
        rows: list[dict[str, str]] = []
        if wanted.get("dangling", ["true"])[0].lower() in ("0", "false"):
            for image in self._store.all():
                try:
                    gone = self._store.remove(image.id, force=len(image.names) > 1)
                except (KeyError, ImageInUseError):
                    continue
                rows += [{"Untagged": shapes.familiar(it)} for it in gone.untagged]
                rows += [{"Deleted": it} for it in gone.deleted]
        rows += [{"Deleted": it} for it in self._store.prune().deleted]
        freed = before - sum(image.size for image in self._store.all())
        await request.json(200, {"ImagesDeleted": rows or None, "SpaceReclaimed": freed})

    async def _distribution(self, request: Request, name: str) -> None:
        reference = parse_reference(name)
        if reference.host in self._store.own_hosts:
            digest = self._store.resolve(reference)
            if not digest:
                raise _RefusedError(404, f"manifest unknown: {name}")
            row = self._store.catalogue.manifests[digest]
            media_type, size = row.media_type, row.size
        else:
            auth = shapes.login(request.headers.get("x-registry-auth", ""), reference)
            async with RegistryClient(reference, auth) as registry:
                digest, _ = await registry.head(reference.digest or reference.tag)
                data, media_type = await registry.manifest(digest)
                size = len(data)
        descriptor = {"mediaType": media_type, "digest": digest, "size": size}
        await request.json(200, {"Descriptor": descriptor, "Platforms": []})

    # Long answers --------------------------------------------------------------------------------

    async def _build(self, request: Request) -> None:
        # Half of this room, which a start need not wait for.
        from kindling.cluster.images.engine_build import build_from_request

        async def work(tell: Tell) -> None:
            await build_from_request(self._store, self._runtime, request, tell)

        await self._stream(request, work)

    async def _pull(self, request: Request) -> None:
        await request.body()
        if request.one("fromSrc"):
            raise _RefusedError(501, "images are not made of plain archives here: use a Dockerfile")
        reference = shapes.reference_of(request.one("fromImage"), request.one("tag"))
        auth = shapes.login(request.headers.get("x-registry-auth", ""), reference)

        async def work(tell: Tell) -> None:
            begun = False

            def progress(name: str, what: str, done: int, size: int) -> None:
                nonlocal begun
                if not begun:
                    begun = True
                    tell({"status": f"Pulling from {reference.path}", "id": reference.tag})
                detail = {"current": done, "total": size} if what == "Downloading" else {}
                tell({"status": what, "progressDetail": detail, "id": name})

            before = self._store.find(str(reference))
            image = await self._store.pull_watched(str(reference), auth, progress)
            if not begun:
                tell({"status": f"Pulling from {reference.path}", "id": reference.tag})
            if digest := self._store.resolve(reference):
                tell({"status": f"Digest: {digest}"})
            same = before is not None and before.id == image.id
            what = "Image is up to date" if same else "Downloaded newer image"
            shown = f"{reference.familiar}{':' if reference.tag else '@'}"
            tell({"status": f"Status: {what} for {shown}{reference.tag or reference.digest}"})

        await self._stream(request, work)

    async def _push(self, request: Request, name: str, tag: str) -> None:
        await request.body()
        reference = shapes.reference_of(name, tag)
        auth = shapes.login(request.headers.get("x-registry-auth", ""), reference)
        image = self._store.find(str(reference))
        if image is None:
            raise _RefusedError(
                404, f"An image does not exist locally with the tag: {reference.familiar}"
            )

        async def work(tell: Tell) -> None:
            tell({"status": f"The push refers to repository [{reference.repository}]"})
            digest, size = await push_image(
                self._store,
                image,
                reference,
                auth,
                lambda layer, what: tell({"status": what, "progressDetail": {}, "id": layer}),
            )
            tell({"status": f"{reference.tag}: digest: {digest} size: {size}"})
            aux = {"Tag": reference.tag, "Digest": digest, "Size": size}
            tell({"progressDetail": {}, "aux": aux})

        await self._stream(request, work)

    async def _load(self, request: Request) -> None:
        path = self._store.blobs.new_path()
        try:
            await _spool(request, path)

            async def work(tell: Tell) -> None:
                for image in await self._store.load(path, "what was sent"):
                    for name in image.names:
                        tell({"stream": f"Loaded image: {shapes.familiar(name)}\n"})
                    if not image.names:
                        tell({"stream": f"Loaded image ID: {image.id}\n"})

            await self._stream(request, work)
        finally:
            path.unlink(missing_ok=True)

    async def _save(self, request: Request, names: tuple[str, ...]) -> None:
        for name in names:
            self._find(name)
        if not names:
            raise _RefusedError(400, "no images are named")
        wanted = tuple(
            name if _is_reference(self._store, name) else self._find(name).id for name in names
        )
        pieces = self._store.save(wanted)
        try:
            first = await anext(pieces)
        except KeyError as error:
            raise _RefusedError(400, f"{error} is this machine itself") from error
        await request.begin(200, {"Content-Type": "application/x-tar"})
        await request.write(first)
        async for piece in pieces:
            await request.write(piece)
        await request.end()

    async def _stream(
        self,
        request: Request,
        work: Callable[[Tell], Awaitable[None]],
    ) -> None:
        """Run `work`, and send what it tells as it tells it. A failure before the first message is
        an answer with a status, one after it a message. A client that goes away ends the work."""
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

        async def run() -> None:
            try:
                await work(queue.put_nowait)
            finally:
                queue.put_nowait(None)

        task = asyncio.create_task(run(), name="engine request")
        gone: asyncio.Task[None] | None = None
        try:
            ended = False
            while not ended:
                waiting = [await queue.get()]
                while not queue.empty():
                    waiting.append(queue.get_nowait())
                ended = waiting[-1] is None
                sent = [message for message in waiting if message is not None]
                if sent and not request.began:
                    await request.begin(200, {"Content-Type": "application/json"})
                    gone = asyncio.create_task(request.gone(), name="engine client")
                    gone.add_done_callback(lambda _: task.cancel())
                if sent:
                    await request.write(b"".join(json.dumps(it).encode() + b"\r\n" for it in sent))
            await asyncio.wait([task])
            if task.cancelled():
                raise ConnectionResetError("the client went away")
            try:
                task.result()
            except _EXPECTED as error:
                if not request.began:
                    raise
                _, text = _refusal(error)
                detail: dict[str, Any] = {"message": text}
                if code := getattr(error, "code", 0):
                    detail["code"] = code
                said = {"errorDetail": detail, "error": text}
                await request.write(json.dumps(said).encode() + b"\r\n")
            if not request.began:
                await request.begin(200, {"Content-Type": "application/json"})
            await request.end()
        finally:
            for each in (gone, task):
                if each is not None and not each.done():
                    each.cancel()
            await asyncio.wait([it for it in (gone, task) if it is not None])


_EXPECTED = (
    _RefusedError,
    PullError,
    RegistryError,
    ArchiveError,
    BlobError,
    ManifestError,
    DockerfileError,
    ImageInUseError,
    OSError,
)


def _refusal(error: BaseException) -> tuple[int, str]:
    text = str(error)
    match error:
        case _RefusedError():
            return error.status, text
        case PullError() if error.reason == "InvalidImageName":
            return 400, "invalid reference format"
        case PullError() | RegistryError():
            absent = text.endswith("not found") or "pull access denied" in text
            return 404 if absent else 500, text
        case DockerfileError():
            return 400 if "parse error" in text else 500, text
        case ImageInUseError():
            return 409, text
        case OSError():
            return 500, (error.strerror or text).lower()
    return 500, text


def _is_reference(store: ImageStore, name: str) -> bool:
    try:
        return store.find(name) is not None
    except PullError:
        return False


async def _spool(request: Request, path: Any) -> None:
    with path.open("xb") as file:
        async for chunk in request.chunks():
            await asyncio.to_thread(file.write, chunk)
