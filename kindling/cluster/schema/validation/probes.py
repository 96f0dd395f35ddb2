"""Probes and lifecycle hooks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kindling.cluster.model.status import Cause
from kindling.cluster.schema import causes
from kindling.cluster.schema.validation import common

__all__ = ["check_handler", "check_probe"]

_NUMBERS = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)


def check_probe(probe: dict[str, Any], path: str, *, once: bool) -> Iterator[Cause]:
    """`once`: one success is all that liveness and startup probes may ask for."""
    yield from check_handler(probe, path, probe=True)
    for name in _NUMBERS:
        yield from common.not_negative(probe.get(name), f"{path}.{name}")
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        text = "must be greater than 0"
        yield causes.invalid(f"{path}.terminationGracePeriodSeconds", grace, text)
    if once and probe.get("successThreshold", 1) != 1:
        yield causes.invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")
    if not once and grace is not None:
        text = "must not be set for readinessProbes"
        yield causes.invalid(f"{path}.terminationGracePeriodSeconds", grace, text)


def check_handler(handler: dict[str, Any], path: str, *, probe: bool) -> Iterator[Cause]:
    """Exactly one way to ask."""
    known = ("exec", "httpGet", "tcpSocket", "grpc" if probe else "sleep")
    found = [name for name in known if name in handler]
    for extra in found[1:]:
        yield causes.forbidden(f"{path}.{extra}", "may not specify more than 1 handler type")
    if not found:
        yield causes.required(path, "must specify a handler type")
        return
    name = found[0]
    told, where = handler[name] or {}, f"{path}.{name}"
    if name == "exec":
        if not told.get("command"):
            yield causes.required(f"{where}.command")
    elif name == "httpGet":
        yield from _http(told, where)
    elif name == "sleep":
        yield from common.not_negative(told.get("seconds", 0), f"{where}.seconds")
    else:
        yield from common.port(told.get("port"), f"{where}.port")


def _http(told: dict[str, Any], path: str) -> Iterator[Cause]:
    if not told.get("path"):
        yield causes.required(f"{path}.path")
    yield from common.port(told.get("port"), f"{path}.port")
    yield from common.one_of(told.get("scheme"), f"{path}.scheme", ("HTTP", "HTTPS"))
    for index, header in enumerate(told.get("httpHeaders") or []):
        name = header.get("name", "")
        if not name or any(not (sign.isalnum() or sign in "-") for sign in name):
            text = (
                "a valid HTTP header must consist of alphanumeric characters or '-' (e.g."
                " 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')"
            )
            yield causes.invalid(causes.at(f"{path}.httpHeaders", index), name, text)
