"""Names of files are read as what they ask for, and names that could do harm are refused."""

from __future__ import annotations

import pytest

from kindling.agent.signals import Kind, Request, survey, wrong_name


def test_the_files_of_each_kind_are_called_as_upstream_calls_them() -> None:
    build, apply = Request(Kind.BUILD, "api"), Request(Kind.APPLY, "api-dse")
    script = Request(Kind.SCRIPT, "api")
    assert (build.trigger, build.processing) == ("api.request", "api.request.processing")
    assert (build.log, build.exitcode, build.done) == ("api.log", "api.exitcode", "api.done")
    assert build.inputs == ("api.tar.gz", "api.dest", "api.dockerfile")
    assert (apply.trigger, apply.inputs) == ("api-dse.apply", ("api-dse.yaml",))
    assert apply.log == "api-dse.apply-log"
    assert apply.exitcode == "api-dse.apply-exitcode"
    assert apply.done == "api-dse.apply-done"
    assert (script.trigger, script.inputs) == ("api.kubectl", ("api.sh",))
    assert script.log == "api.kubectl-log"
    assert script.exitcode == "api.kubectl-exitcode"
    assert script.done == "api.kubectl-done"


def test_builds_come_before_applies_and_those_before_scripts() -> None:
    found = survey({"b.kubectl": 1, "a-dse.apply": 1, "z.request": 1, "c.request": 1, "x.log": 1})
    assert [one.trigger for one in found.triggers] == [
        "c.request",
        "z.request",
        "a-dse.apply",
        "b.kubectl",
    ]


def test_a_request_that_was_taken_is_no_trigger() -> None:
    found = survey({"a.request.processing": 1, "a-dse.apply.processing": 1})
    assert found.triggers == ()
    assert found.taken == {Request(Kind.BUILD, "a"), Request(Kind.APPLY, "a-dse")}


def test_an_answer_is_stale_once_an_input_is_newer() -> None:
    assert survey({"a.done": 5, "a.tar.gz": 6}).stale == (Request(Kind.BUILD, "a"),)
    assert survey({"a.done": 5, "a.tar.gz": 5, "b.tar.gz": 9}).stale == ()
    assert survey({"a.kubectl-done": 5, "a.sh": 6}).stale == (Request(Kind.SCRIPT, "a"),)


@pytest.mark.parametrize("name", ["api", "api-dse", "Api_2.x", "0", "a" * 200])
def test_usual_names_are_taken(name: str) -> None:
    assert wrong_name(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        *("", "..", "a..b", "a/b", "a\\b", "a b", "a\tb", "a\nb", ".hidden", "-rf", "a" * 201),
        *("a;b", "$(id)", "`id`", "a|b", "a&b", "a>b", "a*", "a?", "a'b", 'a"b', "a{b}", "ä", "~"),
    ],
)
def test_row_48_names_with_separators_spaces_or_metacharacters_are_refused(name: str) -> None:
    assert wrong_name(name) != ""
