"""hostPort on this machine's loopback."""

from __future__ import annotations

import asyncio
import socket

from tests.cluster.node.bed import Bed
from tests.cluster.node.servers import web

ANSWER = "HTTP/1.1 204 No Content\r\n\r\n"


async def test_a_host_port_leads_to_the_pod(bed: Bed) -> None:
    """Everywhere else in these tests the pod's address is made up; here it has to be there."""
    bed.fake.node_address = "127.0.0.1"
    async with web(lambda _: ANSWER) as (inner, _):
        outer = _free()
        port = {"containerPort": inner, "hostPort": outer}
        await bed.pod(containers=[{"ports": [port]}], hostNetwork=True)
        await bed.running()
        reader, writer = await asyncio.open_connection("127.0.0.1", outer)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await reader.read() == ANSWER.encode()
        writer.close()
        await writer.wait_closed()
        await bed.delete()
        await bed.gone()
        await bed.until(lambda: _refused(outer))


async def test_a_port_that_is_taken_is_told_and_the_pod_runs(bed: Bed) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        await bed.pod(containers=[{"ports": [{"containerPort": 80, "hostPort": number}]}])
        await bed.running()
        await bed.told("HostPortConflict", f"cannot open hostPort {number}")


def _free() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
