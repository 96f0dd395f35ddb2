"""What an image runs is told by the engine that has it, else by its registry, else by nobody."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from kindling.build.imageconfig import ImageConfigs
from kindling.build.protocol import ContainerEngine, ImageConfig, ImageInfo
from kindling.errors import ContainerError

_CONFIG = json.dumps(
    {"config": {"Entrypoint": ["/go"], "Cmd": ["-v"], "WorkingDir": "/srv", "User": "65532"}}
).encode()
_BLOB = "sha256:" + hashlib.sha256(_CONFIG).hexdigest()
_ONE = {"config": {"digest": _BLOB}}
_MANY = {
    "manifests": [
        {"digest": "sha256:arm", "platform": {"os": "linux", "architecture": "arm64"}},
        {"digest": "sha256:amd", "platform": {"os": "linux", "architecture": "amd64"}},
    ]
}
_HELD: dict[str, bytes] = {
    "/v2/shop/manifests/1": json.dumps(_ONE).encode(),
    "/v2/many/manifests/latest": json.dumps(_MANY).encode(),
    "/v2/many/manifests/sha256:amd": json.dumps(_ONE).encode(),
    f"/v2/shop/blobs/{_BLOB}": _CONFIG,
    f"/v2/many/blobs/{_BLOB}": _CONFIG,
    "/v2/broken/manifests/1": b"<html>",
}


class _Registry(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = _HELD.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base's name)
        del format, args


@pytest.fixture
def registry() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Registry) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"localhost:{server.server_port}"
        server.shutdown()
        thread.join()


class _Engine:
    """An engine that has one image."""

    def __init__(self, problem: ContainerError | None = None) -> None:
        self.problem = problem
        self.asked: list[str] = []

    async def inspect(self, ref: str) -> ImageInfo | None:
        self.asked.append(ref)
        if self.problem is not None:
            raise self.problem
        config = ImageConfig(("/entry",), ("serve",), "/app", "1000")
        return ImageInfo("sha256:1", config=config) if ref == "sha256:1" else None

    async def close(self) -> None:
        """Nothing is open."""


async def _no_engine() -> ContainerEngine | None:
    return None


def _with(engine: _Engine) -> ImageConfigs:
    async def opened() -> ContainerEngine | None:
        return cast("ContainerEngine", engine)

    return ImageConfigs(opened)


async def test_the_engine_that_has_an_image_tells() -> None:
    engine = _Engine()
    told = await _with(engine)("docker://sha256:1")
    assert told == (("/entry",), ("serve",), "/app", "1000")
    assert engine.asked == ["sha256:1"]


@pytest.mark.parametrize("image", ["shop:1", "many"])
async def test_else_its_registry_does(registry: str, image: str) -> None:
    told = await ImageConfigs(_no_engine)(f"{registry}/{image}")
    assert told == (("/go",), ("-v",), "/srv", "65532")


@pytest.mark.parametrize("image", ["shop:2", "broken:1", "NOT AN IMAGE"])
async def test_what_nobody_can_tell_is_none(registry: str, image: str) -> None:
    name = image if " " in image else f"{registry}/{image}"
    assert await ImageConfigs(_no_engine)(name) is None


async def test_an_engine_that_fails_is_no_reason_to_fail(registry: str) -> None:
    engine = _Engine(ContainerError("away"))
    assert await _with(engine)(f"{registry}/shop:1") == (("/go",), ("-v",), "/srv", "65532")


async def test_an_engine_that_cannot_be_opened_is_not_tried_again() -> None:
    tries: list[int] = []

    async def away() -> ContainerEngine | None:
        tries.append(1)
        raise ContainerError("no engine")

    configs = ImageConfigs(away)
    assert await configs("sha256:1") is None
    assert await configs("sha256:1") is None
    assert tries == [1]
