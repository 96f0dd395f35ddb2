"""Lists and watches: what there is, then every change of it, for as long as anybody listens."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

from kindling.errors import ClusterError
from kindling.kube.discovery import resource_path
from kindling.kube.errors import (
    GoneError,
    ServerFaultError,
    ThrottledError,
    error_of_status,
)
from kindling.kube.lines import lines
from kindling.kube.protocol import EventKind, Listing, Object, Resource, Selector, WatchEvent
from kindling.kube.wire import Params, Wire

__all__ = ["Link", "follow", "list_objects", "query"]

_PAGE = 500
_IDLE_LIMIT = 100.0
"""Bookmarks come about once a minute, so that a longer silence is a dead connection."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 15.0
_EVENTS = {
    "ADDED": EventKind.ADDED,
    "MODIFIED": EventKind.MODIFIED,
    "DELETED": EventKind.DELETED,
}


class Link:
    """A watch's connection as its reader sees it. `connected` is called whenever it comes up."""

    def __init__(self, connected: Callable[[], None]) -> None:
        self.up = False
        self._connected = connected
        self._hurried = asyncio.Event()

    def raised(self) -> None:
        """The server has begun to answer."""
        self.up = True
        self._connected()

    def hurry(self) -> None:
        """Do not wait any longer before the next try."""
        self._hurried.set()

    async def pause(self, seconds: float) -> None:
        """Wait before the next try."""
        self._hurried.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurried.wait()


def query(labels: Selector = (), fields: Selector = ()) -> list[tuple[str, str]]:
    """Selectors as request parameters."""
    params = []
    if labels:
        params.append(("labelSelector", ",".join(f"{key}={value}" for key, value in labels)))
    if fields:
        params.append(("fieldSelector", ",".join(f"{key}={value}" for key, value in fields)))
    return params


async def list_objects(
    wire: Wire, resource: Resource, namespace: str, params: Params, timeout: float
) -> Listing:
    """All objects, page by page; from the beginning again when a page is no longer kept."""
    doing = f"list {resource.plural}" + (f" in {namespace}" if namespace else "")
    path = resource_path(resource, namespace)
    async with wire.limit(timeout, doing):
        while True:
            items: list[Object] = []
            position = ""
            try:
                while True:
                    page = [("limit", str(_PAGE)), *([("continue", position)] if position else [])]
                    answer = await wire.request(
                        "GET", path, doing, params=[*params, *page], timeout=timeout
                    )
                    body = answer.json()
                    items += (_typed(item, resource) for item in body.get("items") or ())
                    position = body.get("metadata", {}).get("continue") or ""
                    if not position:
                        version = str(body.get("metadata", {}).get("resourceVersion") or "")
                        return Listing(tuple(items), version)
            except GoneError:
                if not position:
                    raise


async def follow(
    wire: Wire,
    resource: Resource,
    namespace: str,
    params: Params,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    jitter: Callable[[], float] = random.random,
    link: Link | None = None,
) -> AsyncGenerator[WatchEvent, None]:
    """List, then watch, without end. See `Cluster.watch`. With `link`, it says when to try
    again."""
    sleep = link.pause if link else sleep
    version = ""
    failures = 0
    away = False
    while True:
        try:
            if not version:
                listing = await list_objects(wire, resource, namespace, params, 60.0)
                version = listing.resource_version
                failures, away = 0, False
                yield WatchEvent(EventKind.SYNCED, {}, listing.items, version=version)
            async with aclosing(
                _events(wire, resource, namespace, params, version, link)
            ) as events:
                quiet = True
                async for seen, event in events:
                    version, failures, quiet, away = seen, 0, False, False
                    if event is not None:
                        yield event
            if quiet:
                # A server that ends watches at once must not be asked in a busy loop.
                await sleep(_FIRST_PAUSE)
        except GoneError:
            version = ""
        except ClusterError as error:
            if not error.transient:
                raise
            failures += 1
            if not away and (failures >= 2 or not version):
                # A single break of a long connection is nothing to tell.
                away = True
                yield WatchEvent(EventKind.AWAY, {}, problem=error.message)
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(failures - 1, 10))
            if isinstance(error, ThrottledError):
                pause = max(pause, error.after)
            await sleep(pause * (0.5 + jitter() / 2))


async def _events(
    wire: Wire,
    resource: Resource,
    namespace: str,
    params: Params,
    version: str,
    link: Link | None,
) -> AsyncGenerator[tuple[str, WatchEvent | None], None]:
    watching: list[tuple[str, str]] = [
        *params,
        ("watch", "true"),
        ("resourceVersion", version),
        ("allowWatchBookmarks", "true"),
        ("timeoutSeconds", str(240 + random.randrange(120))),
    ]
    doing = f"watch {resource.plural}" + (f" in {namespace}" if namespace else "")
    path = resource_path(resource, namespace)
    async with (
        wire.stream(path, doing, params=watching, timeout=30.0) as body,
        aclosing(lines(body, idle=_IDLE_LIMIT)) as received,
    ):
        if link:
            link.raised()
        try:
            async for line in received:
                if line.strip():
                    yield _parsed(line, resource, doing)
        finally:
            if link:
                link.up = False


def _parsed(line: bytes, resource: Resource, doing: str) -> tuple[str, WatchEvent | None]:
    try:
        message: dict[str, Any] = json.loads(line)
        body: dict[str, Any] = message["object"]
    except (ValueError, KeyError, TypeError) as error:
        # A connection that was cut in the middle of a line.
        raise ServerFaultError(
            f"Cannot {doing}: the answer was cut short", transient=True
        ) from error
    if message.get("type") == "ERROR":
        raise error_of_status(body, doing)
    version = str(body["metadata"]["resourceVersion"])
    kind = _EVENTS.get(str(message.get("type")))
    return version, WatchEvent(kind, _typed(body, resource)) if kind else None


def _typed(item: Object, resource: Resource) -> Object:
    """Items of a list do not say what they are; everywhere else objects do."""
    return {"apiVersion": resource.api_version, "kind": resource.kind, **item}
