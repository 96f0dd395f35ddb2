"""What a load makes of a Kindlingfile besides its graph."""

from __future__ import annotations

from pathlib import Path

import pytest

from kindling.engine.clock import SystemClock
from kindling.engine.options import SessionOptions
from kindling.engine.project import Loaded, Project
from kindling.store.database import Store


def load(root: Path, text: str, *words: str) -> Loaded:
    (root / "Kindlingfile").write_text(text)
    with Store.open(root / ".kindling") as store:
        project = Project(
            SessionOptions(root / "Kindlingfile", words=words),
            store=store,
            clock=SystemClock(),
            environment={"KUBECONFIG": str(root / "none")},
            say=lambda where, line: None,  # noqa: ARG005
        )
        loaded = project.load_now()
    assert isinstance(loaded, Loaded), loaded
    return loaded


@pytest.mark.parametrize(
    ("folder", "line", "owner"),
    [
        ("shop", "", "shop"),
        ("my shop (2)", "", "my-shop-2"),
        ("...", "", "project"),
        ("x" * 80, "", "x" * 63),
        ("shop", 'cluster(namespace = "team-a")', "team-a"),
        ("shop", 'cluster(provider = "context", name = "prod")', "shop"),
    ],
)
def test_the_owner_of_objects_is_the_namespace_or_the_folder_as_a_legal_label(
    tmp_path: Path, folder: str, line: str, owner: str
) -> None:
    """A context's name is no owner: many projects share a context."""
    root = tmp_path / folder
    root.mkdir()
    assert load(root, line + '\nlocal_resource("a", cmd = "true")\n').project == owner


def test_the_scope_of_garbage_is_the_file_with_the_profiles_that_are_on(tmp_path: Path) -> None:
    text = 'profile("a", "")\nprofile("b", "")\nlocal_resource("x", cmd = "true")\n'
    assert load(tmp_path, text).scope != load(tmp_path, text, "a").scope
    assert load(tmp_path, text, "b", "a").scope == load(tmp_path, text, "a", "b").scope


def test_a_graph_of_local_commands_names_no_cluster(tmp_path: Path) -> None:
    loaded = load(tmp_path, 'local_resource("x", cmd = "true")\n')
    assert (loaded.target, loaded.context) == ("", "")
