"""A disk that fails, a process that is killed, a clock that jumps: the registry stays true."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kindling.cluster.model.status import ApiError
from kindling.cluster.registry.housekeeping import Housekeeping
from tests.cluster.registry.bench import CONFIG_MAPS, DEFINITIONS, Bench, take
from tests.cluster.registry.test_definitions import define, foo


class Disk:
    """Stands between a store and its file, and fails on demand."""

    def __init__(self, bench: Bench) -> None:
        store: Any = bench.api._memory._store
        self._commit = store._commit
        self.full = False
        store._commit = self

    def __call__(self, batch: Any) -> None:
        if self.full:
            raise OSError("database or disk is full")
        self._commit(batch)


async def test_housekeeping_that_fails_is_told_to_who_watches_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    bench = await Bench(tmp_path, admission=False).open()
    watching = asyncio.create_task(bench.api.keep_house())
    monkeypatch.setattr(Housekeeping, "_empty", broken)
    await define(bench)
    assert not watching.done()
    await bench.create(foo(bench), "f", spec={})
    await bench.delete(DEFINITIONS, "foos.a.io")
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(watching, 10)
    assert isinstance(caught.value.exceptions[0], ZeroDivisionError)
    with pytest.raises(ExceptionGroup):
        await bench.close()
    again = await Bench(tmp_path).open()  # the file was let go all the same
    await again.close()


async def test_a_write_that_fails_says_so_and_leaves_no_trace(bench: Bench) -> None:
    disk = Disk(bench)
    kept = await bench.create(CONFIG_MAPS, "kept", data={"n": "0"})
    watch = bench.api.watch([CONFIG_MAPS])
    disk.full = True
    results = await asyncio.gather(
        bench.create(CONFIG_MAPS, "new"),
        bench.put(CONFIG_MAPS, kept, data={"n": "1"}),
        bench.delete(CONFIG_MAPS, "kept"),
        bench.create(CONFIG_MAPS, "new"),
        return_exceptions=True,
    )
    errors = [error for error in results if isinstance(error, ApiError)]
    assert [error.code for error in errors] == [500] * 4
    assert "could not be stored: database or disk is full" in errors[0].message
    assert bench.the(CONFIG_MAPS, "kept") == kept
    assert bench.get(CONFIG_MAPS, "new") is None
    disk.full = False
    await bench.put(CONFIG_MAPS, kept, data={"n": "2"})
    assert await take(watch, 1) == [("MODIFIED", "kept")]
    await watch.aclose()
    await bench.reopen()
    assert bench.the(CONFIG_MAPS, "kept")["data"] == {"n": "2"}


async def test_a_refusal_for_the_sake_of_a_failed_write_is_that_failure(bench: Bench) -> None:
    """`already exists` would be a lie when the other never came to be."""
    disk = Disk(bench)
    disk.full = True
    first, second = await asyncio.gather(
        bench.create(CONFIG_MAPS, "a"), bench.create(CONFIG_MAPS, "a"), return_exceptions=True
    )
    assert isinstance(first, ApiError)
    assert isinstance(second, ApiError)
    assert (first.code, second.code) == (500, 500)


async def test_a_writer_that_is_cancelled_takes_no_other_along(bench: Bench) -> None:
    first = asyncio.ensure_future(bench.create(CONFIG_MAPS, "a"))
    second = asyncio.ensure_future(bench.create(CONFIG_MAPS, "b"))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second)["metadata"]["name"] == "b"
    with pytest.raises(asyncio.CancelledError):
        await first
    assert bench.get(CONFIG_MAPS, "a") is not None


async def test_a_clock_that_jumps_back_does_no_harm(bench: Bench) -> None:
    made = await bench.create(CONFIG_MAPS, "a", data={"n": "0"})
    bench.now -= 1_000_000
    changed = await bench.put(CONFIG_MAPS, made, data={"n": "1"})
    later = await bench.create(CONFIG_MAPS, "b")
    versions = [int(obj["metadata"]["resourceVersion"]) for obj in (made, changed, later)]
    assert versions == sorted(versions)
    assert changed["metadata"]["creationTimestamp"] == made["metadata"]["creationTimestamp"]


async def test_what_json_cannot_hold_is_the_clients_fault(bench: Bench) -> None:
    with pytest.raises(ApiError) as caught:
        await bench.create(CONFIG_MAPS, "a", data={"n": 2**70})
    assert caught.value.code == 400
    await bench.create(CONFIG_MAPS, "a")


WRITER = """
import asyncio, sys
from pathlib import Path
from kindling.cluster.model.resource import builtin
from kindling.cluster.registry.permissive import PermissiveSchemas
from kindling.cluster.registry.registry import Registry
from kindling.cluster.storage.database import ObjectStore

async def main():
    api = Registry(ObjectStore(Path(sys.argv[1])), PermissiveSchemas(), admission=False)
    await api.start()
    maps = builtin("configmaps")
    async def write(lane):
        name = f"lane{lane}"
        made = api.get(maps, name, "n")
        if made is None:
            body = {"metadata": {"name": name}, "data": {"n": 0}}
            made = await api.create(maps, body, "n")
        while True:
            made = await api.update(maps, made | {"data": {"n": made["data"]["n"] + 1}})
            print(lane, made["data"]["n"], made["metadata"]["resourceVersion"], flush=True)
    await asyncio.gather(*(write(lane) for lane in range(8)))

asyncio.run(main())
"""


def test_every_acknowledged_write_is_found_after_kill_9(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "objects.db")], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    seen: dict[str, int] = {}
    newest = 0
    with process.stdout as lines:
        for count, line in enumerate(lines):
            if not line.endswith(b"\n"):
                break
            lane, value, version = map(int, line.split())
            seen[f"lane{lane}"] = value
            newest = max(newest, version)
            if count == 500:
                os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(seen) == 8
    asyncio.run(_find(tmp_path, seen, newest))


async def _find(folder: Path, seen: dict[str, int], newest: int) -> None:
    bench = await Bench(folder, admission=False).open()
    try:
        assert bench.api.revision >= newest
        for name, value in seen.items():
            assert bench.the(CONFIG_MAPS, name, "n")["data"]["n"] >= value
    finally:
        await bench.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB with a `ballast` of half of it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=True)
    try:
        (disk / "ballast").write_bytes(b"x" * 1_000_000)
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs root to mount a small disk"
)
async def test_a_cluster_on_a_full_disk_lives_and_recovers(small_disk: Path) -> None:
    bench = await Bench(small_disk, admission=False).open()
    stored = 0
    error: ApiError | None = None
    while error is None:
        try:
            await bench.create(CONFIG_MAPS, f"a{stored}", data={"x": "y" * 50_000})
            stored += 1
        except ApiError as refused:
            error = refused
    assert error.code == 500
    assert len(bench.api.select(CONFIG_MAPS)) == stored > 0
    (small_disk / "ballast").unlink()
    await bench.create(CONFIG_MAPS, "after")
    await bench.reopen()
    assert len(bench.api.select(CONFIG_MAPS)) == stored + 1
    await bench.close()
