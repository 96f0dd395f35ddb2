"""Watches over HTTP: what happens, when it happens, in the form that was asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from kindling.cluster.model.resource import builtin
from kindling.cluster.model.status import gone
from tests.cluster.apiserver.serve import Cluster

MAPS = builtin("configmaps")
PATH = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


async def make(cluster: Cluster, name: str, **data: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": "default"}
    return await cluster.api.create(MAPS, {"metadata": meta, "data": data}, "default")


@asynccontextmanager
async def watching(
    cluster: Cluster, query: str = "", accept: str = "application/json"
) -> AsyncIterator[aiohttp.StreamReader]:
    connector = aiohttp.TCPConnector(ssl=cluster.authority.client_context())
    headers = {"authorization": f"Bearer {cluster.tokens.admin}", "accept": accept}
    url = f"https://127.0.0.1:{cluster.port}{PATH}?watch=1&{query}"
    async with (
        aiohttp.ClientSession(connector=connector, headers=headers) as session,
        session.get(url) as answer,
    ):
        assert answer.status == 200
        assert answer.headers["transfer-encoding"] == "chunked"
        yield answer.content


async def event(stream: aiohttp.StreamReader) -> dict[str, Any]:
    async with asyncio.timeout(10):
        line = await stream.readline()
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


async def test_each_change_is_one_line_at_once(cluster: Cluster) -> None:
    before = cluster.api.revision
    async with watching(cluster, f"resourceVersion={before}") as stream:
        made = await make(cluster, "a", x="1")
        added = await event(stream)
        assert (added["type"], added["object"]) == ("ADDED", made)
        await cluster.api.delete(MAPS, "a", "default")
        assert (await event(stream))["type"] == "DELETED"


async def test_without_a_version_it_begins_with_the_state(cluster: Cluster) -> None:
    await make(cluster, "a")
    async with watching(cluster) as stream:
        assert (await event(stream))["object"]["metadata"]["name"] == "a"
        await make(cluster, "b")
        assert (await event(stream))["object"]["metadata"]["name"] == "b"


async def test_initial_events_end_with_a_bookmark(cluster: Cluster) -> None:
    await make(cluster, "a")
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with watching(cluster, query) as stream:
        assert (await event(stream))["type"] == "ADDED"
        end = await event(stream)
        assert end["type"] == "BOOKMARK"
        assert end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_table_names_its_columns_once(cluster: Cluster) -> None:
    await make(cluster, "a", x="1")
    await make(cluster, "b", x="1", y="2")
    async with watching(cluster, accept=TABLE) as stream:
        first, second = await event(stream), await event(stream)
    names = [column["name"] for column in first["object"]["columnDefinitions"]]
    assert names == ["Name", "Data", "Age"]
    assert second["object"]["columnDefinitions"] is None
    assert second["object"]["rows"][0]["cells"][:2] == ["b", 2]


async def test_a_version_that_is_too_old_is_told_in_the_stream(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by the real server: 200, and an event that is an error."""

    def refuse(*_: object, **__: object) -> None:
        raise gone("too old resource version: 1 (99)")

    monkeypatch.setattr(cluster.api, "watch", refuse)
    async with watching(cluster, "resourceVersion=1") as stream:
        found = await event(stream)
        assert await stream.read() == b""
    assert found["type"] == "ERROR"
    assert (found["object"]["code"], found["object"]["reason"]) == (410, "Expired")


async def test_a_version_that_is_yet_to_come_is_refused(cluster: Cluster) -> None:
    status, _, body = await cluster.request("GET", f"{PATH}?watch=1&resourceVersion=999999")
    assert (status, json.loads(body)["reason"]) == (504, "Timeout")


async def test_a_watch_ends_with_its_time(cluster: Cluster) -> None:
    async with watching(cluster, "timeoutSeconds=1") as stream, asyncio.timeout(5):
        assert await stream.read() == b""


async def test_stopping_the_server_ends_its_watches(cluster: Cluster) -> None:
    async with watching(cluster) as stream:
        cluster.app.stop()
        async with asyncio.timeout(5):
            assert await stream.read() == b""


def requests_under_way() -> set[asyncio.Task[Any]]:
    tasks = asyncio.all_tasks()
    return {task for task in tasks if "run_asgi" in getattr(task.get_coro(), "__qualname__", "")}


async def test_a_client_that_leaves_leaves_nothing_behind(cluster: Cluster) -> None:
    async with watching(cluster) as stream:
        await make(cluster, "a")
        await event(stream)
        served = requests_under_way()
        assert (len(served), len(cluster.api._watches)) == (1, 1)
    _, pending = await asyncio.wait(served, timeout=5)
    assert not pending
    assert len(cluster.api._watches) == 0
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("watch-conf")]


async def test_two_hundred_watches_see_the_same(cluster: Cluster) -> None:
    connector = aiohttp.TCPConnector(ssl=cluster.authority.client_context(), limit=0)
    headers = {"authorization": f"Bearer {cluster.tokens.admin}"}
    url = f"https://127.0.0.1:{cluster.port}{PATH}?watch=1"
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        answers = await asyncio.gather(*(session.get(url) for _ in range(200)))
        await make(cluster, "a")
        lines = await asyncio.gather(*(answer.content.readline() for answer in answers))
        assert len(set(lines)) == 1
        assert json.loads(lines[0])["object"]["metadata"]["name"] == "a"
        for answer in answers:
            answer.close()


async def test_a_client_that_reads_nothing_holds_up_nobody(cluster: Cluster) -> None:
    context = cluster.authority.client_context()
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.port, ssl=context)
    head = f"GET {PATH}?watch=1 HTTP/1.1\r\nhost: localhost\r\n"
    writer.write(f"{head}authorization: Bearer {cluster.tokens.admin}\r\n\r\n".encode())
    await reader.readline()
    for number in range(40):
        await make(cluster, f"m{number}", x="y" * 500_000)
    status, _, _ = await cluster.request("GET", "/readyz")
    assert status == 200
    cluster.app.stop()
    served = requests_under_way()
    writer.transport.abort()
    _, pending = await asyncio.wait(served, timeout=5)
    assert not pending
