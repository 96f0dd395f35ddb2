"""The agent is there for each architecture: from the wheel, else from a compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from kindling.errors import HostError, UsageError
from kindling.sync.agent import binary as builder
from kindling.sync.agent.binaries import agent, prebuilt_name
from tests.sync.agent.talk import LIMIT

ROOT = Path(__file__).resolve().parents[3]
ENTRY = {"x86_64": 62, "aarch64": 183}
"""What an ELF file says of its machine."""


def _never(folder: Path, architecture: str) -> Path:
    raise AssertionError((folder, architecture))


def _buildable(architecture: str, folder: Path) -> None:
    try:
        builder.build(folder, architecture)
    except HostError as error:
        if "none was found" not in error.message:
            raise
        pytest.skip(error.message)


def test_an_agent_of_the_wheel_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / prebuilt_name("aarch64")).write_bytes(b"from the wheel")
    assert agent("arm64", prebuilt=tmp_path, make=_never) == b"from the wheel"


def test_without_one_it_is_built_once_into_the_cache_of_the_user(
    built: Path, tmp_path: Path
) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    first = agent(prebuilt=tmp_path / "none", environment=environment)
    assert first == built.read_bytes()
    (kept,) = (tmp_path / "kindling/agents").iterdir()
    before = kept.stat().st_ino
    assert agent(prebuilt=tmp_path / "none", environment=environment) == first
    assert kept.stat().st_ino == before


def test_several_that_build_it_at_once_all_get_it_whole(built: Path, tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    found: list[bytes] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(agent(prebuilt=tmp_path / "none", environment=environment))
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [built.read_bytes()] * 3
    assert len(list((tmp_path / "kindling/agents").iterdir())) == 1


def test_with_neither_the_message_says_what_to_install(tmp_path: Path) -> None:
    def nothing(folder: Path, architecture: str) -> Path:
        return builder.build(folder, architecture, find=lambda _: None, module=lambda _: None)

    with pytest.raises(HostError, match="needs a C compiler, and none was found") as caught:
        agent(
            "aarch64",
            prebuilt=tmp_path,
            environment={"XDG_CACHE_HOME": str(tmp_path)},
            make=nothing,
        )
    assert caught.value.hint == (
        "Install one, such as by `apt-get install gcc-aarch64-linux-gnu` or "
        "`pip install ziglang`, and try again."
    )


def test_an_unknown_architecture_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="architecture `riscv64`"):
        agent("riscv64", prebuilt=tmp_path, make=_never)


@pytest.mark.parametrize("architecture", builder.ARCHITECTURES)
def test_each_architecture_is_small_and_the_same_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agents: Path, architecture: str
) -> None:
    _buildable(architecture, agents)
    copy = tmp_path / "some/other checkout/source"
    shutil.copytree(builder.SOURCE, copy)
    first = builder.build(agents, architecture).read_bytes()
    monkeypatch.setattr(builder, "SOURCE", copy)
    monkeypatch.chdir(copy)
    second = builder.build(tmp_path / "second", architecture).read_bytes()
    assert first == second
    assert len(first) < builder.SIZE_MOST
    assert int.from_bytes(first[18:20], "little") == ENTRY[architecture]
    assert os.fsencode(tmp_path) not in first


@pytest.mark.parametrize(
    ("there", "called"),
    [
        ({"aarch64-linux-gnu-gcc", "clang", "ld.lld", "zig"}, ["/bin/aarch64-linux-gnu-gcc"]),
        (
            {"clang", "ld.lld", "zig", "ziglang"},
            ["/bin/clang", "--target=aarch64-linux-gnu", "-fuse-ld=lld"],
        ),
        ({"clang", "zig", "ziglang"}, ["/bin/zig", "cc", "-target", "aarch64-linux-musl"]),
        ({"ziglang"}, [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-musl"]),
    ],
)
def test_any_compiler_that_makes_code_for_another_machine_will_do(
    monkeypatch: pytest.MonkeyPatch, there: set[str], called: list[str]
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    found = builder.compiler(
        "aarch64",
        lambda name: f"/bin/{name}" if name in there else None,
        lambda name: True if name in there else None,
    )
    assert found == called


def _wheel(folder: Path, release: str, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        env={**os.environ, "KINDLING_RELEASE": release, "PATH": path},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def test_a_wheel_has_the_agents_of_all_architectures(tmp_path: Path, agents: Path) -> None:
    for architecture in builder.ARCHITECTURES:
        _buildable(architecture, agents)
    done = _wheel(tmp_path, "1", os.environ["PATH"])
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for architecture in builder.ARCHITECTURES:
            packed = archive.read(f"kindling/sync/agent/prebuilt/{prebuilt_name(architecture)}")
            assert packed == builder.build(agents, architecture).read_bytes()
    assert not (ROOT / "kindling/sync/agent/prebuilt").exists()


def test_a_wheel_for_release_is_not_made_without_an_agent(tmp_path: Path) -> None:
    if find_spec("ziglang"):
        pytest.skip("ziglang builds every agent without a program on PATH")
    done = _wheel(tmp_path / "release", "1", str(tmp_path))
    assert done.returncode != 0
    assert "The sync agent for x86_64 needs a C compiler, and none was found" in done.stderr
    assert not list((tmp_path / "release").glob("*.whl"))
    done = _wheel(tmp_path / "local", "", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "local").glob("*.whl"))) == 1
