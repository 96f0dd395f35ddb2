"""Readiness probes of local servers, with the meaning of a Kubernetes probe.

The rules and defaults are those of a container's `readinessProbe`: not ready until
`success_threshold` attempts in a row passed, ready until `failure_threshold` in a row failed; the
first attempt comes after `initial_delay_secs`, the others every `period_secs`; HTTP passes with a
status of 200 to 399, whatever the certificate.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kindling.errors import KindlingError
from kindling.executors.protocol import Clock, ProcessRunner
from kindling.graph.spec import Probe, ProbeAction

__all__ = ["ProbeChange", "ProbeResult", "Prober", "watch_probe"]


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One attempt. `message` says what came back, in one line."""

    passed: bool
    message: str


@dataclass(frozen=True, slots=True)
class ProbeChange:
    """The probe's verdict turned: ready, or no longer; `message` is the last attempt's.

    The first failing streak of `failure_threshold` attempts is told too, though nothing turned, so
    that a server that never comes up says why.
    """

    ready: bool
    message: str


@dataclass(frozen=True, slots=True)
class Prober:
    """Attempts a probe. `cwd` and `env` are for `exec` probes: the server's own."""

    probe: Probe
    processes: ProcessRunner
    clock: Clock
    cwd: Path
    env: Mapping[str, str]

    async def attempt(self) -> ProbeResult:
        """Try once. Every failure is a result, a time-out included."""
        probe = self.probe
        try:
            return await _within(self.clock, probe.timeout_secs, self._attempt())
        except TimeoutError:
            return ProbeResult(False, f"no answer within {probe.timeout_secs:g} s")
        except KindlingError as error:
            return ProbeResult(False, error.message)
        except (OSError, ssl.SSLError) as error:
            return ProbeResult(False, f"{_place(probe)}: {error.strerror or error}")

    async def _attempt(self) -> ProbeResult:
        probe = self.probe
        match probe.action:
            case ProbeAction.EXEC:
                done = await self.processes.run(probe.argv, cwd=self.cwd, env=self.env)
                said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
                last = said.splitlines()[-1][:200] if said else ""
                message = f"`{probe.argv[0]}` exited with {done.code}" + (
                    f": {last}" if last else ""
                )
                return ProbeResult(done.code == 0, message)
            case ProbeAction.TCP_SOCKET:
                _, writer = await asyncio.open_connection(probe.host, probe.port)
                await _close(writer)
                return ProbeResult(True, f"{_place(probe)} accepts connections")
            case ProbeAction.HTTP_GET:
                return await _http_get(probe)


async def watch_probe(
    probe: Probe, attempt: Callable[[], Awaitable[ProbeResult]], clock: Clock
) -> AsyncIterator[ProbeChange]:
    """Attempt for ever, and yield each turn of the verdict. Close it with `aclose`."""
    ready = False
    told = False
    streak = 0
    passing = False
    await clock.sleep(probe.initial_delay_secs)
    while True:
        result = await attempt()
        streak = streak + 1 if result.passed == passing else 1
        passing = result.passed
        if passing and not ready and streak >= probe.success_threshold:
            ready, told = True, True
            yield ProbeChange(True, result.message)
        elif not passing and streak >= probe.failure_threshold and (ready or not told):
            ready, told = False, True
            yield ProbeChange(False, result.message)
        await clock.sleep(probe.period_secs)


async def _http_get(probe: Probe) -> ProbeResult:
    context = None
    if probe.scheme.lower() == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(probe.host, probe.port, ssl=context)
    try:
        path = probe.path if probe.path.startswith("/") else f"/{probe.path}"
        headers = {"Host": f"{probe.host}:{probe.port}", "User-Agent": "kindling-probe"}
        headers |= {"Accept": "*/*", **dict(probe.headers), "Connection": "close"}
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("utf-8"))
        await writer.drain()
        first = await _status_line(reader)
    finally:
        await _close(writer)
    words = first.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return ProbeResult(False, f"{_place(probe)} does not speak HTTP")
    status = int(words[1])
    return ProbeResult(200 <= status < 400, f"{_place(probe)} answers {status}")


async def _status_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return (await reader.readuntil(b"\n")).strip()
    except asyncio.IncompleteReadError as error:
        return error.partial.strip()
    except asyncio.LimitOverrunError:
        return b""


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    # What the other side thinks of our leaving is of no interest: the probe is over.
    with contextlib.suppress(OSError, ssl.SSLError):
        await writer.wait_closed()


def _place(probe: Probe) -> str:
    if probe.action is ProbeAction.HTTP_GET:
        return f"{probe.scheme.lower()}://{probe.host}:{probe.port}{probe.path}"
    return f"{probe.host}:{probe.port}"


async def _within(clock: Clock, seconds: float, work: Awaitable[ProbeResult]) -> ProbeResult:
    """The result of `work`, or `TimeoutError` once the clock says that its time is over."""
    task = asyncio.ensure_future(work)
    limit = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait((task, limit), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise TimeoutError
    finally:
        for future in (task, limit):
            future.cancel()
        await asyncio.gather(task, limit, return_exceptions=True)
