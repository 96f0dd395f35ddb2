"""Environments in the graph: what reconciles them, what follows them, and what comes before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kindling.errors import ConfigError, GraphError
from kindling.graph.node import Node, NodeId, Trigger
from kindling.graph.spec import ObjectRef, OperatorSpec, PortForwardSpec, Readiness, RolloutSpec
from kindling.lang.assemble.assembly import Assembly, assemble
from kindling.lang.assemble.reader import DiskReader
from kindling.lang.assemble.target import AnnouncedRegistry, TargetFacts
from kindling.objects.inject import inject
from kindling.testing.project import Project

TARGET = TargetFacts("dev", registry=AnnouncedRegistry("localhost:5000"))
EMBEDDED = TargetFacts("kindling-kindling", product="kindling", cluster="kindling")

SHOP = 'docker_build("shop", ".", dockerfile_contents = "FROM busybox")\n'


def build(project: Project, text: str, *args: str, target: TargetFacts | None = TARGET) -> Assembly:
    return assemble(project.evaluate(text, *args), target, DiskReader(project.root))


def edges(assembly: Assembly) -> set[str]:
    return {f"{e.before} -{e.kind.value}-> {e.after}" for e in assembly.graph.edges}


def node(assembly: Assembly, id_: str) -> Node:
    return assembly.graph[NodeId(id_)]


def operator(assembly: Assembly, name: str) -> OperatorSpec:
    spec = node(assembly, f"operator:{name}").spec
    assert isinstance(spec, OperatorSpec)
    return spec


def manifest(assembly: Assembly, name: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(operator(assembly, name).object.manifest)
    return made


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_a_service_is_reconciled_and_followed(project: Project) -> None:
    made = build(project, 'service("a.b", "nginx", 80, labels = "web")')
    assert [id_ for id_ in made.graph.nodes if "cluster" not in id_] == [
        "operator:a.b",
        "rollout:a.b",
    ]
    assert made.resources["a.b"] == ("operator:a.b", "rollout:a.b")
    assert edges(made) == {
        "cluster:dev -ready-> operator:a.b",
        "cluster:dev -ready-> rollout:a.b",
        "operator:a.b -content-> rollout:a.b",
    }
    assert node(made, "operator:a.b").resource == "a.b"
    assert node(made, "operator:a.b").labels == ("web",)
    assert operator(made, "a.b").object.ref == ObjectRef(
        "apps.example.com/v1alpha1", "DevStagingEnvironment", "a.b", "default"
    )
    assert node(made, "rollout:a.b").spec == RolloutSpec(
        apply="operator:a.b",
        objects=(ObjectRef("apps/v1", "Deployment", "a-b", "default"),),
        readiness=Readiness.WAIT,
    )


@pytest.mark.parametrize(
    ("text", "namespace"),
    [
        ('service("a", "x", 1)', "default"),
        ('cluster(namespace = "team")\nservice("a", "x", 1)', "team"),
        ('cluster(namespace = "team")\nservice("a", "x", 1, namespace = "own")', "own"),
    ],
)
def test_where_it_goes(project: Project, text: str, namespace: str) -> None:
    made = build(project, text)
    assert manifest(made, "a")["metadata"]["namespace"] == namespace
    assert operator(made, "a").object.ref.namespace == namespace


# Images -------------------------------------------------------------------------------------------


def test_an_image_of_the_file_is_delivered_into_it(project: Project) -> None:
    made = build(
        project,
        SHOP + 'service("api", "shop", 80, dependencies = [redis(image = "shop"), postgres()])',
    )
    assert {
        "image:shop -content-> push:shop",
        "push:shop -content-> operator:api",
    } <= edges(made)
    assert made.warnings == ()
    spec = operator(made, "api")
    filled = inject(manifest(made, "api"), spec.images, {"push:shop": ("r/shop:1", "")})
    assert filled["spec"]["deployment"]["image"] == "r/shop:1"
    assert [one.get("image") for one in filled["spec"]["dependencies"]] == ["r/shop:1", None]


def test_an_image_of_elsewhere_is_left_alone(project: Project) -> None:
    made = build(project, 'service("api", "ghcr.io/acme/api:1", 80)')
    assert operator(made, "api").images == ()


def test_variables_hold_images_where_the_image_asks_for_it(project: Project) -> None:
    text = (
        'custom_build("job", "make", match_in_env_vars = True)\n'
        'service("api", "nginx", 80, env = {"JOB_IMAGE": "job", "OTHER": "jobs"})'
    )
    made = build(project, text)
    spec = operator(made, "api")
    filled = inject(manifest(made, "api"), spec.images, {"push:job": ("r/job:1", "")})
    values = {one["name"]: one["value"] for one in filled["spec"]["deployment"]["env"]}
    assert values == {"JOB_IMAGE": "r/job:1", "OTHER": "jobs"}


def test_an_image_brings_its_command(project: Project) -> None:
    text = (
        'custom_build("shop", "make", entrypoint = ["/run"], container_args = ["-v"])\n'
        'service("api", "shop", 80, command = ["other"])'
    )
    deployment = manifest(build(project, text), "api")["spec"]["deployment"]
    assert (deployment["command"], deployment["args"]) == (["/run"], ["-v"])


def test_what_k8s_kind_said_of_the_kind_before_there_was_service_still_holds(
    project: Project,
) -> None:
    text = (
        'k8s_kind("DevStagingEnvironment", image_json_path = "{.spec.deployment.image}")\n'
        + SHOP
        + 'service("api", "shop", 80)'
    )
    made = build(project, text)
    spec = operator(made, "api")
    filled = inject(manifest(made, "api"), spec.images, {"push:shop": ("r/shop:1", "")})
    assert filled["spec"]["deployment"]["image"] == "r/shop:1"


def test_a_name_that_is_nearly_an_image_is_suggested(project: Project) -> None:
    made = build(project, SHOP + 'service("api", "shopp", 80)')
    assert "Did you mean `shopp`?" in str(made.warnings[0])


# Ports and addresses ------------------------------------------------------------------------------


def test_ports_lead_to_the_container(project: Project) -> None:
    made = build(project, 'service("api", "x", 8080, port_forwards = [8000, "9000:9001"])')
    first = node(made, "portforward:api-8000").spec
    second = node(made, "portforward:api-9000").spec
    assert isinstance(first, PortForwardSpec)
    assert isinstance(second, PortForwardSpec)
    assert (first.rollout, first.local_port, first.container_port) == ("rollout:api", 8000, 8080)
    assert second.container_port == 9001
    assert {"http://localhost:8000/", "http://localhost:9000/"} <= {e.url for e in made.endpoints}


def test_one_local_port_leads_to_one_service(project: Project) -> None:
    text = 'service("a", "x", 80, port_forwards = 80)\nservice("b", "x", 80, port_forwards = 80)'
    with pytest.raises(ConfigError, match="local port 80 leads to `a` and to `b`") as caught:
        build(project, text)
    assert caught.value.message.startswith("Kindlingfile:2:1: ")


@pytest.mark.parametrize(
    ("said", "url"),
    [
        ('"api.localhost"', "http://api.localhost/"),
        ('ingress("api.localhost", path = "/v1")', "http://api.localhost/v1"),
        ('ingress("api.localhost", tls_secret = "c")', "https://api.localhost/"),
        ('ingress("*.localhost")', ""),
    ],
)
def test_the_address_of_an_ingress_is_a_link(project: Project, said: str, url: str) -> None:
    made = build(project, f'service("api", "x", 80, ingress = {said})')
    assert [endpoint.url for endpoint in made.endpoints] == ([url] if url else [])
    assert [link for link, _ in node(made, "rollout:api").links] == ([url] if url else [])


@pytest.mark.parametrize("target", [EMBEDDED, None])
def test_no_address_is_told_where_the_port_is_not_known(
    project: Project, target: TargetFacts | None
) -> None:
    made = build(project, 'service("api", "x", 80, ingress = "api.localhost")', target=target)
    assert made.endpoints == ()


# Order --------------------------------------------------------------------------------------------


def test_services_wait_for_each_other(project: Project) -> None:
    made = build(
        project,
        'local_resource("seed", cmd = "true", resource_deps = ["db"])\n'
        'service("db", "x", 1)\n'
        'service("api", "x", 2, resource_deps = ["db", "seed"])\n'
        'test("smoke", cmd = "true", resource_deps = ["api"])\n',
    )
    assert {
        "rollout:db -ready-> local:seed",
        "rollout:db -ready-> operator:api",
        "local:seed -ready-> operator:api",
        "operator:api -content-> test:smoke",
        "rollout:api -content-> test:smoke",
    } <= edges(made)


def test_a_circle_of_services_is_named(project: Project) -> None:
    with pytest.raises(GraphError, match="a -> b -> a"):
        build(
            project,
            'service("a", "x", 1, resource_deps = "b")\nservice("b", "x", 1, resource_deps = "a")',
        )


def test_what_it_needs_of_the_cluster_comes_first(project: Project) -> None:
    project.write("ns.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: far}\n")
    made = build(
        project,
        'k8s_yaml("ns.yaml")\nsecret_if_absent("token", namespace = "far", literals = {"a": "b"})\n'
        'service("api", "x", 1, namespace = "far")',
    )
    assert {
        "apply:uncategorized -ready-> operator:api",
        "secret:far/token -ready-> operator:api",
    } <= edges(made)


def test_trigger_mode_and_auto_init_are_those_of_the_call(project: Project) -> None:
    made = build(
        project,
        'service("api", "x", 1, trigger_mode = TRIGGER_MODE_MANUAL, auto_init = False)',
    )
    found = node(made, "operator:api")
    assert (found.trigger, found.auto_init) == (Trigger.MANUAL, False)
    assert node(made, "rollout:api").auto_init is False


# k8s_resource -------------------------------------------------------------------------------------

MORE = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec: {containers: [{name: c, image: busybox}]}
"""


