"""A stage for sessions: a cluster in memory whose containers are folders, served by real agents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.sync.agent.conftest import binary, built, checking
from tests.sync.session.stage import Stage, staged

__all__ = ["binary", "built", "checking", "stage"]


@pytest.fixture
async def stage(binary: Path, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(binary, tmp_path) as found:
        yield found
