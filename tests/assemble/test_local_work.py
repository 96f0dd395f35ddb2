"""local_resource and test, what they wait for, and edges that nobody wrote."""

from __future__ import annotations

from typing import Any

import pytest

from kindling.errors import ConfigError, GraphError
from kindling.graph.node import EdgeKind, FileSet, IgnoreRule, Kind, Trigger
from kindling.graph.spec import CommandSpec, ServeSpec
from kindling.lang.declared import Enabled, EnabledMode, Link, PortForward, Remark
from kindling.testing.declaring import Said, deployment, thing


def test_a_file_with_local_work_alone_has_no_cluster() -> None:
    said = Said()
    said.local("gen", "kubectl version")
    said.test("check")
    built = said.assemble()
    assert built.ids == ["local:gen", "test:check"]
    assert built.assembly.cluster is None
    assert built.before("local:gen") == {}


def test_a_command_and_a_server_are_two_nodes_of_one_resource() -> None:
    said = Said()
    said.local(
        "site", "build", ("src",), serve_argv=("serve",), links=(Link("http://x"),), labels=("web",)
    )
    built = said.assemble()
    command, server = built.node("local:site"), built.node("serve:site")
    assert command.spec == CommandSpec(("sh", "-c", "build"))
    assert server.spec == ServeSpec(("serve",))
    assert command.files == server.files == (FileSet(("src",)),)
    assert built.edge("local:site", "serve:site") is EdgeKind.CONTENT
    assert command.exclusive
    assert not server.exclusive
    assert (command.links, server.links) == ((), (("http://x", ""),))
    assert command.labels == server.labels == ("web",)
    assert [e.url for e in built.assembly.endpoints] == ["http://x"]


def test_a_mere_server_has_no_command_node() -> None:
    said = Said()
    said.local("site", "", serve_argv=("serve",))
    assert said.assemble().ids == ["serve:site"]


@pytest.mark.parametrize(
    ("more", "exclusive"),
    [({}, True), ({"allow_parallel": True}, False), ({"outputs": ("bin/a",)}, False)],
)
def test_commands_run_alone_unless_they_say_otherwise(
    more: dict[str, Any], exclusive: bool
) -> None:
    said = Said()
    said.local("a", **more)
    assert said.assemble().node("local:a").exclusive is exclusive


def test_modes_and_limits_are_carried() -> None:
    said = Said()
    said.local("a", trigger=Trigger.MANUAL, auto_init=False)
    said.test("t", timeout=30.0, labels=("x",))
    built = said.assemble()
    assert built.node("local:a").trigger is Trigger.MANUAL
    assert not built.node("local:a").auto_init
    assert built.node("test:t").timeout == 30
    assert not built.node("test:t").exclusive
    assert built.node("test:t").kind is Kind.TEST


# Dependencies -------------------------------------------------------------------------------------


def test_a_dependency_is_ready_when_its_last_node_is() -> None:
    said = Said()
    said.local("db", "make", serve_argv=("serve",))
    said.yaml(deployment("api", "x"))
    said.k8s_resource("api", resource_deps=("db",), port_forwards=(PortForward(80, 80),))
    said.local("after", resource_deps=("api",))
    said.yaml(deployment("web", "x"))
    said.k8s_resource("web", resource_deps=("api",))
    built = said.assemble()
    assert built.before("apply:api") == {"cluster:dev": "ready", "serve:db": "ready"}
    assert built.before("local:after") == {"rollout:api": "ready", "portforward:api-80": "ready"}
    assert built.before("apply:web") == {"cluster:dev": "ready", "rollout:api": "ready"}


def test_a_test_runs_again_when_what_it_tests_changed() -> None:
    said = Said()
    said.local("gen", "make", serve_argv=("serve",))
    said.yaml(deployment("api", "x"))
    said.k8s_resource("api", port_forwards=(PortForward(80, 80),))
    said.test("smoke", resource_deps=("api", "gen"))
    assert said.assemble().before("test:smoke") == {
        "apply:api": "content",
        "rollout:api": "content",
        "portforward:api-80": "ready",
        "local:gen": "content",
        "serve:gen": "content",
    }


def test_an_unknown_dependency_is_warned_about_and_dropped() -> None:
    said = Said()
    said.local("gen")
    said.local("api", resource_deps=("gn",))
    built = said.assemble()
    assert built.before("local:api") == {}
    assert built.warnings() == [
        "Kindlingfile:2:1: resource `api` depends on `gn`, which is not declared; ignored. "
        "Did you mean `gen`?"
    ]