def test_k8s_resource_configures_a_service(project: Project) -> None:
    made = build(
        project,
        'service("api", "x", 8080, port_forwards = 8000, labels = "a")\n'
        'k8s_resource("api", new_name = "shop", port_forwards = 8001, labels = "b", '
        'links = "http://x", pod_readiness = "ignore", extra_pod_selectors = {"c": "d"})',
    )
    assert made.resources["shop"] == (
        "operator:shop",
        "rollout:shop",
        "portforward:shop-8000",
        "portforward:shop-8001",
    )
    assert node(made, "operator:shop").labels == ("a", "b")
    spec = node(made, "rollout:shop").spec
    assert isinstance(spec, RolloutSpec)
    assert spec.readiness is Readiness.IGNORE
    assert spec.selectors == ((("c", "d"),),)
    assert spec.objects[0].name == "api"


def test_objects_join_the_resource_of_a_service_and_come_before_it(project: Project) -> None:
    project.write("more.yaml", MORE)
    made = build(
        project,
        'k8s_yaml("more.yaml")\nservice("api", "x", 1)\n'
        'k8s_resource("api", objects = ["settings"])\n'
        'k8s_resource("worker", resource_deps = ["api"])',
    )
    assert {
        "apply:api -ready-> operator:api",
        "cluster:dev -ready-> apply:api",
        "operator:api -content-> rollout:api",
        "rollout:api -ready-> apply:worker",
    } <= edges(made)
    assert not {edge for edge in edges(made) if "apply:api -content->" in edge}
    assert set(made.resources["api"]) == {"apply:api", "operator:api", "rollout:api"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            'k8s_resource("api", objects = ["worker:deployment"])',
            "`worker:deployment` makes pods and cannot join `api`, which is an environment",
        ),
        (
            'k8s_resource("worker", objects = ["api:devstagingenvironment"])',
            "`api:devstagingenvironment` is a DevStagingEnvironment, which is a resource by itself",
        ),
        ('k8s_resource("ap")', "there is no workload `ap`"),
    ],
)
def test_what_cannot_be_one_resource(project: Project, call: str, message: str) -> None:
    project.write("more.yaml", MORE)
    with pytest.raises(ConfigError) as caught:
        build(project, f'k8s_yaml("more.yaml")\nservice("api", "x", 1)\n{call}')
    assert caught.value.message.startswith(f"Kindlingfile:3:1: {message}")


