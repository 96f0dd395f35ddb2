"""Prints what the registry costs (`pytest -s`); asserts only that the work was done."""

# ruff: noqa: T201 - printing is what it is for

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import time
from pathlib import Path
from typing import Any

from kindling.cluster.registry.watching import Watch
from tests.cluster.registry.bench import CONFIG_MAPS, PODS, Bench


def _milliseconds(begun: float) -> float:
    return (time.perf_counter() - begun) * 1000


async def test_figures(cluster: Bench, tmp_path: Path) -> None:
    print()
    connection = sqlite3.connect(tmp_path / "plain.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE t (x)")
    times = []
    for _ in range(50):
        begun = time.perf_counter()
        connection.execute("INSERT INTO t VALUES (1)")
        times.append(_milliseconds(begun))
    connection.close()
    print(f"a bare synced commit of SQLite     {statistics.median(times):8.2f} ms (median)")

    times = []
    for number in range(50):
        begun = time.perf_counter()
        await cluster.pod(f"one{number}")
        times.append(_milliseconds(begun))
    print(f"create a pod, one after another    {statistics.median(times):8.2f} ms (median)")

    begun = time.perf_counter()
    await asyncio.gather(*(cluster.pod(f"all{number}") for number in range(950)))
    print(f"create 950 pods at once            {_milliseconds(begun):8.2f} ms")

    begun = time.perf_counter()
    listing = cluster.api.list(PODS)
    listed = _milliseconds(begun)
    begun = time.perf_counter()
    body = b",".join(cluster.api.encoded(obj) for obj in listing.items)
    print(f"list 1,000 pods                    {listed:8.2f} ms, and {_milliseconds(begun):.2f} ms")
    print(f"  to bytes                         {len(body) / 1e6:8.2f} MB")
    assert len(listing.items) == 1000

    watches = [cluster.api.watch([CONFIG_MAPS]) for _ in range(200)]

    async def read(watch: Watch, count: int) -> int:
        size = 0
        for _ in range(count):
            size += len(cluster.api.encoded((await anext(watch)).object))
        return size

    async def fan_out(count: int) -> float:
        reading = [asyncio.ensure_future(read(watch, count)) for watch in watches]
        await asyncio.sleep(0)
        begun = time.perf_counter()
        await asyncio.gather(
            *(cluster.create(CONFIG_MAPS, f"{count}-{n}", data={"a": "b"}) for n in range(count))
        )
        sizes: Any = await asyncio.gather(*reading)
        assert len(set(sizes)) == 1
        return _milliseconds(begun)

    print(f"1 change to 200 watches            {await fan_out(1):8.2f} ms")
    print(f"100 changes to 200 watches         {await fan_out(100):8.2f} ms")
    for watch in watches:
        await watch.aclose()

    begun = time.perf_counter()
    await cluster.reopen()
    print(f"close and open with 1,100 objects  {_milliseconds(begun):8.2f} ms")
