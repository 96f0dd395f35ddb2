"""The Kindlingfile: what is right, what is wrong, and what a session does about it."""

from __future__ import annotations

import json
import os

import pytest

from kindling.engine.notices import KindlingfileFailed, KindlingfileLoaded, NodeStatus
from kindling.engine.planning import load_graph
from kindling.testing.outside import Outside
from kindling.testing.workbench import Running, Workbench

MAP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: %s}
data: {a: "%s"}
"""


def loads(session: Running, mark: int) -> int:
    """How many evaluations succeeded since."""
    return sum(isinstance(n, KindlingfileLoaded) for n in session.since(mark).notices)


def failures(session: Running, mark: int) -> list[str]:
    """The errors of the evaluations that failed since."""
    return [n.text for n in session.since(mark).notices if isinstance(n, KindlingfileFailed)]


async def refused(bench: Workbench, text: str, *names: str, words: tuple[str, ...] = ()) -> str:
    """The error of a session that ends by itself with exit code 2, having run nothing."""
    bench.write("Kindlingfile", text)
    result = await bench.run("up", *names, words=words)
    assert result.exit_code == 2, result.explain()
    assert not result.ran
    [failed] = [n for n in result.notices if isinstance(n, KindlingfileFailed)]
    return failed.text


async def test_no_kindlingfile_is_one_line_and_up_waits_for_one(bench: Workbench) -> None:
    """Given a folder without a Kindlingfile, when `up` begins, then it says in one line which path
    is missing, and once the file is there it is used (behaviour 1)."""
    async with bench.up() as session:
        [error] = await session.until(lambda: failures(session, 0))
        first, *more = error.splitlines()
        assert str(bench.root) in error
        assert "Kindlingfile" in first
        assert len(more) <= 1, error
        bench.write("Kindlingfile", 'local_resource("a", cmd = "true")\n')
        (await session.settled("local:a")).assert_ran("local:a")


async def test_a_syntax_error_leaves_what_runs_and_what_is_applied_alone(
    bench: Workbench, outside: Outside
) -> None:
    """Given a session at rest, when an edit breaks the file, then the error names file and line,
    servers go on and no object is written or deleted; when the edit is taken back, then nothing
    runs (behaviours 2 and 3)."""
    bench.write("map.yaml", MAP % ("settings", "1"))
    good = (
        'k8s_yaml("map.yaml")\nlocal_resource("s", serve_cmd = "echo $$ > pid; exec sleep 1000")\n'
    )
    bench.write("Kindlingfile", good)
    async with bench.up() as session:
        await session.settled("serve:s", "apply:uncategorized")
        await session.until(lambda: (bench.root / "pid").exists() and bench.read("pid"))
        pid, written = bench.read("pid"), outside.writes()
        mark = session.mark()
        bench.write("Kindlingfile", good + "k8s_yaml(\n")
        [error] = await session.until(lambda: failures(session, mark))
        assert error.startswith("Kindlingfile:3:"), error
        mark = session.mark()
        bench.write("Kindlingfile", good)
        await session.until(lambda: loads(session, mark))
        session.since(mark).assert_only_ran()
        assert session.result.views["serve:s"].status is NodeStatus.DONE
        os.kill(int(pid), 0)  # raises where there is no such process
        assert outside.writes() == written


async def test_a_file_that_two_others_load_is_executed_once(bench: Workbench) -> None:
    """Given a file loaded by two others, when the Kindlingfile is evaluated, then it is executed
    once and both have the same values of it (behaviour 4)."""
    bench.write("common.star", 'print("hello from common")\nnames = ["x"]\n')
    bench.write("a.star", 'load("common.star", "names")\na = names\n')
    bench.write("b.star", 'load("common.star", "names")\nb = names\n')
    bench.write(
        "Kindlingfile",
        'load("a.star", "a")\nload("b.star", "b")\nlocal_resource("-".join(a + b), cmd = "true")\n',
    )
    result = await bench.run("up")
    result.assert_only_ran("local:x-x")
    assert sum("hello from common" in line for line in result.messages) == 1


async def test_files_that_load_each_other_are_both_named(bench: Workbench) -> None:
    """Given two files that load each other, when the Kindlingfile is evaluated, then the error
    speaks of a circle and names both (behaviour 5)."""
    bench.write("a.star", 'load("b.star", "b")\na = 1\n')
    bench.write("b.star", 'load("a.star", "a")\nb = 1\n')
    error = await refused(bench, 'load("a.star", "a")\n')
    assert "circ" in error.lower()
    assert "a.star" in error
    assert "b.star" in error


CONFIGURED = """
config.define_string_list("p", args = True)
config.define_string("name")
cfg = config.parse()
local_resource("show", cmd = ["echo", str(sorted(cfg.items()))])
"""


async def test_words_after_the_dashes_are_the_positional_setting(bench: Workbench) -> None:
    """Given a setting that takes the words, when `up -- triggers` runs, then `parse()` gives it the
    list of them, and a setting that nobody set is absent (behaviours 6 and 7)."""
    bench.write("Kindlingfile", CONFIGURED)
    result = await bench.run("up", words=("triggers",))
    assert result.log("local:show") == ['[("p", ["triggers"])]']


async def test_the_command_line_wins_over_the_settings_file(bench: Workbench) -> None:
    """Given a setting in the JSON file and on the command line, when it is parsed, then the command
    line wins, and what only the file says counts too (behaviour 7)."""
    bench.write("Kindlingfile", CONFIGURED)
    bench.write("tilt_config.json", json.dumps({"name": "file", "p": ["from-file"]}))
    result = await bench.run("up", words=("--name", "line"))
    assert result.log("local:show") == ['[("name", "line"), ("p", ["from-file"])]']


async def test_an_unknown_flag_shows_the_usage(bench: Workbench) -> None:
    """Given a file with settings, when an unknown flag is given, then the error is the usage and
    the exit code that of wrong usage (behaviour 8)."""
    error = await refused(bench, CONFIGURED, words=("--nome", "x"))
    assert "nome" in error
    assert "--name" in error


async def test_words_select_resources_where_nothing_parses_them(bench: Workbench) -> None:
    """Given a file that neither parses settings nor has profiles, when `up -- a b` runs, then just
    these and what they depend on take part, and an unknown name lists those there are
    (behaviour 9)."""
    text = "\n".join(
        [
            'local_resource("base", cmd = "true")',
            'local_resource("a", cmd = "true", resource_deps = ["base"])',
            'local_resource("b", cmd = "true")',
            'local_resource("other", cmd = "true")',
        ]
    )
    bench.write("Kindlingfile", text)
    (await bench.run("up", words=("a", "b"))).assert_only_ran("local:base", "local:a", "local:b")
    (await bench.run("up", "other")).assert_only_ran("local:other")
    error = await refused(bench, text, words=("c",))
    for name in ("base", "other"):
        assert name in error


async def test_a_file_that_was_missing_is_watched_for(bench: Workbench) -> None:
    """Given a path read with a default that is not there, when the file is made later, then the
    Kindlingfile is evaluated again and has its content (behaviour 11)."""
    bench.write(
        "Kindlingfile",
        'text = str(read_file("later.txt", default = "nothing"))\n'
        'local_resource("show", cmd = ["echo", text])\n',
    )
    async with bench.up() as session:
        await session.settled("local:show")
        assert session.result.log("local:show") == ["nothing"]
        mark = session.mark()
        bench.write("later.txt", "something")
        await session.until(lambda: session.since(mark).log("local:show") == ["something"])


async def test_a_command_of_the_file_that_fails_shows_itself_and_its_output(
    bench: Workbench,
) -> None:
    """Given `local()` of a command that exits with 3, when the file is evaluated, then the error
    has command, code and output, each once however quiet it is (behaviour 12)."""
    error = await refused(bench, 'local("echo out of luck; exit 3", quiet = True)\n')
    assert "echo out of luck; exit 3" in error
    assert "3" in error
    assert [line.strip() for line in error.splitlines()].count("out of luck") == 1


async def test_a_context_that_is_not_local_is_refused_before_anything_happens(
    bench: Workbench, outside: Outside
) -> None:
    """Given a current context of a cluster that is not local, when `up` runs, then it is refused
    with what would allow it, `local()` has not run and nothing was applied; allowed by name, it
    works (behaviour 13)."""
    outside.stand_before(bench, "production")
    bench.write("map.yaml", MAP % ("settings", "1"))
    error = await refused(bench, 'k8s_yaml("map.yaml")\n')
    assert 'allow_k8s_contexts("production")' in error
    error = await refused(bench, 'local("touch ran")\nk8s_yaml("map.yaml")\n')
    assert "production" in error
    assert not (bench.root / "ran").exists()
    assert not outside.writes()
    bench.write("Kindlingfile", 'allow_k8s_contexts("production")\nk8s_yaml("map.yaml")\n')
    assert (await bench.run("up")).exit_code == 0
    assert outside.writes() == ["apply ConfigMap/settings"]


async def test_live_update_steps_are_checked_where_they_stand(bench: Workbench) -> None:
    """Given a step that nothing uses, one outside the build context, or a `run` before a `sync`,
    when the file is evaluated, then the error stands at its line and says which (behaviours 14 to
    16)."""
    bench.write("web/Dockerfile", "FROM scratch\n")
    error = await refused(bench, 'x = 1\nsync("web", "/app")\n')
    assert error.startswith("Kindlingfile:2:1: ")
    image = 'docker_build("web", "web", live_update = [%s])\n'
    error = await refused(bench, image % 'sync("other", "/app")')
    assert "`other`" in error
    assert "[web]" in error
    error = await refused(bench, image % 'run("make"), sync("web", "/app")')
    assert error.startswith("Kindlingfile:1:")
    assert "`sync` comes after `run`" in error


POD_TEMPLATE = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: %s}
spec:
  selector: {matchLabels: {app: x}}
  template:
    metadata: {labels: {app: x}}
    spec:
      containers:
      - {name: main, image: %s}
"""


