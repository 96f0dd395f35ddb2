"""A project in a folder of its own, and the program run in this process with its output caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kindling.cli.main import run


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int
    out: str
    err: str


Kindling = Callable[..., Outcome]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one, on a machine that has no cluster."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "no-kubeconfig"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    return tmp_path


@pytest.fixture
def kindling(folder: Path, capfd: pytest.CaptureFixture[str]) -> Kindling:
    """`kindling("plan", "--json")`: its exit code and what it wrote."""
    assert folder.is_dir()

    def call(*args: str) -> Outcome:
        capfd.readouterr()
        code = run(args)
        caught = capfd.readouterr()
        return Outcome(code, caught.out, caught.err)

    return call


@pytest.fixture
def project(folder: Path) -> Path:
    """A chain of two commands and one that fails, none of which needs a cluster."""
    (folder / "in.txt").write_text("1\n")
    (folder / "Kindlingfile").write_text(
        'local_resource("gen", cmd="cp in.txt out.txt && echo made",'
        ' deps=["in.txt"], outputs=["out.txt"])\n'
        'local_resource("use", cmd="cat out.txt", deps=["out.txt"])\n'
        'if profile("broken"):\n'
        '    local_resource("bad", cmd="echo oops; exit 3", resource_deps=["use"])\n'
        '    local_resource("after", cmd="true", resource_deps=["bad"])\n'
    )
    return folder
