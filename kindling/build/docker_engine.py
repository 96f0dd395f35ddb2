"""The Docker engine behind `ContainerEngine`: the SDK for all but BuildKit's builds.

The SDK blocks, so each call runs in a thread of a pool of its own; a cancelled call is waited for,
and those that stream (build, push) are cut off by shutting their connection down, upon which the
engine stops the work. Builds go to the engine's API while the classic builder can do them, and
through a `docker` program when the Dockerfile needs BuildKit or when that program has buildx. The
embedded cluster's engine reads all Dockerfiles itself, so there the API is the only way.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kindling.build.buildkit import BuildClient, ClientKind, build_with_client, find_client
from kindling.build.connection import StreamConnection, messages, refusal
from kindling.build.context import list_context, stage_context, tar_context
from kindling.build.docker_config import build_headers, engine_host, push_headers
from kindling.build.dockerfile import needs_buildkit
from kindling.build.errors import engine_error, registry_error, registry_of
from kindling.build.protocol import (
    BuildRequest,
    EngineVersion,
    ImageConfig,
    ImageInfo,
    LineSink,
    Programs,
)
from kindling.build.streams import BuildStream, PushStream
from kindling.errors import ContainerError, HostError

if TYPE_CHECKING:
    from docker import APIClient

__all__ = ["DockerEngine", "connect"]

T = TypeVar("T")

_CALL_SECS = 60
"""The time limit for a call that does not stream."""

_SILENCE_SECS = 3600
"""How long a stream may be silent: a build step may compile for long without a word."""

_EMBEDDED = "-kindling"
"""How the version of the embedded cluster's engine ends."""

_GENERATED = ".kindling.Dockerfile"
"""The name of a Dockerfile in a context that has no such file."""


async def connect(programs: Programs, environment: Mapping[str, str], cwd: Path) -> DockerEngine:
    """The engine that `docker` would use with this environment (DOCKER_HOST, else the current
    context, else the default socket), once it has answered.

    Raises:
        ContainerError: No engine answers, or it may not be used.
    """
    host = engine_host(environment)
    engine = DockerEngine(programs, environment, cwd, host)
    try:
        await engine.version()
    except BaseException:
        await engine.close()
        raise
    return engine


