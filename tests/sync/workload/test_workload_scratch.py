"""What sessions build goes with them, also where one is killed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kindling.sync.workload.liveness import end_life
from kindling.sync.workload.scratch import make_scratch, remove_scratch


def _held_by(made: Path, **other: Any) -> None:
    """Somebody else has it."""
    about = made.with_name(made.name + ".json")
    about.write_text(json.dumps({**json.loads(about.read_text()), **other}))


def _names(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir()}


def test_nothing_is_left_of_one_that_is_removed(tmp_path: Path) -> None:
    made = make_scratch(tmp_path / "scratch", "web/api")
    (made / "server").write_text("built")
    remove_scratch(made)
    assert not _names(made.parent)
    remove_scratch(made)


@pytest.mark.parametrize(
    ("holder", "stays"),
    [
        ({}, True),
        ({"pid": 2**22 + 1, "started": "1"}, False),
        ({"boot": "before"}, False),
        ({"boot": "before", "host": "devbox"}, True),
        ({"space": "pid:[1]"}, True),
    ],
    ids=["alive", "killed", "switched off", "another machine", "a container"],
)
def test_the_next_one_removes_what_the_dead_left_alone(
    tmp_path: Path, holder: dict[str, Any], stays: bool
) -> None:
    made = make_scratch(tmp_path, "web")
    (made / "server").write_text("built")
    _held_by(made, **holder)
    other = make_scratch(tmp_path, "web")
    try:
        assert other != made
        assert (made / "server").exists() is stays
        assert len(_names(tmp_path)) == (4 if stays else 2)
    finally:
        remove_scratch(other)
        remove_scratch(made)


def test_one_of_this_process_that_is_over_is_removed(tmp_path: Path) -> None:
    made = make_scratch(tmp_path, "web")
    end_life(made.name)
    remove_scratch(make_scratch(tmp_path, "web"))
    assert not _names(tmp_path)


def test_what_nobody_is_noted_for_goes_and_what_cannot_be_read_stays(tmp_path: Path) -> None:
    (tmp_path / "web/bin").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other.json").write_text("{")
    remove_scratch(make_scratch(tmp_path, "web"))
    assert _names(tmp_path) == {"other", "other.json"}
