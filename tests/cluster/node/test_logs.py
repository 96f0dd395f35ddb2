"""Log files and their readers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kindling.cluster.model.status import ApiError
from kindling.cluster.model.streams import LogRequest
from kindling.cluster.node.logfile import LONGEST_RECORD, LogFile
from kindling.cluster.node.logread import read_log
from tests.cluster.node.bed import Bed, FakeClock


async def read(path: Path, log: LogFile | None = None, **request: object) -> bytes:
    return b"".join(
        [
            chunk
            async for chunk in read_log(path, LogRequest(**request), lambda: log)  # type: ignore[arg-type]
        ]
    )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def log(tmp_path: Path, clock: FakeClock) -> LogFile:
    return LogFile(tmp_path / "0.log", clock, size=2000, files=3)


@settings(max_examples=60, deadline=None)
@given(pieces=st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\r", b"\n")), max_size=12))
def test_what_was_written_is_read(
    pieces: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However the output was cut into pieces."""

    async def check() -> None:
        path = tmp_path_factory.mktemp("log") / "0.log"
        log = LogFile(path, FakeClock())
        for piece in pieces:
            log.write("stdout", piece)
        log.close()
        assert await read(path) == b"".join(pieces)

    asyncio.run(check())


async def test_records_are_those_of_cri(log: LogFile, clock: FakeClock) -> None:
    clock.now = 1_700_000_000.5
    log.write("stdout", b"one\ntw")
    log.write("stderr", b"bad\n")
    log.write("stdout", b"o\n")
    log.close()
    assert log.path.read_text() == (
        "2023-11-14T22:13:20.500000000Z stdout F one\n"
        "2023-11-14T22:13:20.500000000Z stderr F bad\n"
        "2023-11-14T22:13:20.500000000Z stdout F two\n"
    )


async def test_long_lines_are_parts_that_read_as_one(tmp_path: Path, clock: FakeClock) -> None:
    log = LogFile(tmp_path / "0.log", clock)
    line = b"x" * (LONGEST_RECORD * 2 + 5)
    log.write("stdout", line + b"\nend\n")
    log.close()
    tags = [record.split(b" ")[2] for record in log.path.read_bytes().splitlines()]
    assert tags == [b"P", b"P", b"F", b"F"]
    assert await read(log.path) == line + b"\nend\n"
    assert (await read(log.path, timestamps=True)).count(b"Z ") == 2


async def test_the_last_lines(log: LogFile) -> None:
    log.write("stdout", b"".join(b"%d\n" % number for number in range(20)))
    assert await read(log.path, tail=3) == b"17\n18\n19\n"
    assert await read(log.path, tail=0) == b""
    assert len((await read(log.path, tail=99)).splitlines()) == 20
    log.close()


async def test_since_and_limit(tmp_path: Path, clock: FakeClock) -> None:
    log = LogFile(tmp_path / "0.log", clock)
    begin = clock.now
    for number in range(20000):
        clock.now = begin + number
        log.write("stdout", b"%d\n" % number)
    log.close()
    text = await read(log.path, since=begin + 19990)
    assert text.splitlines()[0] == b"19990"
    assert len(text.splitlines()) == 10
    assert await read(log.path, limit_bytes=5) == b"0\n1\n2"
    assert await read(log.path, since=begin + 19990, tail=2) == b"19998\n19999\n"


async def test_a_follower_sees_every_line_through_rotations(log: LogFile) -> None:
    seen: list[bytes] = []

    async def follow() -> None:
        async for chunk in read_log(log.path, LogRequest(follow=True), lambda: log):
            seen.append(chunk)

    task = asyncio.create_task(follow())
    await asyncio.sleep(0)
    expected = b""
    for number in range(200):
        line = b"%d and some more\n" % number
        expected += line
        log.write("stdout", line)
        await asyncio.sleep(0)
    log.close()
    await asyncio.wait_for(task, 5)
    assert b"".join(seen) == expected
    files = sorted(log.path.parent.iterdir())
    assert len(files) == 3
    assert all(file.stat().st_size <= 2000 for file in files)


async def test_logs_of_a_pod(bed: Bed) -> None:
    await bed.pod()
    await bed.running()
    bed.process().write("one\n")
    bed.process().write("two\n", stderr=True)
    await bed.until(lambda: b"two" in _file(bed, 0).read_bytes())
    assert sorted((await bed.log()).splitlines()) == ["one", "two"]
    with pytest.raises(ApiError) as caught:
        await bed.log(previous=True)
    assert caught.value.code == 400
    assert caught.value.message == 'previous terminated container "main" in pod "web" not found'
    bed.process().exit(1)
    await bed.running(restarts=1)
    bed.process().write("three\n")
    await bed.until(lambda: b"three" in _file(bed, 1).read_bytes())
    assert await bed.log() == "three\n"
    assert sorted((await bed.log(previous=True)).splitlines()) == ["one", "two"]
    bed.process().exit(1)
    await bed.until(lambda: "waiting" in bed.entry()["state"])
    assert await bed.log() == "three\n"
    assert await bed.log(previous=True) == "three\n"


async def test_following_ends_with_the_container(bed: Bed) -> None:
    await bed.pod(restartPolicy="Never")
    await bed.running()
    task = asyncio.create_task(bed.log(follow=True))
    process = bed.process()
    process.write("a\n")
    process.write("b")
    process.exit(0)
    assert await asyncio.wait_for(task, 5) == "a\nb"
    await bed.phase("Succeeded")
    assert await bed.log() == "a\nb"


async def test_refusals_are_the_kubelet_s(bed: Bed) -> None:
    bed.images.broken["broken:1"] = "no such thing"
    await bed.pod(
        "waits",
        containers=[{}, {"image": "broken:1"}],
        volumes=[{"name": "v", "configMap": {"name": "nowhere"}}],
    )
    await bed.pod("pulls", containers=[{"image": "broken:1"}])
    await bed.until(
        lambda: bed.entry(pod="pulls").get("state", {}).get("waiting", {}).get("message")
    )
    await bed.until(lambda: bed.entry(pod="waits"))
    for pod, container, code, words in (
        ("none", "", 404, 'pods "none" not found'),
        (
            "waits",
            "",
            400,
            "a container name must be specified for pod waits, choose one of: [main c1]",
        ),
        ("waits", "zz", 400, "container zz is not valid for pod waits"),
        (
            "waits",
            "c1",
            400,
            'container "c1" in pod "waits" is waiting to start: ContainerCreating',
        ),
        (
            "pulls",
            "",
            400,
            'container "main" in pod "pulls" is waiting to start: image can\'t be pulled',
        ),
    ):
        with pytest.raises(ApiError) as caught:
            await bed.log(pod, container=container)
        assert (caught.value.code, caught.value.message) == (code, words)
    await bed.clock.advance(3)
    with pytest.raises(ApiError, match="trying and failing to pull image"):
        await bed.log("pulls")


async def test_logs_outlive_a_crash(bed: Bed) -> None:
    await bed.pod(restartPolicy="Never")
    await bed.running()
    bed.process().write("before\n")
    await bed.until(lambda: b"before" in _file(bed, 0).read_bytes())
    await bed.crash()
    await bed.phase("Failed")
    assert await bed.log() == "before\n"


def _file(bed: Bed, attempt: int) -> Path:
    return bed.folder / "pods" / str(bed.get()["metadata"]["uid"]) / f"logs/main/{attempt}.log"
