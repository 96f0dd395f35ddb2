"""The storm on a cluster on the wire, where the operator is a process that is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from kindling.kube.protocol import Cluster
from tests.operator.storm.storming import Storm

__all__ = ["Child", "forbid_pods", "operator", "weather"]

LIMIT = 120.0


class Child:
    """`kindling operator run`, and what it has said so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[str] = []
        self._settled = asyncio.Event()
        self._hearing = asyncio.create_task(self._hear())

    async def settled(self) -> None:
        """Return once it acts, or stands by where an operator of the whole cluster acts."""
        async with asyncio.timeout(LIMIT):
            await self._settled.wait()
        assert self.process.returncode is None, self.said

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()
        await self._hearing

    async def _hear(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.said.append(line.decode().rstrip())
            if "acting" in self.said[-1] or "standing by" in self.said[-1]:
                self._settled.set()
        self._settled.set()


@asynccontextmanager
async def operator(namespace: str, folder: Path) -> AsyncIterator[Child]:
    """Each bears the same name in the Lease, as a container that is started again does, so that
    none waits until the last one's has run out. It is killed in the end."""
    program = Path(sys.executable).parent / "kindling"
    words = ("operator", "run", "--namespace", namespace, "--identity", "storm")
    child = Child(
        await asyncio.create_subprocess_exec(
            program, *words, cwd=folder, env=dict(os.environ), stderr=asyncio.subprocess.PIPE
        )
    )
    try:
        yield child
    finally:
        await child.kill()


async def forbid_pods(cluster: Cluster, namespace: str) -> None:
    """Where quotas are kept, no pod is made: it is about what the operator writes."""
    head = {"name": "none", "namespace": namespace}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": head}
    await cluster.apply({**quota, "spec": {"hard": {"pods": "0"}}})


async def weather(
    cluster: Cluster, namespace: str, folder: Path, count: int, *, seed: int, lives: int
) -> Storm:
    """Environments come, change and go while `lives` operators are killed. One more sees the end of
    it, and puts all in order.

    Raises:
        AssertionError: Something is wrong in the end.
    """
    storm, random, said = Storm(cluster, namespace, count, seed), Random(seed), list[str]()
    for life in range(lives):
        async with operator(namespace, folder) as child:
            await child.settled()
            if life == 0:
                await storm.begin()
            for _ in range(random.randrange(count // 3, count)):
                await storm.act()
            assert child.process.returncode is None, child.said
        said += child.said
    async with operator(namespace, folder) as child:
        await child.settled()
        for _ in range(count // 2):
            await storm.act()
        await storm.calm(LIMIT)
        assert child.process.returncode is None, child.said
    assert not any("a fault of kindling's own" in line for line in (*said, *child.said))
    return storm
