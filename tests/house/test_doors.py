"""The doors at the root lead to the rooms, and nothing is built or imported through them."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOORS = ("builtins", "executors", "graph")


def test_builtins_holds_no_python() -> None:
    """A `builtins` package at the root would shadow Python's own, and mypy stops at once."""
    assert not (ROOT / "kindling" / "builtins" / "__init__.py").exists()
    assert list((ROOT / "kindling" / "builtins").glob("**/*.py")) == []


@pytest.mark.parametrize("door", DOORS)
def test_each_door_is_a_link_to_its_room(door: str) -> None:
    """A relative link or, in a checkout without links, a one-line file naming the room."""
    path = ROOT / door
    if path.is_symlink():
        assert path.readlink().as_posix() == f"kindling/{door}"
    elif path.is_file():
        assert path.read_text(encoding="utf-8").strip() == f"kindling/{door}"
    else:
        pytest.skip("this copy of the sources has no doors")


def test_the_sdist_holds_the_rooms_themselves(tmp_path: Path) -> None:
    """A build that follows the doors leaves the real folders out, and says nothing."""
    pytest.importorskip("hatchling", reason="hatchling is in the development group")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    for room in DOORS:
        held = {name for name in names if name.startswith(f"kindling/{room}/")}
        there = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / "kindling" / room).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert held == there
    assert "LICENSE" in names
    assert not any(name.partition("/")[0] in DOORS for name in names)
