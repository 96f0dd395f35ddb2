"""Every mistake has a place, an excerpt with a caret, the nearest name and no traceback."""

from __future__ import annotations

import pytest

from kindling.errors import ConfigError, InterruptError
from kindling.testing.project import Project


def test_a_syntax_error_points_at_its_place(project: Project) -> None:
    assert project.fails("x = 1 +\n").split("\n") == [
        "Kindlingfile:1:8: Unexpected end of the line",
        "  1 | x = 1 +",
        "    |        ^",
    ]


@pytest.mark.parametrize(
    ("source", "message", "hint"),
    [
        ("x = 1\ny = (1,\n  {2: 3},\n", "2:5: This `(` is never closed", ""),
        ("x = [1\n\n\n", "1:5: This `[` is never closed", ""),
        ("f('a'\ng('x')\n", "2:1: Unexpected identifier 'g'", "`(` at Kindlingfile:1:2"),
        ("x = {\n 'a': 1\n 'b': 2,\n}\n", "3:2: Unexpected", "a comma missing?"),
        ("x = 1\ndef f():\n\n", "2:9: The file ends too early", "indented more"),
        ("if True:\nprint(1)\n", "2:1: Unexpected identifier", "indented more"),
        ("for i in range(3)\n  print(i)\n", "1:18: Unexpected end of the line", "a `:` at its end"),
        ("x = 1\n  y = 2\n", "2:1: This line is indented more than the one before it", ""),
        ("import os\n", "1:1: Starlark has no `import`", "`load("),
    ],
)
def test_a_text_that_breaks_off_points_at_what_was_left_open(
    project: Project, source: str, message: str, hint: str
) -> None:
    text = project.fails(source)
    assert text.startswith(f"Kindlingfile:{message}")
    assert hint in text
    assert "^" in text


def test_an_unknown_parameter_names_the_nearest(project: Project) -> None:
    lines = project.fails("x = 1\nlocal_resource('a', cmdd = 'go build')\n").split("\n")
    assert lines[0] == "Kindlingfile:2:1: `local_resource` has no parameter `cmdd`"
    assert lines[1] == "  2 | local_resource('a', cmdd = 'go build')"
    assert lines[2].strip(" |") == "^" * len("local_resource('a', cmdd = 'go build')")
    assert lines[-1] == "  Did you mean `cmd`?"


def test_a_parameter_that_is_missing_for_a_slip_names_the_slip(project: Project) -> None:
    lines = project.fails("x = [\n  service('a', 'nginx', prot = 80),\n]\n").split("\n")
    assert lines[0] == "Kindlingfile:2:3: `service` needs `port`, which is not given"
    assert lines[-1] == "  It has no `prot`. Did you mean `port`?"
    missing = project.fails("service('a', port = 80, replicas = 2)\n").split("\n")
    assert missing[0] == "Kindlingfile:1:1: `service` needs `image`, which is not given"
    assert "Did you mean" not in "".join(missing)


def test_functions_of_a_group_keep_their_name(project: Project) -> None:
    assert project.fails("os.getenv()\n").startswith(
        "Kindlingfile:1:1: `os.getenv` needs `key`, which is not given"
    )
    assert "Did you mean `getenv`?" in project.fails("os.getnev('x')\n")


def test_all_unknown_names_are_told_together(project: Project) -> None:
    text = project.fails("docker_biuld('a', '.')\nx = 1\ndef f():\n  return k8s_yml('b') + y\n")
    assert text.startswith("Kindlingfile:1:1: `docker_biuld` is not defined")
    assert "Did you mean `docker_build`?" in text
    assert "Kindlingfile:4:10: `k8s_yml` is not defined. Did you mean `k8s_yaml`?" in text
    assert "Kindlingfile:4:25: `y` is not defined" in text


def test_a_mistake_in_a_function_says_who_called(project: Project) -> None:
    text = project.fails("def service(n):\n  local_resource(n)\n\nservice('a')\n")
    assert text.startswith("Kindlingfile:2:3: local_resource `a` has no command")
    assert "called from Kindlingfile:4" in text


