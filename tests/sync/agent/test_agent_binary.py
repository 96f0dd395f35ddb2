"""The agent is built where there is a compiler, small and the same each time."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from kindling.errors import HostError, UsageError
from kindling.sync.agent.binary import ARCHITECTURES, SIZE_MOST, build, machine
from tests.sync.agent.talk import LIMIT


def test_the_agent_is_small_and_needs_nothing(built: Path) -> None:
    content = built.read_bytes()
    assert len(content) < SIZE_MOST
    assert content[:4] == b"\x7fELF"
    assert b"ld-linux" not in content
    assert stat.S_IMODE(built.stat().st_mode) == 0o555
    said = subprocess.run([built, "version"], capture_output=True, timeout=LIMIT, check=True)
    assert said.stdout == f"kindling-agent 1 {machine()}\n".encode()


def test_two_builds_are_equal(built: Path, tmp_path: Path) -> None:
    again = build(tmp_path / "elsewhere")
    assert again.name == built.name
    assert again.read_bytes() == built.read_bytes()


def test_a_build_is_kept(built: Path) -> None:
    before = built.stat()
    assert build(built.parent) == built
    assert built.stat().st_ino == before.st_ino
    kept = [path.name for path in built.parent.iterdir()]
    assert sum(machine() in name for name in kept) == 1
    assert not [name for name in kept if name.startswith(".")]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_without_a_compiler_the_message_says_what_to_install(
    tmp_path: Path, architecture: str
) -> None:
    with pytest.raises(HostError, match=f"for {architecture} needs a C compiler") as caught:
        build(tmp_path, architecture, find=lambda _: None, module=lambda _: None)
    assert "apt-get install gcc" in caught.value.hint
    assert "gcc" in caught.value.details[0]


def test_a_compiler_that_fails_is_quoted(tmp_path: Path) -> None:
    broken = tmp_path / "cc"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exit 0\necho no such option >&2\nexit 4\n'
    )
    broken.chmod(0o755)
    with pytest.raises(HostError, match=r"failed to make the sync agent \(exit 4\)") as caught:
        build(tmp_path / "kept", find=lambda _: str(broken))
    assert caught.value.details == ("no such option",)
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_compiler_that_cannot_be_started_is_said(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="could not tell its version"):
        build(tmp_path, find=lambda _: str(tmp_path / "missing"))


@pytest.mark.parametrize(
    ("name", "known"), [("amd64", "x86_64"), ("ARM64", "aarch64"), ("aarch64", "aarch64")]
)
def test_architectures_have_their_other_names(name: str, known: str) -> None:
    assert machine(name) == known


def test_an_architecture_without_an_agent_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="architecture `sparc`") as caught:
        machine("sparc")
    assert caught.value.hint == "It is there for x86_64, aarch64."
