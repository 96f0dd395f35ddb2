"""A store and servers that live for one test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from kindling.cluster.images.store import ImageStore

Serve = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    """An empty store, blind to the user's own logins."""
    opened = ImageStore(tmp_path / "images", environment={"HOME": str(tmp_path)})
    yield opened
    opened.close()


@pytest.fixture
def serve() -> Serve:
    """Serves an ASGI app on loopback (or on the Unix socket `path`) while its block lasts, and
    gives `host:port`."""

    @asynccontextmanager
    async def served(app: Any, path: Path | None = None) -> AsyncIterator[str]:
        if path is not None:
            bound = socket.socket(socket.AF_UNIX)
            bound.bind(str(path))
        else:
            bound = socket.socket()
            bound.bind(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(sockets=[bound]), name="server")
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.001)
            try:
                yield str(path) if path else f"localhost:{bound.getsockname()[1]}"
            finally:
                server.should_exit = True

    return served
