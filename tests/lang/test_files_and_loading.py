"""Files that load, include and read others."""

from __future__ import annotations

from kindling.lang.declared import WatchIgnore
from kindling.lang.evaluate import attempt
from kindling.lang.inputs import EvaluationInputs
from kindling.testing.project import Project


def test_a_missing_kindlingfile_is_one_line_that_names_the_folder(project: Project) -> None:
    result = attempt(project.root / "Kindlingfile", EvaluationInputs())
    assert result.error is not None
    assert result.error.message == f"There is no Kindlingfile in {project.root}"
    assert result.reads.paths == ("Kindlingfile",), "its appearance is worth a new evaluation"


def test_a_file_that_two_others_load_runs_once(project: Project) -> None:
    project.write("shared.star", "print('ran')\nvalue = 7\n")
    project.write("a.star", "load('./shared.star', 'value')\na = value\n")
    project.write("b.star", "load('./shared.star', 'value')\nb = value\n")
    project.evaluate("load('./a.star', 'a')\nload('./b.star', 'b')\nprint(a + b)\n")
    assert project.printed == ["ran", "14"]


def test_files_that_load_each_other_are_named(project: Project) -> None:
    project.write("a", "load('./b', 'x')\n")
    project.write("b", "load('./a', 'x')\n")
    text = project.fails("load('./a', 'x')\n")
    assert text.startswith("b:1:6: Files load each other in a circle: a -> b -> a")


def test_a_function_of_a_loaded_file_sees_paths_from_its_caller(project: Project) -> None:
    """Tilt's rule: the folder of the file that is executing, not of the one that defines."""
    project.write(
        "sub/lib.star", "here = read_file('x.txt')\ndef get(): return read_file('x.txt')\n"
    )
    project.write("sub/x.txt", "sub")
    project.write("x.txt", "root")
    project.evaluate("load('./sub/lib.star', 'get', 'here')\nprint(here, get())\n")
    assert project.printed == ["sub root"]


def test_an_included_file_sees_paths_from_its_own_folder(project: Project) -> None:
    project.write("sub/Tiltfile", "local_resource('x', 'true', deps=['src'])\n")
    declared = project.evaluate("include('./sub')\ninclude('./sub/Tiltfile')\n")
    assert [one.files.paths for one in declared.locals] == [("sub/src",)]
    assert declared.locals[0].dir == "sub"
    assert declared.locals[0].where.file == "sub/Tiltfile"


def test_load_dynamic_gives_values_and_functions(project: Project) -> None:
    project.write("x.star", "k = [1]\n_private = 2\ndef f(a, name='n'): return [a, name]\n")
    project.evaluate(
        "d = load_dynamic('./x' + '.star')\nprint(d['k'], d['f'](1, name='m'), sorted(d.keys()))\n"
    )
    assert project.printed == ['[1] [1, "m"] ["f", "k"]']


def test_load_dynamic_gives_values_of_a_file_that_ran_before(project: Project) -> None:
    project.write("x.star", "k = {'a': [1]}\nif k:\n  def f(): return 3\nelse:\n  z = 1\n")
    project.evaluate(
        "include('./x.star')\nd = load_dynamic('./x.star')\nprint(d['k'], sorted(d))\n"
    )
    assert project.printed == ['{"a": [1]} ["f", "k"]']


def test_a_missing_file_is_named_where_it_is_loaded(project: Project) -> None:
    text = project.fails("x = 1\nload('./nothing', 'x')\n")
    assert text.startswith("Kindlingfile:2:6: `nothing` cannot be read: No such file or directory")


def test_a_file_may_redefine_a_builtin_for_itself(project: Project) -> None:
    project.write("lib.star", "def go(): return type(blob('x'))\n")
    project.evaluate("load('./lib.star', 'go')\ndef blob(x): return 3\nprint(blob(1), go())\n")
    assert project.printed == ["3 blob"]


def test_names_of_the_language_are_not_exported_by_a_file(project: Project) -> None:
    project.write("lib.star", "x = 1\n")
    assert "docker_build" in project.fails("load('./lib.star', 'docker_build')\n")


def test_a_missing_file_with_a_default_is_watched(project: Project) -> None:
    declared = project.evaluate("print(read_file('later.txt', default='none'))\n")
    assert project.printed == ["none"]
    assert "later.txt" in declared.reads.paths


