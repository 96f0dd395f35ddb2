"""From the text of a Kindlingfile to nodes and edges."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kindling.errors import ConfigError
from kindling.graph.node import FileSet, Node, NodeId
from kindling.lang.assemble.assembly import Assembly, assemble
from kindling.lang.assemble.reader import DiskReader
from kindling.lang.assemble.target import AnnouncedRegistry, TargetFacts
from kindling.testing.project import Project

HERE = Path(__file__).resolve().parents[2]
TARGET = TargetFacts("dev", registry=AnnouncedRegistry("localhost:5000"))


def build(project: Project, text: str, *args: str) -> Assembly:
    return assemble(project.evaluate(text, *args), TARGET, DiskReader(project.root))


def edges(assembly: Assembly) -> set[str]:
    return {f"{e.before} -{e.kind.value}-> {e.after}" for e in assembly.graph.edges}


def node(assembly: Assembly, id_: str) -> Node:
    return assembly.graph[NodeId(id_)]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


KPULSE = """
profiles = config.define_string_list("profiles", args = True)
cfg = config.parse()

local_resource(
    'go-build',
    cmd='CGO_ENABLED=0 GOOS=linux GOARCH=amd64' +
        ' go build -o ./bin/kpulse ./cmd/kpulse',
    deps=['cmd', 'internal', 'go.mod', 'go.sum'],
)

custom_build(
    ref='kpulse',
    command=('docker build -f Dockerfile.dev -t $EXPECTED_REF . && ' +
             'k3d image import $EXPECTED_REF -c kpulse-test'),
    deps=['bin/kpulse', 'Dockerfile.dev'],
    tag='dev',
    disable_push=True,
)

local_resource(
    'kpulse-secrets-bootstrap',
    cmd=("kubectl get ns kpulse >/dev/null 2>&1 || kubectl create ns kpulse; " +
         "kubectl -n kpulse get secret kpulse-secrets >/dev/null 2>&1 || " +
         "kubectl -n kpulse create secret generic kpulse-secrets " +
         "--from-literal=PLACEHOLDER=set-real-creds-with-kubectl-patch"),
)

k8s_yaml('dev/kpulse.dev.yaml')
if 'triggers' in cfg.get('profiles', []):
    k8s_yaml('dev/triggers.yaml')
k8s_resource('kpulse', port_forwards=8080, resource_deps=['go-build', 'kpulse-secrets-bootstrap'])
"""

OBJECTS = """
apiVersion: v1
kind: Namespace
metadata: {name: kpulse}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: kpulse, namespace: kpulse}
spec:
  selector: {matchLabels: {app: kpulse}}
  template:
    metadata: {labels: {app: kpulse}}
    spec:
      containers:
      - name: kpulse
        image: kpulse:dev
        imagePullPolicy: Never
        ports: [{containerPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: kpulse, namespace: kpulse}
spec: {selector: {app: kpulse}, ports: [{port: 80, targetPort: 8080}]}
"""

BROKEN = """
apiVersion: v1
kind: Pod
metadata: {name: crash, namespace: kpulse}
spec: {containers: [{name: c, image: busybox, command: ["false"]}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: fails, namespace: kpulse}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: c, image: busybox, command: ["false"]}]}
"""


@pytest.fixture
def kpulse(project: Project) -> Project:
    project.write("dev/kpulse.dev.yaml", OBJECTS)
    project.write("dev/triggers.yaml", BROKEN)
    project.write("Dockerfile.dev", "FROM alpine\nCOPY bin/kpulse /kpulse\n")
    return project


def test_the_calls_of_the_kpulse_story(kpulse: Project) -> None:
    assembly = build(kpulse, KPULSE)
    assert edges(assembly) == {
        "cluster:dev -content-> image:kpulse",
        "cluster:dev -content-> local:kpulse-secrets-bootstrap",
        "cluster:dev -ready-> apply:kpulse",
        "cluster:dev -ready-> apply:uncategorized",
        "cluster:dev -ready-> portforward:kpulse-8080",
        "cluster:dev -ready-> rollout:kpulse",
        "local:go-build -ready-> image:kpulse",
        "local:go-build -ready-> apply:kpulse",
        "local:kpulse-secrets-bootstrap -ready-> image:kpulse",
        "local:kpulse-secrets-bootstrap -ready-> apply:kpulse",
        "apply:uncategorized -ready-> apply:kpulse",
        "image:kpulse -content-> apply:kpulse",
        "apply:kpulse -content-> rollout:kpulse",
        "rollout:kpulse -ready-> portforward:kpulse-8080",
    }
    image = node(assembly, "image:kpulse")
    assert image.files == (FileSet(("bin/kpulse", "Dockerfile.dev")),)
    assert node(assembly, "local:go-build").exclusive
    assert assembly.warnings == ()


def test_a_profile_adds_its_workloads_and_nothing_else(kpulse: Project) -> None:
    plain, triggered = build(kpulse, KPULSE), build(kpulse, KPULSE, "triggers")
    added = set(triggered.graph.nodes) - set(plain.graph.nodes)
    assert added == {"apply:crash", "rollout:crash", "apply:fails", "rollout:fails"}
    for id_ in plain.graph.nodes:
        assert node(plain, id_) == node(triggered, id_), id_


def test_two_evaluations_give_one_graph(kpulse: Project) -> None:
    one, other = build(kpulse, KPULSE, "triggers"), build(kpulse, KPULSE, "triggers")
    assert list(one.graph.nodes.items()) == list(other.graph.nodes.items())
    assert one.graph.edges == other.graph.edges


def test_images_by_dockerfiles_on_disk(project: Project) -> None:
    project.write("base/Dockerfile", "FROM alpine")
    project.write("api/Dockerfile", "ARG BASE=nothing\nFROM $BASE\nCOPY . .")
    project.write("api/.dockerignore", "*.md\n")
    project.write("k8s.yaml", OBJECTS.replace("kpulse:dev", "acme/api"))
    assembly = build(
        project,
        """
