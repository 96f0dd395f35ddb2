"""The storm on a real cluster, where the operator is a process that is killed without warning."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from kindling.kube.protocol import Cluster
from kindling.operator.controller.definitions import install_definitions
from tests.operator.storm.storming import Storm

pytestmark = pytest.mark.cluster

LIMIT = 120.0


@asynccontextmanager
async def operator(namespace: str, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`kindling operator run`, killed in the end. Each bears the same name in the Lease, as a
    container that is started again does, so that none waits until the last one's has run out."""
    program = Path(sys.executable).parent / "kindling"
    words = ("operator", "run", "--namespace", namespace, "--identity", "storm")
    with (folder / "operator.log").open("ab") as log:
        child = await asyncio.create_subprocess_exec(
            program, *words, cwd=folder, env=dict(os.environ), stdout=log, stderr=log
        )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGKILL)
        await child.wait()


async def first_write(storm: Storm) -> None:
    """Wait until some child is there."""
    async with asyncio.timeout(LIMIT), storm.news() as news:
        while not await storm.children():
            await news.wait()
            news.clear()


async def test_after_a_storm_on_a_cluster_nothing_is_wrong_and_nothing_is_left_over(
    cluster: Cluster, ns: str, tmp_path: Path
) -> None:
    await install_definitions(cluster)
    await cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns}})
    # Where quotas are kept, no pod is made: it is about what the operator writes.
    head = {"name": "none", "namespace": ns}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": head}
    await cluster.apply({**quota, "spec": {"hard": {"pods": "0"}}})
    storm, random = Storm(cluster, ns, 20, seed=5), Random(5)
    for life in range(3):
        async with operator(ns, tmp_path) as child:
            if life == 0:
                await storm.begin()
            await first_write(storm)
            for _ in range(random.randrange(8, 16)):
                await storm.act()
            assert child.returncode is None, (tmp_path / "operator.log").read_text()
    async with operator(ns, tmp_path) as child:
        for _ in range(10):
            await storm.act()
        await storm.calm(LIMIT)
        assert child.returncode is None
    assert "a fault of kindling's own" not in (tmp_path / "operator.log").read_text()
