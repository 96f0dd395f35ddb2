"""What a command with open input and output is, behind every cluster: one suite for programs of
this machine behind the fake and, marked `cluster`, for a real container."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

import pytest

from kindling.errors import ClusterError
from kindling.kube.exec import NoProgramError
from kindling.kube.protocol import Cluster, ExecStream
from kindling.testing.cluster import FakeCluster
from tests.sync.transport.pods import apart, connected, namespace, start

_LIMIT = 90.0


@dataclass(frozen=True, slots=True)
class Subject:
    cluster: Cluster
    namespace: str

    async def open(self, *argv: str) -> ExecStream:
        return await self.cluster.open_exec(self.namespace, "box", "main", argv, timeout=_LIMIT)


@pytest.fixture(scope="module")
def space() -> Iterator[str]:
    """A namespace with a pod that runs, for all tests of a real cluster."""
    with namespace() as name:

        async def make() -> None:
            async with connected() as cluster:
                await start(cluster, name, "box", "busybox:1.36", {"command": ["sleep", "36000"]})

        apart(make())
        yield name


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.cluster)])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    if request.param == "real":
        space: str = request.getfixturevalue("space")
        async with connected() as cluster:
            yield Subject(cluster, space)
        return
    fake = FakeCluster()
    fake.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "box"}})

    def local(_: str, __: str, ___: str, argv: tuple[str, ...]) -> Sequence[str] | None:
        return argv if argv[0] != "no-such-program" else None

    fake.programs = local
    yield Subject(fake, "default")


async def _exactly(stream: ExecStream, size: int) -> bytes:
    data = b""
    async with asyncio.timeout(_LIMIT):
        while len(data) < size:
            piece = await stream.read()
            assert piece, f"the end came after {data!r}"
            data += piece
    return data


async def _all(stream: ExecStream) -> bytes:
    data = b""
    async with asyncio.timeout(_LIMIT):
        while piece := await stream.read():
            data += piece
    return data


async def test_what_is_written_is_read_by_the_command_at_once(subject: Subject) -> None:
    stream = await subject.open("cat")
    for word in (b"one\n", b"two\n"):
        await stream.write(word)
        assert await _exactly(stream, len(word)) == word
    await stream.close()
    await stream.close()


async def test_the_end_of_a_command_has_its_exit_code_and_last_words(subject: Subject) -> None:
    stream = await subject.open("sh", "-c", "echo out; echo trouble >&2; exit 3")
    assert await _all(stream) == b"out\n"
    ended = await stream.ended()
    assert (ended.code, ended.stderr) == (3, b"trouble\n")
    assert await stream.read() == b""
    await stream.close()


async def test_much_goes_in_and_comes_out_whole(subject: Subject) -> None:
    stream = await subject.open("cat")
    content = os.urandom(3 << 20)
    writing = asyncio.create_task(stream.write(content))
    assert await _exactly(stream, len(content)) == content
    await writing
    await stream.close()


async def test_output_that_nobody_reads_does_not_hold_up_the_end(subject: Subject) -> None:
    stream = await subject.open("sh", "-c", "head -c 3000000 /dev/zero; exit 4")
    async with asyncio.timeout(_LIMIT):
        assert (await stream.ended()).code == 4
    await stream.close()


async def test_a_writer_waits_for_a_command_that_does_not_read(subject: Subject) -> None:
    stream = await subject.open("sleep", "3600")
    writing = asyncio.create_task(stream.write(bytes(64 << 20)))
    done, _ = await asyncio.wait({writing}, timeout=0.5)
    assert not done
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await stream.close()


async def test_a_command_that_ended_takes_no_more(subject: Subject) -> None:
    stream = await subject.open("sh", "-c", "exit 5")
    assert (await stream.ended()).code == 5
    with pytest.raises(ClusterError):
        await stream.write(bytes(64 << 20))  # what a pipe swallows is not noticed
    await stream.close()


async def test_a_program_that_is_not_there_is_called_so(subject: Subject) -> None:
    async def run_it() -> None:
        stream = await subject.open("no-such-program")
        try:
            await stream.ended()
        finally:
            await stream.close()

    with pytest.raises(NoProgramError):
        await run_it()


async def test_a_pod_that_is_not_there_is_an_error(subject: Subject) -> None:
    with pytest.raises(ClusterError):
        await subject.cluster.open_exec(subject.namespace, "none", "main", ["true"])
