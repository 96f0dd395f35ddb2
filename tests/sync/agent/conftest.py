"""The agent, built once for all tests of it."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kindling.errors import HostError, UsageError
from kindling.sync.agent import binary as builder
from tests.sync.agent.talk import Talk, sanitized, serving


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent for this machine, as it is shipped."""
    if platform.system() != "Linux":
        pytest.skip("the agent runs on Linux alone")
    try:
        return builder.build(tmp_path_factory.mktemp("agent"))
    except (HostError, UsageError) as error:
        if isinstance(error, HostError) and "none was found" not in error.message:
            raise
        pytest.skip(f"the agent cannot be built here: {error.message}")


@pytest.fixture(scope="session")
def checking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent for this machine, built with sanitizers."""
    if platform.system() != "Linux":
        pytest.skip("the agent runs on Linux alone")
    return sanitized(tmp_path_factory.mktemp("agent"))


@pytest.fixture(scope="session")
def binary(request: pytest.FixtureRequest) -> Path:
    """The agent that is tested."""
    which = "checking" if os.environ.get("KINDLING_AGENT_SANITIZED") == "1" else "built"
    found = request.getfixturevalue(which)
    assert isinstance(found, Path)
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The tree that the agent serves."""
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def agent(binary: Path, root: Path) -> Iterator[Talk]:
    """An agent of `root` that has been greeted."""
    with serving(binary, root) as talk:
        talk.hello()
        yield talk


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the machine can reach."""
    with tempfile.TemporaryDirectory(prefix="kindling-open-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
