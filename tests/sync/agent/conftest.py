"""The agent, built once for all tests of it."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kindling.errors import HostError, UsageError
from kindling.sync.agent import binary as builder
from tests.sync.agent.talk import Talk, sanitized, serving


@pytest.fixture(scope="session")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the agents that are built here are kept, so that each is built once."""
    return tmp_path_factory.mktemp("agents")


@pytest.fixture(scope="session")
def built(agents: Path) -> Path:
    """The agent for this machine, as it is shipped."""
    if platform.system() != "Linux":
        pytest.skip("the agent runs on Linux alone")
    try:
        return builder.build(agents)
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
def emulated(tmp_path_factory: pytest.TempPathFactory, agents: Path) -> Path:
    """The agent of the other architecture, as a program that starts it in an emulator."""
    if platform.system() != "Linux":
        pytest.skip("the agent runs on Linux alone")
    other = next(name for name in builder.ARCHITECTURES if name != builder.machine())
    emulator = shutil.which(f"qemu-{other}-static") or shutil.which(f"qemu-{other}")
    if emulator is None:
        pytest.skip(f"there is no qemu-{other} here (package qemu-user-static)")
    folder = tmp_path_factory.mktemp("emulated")
    try:
        made = builder.build(agents, other)
    except HostError as error:
        if "none was found" not in error.message:
            raise
        pytest.skip(f"the agent cannot be built here: {error.message}")
    program = folder / "agent"
    program.write_text(f'#!/bin/sh\nexec {emulator} {made} "$@"\n')
    program.chmod(0o755)
    return program


@pytest.fixture(scope="session")
def binary(request: pytest.FixtureRequest) -> Path:
    """The agent that is tested: as it is shipped, or the one that `KINDLING_TEST_AGENT` names."""
    found = request.getfixturevalue(os.environ.get("KINDLING_TEST_AGENT", "built"))
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
