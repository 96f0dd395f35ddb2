"""A workbench in front of a cluster, an engine and a registry that live in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kindling.testing.outside import Outside
    from kindling.testing.workbench import Workbench


@pytest.fixture
async def outside(bench: Workbench) -> AsyncIterator[Outside]:
    """What the workbench of this test reaches; context `kind-fake`."""
    from kindling.testing.outside import Outside

    async with Outside.open() as made:
        made.stand_before(bench)
        yield made
