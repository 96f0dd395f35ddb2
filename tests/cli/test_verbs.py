"""The verbs on a real project of local commands: what they write where, and their exit codes."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from kindling.cli import main
from kindling.errors import ClusterError

Kindling = Callable[..., Any]


@pytest.mark.usefixtures("project")
def test_up_once_and_then_nothing_is_left_to_do(kindling: Kindling) -> None:
    first = kindling("plan", "--json")
    assert json.loads(first.out)["counts"]["run"] == 2
    up = kindling("up", "--once", "--plain")
    assert up.code == 0
    assert "local:gen | made" in up.out
    assert "up done in" in up.out
    plan = kindling("plan")
    assert (plan.code, plan.out) == (0, "nothing to run: 2 nodes up to date\n")
    assert "up to date" not in plan.err
    ci = kindling("ci", "--plain")
    assert ci.code == 0
    assert "2 unchanged" in ci.out
    assert "| made" not in ci.out


def test_a_failure_is_exit_code_1_and_is_in_every_report(kindling: Kindling, project: Path) -> None:
    result = kindling(
        "ci", "--plain", "--junit", "out/j.xml", "--report", "out/r.json", "--", "broken"
    )
    assert result.code == 1
    assert "local:bad  failed" in result.out
    assert "exited with code 3" in result.out
    suite = ElementTree.fromstring((project / "out" / "j.xml").read_bytes()).find("testsuite")
    assert suite is not None
    assert suite.get("failures") == "1"
    report = json.loads((project / "out" / "r.json").read_text())
    assert (report["exit_code"], report["failed"]) == (1, ["local:bad"])


@pytest.mark.usefixtures("project")
def test_json_is_all_there_is_on_stdout(kindling: Kindling) -> None:
    result = kindling("up", "--once", "--json")
    forms = [json.loads(line) for line in result.out.splitlines()]
    assert forms[0]["type"] == "session_started"
    assert (forms[-1]["type"], forms[-1]["exit_code"]) == ("session_ended", 0)


def test_a_wrong_kindlingfile_is_exit_code_2_with_its_place(
    kindling: Kindling, folder: Path
) -> None:
    (folder / "Kindlingfile").write_text('local_resourc("x", cmd="true")\n')
    for args in (["up", "--once", "--plain"], ["ci", "--plain"], ["plan"], ["graph"]):
        result = kindling(*args)
        assert result.code == 2, args
        assert "Kindlingfile:1:" in result.out + result.err
        assert "local_resource" in result.out + result.err
        assert "Traceback" not in result.err


def test_why_names_the_input_that_changed(kindling: Kindling, project: Path) -> None:
    kindling("up", "--once", "--plain")
    (project / "in.txt").write_text("2\n")
    result = kindling("why", "gen")
    assert result.code == 0
    assert "`in.txt` changed" in result.out
    form = json.loads(kindling("why", "local:gen", "--json").out)
    assert form["nodes"][0]["differences"][0]["text"] == "`in.txt` changed"
    missing = kindling("why", "gem")
    assert missing.code == 2
    assert "Did you mean `gen`?" in missing.err


def test_plan_takes_a_touched_file_as_changed(kindling: Kindling, project: Path) -> None:
    kindling("up", "--once", "--plain")
    result = kindling("plan", "--touch", str(project / "in.txt"))
    assert "run " in result.out
    assert "local:gen" in result.out
    assert "1 to run" in result.out


@pytest.mark.parametrize(
    ("form", "start"),
    [("dot", "digraph"), ("mermaid", "flowchart"), ("json", "{"), ("svg", "<svg"), ("text", "gen")],
)
def test_the_graph_in_every_form(kindling: Kindling, project: Path, form: str, start: str) -> None:
    result = kindling("graph", "--format", form)
    assert result.code == 0
    assert result.out.lstrip().startswith(start) or "<svg" in result.out[:200]
    kindling("graph", "--format", form, "-o", "picture")
    assert (project / "picture").read_text() == result.out


@pytest.mark.usefixtures("project")
def test_status_and_logs_of_what_ran_before(kindling: Kindling) -> None:
    assert "nothing has run here yet" in kindling("status").out
    kindling("up", "--once", "--plain", "--", "broken")
    status = kindling("status")
    assert status.code == 1
    assert "local:bad" in status.out
    nodes = json.loads(kindling("status", "gen", "--json").out)["nodes"]
    assert [node["id"] for node in nodes] == ["local:gen"]
    assert kindling("logs", "gen").out == "local:gen | made\n"
    assert json.loads(kindling("logs", "bad", "--json").out)["text"] == "oops"
    assert kindling("logs", "--tail", "1").out == "local:bad | oops\n"
    assert "Did you mean `gen`?" in kindling("status", "gem").err
    assert "Did you mean `gen`?" in kindling("logs", "gem").err
    assert kindling("logs", "gen", "--since", "0").code == 0


@pytest.mark.usefixtures("project")
def test_trigger_without_a_session_says_so(kindling: Kindling) -> None:
    result = kindling("trigger", "gen")
    assert result.code == 1
    assert "No kindling session is running here" in result.err


@pytest.mark.usefixtures("project")
def test_a_session_can_be_replayed(kindling: Kindling, folder: Path) -> None:
    assert kindling("replay").code == 2
    kindling("up", "--once", "--plain")
    result = kindling("replay")
    assert result.code == 0
    assert "every decision is the same" in result.out
    name = kindling("replay", "--list").out.strip()
    assert kindling("replay", name).code == 0
    journal = next((folder / ".kindling").rglob(f"{name}*.jsonl"))
    assert kindling("replay", str(journal)).code == 0
    assert "finished attempt 1: ran" in kindling("replay", "--events").out
    assert kindling("replay", "no-such").code == 1


@pytest.mark.usefixtures("project")
def test_down_ends_with_0_where_there_is_nothing_to_undo(kindling: Kindling) -> None:
    kindling("up", "--once", "--plain")
    result = kindling("down", "--plain")
    assert result.code == 0
    assert "down done in" in result.out


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("folder")
def test_doctor_is_of_use_on_a_machine_with_nothing(
    kindling: Kindling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    result = kindling("doctor")
    assert result.code == 0
    for subject in ("python", "state", "disk", "docker", "buildkit", "kubeconfig", "helm", "kind"):
        assert subject in result.out
    form = json.loads(kindling("doctor", "--json").out)
    levels = {one["subject"]: one["level"] for one in form["findings"]}
    assert (levels["python"], levels["docker"], levels["helm"]) == ("ok", "missing", "missing")
    assert all(one["hint"] for one in form["findings"] if one["level"] != "ok")
    # The Docker SDK forgets to close a socket that it could not connect.
    gc.collect()


def test_a_folder_in_the_place_of_the_file_is_named(
    kindling: Kindling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "else" / "Kindlingfile").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "else")
    result = kindling("plan")
    assert (result.code, result.err) == (2, "`Kindlingfile` is a folder, no file\n")


def test_bash_completes_past_the_colon_of_a_node(kindling: Kindling) -> None:
    assert kindling("completion", "bash").out.endswith("COMP_WORDBREAKS=${COMP_WORDBREAKS//:/}\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(kindling: Kindling, shell: str) -> None:
    result = kindling("completion", shell)
    assert result.code == 0
    assert "_KINDLING_COMPLETE" in result.out


def test_errors_and_bugs_look_different(
    kindling: Kindling, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(error: BaseException) -> Callable[..., None]:
        def raising(*_: Any, **__: Any) -> None:
            raise error

        return raising

    known = ClusterError("the API server went away", details=["at 127.0.0.1"], hint="Wait.")
    monkeypatch.setattr(main.program, "invoke", fail(known))
    result = kindling("version")
    assert result.code == 1
    assert result.err == "the API server went away\n  at 127.0.0.1\n  Wait.\n"
    monkeypatch.setattr(main.program, "invoke", fail(ZeroDivisionError("ours")))
    result = kindling("version")
    assert result.code == 1
    assert "Traceback" in result.err
    assert "this is a bug in kindling" in result.err
    monkeypatch.setattr(main.program, "invoke", fail(KeyboardInterrupt()))
    assert kindling("version").code == 130
