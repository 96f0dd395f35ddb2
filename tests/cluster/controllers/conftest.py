"""The bed on which controllers are tried."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator

import pytest

from tests.cluster.controllers.bed import Bed, bed_in, on_memory_disk


@pytest.fixture
async def bed() -> AsyncIterator[Bed]:
    from pathlib import Path

    with tempfile.TemporaryDirectory(dir=on_memory_disk()) as folder:
        async with bed_in(Path(folder)) as made:
            yield made