def test_a_name_is_shared_with_other_resources(project: Project) -> None:
    with pytest.raises(ConfigError, match="a resource is already called `api`"):
        build(project, 'service("api", "x", 1)\nlocal_resource("api", cmd = "true")')


def test_workloads_of_yaml_may_be_named_by_a_function_and_services_are_not(
    project: Project,
) -> None:
    yaml = """
apiVersion: apps.example.com/v1alpha1
kind: DevStagingEnvironment
metadata: {name: orders}
spec:
  deployment: {image: orders, port: 80}
  service: {port: 80}
"""
    project.write("dev.yaml", yaml)
    text = (
        "def name(id):\n    return id.kind + '/' + id.name\n"
        "workload_to_resource_function(name)\n"
        'k8s_yaml("dev.yaml")\nservice("api", "x", 1)'
    )
    made = build(project, text)
    assert set(made.resources) == {"DevStagingEnvironment/orders", "api"}


def test_a_file_and_fields_give_one_node(project: Project) -> None:
    """`dse(file=)`, `k8s_yaml`, `dse()` and `service()` are four ways to say one thing."""
    project.write(
        "dev.yaml",
        "apiVersion: apps.example.com/v1alpha1\nkind: DevStagingEnvironment\n"
        "metadata: {name: shop}\nspec:\n  deployment: {image: x, port: 80}\n  service: {port: 80}",
    )
    ways = (
        'k8s_yaml("dev.yaml")',
        'dse("shop", "dev.yaml")',
        'dse("shop", deployment = {"image": "x", "port": 80})',
        'service("shop", "x", 80)',
    )
    specs = {operator(build(project, text), "shop") for text in ways}
    assert len(specs) == 1


def test_names_select_a_service_with_what_it_waits_for(project: Project) -> None:
    text = (
        'service("db", "x", 1)\nservice("api", "x", 2, resource_deps = ["db"])\n'
        'service("web", "x", 3)'
    )
    made = assemble(project.evaluate(text), TARGET, DiskReader(project.root), ["api"])
    assert {id_ for id_ in made.selected if id_.startswith("operator")} == {
        "operator:db",
        "operator:api",
    }
    declared = project.evaluate(text, "web")
    made = assemble(declared, TARGET, DiskReader(project.root))
    assert {id_ for id_ in made.selected if id_.startswith("operator")} == {"operator:web"}


def test_two_of_one_name_in_one_place_are_found_when_the_place_is_known(project: Project) -> None:
    text = 'service("a", "x", 1)\nservice("a", "y", 2, namespace = "default")'
    with pytest.raises(ConfigError, match="DevStagingEnvironment/a in default is declared twice"):
        build(project, text)