class DockerEngine:
    """A Docker engine, reached at `host` (empty: the default socket)."""

    def __init__(
        self, programs: Programs, environment: Mapping[str, str], cwd: Path, host: str = ""
    ) -> None:
        self._programs = programs
        self._environment = {**environment, "DOCKER_HOST": host} if host else dict(environment)
        self._cwd = cwd
        self._host = host or "unix:///var/run/docker.sock"
        self._pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="docker")
        self._api: APIClient | None = None
        self._opening = threading.Lock()
        self._client: tuple[BuildClient | None, tuple[str, ...]] | None = None
        self._embedded = False  # until `version` has asked

    async def version(self) -> EngineVersion:
        said = await self._call("reach Docker", lambda api: api.version())
        self._embedded = str(said.get("Version", "")).endswith(_EMBEDDED)
        platform = f"{said.get('Os', '')}/{said.get('Arch', '')}"
        return EngineVersion(said.get("Version", ""), said.get("ApiVersion", ""), platform)

    async def inspect(self, ref: str) -> ImageInfo | None:
        from docker.errors import NotFound

        def ask(api: APIClient) -> ImageInfo | None:
            try:
                client: Any = api  # its stub leaves this method untyped
                found = client.inspect_image(ref)
            except NotFound:
                return None
            return ImageInfo(
                id=found["Id"],
                tags=tuple(found.get("RepoTags") or ()),
                created=_seconds(found.get("Created", "")),
                digests=tuple(found.get("RepoDigests") or ()),
                config=ImageConfig.of(found.get("Config") or {}),
            )

        return await self._call(f"look up the image `{ref}`", ask)

    async def tags(self, name: str) -> tuple[ImageInfo, ...]:
        def ask(api: APIClient) -> tuple[ImageInfo, ...]:
            found = [
                ImageInfo(
                    id=image["Id"],
                    tags=tuple(tag for tag in image.get("RepoTags") or () if _names(tag, name)),
                    created=float(image.get("Created", 0)),
                )
                for image in api.images(name=name)
            ]
            return tuple(sorted(found, key=lambda image: -image.created))

        return await self._call(f"list the images of `{name}`", ask)

    async def tag(self, image: str, ref: str) -> None:
        repository, tag = _split(ref)
        await self._call(
            f"tag `{image}` as `{ref}`", lambda api: api.tag(image, repository, tag, force=True)
        )

    async def remove(self, ref: str) -> bool:
        from docker.errors import APIError

        def ask(api: APIClient) -> bool:
            try:
                api.remove_image(ref, force=False, noprune=False)
            except APIError as error:
                if error.status_code in (404, 409):
                    return False
                raise
            return True

        return await self._call(f"remove `{ref}`", ask)

    async def save(self, ref: str, path: Path) -> None:
        def write(api: APIClient) -> None:
            part = path.with_name(f".{path.name}.{os.getpid()}.part")
            try:
                with part.open("wb") as file:
                    for chunk in api.get_image(ref):
                        file.write(chunk)
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)

        await self._call(f"save `{ref}`", write)

    async def load(self, path: Path) -> tuple[str, ...]:
        loaded: list[str] = []
        problem: list[str] = []

        def hear(message: Mapping[str, Any]) -> None:
            # The engine says it in words, and only there.
            said = str(message.get("stream", "")).strip()
            if found := re.fullmatch(r"Loaded image(?: ID)?: (\S+)", said):
                loaded.append(found[1])
            if message.get("error"):
                problem.append(str(message["error"]))

        def pieces() -> Iterator[bytes]:
            with path.open("rb") as file:
                while piece := file.read(1 << 20):
                    yield piece

        await self._stream(
            f"load `{path}`",
            "/images/load",
            params={"quiet": "1"},
            headers=dict,
            data=pieces,
            each=hear,
        )
        if problem:
            raise ContainerError(f"cannot load `{path}`: {problem[0]}")
        return tuple(loaded)

    async def push(self, ref: str, log: LineSink) -> str:
        repository, tag = _split(ref)
        registry = registry_of(ref)
        doing = f"push `{ref}`"
        stream = PushStream(log)
        await self._stream(
            doing,
            f"/images/{repository}/push",
            params={"tag": tag},
            headers=lambda: push_headers(self._environment, registry),
            each=stream.feed,
        )
        if stream.error:
            raise registry_error(stream.error, doing, registry)
        return stream.digest

    async def build(self, request: BuildRequest, log: LineSink) -> ImageInfo:
        if self._embedded:
            if request.ssh or request.secrets:
                raise HostError(
                    "the embedded cluster's builder is given no build secrets and no ssh agent",
                    hint="Build it by `custom_build` with a Docker engine; it is loaded from"
                    " there.",
                )
            image = await self._build_by_api(request, log)
        else:
            image = await self._build_by_docker(request, log)
        found = await self.inspect(image)
        if found is None:
            raise HostError(f"the build made `{image}`, which the engine does not have any more")
        return found

    async def close(self) -> None:
        if self._api is not None:
            self._api.close()
            self._api = None
        await asyncio.to_thread(self._pool.shutdown)

    # Builds --------------------------------------------------------------------------------------

    async def _build_by_docker(self, request: BuildRequest, log: LineSink) -> str:
        needs = bool(request.ssh or request.secrets) or needs_buildkit(request.dockerfile)
        client, refused = await self._build_client()
        if client is not None and (needs or client.kind is ClientKind.BUILDX):
            return await self._build_by_client(client, request, log)
        if needs:
            raise HostError(
                "this Dockerfile needs BuildKit, and no `docker` program here has it",
                details=refused or ["there is no `docker` on PATH"],
                hint="Install Docker's plugin `buildx`.",
            )
        return await self._build_by_api(request, log)

    async def _build_client(self) -> tuple[BuildClient | None, tuple[str, ...]]:
        if self._client is None:
            self._client = await find_client(self._programs, self._environment, self._cwd)
        return self._client

    async def _build_by_client(
        self, client: BuildClient, request: BuildRequest, log: LineSink
    ) -> str:
        # The folder has the same name each time, so that BuildKit sends only what changed.
        own = (
            f"{request.context.folder}\0{request.name}\0{request.dockerfile_path}\0{request.target}"
        )
        name = hashlib.sha256(own.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        staged = request.scratch / name
        files = await asyncio.to_thread(list_context, request.context)
        await asyncio.to_thread(stage_context, files, staged)
        return await build_with_client(
            client,
            request,
            staged,
            programs=self._programs,
            environment=self._environment,
            log=log,
        )

    async def _build_by_api(self, request: BuildRequest, log: LineSink) -> str:
        files = await asyncio.to_thread(list_context, request.context)
        names = {file.name for file in files}
        dockerfile, extra = await asyncio.to_thread(_dockerfile_entries, request, names)
        watch = BuildStream(log)
        late: list[str] = []
        params: dict[str, Any] = {
            "t": list(request.tags),
            "dockerfile": dockerfile,
            "buildargs": json.dumps(dict(request.build_args)),
            "rm": "1",
            "forcerm": "1",
        }
        optional = {
            "target": request.target,
            "platform": request.platform,
            "networkmode": request.network,
            "pull": "1" if request.pull else "",
            "extrahosts": list(request.extra_hosts),
            "cachefrom": json.dumps(request.cache_from) if request.cache_from else "",
        }
        params |= {name: value for name, value in optional.items() if value}
        await self._stream(
            "build",
            "/build",
            params=params,
            headers=lambda: build_headers(self._environment),
            data=lambda: tar_context(files, extra, changed=late.append),
            each=watch.feed,
        )
        watch.end()
        for name in late:
            log(f"`{name}` changed while it was being sent", "kindling")
        return watch.result()

    # Calls ---------------------------------------------------------------------------------------

    async def _call(self, doing: str, work: Callable[[APIClient], T]) -> T:
        def run() -> T:
            try:
                return work(self._open())
            except Exception as error:
                raise engine_error(error, doing, self._host) from error

        return await self._in_thread(run)

    async def _stream(
        self,
        doing: str,
        path: str,
        *,
        params: Mapping[str, Any],
        headers: Callable[[], Mapping[str, str]],
        each: Callable[[Mapping[str, Any]], None],
        data: Callable[[], Iterator[bytes]] | None = None,
    ) -> None:
        """Post, and hand every message of the answer to `each` on the loop, in order."""
        loop = asyncio.get_running_loop()
        connection = StreamConnection()

        def run() -> None:
            try:
                api = self._open()
                body = data() if data is not None else None
                sent = connection.guard(body) if body is not None else None
                with api.post(
                    f"{api.base_url}/v{api.api_version}{path}",
                    params=params,
                    headers={"Content-Type": "application/x-tar", **headers()},
                    data=sent,
                    stream=True,
                    timeout=(_CALL_SECS, _SILENCE_SECS),
                ) as response:
                    connection.opened(response)
                    if response.status_code >= 400:
                        raise refusal(response)
                    for message in messages(response):
                        loop.call_soon_threadsafe(each, message)
            except Exception as error:
                if connection.cut:
                    return
                raise engine_error(error, doing, self._host) from error

        await self._in_thread(run, connection.shut)
        # What the thread handed over last is on the loop's list before this continuation is.
        await asyncio.sleep(0)

    async def _in_thread(
        self, work: Callable[[], T], interrupt: Callable[[], None] = lambda: None
    ) -> T:
        """Run in a thread; on cancellation interrupt it, wait for it, and only then raise."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        cancelled = False
        while not future.done():
            try:
                await asyncio.shield(future)
            except asyncio.CancelledError:
                cancelled = True
                interrupt()
            except Exception:
                break  # it is the future's, and raised below
        if cancelled:
            future.exception()  # seen, so that nobody warns of it
            raise asyncio.CancelledError
        return future.result()

    def _open(self) -> APIClient:
        from docker import APIClient
        from docker.utils import kwargs_from_env

        with self._opening:
            if self._api is None:
                arguments = kwargs_from_env(environment=self._environment)
                _knock(self._host)
                self._api = APIClient(version="auto", timeout=_CALL_SECS, **arguments)
            return self._api


def _dockerfile_entries(
    request: BuildRequest, names: set[str]
) -> tuple[str, list[tuple[str, bytes]]]:
    """The Dockerfile's name in the context, and the entries to add so that it is there.

    A Dockerfile that the context holds unchanged is used as it is. Any other comes under a name of
    its own, which a `.dockerignore` entry hides from COPY, the way Docker's own client does it.
    """
    data = request.dockerfile.encode("utf-8", "surrogateescape")
    folder = request.context.folder
    path = request.dockerfile_path
    if path is not None:
        name = os.path.relpath(path, folder).replace(os.sep, "/")
        with contextlib.suppress(OSError):
            if name in names and path.read_bytes() == data:
                return name, []
    ignore = b""
    hidden = [_GENERATED]
    if ".dockerignore" in names:
        with contextlib.suppress(OSError):
            ignore = (folder / ".dockerignore").read_bytes().rstrip(b"\n") + b"\n"
    else:
        hidden.append(".dockerignore")
    ignore += "".join(f"{name}\n" for name in hidden).encode()
    return _GENERATED, [(_GENERATED, data), (".dockerignore", ignore)]


def _knock(host: str) -> None:
    """Fail at once, and with the system's own error, when nobody listens on a local socket.

    The SDK would wrap that error three times over and leave the socket open.
    """
    if host.startswith("unix://"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
            knocking.settimeout(_CALL_SECS)
            knocking.connect(host.removeprefix("unix://"))


def _split(ref: str) -> tuple[str, str]:
    name, colon, tag = ref.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (ref, "latest")


def _names(tag: str, name: str) -> bool:
    return _split(tag)[0] == name


def _seconds(text: str) -> float:
    """RFC 3339 with nanoseconds, as the engine writes it; 0 for an image without a date."""
    from datetime import datetime

    with contextlib.suppress(ValueError):
        return max(datetime.fromisoformat(text).timestamp(), 0.0)
    return 0.0