def test_a_dependency_on_itself_is_an_error() -> None:
    said = Said()
    said.local("a", resource_deps=("a",))
    with pytest.raises(ConfigError, match=r"Kindlingfile:1:1: resource `a` depends on itself"):
        said.assemble()


def test_a_cycle_of_dependencies_is_printed_as_a_path() -> None:
    said = Said()
    said.local("z", resource_deps=("a",))
    said.local("a", resource_deps=("b",))
    said.local("b", resource_deps=("c",))
    said.local("c", resource_deps=("a",))
    with pytest.raises(GraphError, match=r"Kindlingfile:4:1: .*: a -> b -> c -> a") as caught:
        said.assemble()
    assert "`b` is declared at Kindlingfile:3:1" in caught.value.details


def test_a_long_chain_of_dependencies_is_no_trouble() -> None:
    said = Said()
    for at in range(3000):
        said.local(f"r{at}", resource_deps=(f"r{at + 1}",) if at < 2999 else ())
    assert len(said.assemble().ids) == 3000


def test_names_are_shared_by_all_resources() -> None:
    said = Said()
    said.local("api")
    said.yaml(deployment("api", "x"))
    with pytest.raises(ConfigError, match=r"already called `api`") as caught:
        said.assemble()
    assert "Kindlingfile" in caught.value.details[0]


# Inferred edges -----------------------------------------------------------------------------------


def test_who_reads_what_another_one_writes_comes_after_it() -> None:
    said = Said()
    said.local("go-build", deps=("cmd",), outputs=("bin/worker",))
    said.custom_build("kpulse", deps=("bin/worker", "Dockerfile.dev"))
    said.docker_build("image", context="bin")
    said.yaml(deployment("kpulse"), deployment("image"))
    said.test("unit", deps=("bin",))
    built = said.assemble()
    for reader in ("image:kpulse", "image:image", "test:unit"):
        assert built.edge("local:go-build", reader) is EdgeKind.CONTENT, reader


def test_a_file_inside_an_output_folder_is_read_from_it() -> None:
    said = Said()
    said.local("gen", outputs=("gen/",))
    said.local("use", deps=("gen/api/types.go",))
    said.local("beside", deps=("generated.go", "gen2"))
    built = said.assemble()
    assert built.edge("local:gen", "local:use") is EdgeKind.CONTENT
    assert built.before("local:beside") == {}


def test_an_output_that_a_reader_ignores_is_no_dependency() -> None:
    said = Said()
    said.local("gen", outputs=("out/bin/x", "../shared/y"))
    ignored = {
        "folder": FileSet((".",), (IgnoreRule(".", ("out",)),)),
        "glob": FileSet((".",), (IgnoreRule(".", ("**/bin",)),)),
        "only": FileSet((".",), only=("src",)),
        "based": FileSet(("out",), (IgnoreRule("out", ("bin/*",)),)),
    }
    for name, files in ignored.items():
        said.add("tests", _test(said, name, files))
    kept = {
        "negated": FileSet((".",), (IgnoreRule(".", ("out", "!out/bin/x")),)),
        "other": FileSet((".",), (IgnoreRule("src", ("out",)),)),
        "only-out": FileSet((".",), only=("out",)),
        "outside": FileSet(("../shared",)),
    }
    for name, files in kept.items():
        said.add("tests", _test(said, name, files))
    built = said.assemble()
    for name in ignored:
        assert built.before(f"test:{name}") == {}, name
    for name in kept:
        assert built.edge("local:gen", f"test:{name}") is EdgeKind.CONTENT, name


def _test(said: Said, name: str, files: FileSet) -> object:
    from kindling.lang.declared import TestDeclaration

    return TestDeclaration(name, said.where(), ("true",), files=files)


def test_a_nodes_own_outputs_are_not_its_inputs() -> None:
    """Else it would be due again as soon as it is done."""
    said = Said()
    said.local("gen", deps=(".",), outputs=("out/*.txt", "../elsewhere"))
    (files,) = said.assemble().node("local:gen").files
    assert files.ignore == (IgnoreRule(".", (r"out/\*.txt",)),)


def test_a_cycle_of_inferred_edges_says_where_they_come_from() -> None:
    said = Said()
    said.local("a", deps=(".",), outputs=("a.out",))
    said.local("b", deps=(".",), outputs=("b.out",))
    with pytest.raises(GraphError, match="a cycle") as caught:
        said.assemble()
    assert "`local:a` reads `.`, and `b.out` is an output of `local:b`" in caught.value.details
    assert "ignore=" in caught.value.hint


