"""Reports that are files or streams for programs: JSON lines, JUnit, the session report."""

from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kindling.engine.notices import (
    KindlingfileFailed,
    Level,
    Message,
    Notice,
    SessionEnded,
    SessionStarted,
)
from kindling.errors import HostError
from kindling.graph.outcome import Verdict
from kindling.report.files import write_whole
from kindling.report.jsonlines import JsonLinesReporter
from kindling.report.junit import JUnitReporter
from kindling.report.summary import SummaryReporter


def test_every_notice_is_one_json_object(session: list[Notice], started: float) -> None:
    session += [
        KindlingfileFailed(started, "Kindlingfile:1:1: no", first=True),
        Message(started, Level.WARNING, "two\nlines"),
    ]
    stream = io.StringIO()
    reporter = JsonLinesReporter(stream)
    for notice in session:
        reporter.notice(notice)
    reporter.close()
    forms = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(forms) == len(session)
    assert all(form["schema"] == 1 and form["at"] >= started for form in forms)
    assert [form["type"] for form in forms[:3]] == [
        "session_started",
        "kindlingfile_loaded",
        "node_changed",
    ]
    end = next(form for form in forms if form["type"] == "session_ended")
    assert end["counts"] == {
        "unchanged": 1,
        "restored": 0,
        "ran": 5,
        "failed": 1,
        "cancelled": 0,
    }
    assert end["failed"][0]["failure"]["kind"] == "rollout"
    assert end["held"][0]["hold"] == {
        "reason": "dependency-failed",
        "waiting_for": ["rollout:web"],
    }


def test_the_documented_types_and_fields_are_those_that_are_written(
    session: list[Notice],
) -> None:
    """docs/json.md names every type and every field of a node."""
    page = Path(__file__).parents[2].joinpath("docs", "json.md").read_text()
    stream = io.StringIO()
    reporter = JsonLinesReporter(stream)
    for notice in session:
        reporter.notice(notice)
    for line in stream.getvalue().splitlines():
        form = json.loads(line)
        assert f"`{form['type']}`" in page
        node = form.get("node")
        for name in (*form, *(node if isinstance(node, dict) else ())):
            assert f"`{name}`" in page, name


def test_junit_has_a_case_for_each_node_that_took_part(
    session: list[Notice], tmp_path: Path
) -> None:
    path = tmp_path / "out" / "junit.xml"
    reporter = JUnitReporter(path)
    for notice in session:
        reporter.notice(notice)
    reporter.close()
    root = ElementTree.fromstring(path.read_bytes())
    assert root.tag == "testsuites"
    suite = root.find("testsuite")
    assert suite is not None
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "8",
        "failures": "1",
        "errors": "0",
        "skipped": "1",
    }
    cases = {case.get("name"): case for case in suite.findall("testcase")}
    failure = cases["rollout:web"].find("failure")
    assert failure is not None
    assert failure.get("message") == "pods of Deployment/web do not come up"
    assert "CrashLoopBackOff" in (failure.text or "")
    skipped = cases["test:smoke"].find("skipped")
    assert skipped is not None
    assert "rollout:web" in (skipped.get("message") or "")
    assert cases["image:api"].get("time") == "3.200"
    assert "pip install" in (cases["image:api"].findtext("system-out") or "")


def test_junit_of_a_broken_kindlingfile_is_one_error(tmp_path: Path, started: float) -> None:
    path = tmp_path / "junit.xml"
    reporter = JUnitReporter(path)
    reporter.notice(SessionStarted(started, "s", "ci", "Kindlingfile"))
    reporter.notice(KindlingfileFailed(started, "Kindlingfile:3:1: unknown name `x`", first=True))
    reporter.notice(SessionEnded(started + 1, 2, 1.0, {}, error="unknown name"))
    reporter.close()
    suite = ElementTree.fromstring(path.read_bytes()).find("testsuite")
    assert suite is not None
    assert suite.get("errors") == "1"
    assert suite.find("testcase/error") is not None


def test_the_report_knows_the_critical_path(session: list[Notice], tmp_path: Path) -> None:
    """Walked back from what settled last, by the predecessor that settled last each time."""
    path = tmp_path / "report.json"
    reporter = SummaryReporter(path)
    for notice in session[:17]:
        reporter.notice(notice)
    reporter.notice(SessionEnded(session[16].at, 0, 6.0, {Verdict.RAN: 5}))
    reporter.close()
    report = json.loads(path.read_text())
    assert report["schema"] == 1
    assert report["critical_path"] == [
        {"node": "image:api", "seconds": 3.2},
        {"node": "push:api", "seconds": 0.1},
        {"node": "apply:api", "seconds": 0.3},
        {"node": "rollout:api", "seconds": 2.1},
    ]


def test_the_report_of_a_failure_carries_the_end_of_its_log(
    session: list[Notice], tmp_path: Path
) -> None:
    path = tmp_path / "report.json"
    reporter = SummaryReporter(path)
    for notice in session:
        reporter.notice(notice)
    reporter.close()
    report = json.loads(path.read_text())
    assert (report["exit_code"], report["failed"], report["held"]) == (
        1,
        ["rollout:web"],
        ["test:smoke"],
    )
    web = next(node for node in report["nodes"] if node["id"] == "rollout:web")
    assert web["log_tail"] == ["KeyError: 'DATABASE_URL'"]


def test_a_report_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot write"):
        write_whole(tmp_path / "file" / "report.json", b"{}")
    write_whole(tmp_path / "ok.json", b"{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "ok.json"]