async def test_dependencies_in_a_circle_are_printed_as_a_path(bench: Workbench) -> None:
    """Given resources that wait for each other, or for themselves, when the file is evaluated, then
    the error prints the way around; an unknown dependency is a mere warning (behaviour 17)."""
    declare = 'local_resource("%s", cmd = "true", resource_deps = ["%s"])\n'
    error = await refused(bench, declare % ("a", "b") + declare % ("b", "a"))
    assert "a -> b -> a" in error or "b -> a -> b" in error
    error = await refused(bench, declare % ("a", "a"))
    assert "a" in error
    assert "itself" in error
    bench.write("Kindlingfile", declare % ("a", "nobody"))
    result = await bench.run("up")
    assert result.exit_code == 0, result.explain()
    result.assert_ran("local:a")
    assert any("nobody" in message for message in result.messages)


async def test_an_object_twice_cites_both_places(bench: Workbench, outside: Outside) -> None:
    """Given the same object in two files, when the file is evaluated, then the error cites both;
    with `allow_duplicates` the later one is applied (behaviour 18)."""
    bench.write("one.yaml", MAP % ("settings", "1"))
    bench.write("two.yaml", MAP % ("settings", "2"))
    error = await refused(bench, 'k8s_yaml("one.yaml")\nk8s_yaml("two.yaml")\n')
    assert "settings" in error
    assert "Kindlingfile:1" in error
    assert "Kindlingfile:2" in error
    bench.write(
        "Kindlingfile", 'k8s_yaml("one.yaml")\nk8s_yaml("two.yaml", allow_duplicates = True)\n'
    )
    assert (await bench.run("up")).exit_code == 0
    [live] = outside.cluster.objects("ConfigMap")
    assert live["data"] == {"a": "2"}


