"""The agent, built once for all tests of ways to it."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from kindling.errors import HostError, UsageError
from kindling.sync.agent import binary as builder


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent for this machine."""
    if platform.system() != "Linux":
        pytest.skip("the agent runs on Linux alone")
    try:
        return builder.build(tmp_path_factory.mktemp("agent"))
    except (HostError, UsageError) as error:
        if isinstance(error, HostError) and "none was found" not in error.message:
            raise
        pytest.skip(f"the agent cannot be built here: {error.message}")
