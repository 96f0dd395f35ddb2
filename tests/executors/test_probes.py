"""Readiness probes: what passes, and when a verdict turns."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kindling.executors.probes import ProbeChange, Prober, ProbeResult, watch_probe
from kindling.executors.protocol import Clock
from kindling.graph.spec import Probe, ProbeAction
from kindling.testing.clock import FakeClock
from kindling.testing.processes import FakeProcesses, Program


class RealTime:
    """The loop's own time, for probes that talk to real sockets."""

    def time(self) -> float:
        return asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def prober(probe: Probe, fake: FakeProcesses | None = None, clock: Clock | None = None) -> Prober:
    runner = fake or FakeProcesses()
    return Prober(probe, runner, clock or RealTime(), Path("/"), {"PATH": os.environ["PATH"]})


@contextlib.asynccontextmanager
async def server(answer: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server on a free port that says one thing to everybody; what it was asked."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            if answer != b"silence":
                asked.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(answer)
            else:
                await reader.read()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1], asked
    finally:
        listening.close()
        await listening.wait_closed()


def http(port: int, path: str = "/") -> Probe:
    return Probe(ProbeAction.HTTP_GET, host="127.0.0.1", port=port, path=path, timeout_secs=5)


@pytest.mark.parametrize(
    ("status", "passed"),
    [("200 OK", True), ("302 Found", True), ("399 x", True), ("400 x", False), ("503 x", False)],
)
async def test_http_passes_with_200_to_399(status: str, passed: bool) -> None:
    async with server(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()) as (port, asked):
        result = await prober(http(port, "/healthz")).attempt()
    assert result.passed is passed
    assert result.message == f"http://127.0.0.1:{port}/healthz answers {status.split()[0]}"
    assert asked[0].startswith(b"GET /healthz HTTP/1.1\r\n")


async def test_headers_of_a_probe_are_sent() -> None:
    async with server(b"HTTP/1.1 200 OK\r\n\r\n") as (port, asked):
        probe = Probe(
            ProbeAction.HTTP_GET, host="127.0.0.1", port=port, headers=(("X-Probe", "yes"),)
        )
        assert (await prober(probe).attempt()).passed
    assert b"X-Probe: yes\r\n" in asked[0]


async def test_what_does_not_speak_http_fails() -> None:
    async with server(b"hello\r\n") as (port, _):
        result = await prober(http(port)).attempt()
    assert (result.passed, result.message) == (
        False,
        f"http://127.0.0.1:{port}/ does not speak HTTP",
    )


async def test_tcp_passes_where_somebody_listens_and_fails_elsewhere() -> None:
    async with server(b"silence") as (port, _):
        probe = Probe(ProbeAction.TCP_SOCKET, host="127.0.0.1", port=port)
        assert (await prober(probe).attempt()).passed
    result = await prober(probe).attempt()
    assert not result.passed
    assert f"127.0.0.1:{port}" in result.message


async def test_exec_passes_with_code_0_and_says_what_it_said() -> None:
    fake = FakeProcesses()
    fake.answer("check", program=Program(0))
    fake.answer("broken", program=Program(2, stderr=b"first\nno database\n"))
    assert (await prober(Probe(ProbeAction.EXEC, argv=("check",)), fake).attempt()).passed
    result = await prober(Probe(ProbeAction.EXEC, argv=("broken",)), fake).attempt()
    assert result == ProbeResult(False, "`broken` exited with 2: no database")


async def test_an_attempt_ends_when_its_time_is_over() -> None:
    clock = FakeClock()
    fake = FakeProcesses()
    fake.answer("slow", program=Program(hangs=True))
    probe = Probe(ProbeAction.EXEC, argv=("slow",), timeout_secs=2)
    attempt = asyncio.create_task(prober(probe, fake, clock).attempt())
    await clock.advance(1.9)
    assert not attempt.done()
    await clock.advance(0.2)
    assert await attempt == ProbeResult(False, "no answer within 2 s")


class Watched:
    """Follows a probe whose attempts come from a list, on a clock of the test's own."""

    def __init__(self, probe: Probe, attempts: str) -> None:
        self.clock = FakeClock()
        self.changes: list[tuple[float, bool]] = []
        self.tried: list[float] = []
        self._probe = probe
        self._attempts = iter(attempts)

    async def attempt(self) -> ProbeResult:
        self.tried.append(self.clock.monotonic())
        return ProbeResult(next(self._attempts) == "+", "said")

    async def run(self, seconds: float) -> None:
        task = asyncio.create_task(self._follow())
        await self.clock.advance(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _follow(self) -> None:
        change: ProbeChange
        async for change in watch_probe(self._probe, self.attempt, self.clock):
            self.changes.append((self.clock.monotonic(), change.ready))


async def test_delay_period_and_thresholds_are_those_of_kubernetes() -> None:
    """The defaults: at once, every 10 s, ready by one success, unready by three failures."""
    watched = Watched(Probe(ProbeAction.TCP_SOCKET), "-+--+---+")
    await watched.run(80)
    assert watched.tried == [0, 10, 20, 30, 40, 50, 60, 70, 80]
    assert watched.changes == [(10, True), (70, False), (80, True)]


async def test_thresholds_count_attempts_in_a_row() -> None:
    probe = Probe(
        ProbeAction.TCP_SOCKET,
        initial_delay_secs=5,
        period_secs=1,
        success_threshold=2,
        failure_threshold=1,
    )
    watched = Watched(probe, "+-++-+")
    await watched.run(10)
    assert watched.tried[0] == 5
    assert watched.changes == [(6, False), (8, True), (9, False)]


async def test_a_server_that_never_comes_up_says_so_once() -> None:
    watched = Watched(Probe(ProbeAction.TCP_SOCKET), "------")
    await watched.run(50)
    assert watched.changes == [(20, False)]
