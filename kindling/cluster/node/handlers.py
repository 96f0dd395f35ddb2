"""What probes and lifecycle hooks do: run a command, ask over HTTP, TCP or gRPC, or sleep."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from enum import StrEnum

from kindling.cluster.model.api import Obj
from kindling.cluster.model.streams import ExecRequest
from kindling.cluster.node.clock import Clock, sleep, within
from kindling.cluster.node.dial import dial, dial_text
from kindling.cluster.node.grpc_check import GrpcError, check
from kindling.cluster.node.http_check import HttpError, get
from kindling.cluster.runtime.protocol import Container, Runtime

__all__ = ["Outcome", "Verdict", "port_of", "run_hook", "run_probe"]

_MOST_OUTPUT = 10 * 1024


class Outcome(StrEnum):
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    ERROR = "error"
    """The probe itself could not be made, which counts as a failure."""


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Outcome
    message: str = ""


async def run_probe(
    probe: Obj, spec: Obj, container: Container, address: str, runtime: Runtime, clock: Clock
) -> Verdict:
    """Probe once, within the probe's own time limit."""
    timeout = float(probe.get("timeoutSeconds") or 1)
    try:
        return await within(clock, timeout, _probe(probe, spec, container, address, runtime))
    except TimeoutError:
        return Verdict(Outcome.FAILURE, _timeout_text(probe, spec, address, timeout))
    except ValueError as error:
        return Verdict(Outcome.ERROR, str(error))


async def _probe(
    probe: Obj, spec: Obj, container: Container, address: str, runtime: Runtime
) -> Verdict:
    if action := probe.get("exec"):
        code, output = await _execute(container, tuple(action.get("command") or ()))
        return Verdict(Outcome.SUCCESS if code == 0 else Outcome.FAILURE, output)
    if (action := probe.get("httpGet")) is not None:
        try:
            answer = await _http(action, spec, address, runtime)
        except HttpError as failure:
            return Verdict(Outcome.FAILURE, str(failure))
        if not 200 <= answer[0] < 400:
            return Verdict(Outcome.FAILURE, f"HTTP probe failed with statuscode: {answer[0]}")
        if answer[2]:
            text = f"Probe terminated redirects, Response body: {answer[1]}"
            return Verdict(Outcome.WARNING, text)
        return Verdict(Outcome.SUCCESS, answer[1])
    if (action := probe.get("tcpSocket")) is not None:
        host, port = action.get("host") or address, port_of(action.get("port"), spec)
        try:
            (await dial(runtime, host, port)).close()
        except OSError as error:
            return Verdict(Outcome.FAILURE, dial_text(host, port, error))
        return Verdict(Outcome.SUCCESS)
    if (action := probe.get("grpc")) is not None:
        try:
            await check(runtime, address, int(action["port"]), action.get("service") or "")
        except GrpcError as failure:
            return Verdict(Outcome.FAILURE, str(failure))
        return Verdict(Outcome.SUCCESS)
    return Verdict(Outcome.ERROR, "missing probe handler")


async def run_hook(
    hook: Obj, spec: Obj, container: Container, address: str, runtime: Runtime, clock: Clock
) -> str:
    """Do what a lifecycle hook says; the text of its failure, empty when it went well."""
    if action := hook.get("exec"):
        command = tuple(action.get("command") or ())
        code, output = await _execute(container, command)
        if code == 0:
            return ""
        return f"command '{' '.join(command)}' exited with {code}: {output}"
    if (action := hook.get("httpGet")) is not None:
        try:
            await _http(action, spec, address, runtime)
        except (HttpError, ValueError) as failure:
            return str(failure)
    if (action := hook.get("sleep")) is not None:
        await sleep(clock, float(action.get("seconds") or 0))
    return ""


async def _http(action: Obj, spec: Obj, address: str, runtime: Runtime) -> tuple[int, str, bool]:
    answer = await get(
        runtime,
        str(action.get("scheme") or "HTTP").lower(),
        action.get("host") or address,
        port_of(action.get("port"), spec),
        action.get("path") or "/",
        tuple((one["name"], one.get("value", "")) for one in action.get("httpHeaders") or ()),
    )
    return answer.status, answer.body, answer.elsewhere


async def _execute(container: Container, command: tuple[str, ...]) -> tuple[int, str]:
    """Run a command in a container to its end: its exit code and the beginning of its output."""
    try:
        process = await container.exec(ExecRequest(command))
    except OSError as error:
        return 126, os.strerror(error.errno) if error.errno else str(error)
    except Exception as error:  # StartError of the runtime, ApiError: the command did not start
        return 126, str(error)
    try:
        streams = [one for one in (process.stdout, process.stderr) if one is not None]
        outputs = await asyncio.gather(*(_drain(stream) for stream in streams))
        code = await process.wait()
    finally:
        await process.end()
    return code, b"".join(outputs)[:_MOST_OUTPUT].decode(errors="replace")


async def _drain(stream: asyncio.StreamReader) -> bytes:
    kept = b""
    while data := await stream.read(65536):
        if len(kept) < _MOST_OUTPUT:
            kept += data
    return kept


def port_of(port: object, spec: Obj) -> int:
    """The number of a port that may be given by the name of one of the container's. Raises
    `ValueError`."""
    if isinstance(port, int):
        number = port
    else:
        text = str(port)
        named = next((one for one in spec.get("ports") or () if one.get("name") == text), None)
        if named is not None:
            number = int(named["containerPort"])
        elif text.isdigit():
            number = int(text)
        else:
            raise ValueError(f"couldn't find port: {text}")
    if not 0 < number < 65536:
        raise ValueError(f"invalid port number: {number}")
    return number


def _timeout_text(probe: Obj, spec: Obj, address: str, timeout: float) -> str:
    seconds = f"{timeout:g}s"
    if action := probe.get("exec"):
        return f'command "{" ".join(action.get("command") or ())}" timed out'
    if (action := probe.get("httpGet")) is not None:
        scheme = str(action.get("scheme") or "HTTP").lower()
        host, port = action.get("host") or address, port_of(action.get("port"), spec)
        path = action.get("path") or "/"
        url = f"{scheme}://{host}:{port}{path if path.startswith('/') else '/' + path}"
        return (
            f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting'
            " headers)"
        )
    if (action := probe.get("tcpSocket")) is not None:
        host, port = action.get("host") or address, port_of(action.get("port"), spec)
        return f"dial tcp {host}:{port}: i/o timeout"
    return f"timeout: health rpc did not complete within {seconds}"