docker_build("acme/base", "base")
docker_build("acme/api", "api", build_args = {"BASE": "acme/base"}, ignore = ["docs"])
k8s_yaml("k8s.yaml")
k8s_resource("kpulse", new_name = "api", objects = ["kpulse:namespace"])
""",
    )
    assert "image:acme/base -content-> image:acme/api" in edges(assembly)
    assert "push:acme/api -content-> apply:api" in edges(assembly)
    assert "apply:uncategorized" not in assembly.graph
    context, dockerfile = node(assembly, "image:acme/api").files
    assert [rule.patterns for rule in context.ignore] == [("*.md",), ("docs",)]
    assert dockerfile == FileSet(("api/Dockerfile",))


def test_errors_of_assembling_begin_with_the_line_of_the_call(project: Project) -> None:
    project.write("k8s.yaml", OBJECTS)
    with pytest.raises(ConfigError, match=r"^Kindlingfile:3:\d+: there is no workload `kpuls`"):
        build(project, '\nk8s_yaml("k8s.yaml")\nk8s_resource("kpuls", port_forwards = 80)\n')


def test_object_selectors_as_users_write_them(project: Project) -> None:
    project.write("k8s.yaml", OBJECTS)
    with pytest.raises(ConfigError, match=r"^Kindlingfile:2:\d+: `kpulse` names 3 objects"):
        build(project, 'k8s_yaml("k8s.yaml")\nk8s_resource(new_name = "x", objects = ["kpulse"])')


def test_the_example_on_one_page(tmp_path: Path) -> None:
    shutil.copy(HERE / "Kindlingfile.example", tmp_path)
    text = (tmp_path / "Kindlingfile.example").read_text()
    assembly = build(Project(tmp_path), text)
    found = edges(assembly)
    assert {
        "local:generate -ready-> image:example-web",
        "image:example-web -content-> push:example-web",
        "push:example-web -content-> apply:web",
        "push:example-web -content-> operator:shop",
        "rollout:web -ready-> operator:shop",
        "rollout:web -ready-> apply:worker",
        "rollout:web -content-> test:smoke",
        "secret:default/web-credentials -ready-> apply:web",
        "local:generate -ready-> serve:docs",
    } <= found
    assert {value.value for value in assembly.secrets} == {"change-me"}
    assert "http://localhost:8080/" in {endpoint.url for endpoint in assembly.endpoints}
