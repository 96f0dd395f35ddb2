"""Parts of pods: amounts, probes, and the wait for a dependency."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kindling.operator.model import Health

__all__ = ["WAIT_IMAGE", "WAIT_SECONDS", "amounts", "probe", "wait_for"]

WAIT_IMAGE = "busybox:1.36"
WAIT_SECONDS = 300

_WAIT = """\
trap 'exit 143' TERM
start=`date +%s`
until nc -w 2 "$WAIT_HOST" "$WAIT_PORT" -e true; do
  now=`date +%s`
  if [ `expr "$now" - "$start"` -ge "$WAIT_SECONDS" ]; then
    echo "$WAIT_HOST:$WAIT_PORT did not open within $WAIT_SECONDS s" | tee /dev/termination-log
    exit 1
  fi
  sleep 1
done
"""
"""Nothing of the environment stands in this text; it comes in variables. No parenthesis follows a
dollar, since Kubernetes would take that for a variable of its own. Running `true` once connected is
what every build of busybox can do; `-z` is not. Without the trap the first process of a container
does not hear the signal, and its pod stays for half a minute. What the text says at the end is the
container's termination message, and so the reason that a status shows."""


def amounts(resources: Mapping[str, Any]) -> dict[str, Any]:
    """`cpuRequest: 100m` as a container says it."""
    result: dict[str, dict[str, str]] = {}
    for section, suffix in (("requests", "Request"), ("limits", "Limit")):
        for what in ("cpu", "memory"):
            if f"{what}{suffix}" in resources:
                result.setdefault(section, {})[what] = str(resources[f"{what}{suffix}"])
    return result


def probe(health: Health, port: int) -> dict[str, Any]:
    """How the kubelet asks. gRPC probes need Kubernetes 1.24."""
    asked = health.port or port
    handlers: dict[str, dict[str, Any]] = {
        "http": {"httpGet": {"path": health.path, "port": asked}},
        "grpc": {"grpc": {"port": asked}},
        "tcp": {"tcpSocket": {"port": asked}},
    }
    return handlers[health.type] | {
        "initialDelaySeconds": health.initial_delay,
        "periodSeconds": health.period or 10,
    }


def wait_for(name: str, host: str, port: int) -> dict[str, Any]:
    """An init container that ends when the port opens, and fails when it does not in time.

    A failed one is started again by the kubelet, later each time, so a service that comes up after
    all is still found.
    """
    env = {"WAIT_HOST": host, "WAIT_PORT": str(port), "WAIT_SECONDS": str(WAIT_SECONDS)}
    return {
        "name": f"wait-for-{name}",
        "image": WAIT_IMAGE,
        "command": ["sh", "-c", _WAIT],
        "env": [{"name": key, "value": value} for key, value in env.items()],
    }
