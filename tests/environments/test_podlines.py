"""What pods say is what their programs have said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from kindling.engine.clock import SystemClock
from kindling.engine.environments.podlines import Line, Source, follow
from kindling.testing.cluster import FakeCluster
from tests.sync.workload.playing import Controller, deployment, ref_of

REMOVED = (
    "rpc error: code = NotFound desc = an error occurred when try to find container "
    f'"{"0123456789abcdef" * 4}": not found'
)


class Talking(FakeCluster):
    """A pod is removed while its log is read, whose last line is of the kubelet."""

    async def logs(self, *args: Any, **more: Any) -> AsyncGenerator[str, None]:
        del args, more
        for line in ("one", REMOVED, f"why: {REMOVED}"):
            yield line


async def test_that_a_container_is_removed_while_its_log_is_read_is_no_line_of_it() -> None:
    cluster = Talking()
    cluster.put(deployment())
    Controller(cluster).settle()
    said: asyncio.Queue[Line] = asyncio.Queue()
    source = Source("web", ref_of(deployment()), "app")
    following = asyncio.ensure_future(follow(cluster, (source,), said.put_nowait, SystemClock()))
    try:
        async with asyncio.timeout(60):
            texts = [(await said.get()).text for _ in range(2)]
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert texts == ["one", f"why: {REMOVED}"]