def test_commands_that_run_kubectl_run_again_in_another_cluster() -> None:
    said = Said()
    said.yaml(thing("ConfigMap", "c"))
    said.local("bootstrap", "kubectl get ns x || kubectl create ns x")
    said.local("other", "echo kubectl-like")
    built = said.assemble()
    assert built.edge("cluster:dev", "local:bootstrap") is EdgeKind.CONTENT
    assert built.before("local:other") == {}


# Selection ----------------------------------------------------------------------------------------


def project() -> Said:
    said = Said()
    said.docker_build("api")
    said.yaml(
        thing("ConfigMap", "c"), deployment("api"), deployment("db", "x"), deployment("web", "x")
    )
    said.k8s_resource("db", port_forwards=(PortForward(5432, 5432),))
    said.k8s_resource("api", resource_deps=("db",))
    said.local("lint")
    return said


def test_without_names_everything_takes_part() -> None:
    built = project().assemble()
    assert built.assembly.selected == frozenset(built.ids)


def test_names_select_their_resource_whole_and_all_it_depends_on() -> None:
    selected = project().assemble("api").assembly.selected
    assert {"image:api", "rollout:api", "rollout:db", "portforward:db-5432"} <= selected
    assert "apply:uncategorized" in selected
    assert not {"local:lint", "apply:web"} & selected


def test_a_node_id_selects_too_and_local_work_needs_no_cluster() -> None:
    built = project()
    assert built.assemble("local:lint").assembly.selected == {"local:lint"}
    assert "rollout:api" not in built.assemble("push:api").assembly.selected


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(GraphError, match="Nothing is called `apy`") as caught:
        project().assemble("apy")
    assert caught.value.hint == "Did you mean `api`?"


def test_words_after_the_dashes_select_as_in_tilt_with_what_is_uncategorized() -> None:
    said = project()
    said.fixed["selected"] = ("lint",)
    assert {"local:lint", "apply:uncategorized"} <= said.assemble().assembly.selected
    assert "apply:web" not in said.assemble().assembly.selected


def test_what_the_file_enables_takes_part_and_names_win_over_it() -> None:
    said = project()
    said.fixed["enabled"] = Enabled(EnabledMode.ONLY, ("web",), said.where())
    assert "apply:web" in said.assemble().assembly.selected
    assert "apply:api" not in said.assemble().assembly.selected
    assert "apply:web" not in said.assemble("lint").assembly.selected
    said.fixed["enabled"] = Enabled(EnabledMode.NONE)
    assert said.assemble().assembly.selected == frozenset()


def test_enabling_an_unknown_resource_is_an_error_with_a_place() -> None:
    said = project()
    said.fixed["enabled"] = Enabled(EnabledMode.ONLY, ("wep",), said.where())
    with pytest.raises(ConfigError, match=r"Kindlingfile:\d+:1: .*`wep`"):
        said.assemble()


def test_remarks_of_the_evaluation_come_first_among_the_warnings() -> None:
    said = Said()
    said.fixed["remarks"] = (Remark("first"),)
    said.local("a", resource_deps=("nothing",))
    assert said.assemble().warnings()[0] == "first"


def test_a_path_that_a_command_names_and_an_image_reads_makes_an_order() -> None:
    """Where nobody declares outputs, the text of the command tells as much."""
    said = Said()
    said.local("go-build", "go build -o ./bin/kpulse ./cmd/kpulse", ("cmd", "go.mod"))
    said.custom_build("kpulse", deps=("bin/kpulse", "Dockerfile.dev"))
    said.custom_build("sources", deps=("cmd/kpulse",))
    said.yaml(deployment("kpulse"), deployment("sources"))
    built = said.assemble()
    assert built.edge("local:go-build", "image:kpulse") is EdgeKind.ORDER
    assert built.edge("local:go-build", "image:sources") is None, "it reads that path itself"


def test_a_guessed_order_never_closes_a_circle() -> None:
    said = Said()
    said.local("a", "cat x/b > x/a", ("x/in", "y/b"))
    said.local("b", "cat x/a > y/b", ("x/a",))
    built = said.assemble()
    both = [built.edge("local:a", "local:b"), built.edge("local:b", "local:a")]
    assert sorted(map(str, both)) == ["EdgeKind.ORDER", "None"]
