"""A stage for sessions: a cluster in memory whose containers are folders, served by real agents."""

from __future__ import annotations

import platform
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kindling.errors import HostError, UsageError
from kindling.sync.agent import binary as builder
from tests.sync.session.stage import Stage, staged


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent for this machine."""
    if platform.system() != "Linux":
        pytest.skip("the agent runs on Linux alone")
    try:
        return builder.build(tmp_path_factory.mktemp("session-agent"))
    except (HostError, UsageError) as error:
        if isinstance(error, HostError) and "none was found" not in error.message:
            raise
        pytest.skip(f"the agent cannot be built here: {error.message}")


@pytest.fixture
async def stage(binary: Path, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(binary, tmp_path) as found:
        yield found
