"""`POST /build`: a context as a tar stream in, what Docker's classic builder prints out."""

from __future__ import annotations

import asyncio
import json
import posixpath
import stat
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

from kindling.cluster.images.asgi import Request
from kindling.cluster.images.blobs import remove_tree
from kindling.cluster.images.build_steps import BuildOptions
from kindling.cluster.images.builder import build_image
from kindling.cluster.images.dockerfile import DockerfileError
from kindling.cluster.images.engine_shapes import logins
from kindling.cluster.images.reference import parse_reference
from kindling.cluster.images.rootview import ContextTree
from kindling.cluster.images.store import ImageStore
from kindling.cluster.images.tape import decompressed
from kindling.cluster.images.threads import in_thread
from kindling.cluster.images.unpack import unpack
from kindling.cluster.runtime.protocol import Runtime
from kindling.errors import nearest

__all__ = ["build_from_request"]


async def build_from_request(
    store: ImageStore,
    runtime: Runtime | None,
    request: Request,
    tell: Callable[[dict[str, Any]], None],
) -> None:
    """Build what a request says; the image's id goes out as `aux`.

    Raises:
        DockerfileError: The request or the Dockerfile is wrong, or a step failed.
    """
    if request.one("version", "1") not in ("", "1"):
        raise DockerfileError("BuildKit is not offered by this engine: set DOCKER_BUILDKIT=0")
    if request.one("remote"):
        raise DockerfileError("remote build contexts are not supported: send the files")
    packed = store.blobs.new_path()
    folder = store.blobs.new_path()
    quiet = request.flag("q")
    try:
        with packed.open("xb") as file:
            async for chunk in request.chunks():
                await asyncio.to_thread(file.write, chunk)
        await in_thread(lambda stop: _unpack(packed, folder, stop))
        options = BuildOptions(
            dockerfile=_dockerfile(folder, request.one("dockerfile") or "Dockerfile"),
            context=folder,
            tags=tuple(parse_reference(name) for name in request.query.get("t", ()) if name),
            args=_values(request, "buildargs"),
            labels=_values(request, "labels"),
            target=request.one("target"),
            network=request.one("networkmode"),
            platform=request.one("platform"),
            no_cache=request.flag("nocache"),
            pull=request.flag("pull"),
            credentials=logins(request.headers.get("x-registry-config", "")),
        )
        image = await build_image(
            store, runtime, options, lambda text: None if quiet else tell({"stream": text})
        )
    finally:
        packed.unlink(missing_ok=True)
        if folder.exists():
            await asyncio.to_thread(remove_tree, folder)
    tell({"aux": {"ID": image.id}})
    if quiet:
        tell({"stream": f"{image.id}\n"})


def _unpack(packed: Path, folder: Path, stop: Event) -> None:
    folder.mkdir()
    with packed.open("rb") as file:
        unpack(decompressed(file), folder, stop=stop, whiteouts=False)


def _dockerfile(folder: Path, name: str) -> str:
    tree = ContextTree(folder)
    path = tree.resolve(posixpath.normpath("/" + name))
    info = tree.stat(path)
    if info is None or not stat.S_ISREG(info.st_mode):
        hint = nearest(posixpath.basename(name), tree.names("")) if info is None else ""
        raise DockerfileError(
            f"Cannot locate specified Dockerfile: {name}" + (f". {hint}" if hint else "")
        )
    text = Path(tree.real(path)).read_text("utf-8", "surrogateescape")
    if not text.strip():
        raise DockerfileError(f"the Dockerfile ({name}) cannot be empty")
    return text


def _values(request: Request, name: str) -> dict[str, str]:
    text = request.one(name)
    try:
        given = json.loads(text) if text else {}
        return {str(key): str(value) for key, value in given.items() if value is not None}
    except (ValueError, AttributeError) as error:
        raise DockerfileError(f"dockerfile parse error: {name} is no JSON object") from error
