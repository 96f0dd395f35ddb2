"""Watches over HTTP: one JSON line an event, sent when it happens."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import orjson

from kindling.cluster.apiserver.exchange import ClientGoneError, Exchange
from kindling.cluster.apiserver.forms import Forms, encoded, metadata_only
from kindling.cluster.apiserver.negotiation import Form, View
from kindling.cluster.model.api import Api, Change, ChangeType, Selection
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import ApiError, Cause, invalid

__all__ = ["serve_watch"]

_SHORTEST = 1800.0
"""Seconds that a watch lasts which sets no time, up to twice that: `--min-request-timeout`."""
_FAREWELL = 5.0
"""Seconds for a client to take the end of its watch."""


async def serve_watch(
    exchange: Exchange,
    api: Api,
    forms: Forms,
    resource: ResourceType,
    selection: Selection,
    form: Form,
    stopping: asyncio.Event,
) -> None:
    """Answer until the time is over, the client hangs up, or the server stops.

    A resourceVersion that is too old is told within the stream, as by the real server. A client
    that takes nothing holds up only its own watch, which lags behind in the history, not in memory
    of ours, and is told so (410) once the history has gone by.
    """
    query = exchange.query
    seconds = query.number("timeoutSeconds")
    timeout = float(seconds) if seconds else _SHORTEST * (1 + random.random())
    since, initial = _beginning(exchange)
    bookmarks = query.flag("allowWatchBookmarks")
    line = _line_of(exchange, forms, resource, form)
    early: ApiError | None = None
    changes = None
    try:
        changes = api.watch(
            [resource], selection, since=since, bookmarks=bookmarks, initial=initial
        )
    except ApiError as error:
        if error.code != 410:
            raise
        early = error
    await exchange.start_stream("application/json;stream=watch" if form.yaml else form.content_type)
    if changes is None:
        assert early is not None
        await exchange.chunk(_error_line(early))
        await exchange.end_stream()
        return

    async def pump() -> None:
        try:
            async for change in changes:
                if change.type is ChangeType.BOOKMARK and not bookmarks and not initial:
                    continue
                await exchange.chunk(line(change))
        except ApiError as error:
            await exchange.chunk(_error_line(error))

    watched = f"watch-{resource.key}"
    tasks = [
        asyncio.create_task(pump(), name=watched),
        asyncio.create_task(exchange.disconnected(), name=f"{watched}-client"),
        asyncio.create_task(stopping.wait(), name=f"{watched}-stop"),
    ]
    try:
        await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        close = getattr(changes, "aclose", None)
        if close is not None:
            await close()
    if isinstance(results[0], Exception):
        raise results[0]
    try:
        async with asyncio.timeout(_FAREWELL):
            await exchange.end_stream()
    except TimeoutError:
        raise ClientGoneError from None


def _beginning(exchange: Exchange) -> tuple[str, bool]:
    """Where the watch begins, as `Api.watch` takes it. Raises `ApiError` 422.

    Without a resourceVersion a watch over HTTP begins with the state, like `0`.
    """
    query = exchange.query
    since, match = query.text("resourceVersion"), query.text("resourceVersionMatch")
    causes: list[Cause] = []
    asked = "sendInitialEvents" in query
    if asked and match != "NotOlderThan":
        text = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        causes.append(Cause("FieldValueForbidden", text, "resourceVersionMatch"))
    if match and not asked:
        text = (
            "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is"
            " provided"
        )
        causes.append(Cause("FieldValueForbidden", text, "resourceVersionMatch"))
    if causes:
        raise invalid("ListOptions", "", causes, "meta.k8s.io")
    if asked:
        if query.flag("sendInitialEvents"):
            return since, True
        return ("" if since == "0" else since), False
    return since or "0", False


def _line_of(
    exchange: Exchange, forms: Forms, resource: ResourceType, form: Form
) -> Callable[[Change], bytes]:
    """How a change is written. The headers of a table go out once."""
    first = True

    def line(change: Change) -> bytes:
        nonlocal first
        obj = change.object
        if form.view is View.TABLE:
            table = forms.table(exchange, resource, [obj], form)
            version = obj["metadata"].get("resourceVersion", "")
            table["metadata"] = {"resourceVersion": version}
            if not first:
                table["columnDefinitions"] = None
            first = False
            body = orjson.dumps(table)
        elif form.view in (View.METADATA, View.METADATA_LIST):
            body = orjson.dumps(metadata_only(obj, form.version))
        else:
            body = encoded(obj)
        return b'{"type":"%b","object":%b}\n' % (change.type.value.encode(), body)

    return line


def _error_line(error: ApiError) -> bytes:
    return b'{"type":"ERROR","object":%b}\n' % orjson.dumps(error.status())
