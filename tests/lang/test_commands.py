"""Commands that run during an evaluation: local, helm, kustomize."""

from __future__ import annotations

from pathlib import Path

import pytest

from kindling.errors import ContextNotAllowedError, HostError, InterruptError
from kindling.lang.inputs import ContextInfo
from kindling.testing.project import Contexts, Memo, Project


def test_a_failed_command_shows_itself_and_its_output(project: Project) -> None:
    text = project.fails("x = 1\nlocal('echo out; echo err >&2; exit 3', quiet=True)\n")
    assert text.startswith("Kindlingfile:2:1: `echo out; echo err >&2; exit 3` exited with 3")
    assert text.count("\n  out") == 1
    assert "\n  err" in text
    assert project.printed == []


def test_a_noisy_command_is_logged_with_its_output(project: Project) -> None:
    project.evaluate("local('echo hi')\nlocal(['echo', 'two words'], echo_off=True)\n")
    assert project.printed == ["local: echo hi", "hi", "two words"]


def test_a_command_gets_folder_environment_and_input(project: Project) -> None:
    project.write("sub/x", "")
    project.evaluate(
        "print(local('ls; echo $A; cat', dir='sub', env={'A': 'b'}, stdin='in', quiet=True))\n"
    )
    assert project.printed == ["x", "b", "in"]


def test_what_the_file_puts_into_the_environment_reaches_commands(project: Project) -> None:
    project.write("lib.star", "def go(): os.putenv('C', 'lib')\n")
    declared = project.evaluate(
        "load('./lib.star', 'go')\nos.putenv('A', '1')\nos.environ['B'] = '2'\ngo()\n"
        "print(local('echo $A $B $C', quiet=True), os.environ['C'], os.getenv('B'))\n"
        "os.unsetenv('A')\nprint(os.getenv('A', 'gone'))\nlocal_resource('x', 'true')\n"
    )
    assert project.printed == ["1 2 lib", " lib 2", "gone"]
    assert dict(declared.locals[0].env) == {"B": "2", "C": "lib"}


def test_a_command_does_not_run_against_a_foreign_cluster(project: Project) -> None:
    project.given(contexts=Contexts({"prod": ContextInfo("prod")}, "prod"))
    error = project.error("local('touch ran')\n")
    assert isinstance(error, ContextNotAllowedError)
    assert "`prod` is not known to be a local cluster" in error.message
    assert "allow_k8s_contexts('prod')" in error.hint
    assert not (project.root / "ran").exists()
    project.evaluate("allow_k8s_contexts('prod')\nlocal('touch ran')\n")
    assert (project.root / "ran").exists()


def test_a_command_runs_beside_a_local_cluster(project: Project) -> None:
    project.given(contexts=Contexts({"kind": ContextInfo("kind", "dev", allowed=True)}, "kind"))
    project.evaluate("local('true')\nprint(k8s_context(), k8s_namespace())\n")
    assert project.printed[-1] == "kind dev"


def test_a_command_is_remembered_only_with_deps(project: Project) -> None:
    project.given(memo=Memo())
    project.write("in.txt", "1")
    source = "print(local('echo x >> log; cat log | wc -l', deps=['in.txt'], quiet=True))\n"
    for _ in range(2):
        declared = project.evaluate(source)
        assert declared.repeatable
        assert "in.txt" in declared.reads.paths
    assert (project.root / "log").read_text() == "x\n"
    project.write("in.txt", "2")
    project.evaluate(source)
    assert (project.root / "log").read_text() == "x\nx\n"
    assert not project.evaluate("local('true')\n").repeatable


def test_a_command_that_hangs_is_ended_with_its_children(project: Project) -> None:
    project.given(command_limit=0.3)
    assert "has taken more than 0.3 s" in project.fails("local('sleep 30 & sleep 30')\n")


def test_a_cancelled_evaluation_ends_its_command(project: Project) -> None:
    calls: list[int] = []

    def cancelled() -> bool:
        calls.append(1)
        return (project.root / "begun").exists()

    project.given(cancelled=cancelled)
    assert isinstance(project.error("local('touch begun; sleep 30')\n"), InterruptError)


def test_a_missing_program_is_named(project: Project) -> None:
    assert "`nonesuch` is not installed" in project.fails("local(['nonesuch'])\n")


def _tool(project: Project, name: str, script: str) -> None:
    path = project.write(f"tools/{name}", f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    project.given(environment={"PATH": f"{project.root}/tools:/usr/bin:/bin"})


def test_helm_renders_a_chart_and_watches_what_it_reads(project: Project) -> None:
    _tool(
        project,
        "helm",
        'echo "$@" | sed "s/^/# /"; cat "$3/out.yaml"',
    )
    project.write(
        "charts/a/Chart.yaml",
        "name: a\ndependencies:\n- {name: b, repository: 'file://../b'}\n",
    )
    project.write(
        "charts/a/out.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept}\n---\n"
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: check\n"
        "  annotations: {helm.sh/hook: test-success}\n",
    )
    project.write("values.yaml", "")
    declared = project.evaluate(
        "k8s_yaml(helm('charts/a', name='r', namespace='n', values=['values.yaml'], set=['x=1']))\n"
    )
    assert [one.ref.name for one in declared.objects] == ["kept"]
    assert {"charts/a", "charts/b", "values.yaml"} <= set(declared.reads.paths)


def test_helm_gets_tilts_arguments(project: Project) -> None:
    _tool(project, "helm", "echo $@ >&2; exit 1")
    project.write("c/Chart.yaml", "name: c\n")
    text = project.fails("helm('c', set='a=b', kube_version='1.20')\n")
    wanted = f"template chart {project.root}/c --set a=b --kube-version 1.20 --include-crds"
    assert wanted in text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("helm('c')", "`helm` is not installed"),
        ("kustomize('k')", "Neither `kustomize` nor `kubectl` is installed"),
    ],
)
def test_a_renderer_that_is_not_there_is_named(
    project: Project, tmp_path: Path, call: str, message: str
) -> None:
    project.given(environment={"PATH": str(tmp_path / "nothing")})
    project.write("c/Chart.yaml", "name: c\n")
    project.write("k/kustomization.yaml", "resources: []\n")
    error = project.error(call + "\n")
    assert isinstance(error, HostError)
    assert message in error.message


def test_kustomize_falls_back_to_kubectl_and_watches_what_it_names(project: Project) -> None:
    _tool(project, "kubectl", 'echo "kind: $1"')
    project.given(environment={"PATH": f"{project.root}/tools"})
    (project.root / "tools" / "kubectl").write_text("#!/bin/sh\necho kind: $1\n")
    project.write(
        "overlay/kustomization.yaml", "resources: [../base, x.yaml]\npatches: [{path: ../p.yaml}]\n"
    )
    project.write("base/kustomization.yml", "resources: []\n")
    project.write("overlay/x.yaml", "")
    project.write("p.yaml", "")
    declared = project.evaluate("print(kustomize('overlay', flags=['--enable-helm']))\n")
    assert project.printed[0] == "kind: kustomize"
    assert {"overlay", "base", "p.yaml"} <= set(declared.reads.paths)


def test_a_folder_without_a_kustomization_is_named(project: Project) -> None:
    assert "`.` has no kustomization.yaml" in project.fails("kustomize('.')\n")
