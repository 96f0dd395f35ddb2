"""Logs of pods into a node's log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

from kindling.executors.podlogs import PodLogs
from kindling.kube.errors import ForbiddenError
from kindling.kube.protocol import Cluster
from kindling.testing.clock import FakeClock


class Forbidden:
    """A cluster that lets nobody read logs."""

    async def logs(self, *args: Any, **more: Any) -> AsyncGenerator[str, None]:
        del args, more
        raise ForbiddenError("Cannot read the log of web-1: it is forbidden", details=["RBAC"])
        yield ""


async def test_a_log_that_may_not_be_read_is_said_once_in_its_place() -> None:
    status = {
        "name": "app",
        "containerID": "containerd://1",
        "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}},
    }
    pod = {
        "metadata": {"name": "web-1", "namespace": "default"},
        "status": {"containerStatuses": [status]},
    }
    said: list[tuple[str, str]] = []
    logs = PodLogs(
        cast("Cluster", Forbidden()),
        lambda line, stream="": said.append((line, stream)),
        FakeClock(),
        0.0,
    )
    logs.update([pod])
    logs.update([pod])
    async with asyncio.timeout(60):
        await logs.drain()
    await logs.close()
    assert said == [("Cannot read the log of web-1: it is forbidden; RBAC", "pod/web-1/app")]