def test_a_missing_file_without_a_default_stops(project: Project) -> None:
    assert project.fails("read_file('later.txt')\n").startswith(
        "Kindlingfile:1:1: `later.txt` does not exist"
    )


def test_a_failed_evaluation_says_what_it_read(project: Project) -> None:
    project.write("a.star", "read_file('x.txt', default='')\nfail('no')\n")
    file = project.write("Kindlingfile", "load('./a.star', 'x')\n")
    result = attempt(file, EvaluationInputs())
    assert result.error is not None
    assert {"Kindlingfile", "a.star", "x.txt"} <= set(result.reads.paths)


def test_fail_in_a_loaded_file_fails_everything(project: Project) -> None:
    project.write("lib.star", "fail('not today')\n")
    assert project.fails("load('./lib.star', 'x')\n").startswith("lib.star:1:1: not today")


def test_exit_keeps_what_was_declared_however_deep(project: Project) -> None:
    project.write("lib.star", "def stop():\n  exit('enough')\n")
    declared = project.evaluate(
        "load('./lib.star', 'stop')\nlocal_resource('a', 'true')\nstop()\nfail('unreachable')\n"
    )
    assert declared.stopped_early
    assert [one.name for one in declared.locals] == ["a"]
    assert project.printed == ["enough"]


def test_structured_text_goes_both_ways(project: Project) -> None:
    project.write("x.yaml", "a: 1\nport: 12:30\nwhen: 2020-01-01\non: yes\n---\nb: [0o17, 1e3]\n")
    project.evaluate(
        "print(read_yaml_stream('x.yaml'))\n"
        "print(decode_json('{\"a\": [1, null]}'))\n"
        "print(str(encode_yaml({'b': 1, 'a': [1]})).replace('\\n', '|'))\n"
        "print(decode_yaml(encode_yaml({'x': blob('y')})), type(encode_json([])))\n"
    )
    assert project.printed == [
        '[{"a": 1, "port": "12:30", "when": "2020-01-01", "True": True}, {"b": [15, 1000.0]}]',
        '{"a": [1, None]}',
        "a:|- 1|b: 1|",
        '{"x": "y"} blob',
    ]


def test_what_is_not_yaml_is_located(project: Project) -> None:
    project.write("x.yaml", "a: [1\nb: 2\n")
    text = project.fails("read_yaml('x.yaml')\n")
    assert text.startswith("Kindlingfile:1:1: x.yaml:2:")
    assert "is not YAML" in text


def test_listdir_gives_absolute_paths_and_watches_only_when_recursive(project: Project) -> None:
    project.write("d/b.txt", "")
    project.write("d/e/c.txt", "")
    declared = project.evaluate("print(listdir('d'))\n")
    assert project.printed == [f'["{project.root}/d/b.txt"]']
    assert "d" not in declared.reads.paths
    assert [glance.path for glance in declared.glances] == ["d"]
    declared = project.evaluate("print(len(listdir('d', recursive=True)))\n")
    assert project.printed[-1] == "2"
    assert "d" in declared.reads.paths


def test_while_tabs_and_sets_of_tilt_files_run(project: Project) -> None:
    project.evaluate(
        "def f():\n\tx = 0\n\twhile x < 3:\n\t\tx += 1\n\treturn x\n"
        "print(f(), sorted(set([1, 2, 2]) - set([1])), sorted(set([1]) | set([2])))\n"
    )
    assert project.printed == ["3 [2] [1, 2]"]


def test_the_file_knows_where_it_is(project: Project) -> None:
    project.evaluate("print(__file__, __name__, config.main_dir == os.getcwd())\n")
    assert project.printed == [f"{project.root}/Kindlingfile __main__ True"]


def test_ignore_files_beside_the_main_file_count_even_for_a_failure(project: Project) -> None:
    """A session whose file fails must not wake itself by what was ignored before."""
    project.write(".tiltignore", "# tmp\ntmp/\n")
    project.write(".kindlingignore", "*.log\n")
    declared = project.evaluate("watch_settings(ignore='x')\n")
    wanted = (WatchIgnore(".", ("*.log",)), WatchIgnore(".", ("tmp/",)))
    assert declared.settings.watch_ignores == (*wanted, WatchIgnore(".", ("x",)))
    file = project.write("Kindlingfile", "fail('no')\n")
    assert attempt(file, EvaluationInputs()).watch_ignores == wanted