@pytest.mark.usefixtures("outside")
async def test_a_selector_names_exactly_one_object(bench: Workbench) -> None:
    """Given a selector that fits two objects, when the file is evaluated, then the error lists
    both; the beginning of a name fits none (behaviour 19)."""
    bench.write("web.yaml", POD_TEMPLATE % ("web", "busybox"))
    bench.write("settings.yaml", MAP % ("settings", "1"))
    bench.write("secret.yaml", (MAP % ("settings", "1")).replace("ConfigMap", "ServiceAccount"))
    text = 'k8s_yaml(["web.yaml", "settings.yaml", "secret.yaml"])\n'
    error = await refused(bench, text + 'k8s_resource("web", objects = ["settings"])\n')
    assert "settings:configmap" in error.lower()
    assert "settings:serviceaccount" in error.lower()
    error = await refused(bench, text + 'k8s_resource("web", objects = ["sett"])\n')
    assert "sett" in error


async def test_a_custom_kind_gets_its_image_where_the_file_says(
    bench: Workbench, outside: Outside
) -> None:
    """Given a custom kind declared with the path of its image, when it is applied, then it is a
    resource of its own and the path holds the built image (behaviour 20)."""
    outside.cluster.add_kind("example.com/v1", "App")
    bench.write("app/Dockerfile", "FROM scratch\n")
    bench.write(
        "app.yaml",
        "apiVersion: example.com/v1\nkind: App\nmetadata: {name: shop}\nspec: {image: app}\n",
    )
    bench.write(
        "Kindlingfile",
        'k8s_kind("App", image_json_path = "{.spec.image}", pod_readiness = "ignore")\n'
        'docker_build("app", "app")\nk8s_yaml("app.yaml")\n',
    )
    result = await bench.run("up")
    assert result.exit_code == 0, result.explain()
    result.assert_ran("image:app", "apply:shop")
    [live] = outside.cluster.objects("App")
    assert live["spec"]["image"].startswith(f"{outside.registry}/app:kindling-")


