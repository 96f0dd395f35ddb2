"""Parsing: wrong words get one clear line with the nearest right one, and exit code 2."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from kindling.cli.invocation import Duration, Invocation
from kindling.cli.main import VERBS, program
from kindling.errors import UsageError

Kindling = Callable[..., Any]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_examples_in_80_columns(verb: str) -> None:
    result = CliRunner().invoke(program, [verb, "--help"], obj=Invocation())
    assert result.exit_code == 0
    assert "Examples:" in result.output
    assert f"kindling {verb}" in result.output
    assert max(map(len, result.output.splitlines())) <= 80


@pytest.mark.parametrize("action", ["start", "stop", "status", "reset", "kubeconfig", "load"])
def test_every_action_on_the_cluster_has_help_in_80_columns(action: str) -> None:
    result = CliRunner().invoke(program, ["cluster", action, "--help"], obj=Invocation())
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 80


@pytest.mark.parametrize("action", ["set", "unset", "list"])
def test_every_action_on_variables_has_help_in_80_columns(action: str) -> None:
    result = CliRunner().invoke(program, ["env", action, "--help"], obj=Invocation())
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 80


@pytest.mark.parametrize("verb", VERBS)
def test_the_list_of_verbs_says_what_their_modules_say(verb: str) -> None:
    module = verb.replace("-", "_")
    command = importlib.import_module(f"kindling.cli.{module}").command
    assert isinstance(command, click.Command)
    assert (command.name, command.short_help) == (verb, VERBS[verb])


def test_the_help_fits_80_columns(kindling: Kindling) -> None:
    result = kindling("--help")
    assert result.code == 0
    assert max(map(len, result.out.splitlines())) <= 80
    assert all(verb in result.out for verb in VERBS)


@pytest.mark.parametrize(
    ("args", "line", "hint"),
    [
        (["upp"], "there is no command `upp`", "Did you mean `up`?"),
        (["xyzzy"], "there is no command `xyzzy`", "`kindling --help` lists all commands."),
        (["up", "--plian"], "`kindling up` has no option `--plian`", "Did you mean `--plain`?"),
        (["plan", "-z"], "`kindling plan` has no option `-z`", "lists its options."),
        (["why"], "`kindling why`: missing argument", "says what it takes."),
        (["graph", "--format", "png"], "invalid value for '--format'", "says what it takes."),
        (["ci", "--timeout", "soon"], "no duration; write 90s", "says what it takes."),
        (["version", "--", "x"], "takes no words after `--`", ""),
        (["plan"], "there is no `Kindlingfile` in", "`kindling up -f PATH`"),
        (["plan", "-f", "none/K"], "there is no folder `none`", ""),
    ],
)
def test_wrong_words(kindling: Kindling, args: list[str], line: str, hint: str) -> None:
    result = kindling(*args)
    assert result.code == 2
    assert result.out == ""
    assert line in result.err.splitlines()[0]
    assert hint in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize("words", [[], ["cluster"]])
def test_no_words_at_all_show_the_help_and_fail(kindling: Kindling, words: list[str]) -> None:
    result = kindling(*words)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(" ".join(["Usage: kindling", *words]))


def test_a_tiltfile_is_used_only_when_it_is_named(kindling: Kindling, folder: Path) -> None:
    (folder / "Tiltfile").write_text('local_resource("x", cmd="true")\n')
    refused = kindling("graph")
    assert refused.code == 2
    assert "`kindling up -f Tiltfile` uses it" in refused.err
    assert "local:x" in kindling("graph", "-f", "Tiltfile").out


def test_a_wrong_file_name_gets_the_nearest(kindling: Kindling, folder: Path) -> None:
    (folder / "Kindlingfile").write_text("")
    result = kindling("plan", "-f", "Kindlinfile")
    assert result.code == 2
    assert "Did you mean `Kindlingfile`?" in result.err


def test_options_of_all_verbs_may_stand_before_or_after_the_verb(
    kindling: Kindling, project: Path
) -> None:
    before = kindling("-f", str(project / "Kindlingfile"), "graph")
    after = kindling("graph", "-f", str(project))
    assert before.code == after.code == 0
    assert before.out == after.out


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("90s", 90.0), ("5m", 300.0), ("1h30m", 5400.0), ("0", 0.0), ("1.5m", 90.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "m", "5x", "1m30", "-5s", "1..2s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


def test_words_after_the_dashes_belong_to_the_file() -> None:
    with pytest.raises(UsageError, match=r"\[a, b\]"):
        Invocation(words=("a", "b")).no_words("logs")