def test_lines_are_the_users_after_a_rewriting(project: Project) -> None:
    text = project.fails("x = 0\nwhile x < 1:\n  x += 1\nfail('here')\n")
    assert text.startswith("Kindlingfile:4:1: here\n  4 | fail('here')")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("local_resource(3, 'x')", "`local_resource(name=)` wants a text, not a number: 3"),
        ("local_resource('a', 'x', deps=[1])", "`local_resource(deps=)` wants a list of texts"),
        ("local_resource('a', 'x', env=['b'])", "`local_resource(env=)` wants a dict of texts"),
        ("local_resource('a', 'x', links=[sync('a', '/b')])", "not a `sync()`"),
        ("local_resource('a', 'x', auto_init='no')", "wants True or False"),
        (
            "local_resource('a', 'x', trigger_mode=1)",
            "wants TRIGGER_MODE_AUTO or TRIGGER_MODE_MANUAL",
        ),
        ("local_resource('a', 'x', labels=['a b'])", "`a b` is not a label"),
        ("local_resource(lambda: 1, 'x')", "A function cannot be an argument here"),
        ("ci_settings(timeout='soon')", "wants a duration such as `90s` or `1h30m`"),
        ("update_settings(max_parallel_updates=0)", "must be at least 1"),
        ("k8s_resource('a', port_forwards='x:y:z')", "wants ports such as"),
        ("k8s_resource('a', port_forwards=99999)", "99999 is not a port"),
        ("k8s_resource('a', pod_readiness='wiat')", "Did you mean `wait`?"),
        ("docker_build('Api', '.')", "names are lower case"),
        ("cluster(provider='contxt')", "Did you mean `context`?"),
        ("cluster(provider='kind')", "kindling does not create kind clusters"),
        ("1 + 'a'", "Operation `+` not supported"),
        ("{'a': 1}['b']", 'Key `"b"` was not found'),
        ("None.x", "`None` has no attribute `x`"),
        ("def f(): return f()\nf()", "Calls are nested more than 1,000 deep"),
        ("load('@kindling', 'kf_os')", "`@kindling` is private to kindling"),
        ("k8s_yaml('no.yaml')", "`no.yaml` does not exist"),
        ("k8s_yaml(blob('- 1'))", "something that is no object"),
        ("read_file('.')", "`.` is a folder, not a file"),
        ("os.path.join('a', 3)", "wants a list of texts"),
        ("x = " + "[" * 300 + "]" * 300, "Brackets are nested more than 200 deep"),
        ("decode_yaml('[' * 100000)", "is nested too deep"),
        ("decode_yaml('- ' * 100000)", "is nested too deep"),
        ("decode_json('[' * 100000)", "is nested too deep"),
        ("print(decode_yaml('a: &a [*a]'))", "nested too deep, or contains itself"),
        ("read_file('a\\0b')", "A path holds a zero byte"),
        ("local(['echo', '\\0'])", "a text holds a zero byte"),
        ("k8s_yaml('a: 1\\nb: 2')", "Wrap contents in `blob(...)`"),
        ("encode_json(sync('a', '/b'))", "wants texts, numbers, lists and dicts"),
    ],
)
def test_mistakes_are_told_plainly(project: Project, source: str, message: str) -> None:
    error = project.error(source + "\n")
    text = error.render()
    assert error.message.startswith("Kindlingfile:"), text
    assert message in text
    assert "Traceback" not in text
    assert "inside kindling" not in text
    assert "native" not in text


def test_an_endless_loop_is_stopped(project: Project) -> None:
    project.given(time_limit=0.2)
    text = project.fails("while True:\n  pass\n")
    assert "Evaluation has taken more than 0.2 s" in text
    assert text.startswith("Kindlingfile:")


def test_a_cancelled_evaluation_is_no_mistake_of_the_file(project: Project) -> None:
    project.given(cancelled=lambda: True)
    assert isinstance(project.error("for i in range(1000000000): pass\n"), InterruptError)


def test_a_failure_of_ours_is_no_traceback(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kindling.lang.native import table

    def broken(call: object, *_: object) -> None:  # noqa: ARG001
        raise RuntimeError("gears")

    monkeypatch.setitem(table.NATIVES, "watch_file", broken)
    error = project.error("watch_file('x')\n")
    assert isinstance(error, ConfigError)
    assert "`watch_file` failed inside kindling: RuntimeError: gears" in error.message
    assert "bug in kindling" in error.hint


@pytest.mark.parametrize(
    "source",
    [
        "docker_compose('x.yml')",
        "dc_resource('x')",
        "v1alpha1.extension_repo(name='x', url='y')",
        "local_git_repo('.')",
    ],
)
def test_names_that_only_tilt_has_stop_with_one_line(project: Project, source: str) -> None:
    message = project.error(f"x = 1\n{source}\n").message
    name = source.partition("(")[0]
    assert message == f"Kindlingfile:2:1: `{name}` is Tilt's, and kindling does not have it"


def test_settings_that_mean_nothing_are_ignored_with_one_notice_each(project: Project) -> None:
    declared = project.evaluate(
        "analytics_settings(True)\nset_team('a')\nset_team('b')\ndisable_snapshots()\n"
        "docker_prune_settings(disable=True)\nexperimental_metrics_settings(enabled=True)\n"
    )
    assert len(declared.remarks) == 5
    assert not any(remark.warning for remark in declared.remarks)
