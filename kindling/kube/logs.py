"""Container logs, line by line."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing

from kindling.kube.discovery import resource_path
from kindling.kube.lines import lines
from kindling.kube.protocol import Resource
from kindling.kube.wire import Wire

__all__ = ["POD", "read_log"]

POD = Resource("v1", "Pod", "pods", namespaced=True)


async def read_log(
    wire: Wire,
    namespace: str,
    pod: str,
    container: str,
    *,
    follow: bool,
    previous: bool,
    tail: int | None,
    since: float | None,
    timeout: float,
) -> AsyncGenerator[str, None]:
    """Lines of a container's log. See `Cluster.logs`."""
    params = [("container", container)] if container else []
    for name, wanted in (("follow", follow), ("previous", previous)):
        if wanted:
            params.append((name, "true"))
    if tail is not None:
        params.append(("tailLines", str(tail)))
    if since is not None:
        # The API counts in whole seconds, of which there must be at least one.
        params.append(("sinceSeconds", str(max(1, math.ceil(since)))))
    doing = f"read the log of {pod}/{container} in {namespace}"
    path = resource_path(POD, namespace, pod, "log")
    async with (
        wire.stream(path, doing, params=params, timeout=timeout) as body,
        aclosing(lines(body, idle=0.0 if follow else timeout)) as received,
    ):
        async for line in received:
            yield line.decode("utf-8", "replace").rstrip("\r")
