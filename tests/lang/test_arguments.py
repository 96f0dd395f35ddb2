"""What stands after `--`: profiles, settings, names of resources."""

from __future__ import annotations

import pytest

from kindling.errors import UsageError
from kindling.lang.declared import EnabledMode
from kindling.testing.project import Project

LIST = "config.define_string_list('p', args=True)\n"


def test_words_go_to_the_positional_setting(project: Project) -> None:
    project.evaluate(LIST + "print(config.parse())\n", "triggers", "more")
    assert project.printed == ['{"p": ["triggers", "more"]}']


def test_the_command_line_wins_over_the_file_and_what_is_unset_is_absent(project: Project) -> None:
    project.write("tilt_config.json", '{"a": "file", "b": true}')
    declared = project.evaluate(
        "config.define_string('a')\nconfig.define_bool('b')\nconfig.define_string('c')\n"
        "print(config.parse())\n",
        "--a",
        "line",
    )
    assert project.printed == ['{"a": "line", "b": True}']
    assert "tilt_config.json" in declared.reads.paths


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--x"], '{"x": True}'),
        (["--x=false"], '{"x": False}'),
        (["--l", "a", "--l=b"], '{"l": ["a", "b"]}'),
        (["--o", '{"k": 1}'], '{"o": {"k": 1}}'),
        (["--s=a=b"], '{"s": "a=b"}'),
        ([], "{}"),
    ],
)
def test_flags_are_read_as_tilt_reads_them(project: Project, words: list[str], value: str) -> None:
    project.evaluate(
        "config.define_bool('x')\nconfig.define_string_list('l')\nconfig.define_object('o')\n"
        "config.define_string('s')\nprint(config.parse())\n",
        *words,
    )
    assert project.printed == [value]


def test_an_unknown_flag_shows_the_usage(project: Project) -> None:
    text = project.fails(
        "config.define_bool('verbose', usage='say more')\nconfig.parse()\n", "--verbos"
    )
    assert text.startswith("Kindlingfile:2:1: `--verbos` is not a setting of this file")
    assert "--verbose  say more" in text
    assert "Did you mean `verbose`?" in text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (LIST + "config.define_string('q', args=True)\n", "Only one setting may have"),
        (LIST + LIST, "is defined twice"),
        ("config.parse()\n" + LIST, "after `config.parse()` was called"),
    ],
)
def test_definitions_that_cannot_be_are_refused(
    project: Project, source: str, message: str
) -> None:
    assert message in project.fails(source)


@pytest.mark.parametrize(
    ("json", "message"),
    [
        ('{"q": 1}', "sets `q`, which is not defined"),
        ('{"p": "a"}', "`p` must be a list of strings"),
        ("[]", "must hold an object"),
        ("{", "is not JSON"),
    ],
)
def test_a_wrong_config_file_is_named(project: Project, json: str, message: str) -> None:
    project.write("tilt_config.json", json)
    text = project.fails(LIST + "config.parse()\n")
    assert message in text
    assert "tilt_config.json" in text


def test_words_without_a_taker_are_refused(project: Project) -> None:
    assert "the file takes none: [a]" in project.fails("config.parse()\n", "a")


def test_without_profiles_and_settings_words_select_resources(project: Project) -> None:
    assert project.evaluate("local_resource('a', 'true')\n", "a", "b").selected == ("a", "b")


def test_a_profile_is_on_when_it_was_given(project: Project) -> None:
    source = "if profile('triggers', 'broken pods'): local_resource('a', 'true')\n"
    off = project.evaluate(source)
    assert not off.locals
    assert [(p.name, p.help, p.active) for p in off.profiles] == [
        ("triggers", "broken pods", False)
    ]
    on = project.evaluate(source, "triggers")
    assert len(on.locals) == 1
    assert on.selected == ()


def test_an_unknown_profile_is_refused_with_those_there_are(project: Project) -> None:
    lines = project.fails("profile('triggers')\nprofile('load')\n", "trigers").split("\n")
    assert lines[0] == "Kindlingfile: `trigers` is not a profile of this file"
    assert lines[1] == "  known: [triggers, load]"
    assert lines[2] == "  Did you mean `triggers`?"


def test_profiles_and_settings_share_the_words(project: Project) -> None:
    project.evaluate(LIST + "print(config.parse(), profile('x'))\n", "a", "x")
    assert project.printed == ['{"p": ["a"]} True']


def test_a_profile_before_the_dashes_is_a_mistake(project: Project) -> None:
    project.given(names=("triggers",))
    assert "stands before `--`" in project.fails("profile('triggers')\n")


def test_enabled_resources_are_kept_as_said(project: Project) -> None:
    assert project.evaluate("").enabled.mode is EnabledMode.ALL
    only = project.evaluate("config.set_enabled_resources(['a'])\n").enabled
    assert (only.mode, only.names) == (EnabledMode.ONLY, ("a",))
    assert project.evaluate("config.set_enabled_resources([])\n").enabled.mode is EnabledMode.ALL
    cleared = project.evaluate("config.clear_enabled_resources()\n").enabled
    assert cleared.mode is EnabledMode.NONE


def test_the_file_can_tell_what_is_being_done(project: Project) -> None:
    project.given(subcommand="down")
    project.evaluate("print(config.subcommand, config.tilt_subcommand)\n")
    assert project.printed == ["down down"]


def test_a_flag_that_nobody_takes_is_refused(project: Project) -> None:
    error = project.error("local_resource('a', 'true')\n", "--fast")
    assert not isinstance(error, UsageError)
    assert "`--fast` is given after `--`" in error.message
