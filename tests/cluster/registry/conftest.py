from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kindling.cluster.schema.catalog import Catalog
from tests.cluster.registry.bench import Bench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A registry without fields and without admission: objects can be anything, anywhere."""
    bench = await Bench(tmp_path, admission=False).open()
    try:
        yield bench
    finally:
        await bench.close()


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Bench]:
    """A registry as the cluster has it, with the namespace `default`."""
    bench = await Bench(tmp_path, Catalog()).open()
    try:
        await bench.furnish()
        yield bench
    finally:
        await bench.close()
