"""The short way to "nothing changed": taken when nothing did, and never otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kindling.cli.main import run
from kindling.engine.options import SessionOptions
from kindling.engine.standstill import recall


@pytest.fixture
def settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> SessionOptions:
    """A project of one command that was run and then planned, with nothing to do."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kindling.engine.planning.SETTLING", 0)  # files here are a moment old
    (tmp_path / "in.txt").write_text("1\n")
    (tmp_path / "Kindlingfile").write_text(
        'local_resource("copy", cmd="cp in.txt out.txt", deps=["in.txt"], outputs=["out.txt"])\n'
    )
    assert run(["up", "--once", "--plain"]) == 0
    assert run(["plan"]) == 0
    assert "nothing to run: 1 node up to date" in capsys.readouterr().out
    return SessionOptions(Path("Kindlingfile"), command="plan")


def test_after_a_plan_without_work_the_next_one_need_not_load_anything(
    settled: SessionOptions,
) -> None:
    found = recall(settled, dict(os.environ))
    assert found is not None
    assert found.nodes == 1


@pytest.mark.parametrize("path", ["in.txt", "out.txt", "Kindlingfile"])
def test_a_changed_file_ends_it(settled: SessionOptions, path: str) -> None:
    place = settled.root / path
    place.write_text(place.read_text() + "\n")
    assert recall(settled, dict(os.environ)) is None


@pytest.mark.parametrize("name", ["KUBECONFIG", "HOME", "PATH"])
def test_another_environment_ends_it(settled: SessionOptions, name: str) -> None:
    assert recall(settled, {**os.environ, name: "/elsewhere"}) is None


def test_other_words_on_the_line_are_another_question(settled: SessionOptions) -> None:
    other = SessionOptions(settled.file, command="plan", words=("triggers",))
    assert recall(other, dict(os.environ)) is None
