"""A changed path leads to the nodes that read it, and to the evaluation when the file did."""

from pathlib import Path

from kindling.engine.following import Readers
from kindling.graph.node import FileSet, IgnoreRule, NodeId

API, WEB = NodeId("image:api"), NodeId("image:web")


def readers(root: Path, common: tuple[IgnoreRule, ...] = ()) -> Readers:
    index = Readers(root, common)
    index.add(None, [FileSet(("Kindlingfile", "charts"))])
    index.add(API, [FileSet(("api",), (IgnoreRule("api", ("*.log", "tests")),))])
    index.add(WEB, [FileSet((".",), only=("web", "shared/a.txt"))])
    return index


def test_a_file_below_a_folder_leads_to_the_node_that_reads_the_folder(tmp_path: Path) -> None:
    changes = readers(tmp_path).of([f"{tmp_path}/api/src/main.go"])
    assert (changes.nodes, changes.config) == ((API,), False)
    assert changes.paths == ("api/src/main.go",)


def test_an_ignored_file_leads_nowhere(tmp_path: Path) -> None:
    changes = readers(tmp_path).of([f"{tmp_path}/api/x.log", f"{tmp_path}/api/tests/t.py"])
    assert (changes.nodes, changes.total) == ((), 0)


def test_only_keeps_just_these_paths_below_the_roots(tmp_path: Path) -> None:
    index = readers(tmp_path)
    assert index.of([f"{tmp_path}/web/index.html"]).nodes == (WEB,)
    assert index.of([f"{tmp_path}/shared/a.txt"]).nodes == (WEB,)
    assert index.of([f"{tmp_path}/shared/b.txt"]).nodes == ()


def test_what_the_evaluation_read_means_evaluating_again(tmp_path: Path) -> None:
    index = readers(tmp_path)
    assert index.of([f"{tmp_path}/Kindlingfile"]).config
    assert index.of([f"{tmp_path}/charts/values.yaml"]).config


def test_a_path_outside_the_project_is_found_too(tmp_path: Path) -> None:
    root = tmp_path / "project"
    index = Readers(root)
    index.add(API, [FileSet(("../lib",))])
    changes = index.of([f"{tmp_path}/lib/a.c"])
    assert (changes.nodes, changes.paths) == ((API,), ("../lib/a.c",))


def test_a_rescan_names_everyone_who_reads_there_since_events_were_lost(tmp_path: Path) -> None:
    changes = readers(tmp_path).of([], [str(tmp_path)])
    assert (changes.nodes, changes.config) == ((API, WEB), True)


def test_settings_for_watching_hold_for_every_node(tmp_path: Path) -> None:
    index = readers(tmp_path, (IgnoreRule(".", ("**/generated",)),))
    assert index.of([f"{tmp_path}/api/generated/x.go"]).nodes == ()