@pytest.mark.usefixtures("outside")
async def test_values_of_secrets_reach_no_log(bench: Workbench) -> None:
    """Given a manifest with a secret of more than five characters, when any step prints it, plain
    or base64, then every log and the files of the session have its name only (behaviour 21)."""
    bench.write(
        "secret.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: creds}\n"
        "stringData: {token: s3cr3t-value}\n",
    )
    bench.write(
        "Kindlingfile",
        'k8s_yaml("secret.yaml")\n'
        'local_resource("leak", cmd = "echo s3cr3t-value; printf s3cr3t-value | base64")\n'
        'local_resource("fail", cmd = "echo s3cr3t-value >&2; exit 1")\n',
    )
    result = await bench.run("up")
    assert result.log("local:leak") == ["[redacted secret creds:token]"] * 2
    result.assert_failed("local:fail", "[redacted secret creds:token]")
    assert "s3cr3t-value" not in repr(result.notices)
    found = [p for p in (bench.root / ".kindling").rglob("*") if p.is_file()]
    for path in found:
        content = path.read_bytes()
        assert b"s3cr3t-value" not in content, path
        assert b"czNjcjN0LXZhbHVl" not in content, path


async def test_fail_anywhere_fails_everything_and_exit_keeps_what_was_declared(
    bench: Workbench,
) -> None:
    """Given `fail()` in a loaded file, when the Kindlingfile is evaluated, then nothing of it
    counts; `exit()` ends the evaluation and keeps what was declared up to it (behaviour 22)."""
    before = 'local_resource("before", cmd = "true")\n'
    after = 'load("other.star", "x")\nlocal_resource("after", cmd = "true")\n'
    bench.write("other.star", 'fail("not on a Sunday")\nx = 1\n')
    error = await refused(bench, before + after)
    assert "not on a Sunday" in error
    assert "other.star:1" in error
    bench.write("Kindlingfile", before + "exit()\n" + 'local_resource("after", cmd = "true")\n')
    (await bench.run("up")).assert_only_ran("local:before")


async def test_the_same_file_twice_is_the_same_graph(bench: Workbench) -> None:
    """Given a Kindlingfile, when it is evaluated twice, then nodes, order, specs and edges are
    equal (upstream checklist 2)."""
    bench.write("base/Dockerfile", "FROM scratch\n")
    bench.write("web/Dockerfile", "FROM base\n")
    bench.write("web.yaml", POD_TEMPLATE % ("web", "web"))
    bench.write(
        "Kindlingfile",
        'docker_build("web", "web")\ndocker_build("base", "base")\nk8s_yaml("web.yaml")\n'
        'local_resource("a", cmd = "true", resource_deps = ["web"])\n',
    )
    options = bench.options("plan")
    first, _ = await load_graph(options, bench.environment)
    again, _ = await load_graph(options, bench.environment)
    assert first.graph.order == again.graph.order
    for id_ in first.graph.order:
        assert first.graph[id_] == again.graph[id_]
        assert first.graph.predecessors(id_) == again.graph.predecessors(id_)


async def test_nothing_is_written_but_the_state_folder_and_what_commands_write(
    bench: Workbench, outside: Outside
) -> None:
    """Given a project and an empty home, when `up` and `ci` ran, then the only new files are below
    `.kindling` or made by the file's own commands (upstream checklist 19)."""
    bench.write("map.yaml", MAP % ("settings", "1"))
    bench.write(
        "Kindlingfile",
        'k8s_yaml("map.yaml")\nlocal_resource("gen", cmd = "echo 1 > out", outputs = ["out"])\n',
    )
    (bench.root / "home").mkdir()
    bench.environment["HOME"] = str(bench.root / "home")

    def files() -> set[str]:
        found = (path.relative_to(bench.root) for path in bench.root.rglob("*"))
        return {str(path) for path in found if path.parts[0] != ".kindling"}

    before = files()
    assert (await bench.run("up")).exit_code == 0
    assert (await bench.run("ci")).exit_code == 0
    assert files() - before == {"out"}
    assert outside.writes() == ["apply ConfigMap/settings"]
