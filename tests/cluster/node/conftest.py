"""A bed for every test of the node."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cluster.node.bed import Bed, open_bed


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    async with open_bed(tmp_path) as made:
        yield made
