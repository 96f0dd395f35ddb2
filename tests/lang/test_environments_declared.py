"""service, dse, and what they are made of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from kindling.graph.node import Trigger
from kindling.lang.declared import Environment, Link, PortForward
from kindling.lang.native.backing import DEPENDENCIES
from kindling.lang.prelude import wrappers
from kindling.operator.backing.table import SERVICES
from kindling.operator.definitions.environment import DEPENDENCY_TYPES
from kindling.operator.model import Environment as Read
from kindling.operator.model import read_environment
from kindling.testing.project import Project

FILE = """
apiVersion: apps.example.com/v1alpha1
kind: DevStagingEnvironment
metadata:
  name: orders
  labels: {app.kubernetes.io/name: orders}
spec:
  deployment:
    image: orders:1
    port: 8080
  service:
    port: 80
status:
  url: http://old
"""


def only(project: Project, text: str) -> Environment:
    (found,) = project.evaluate(text).environments
    return found


def manifest(project: Project, text: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(only(project, text).manifest)
    assert isinstance(read_environment(made), Read)
    return made


def spec(project: Project, text: str) -> Any:
    return manifest(project, text)["spec"]


def service(project: Project, arguments: str) -> Any:
    return spec(project, f'service("api", "shop", 8080, {arguments})')


# service ------------------------------------------------------------------------------------------


def test_the_least_service_is_an_image_and_a_port(project: Project) -> None:
    assert manifest(project, 'service("api", "shop", 8080)') == {
        "apiVersion": "apps.example.com/v1alpha1",
        "kind": "DevStagingEnvironment",
        "metadata": {"name": "api"},
        "spec": {"deployment": {"image": "shop", "port": 8080}, "service": {"port": 8080}},
    }


def test_a_service_with_everything(project: Project, snapshot: SnapshotAssertion) -> None:
    text = """
service(
    "api",
    image = "ghcr.io/acme/api:1",
    port = 8080,
    env = {"A": "b", "N": 3, "KEY": secret("STRIPE_KEY"), "URL": "$(DATABASE_URL)?x=1",
           "POD": {"fieldRef": {"fieldPath": "metadata.name"}},
           "MORE": {"valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}},
    dependencies = [postgres(version = 15, storage = "1Gi"), "redis",
                    {"type": "nats", "port": 4333}],
    health = http_get("/ready", port = 9090, initial_delay = "1m", period = 5),
    ingress = ingress("api.localhost", path = "/v1", path_type = "Exact", class_name = "nginx",
                      tls_secret = "certificate", annotations = {"a": "b"}),
    replicas = 2,
    resources = {"cpu": "100m", "memory": ["64Mi", "128Mi"]},
    command = "exec serve",
    args = ["--verbose"],
    service_port = 80,
    service_type = "NodePort",
    namespace = "staging",
)
"""
    assert manifest(project, text) == snapshot


def test_a_service_is_a_resource_with_what_k8s_resource_says(project: Project) -> None:
    found = only(
        project,
        'service("api", "shop", 80, labels = "app", resource_deps = ["db"], port_forwards = '
        '["8080:80", 9000], links = "http://x", trigger_mode = TRIGGER_MODE_MANUAL, '
        "auto_init = False)",
    )
    assert found.name == "api"
    assert found.file == ""
    said = found.configuration
    assert said is not None
    assert said.workload == "api"
    assert said.labels == ("app",)
    assert said.resource_deps == ("db",)
    assert said.port_forwards == (PortForward(8080, 80), PortForward(9000))
    assert said.links == (Link("http://x"),)
    assert said.trigger is Trigger.MANUAL
    assert said.auto_init is False


def test_a_host_is_an_ingress(project: Project) -> None:
    assert service(project, 'ingress = "api.localhost"')["ingress"] == {
        "enabled": True,
        "host": "api.localhost",
    }


@pytest.mark.parametrize(
    ("said", "made"),
    [
        ("http_get()", {"type": "http", "path": "/healthz"}),
        ('http_get("/")', {"type": "http", "path": "/"}),
        ("grpc(9000)", {"type": "grpc", "port": 9000}),
        (
            'tcp(initial_delay = "2m", period = 3)',
            {"type": "tcp", "initialDelaySeconds": 120, "periodSeconds": 3},
        ),
    ],
)
def test_health_checks(project: Project, said: str, made: dict[str, Any]) -> None:
    assert service(project, f"health = {said}")["deployment"]["healthCheck"] == made


@pytest.mark.parametrize(
    ("said", "made"),
    [
        ('{"cpu": "100m"}', {"cpuRequest": "100m"}),
        ('{"cpu": 1, "memory": "1Gi"}', {"cpuRequest": 1, "memoryRequest": "1Gi"}),
        ('{"cpu": [0.5, 2]}', {"cpuRequest": "0.5", "cpuLimit": 2}),
        (
            '{"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}',
            {"cpuRequest": "1", "memoryLimit": "1Gi"},
        ),
        ('{"cpuLimit": "2", "memory": "1Gi"}', {"cpuLimit": "2", "memoryRequest": "1Gi"}),
        ("{}", None),
    ],
)
def test_amounts_in_short_and_in_full(project: Project, said: str, made: object) -> None:
    assert service(project, f"resources = {said}")["deployment"].get("resources") == made


def test_a_secret_is_referred_to_by_what_it_is_called_in_the_cluster(project: Project) -> None:
    made = service(project, 'env = {"KEY": secret("STRIPE_KEY")}')
    reference = {"name": "kindling-secret-stripe-key", "key": "value"}
    assert made["deployment"]["env"] == [{"name": "KEY", "valueFrom": {"secretKeyRef": reference}}]


def test_variables_may_be_a_list_as_the_kind_has_them(project: Project) -> None:
    made = service(
        project,
        'env = [{"name": "A", "value": "b"}, {"name": "C", "value": secret("D")}]',
    )
    assert made["deployment"]["env"][0] == {"name": "A", "value": "b"}
    assert made["deployment"]["env"][1]["valueFrom"]["secretKeyRef"]["name"] == "kindling-secret-d"


# Dependencies -------------------------------------------------------------------------------------


def test_every_type_has_a_builtin_and_every_builtin_a_type() -> None:
    assert set(DEPENDENCIES) == set(DEPENDENCY_TYPES) == set(SERVICES)
    offered = wrappers()
    for type_, backing in SERVICES.items():
        takes = {parameter.name for parameter in offered[type_].parameters}
        assert ("storage" in takes) == (backing.storage is not None), type_


@pytest.mark.parametrize("type_", DEPENDENCY_TYPES)
def test_what_a_dependency_yields(
    project: Project, snapshot: SnapshotAssertion, type_: str
) -> None:
    keeps = SERVICES[type_].storage is not None
    arguments = [
        'version = "1.2"',
        'image = "mirror/' + type_ + '"',
        "port = 7777",
        'env = {"A": "b", "S": secret("PASSWORD")}',
        'env_var = "WHERE"',
        *(['storage = "2Gi"'] if keeps else []),
        'resources = {"cpu": "100m"}',
        'name = "second"',
    ]
    text = f"dependencies = [{type_}(), {type_}({', '.join(arguments)})]"
    assert service(project, text)["dependencies"] == snapshot


def test_a_name_or_a_dict_is_a_dependency_too(project: Project) -> None:
    made = service(
        project,
        'dependencies = ["redis", {"type": "mysql", "env": {"A": 1}, "resources": {"cpu": "1"}}]',
    )
    assert made["dependencies"] == [
        {"type": "redis"},
        {
            "type": "mysql",
            "env": [{"name": "A", "value": "1"}],
            "resources": {"cpuRequest": "1"},
        },
    ]


def test_two_of_one_type_and_of_one_variable_stand_side_by_side_when_named(
    project: Project,
) -> None:
    made = service(
        project,
        'dependencies = [redis(), redis(name = "sessions"), postgres(), mysql(env_var = "MYSQL")]',
    )
    assert [one.get("name", one["type"]) for one in made["dependencies"]] == [
        "redis",
        "sessions",
        "postgres",
        "mysql",
    ]


def test_what_the_service_sets_itself_is_no_clash(project: Project) -> None:
    service(project, 'dependencies = [postgres(), mysql()], env = {"DATABASE_URL": "$(X)"}')


# dse ----------------------------------------------------------------------------------------------


def test_a_manifest_in_a_file(project: Project) -> None:
    project.write("orders/dev.yaml", FILE)
    found = only(project, 'dse("orders", file = "orders/dev.yaml", labels = ["back"])')
    made = json.loads(found.manifest)
    assert (found.name, found.file) == ("orders", "orders/dev.yaml")
    assert made["metadata"]["labels"] == {"app.kubernetes.io/name": "orders"}
    assert made["spec"]["service"] == {"port": 80}
    assert "status" not in made
    assert found.configuration is not None
    assert found.configuration.labels == ("back",)


def test_a_file_is_watched(project: Project) -> None:
    project.write("dev.yaml", FILE)
    assert "dev.yaml" in project.evaluate('dse("orders", file = "dev.yaml")').reads.paths


def test_a_file_may_hold_several(project: Project) -> None:
    project.write("all.yaml", f"{FILE}---{FILE.replace('orders', 'stock')}")
    declared = project.evaluate('dse("stock", "all.yaml")\ndse("orders", "all.yaml")')
    assert [one.name for one in declared.environments] == ["stock", "orders"]
    assert declared.remarks == ()


def test_contents_will_do_for_a_file(project: Project) -> None:
    project.write("dev.yaml", FILE)
    found = only(project, 'dse("orders", file = read_file("dev.yaml"), namespace = "far")')
    assert json.loads(found.manifest)["metadata"]["namespace"] == "far"


def test_what_else_a_file_holds_is_not_forgotten_in_silence(project: Project) -> None:
    more = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"
    project.write("dev.yaml", FILE + more)
    declared = project.evaluate('dse("orders", file = "dev.yaml")')
    assert [str(remark) for remark in declared.remarks] == [
        "Kindlingfile:1:1: `dev.yaml` has more than environments: [configmap/settings]; `dse` "
        "leaves that out, `k8s_yaml` takes all of a file"
    ]


def test_fields_are_those_of_the_kind(project: Project) -> None:
    made = spec(
        project,
        'dse("shop", deployment = {"image": "shop", "port": 80, "replicas": 2, '
        '"healthCheck": {"type": "none"}}, service = {"port": 8080, "targetPort": 81}, '
        'ingress = {"host": "a.b", "tls": {"secretName": "c"}}, '
        'dependencies = [{"type": "redis", "storageSize": "1Gi"}])',
    )
    assert made == {
        "deployment": {"image": "shop", "port": 80, "replicas": 2, "healthCheck": {"type": "none"}},
        "service": {"port": 8080, "targetPort": 81},
        "ingress": {"enabled": True, "host": "a.b", "tls": {"secretName": "c"}},
        "dependencies": [{"type": "redis", "storageSize": "1Gi"}],
    }


def test_fields_may_be_as_in_a_service(project: Project) -> None:
    short = spec(
        project,
        'dse("shop", deployment = {"image": "shop", "port": 80, "env": {"A": secret("B")}, '
        '"resources": {"cpu": "1"}, "healthCheck": tcp()}, ingress = "a.b", '
        "dependencies = [postgres()])",
    )
    same = spec(
        project,
        'service("shop", "shop", 80, env = {"A": secret("B")}, resources = {"cpu": "1"}, '
        'health = tcp(), ingress = "a.b", dependencies = [postgres()])',
    )
    assert short == same


def test_an_ingress_that_is_switched_off_stays_off(project: Project) -> None:
    made = spec(
        project,
        'dse("shop", deployment = {"image": "shop", "port": 80}, '
        'ingress = {"enabled": False, "host": "a.b"})',
    )
    assert made["ingress"]["enabled"] is False


# k8s_yaml -----------------------------------------------------------------------------------------


def test_an_environment_in_k8s_yaml_is_one_too(project: Project) -> None:
    project.write("dev.yaml", FILE)
    by_yaml = only(project, 'k8s_yaml("dev.yaml")')
    by_name = only(project, 'dse("orders", file = "dev.yaml")')
    assert (by_yaml.name, by_yaml.manifest, by_yaml.file) == (
        by_name.name,
        by_name.manifest,
        by_name.file,
    )
    assert by_yaml.configuration is None


def test_other_kinds_of_ours_stay_objects(project: Project) -> None:
    pool = FILE.replace("DevStagingEnvironment", "GithubActionRunnerPool")
    declared = project.evaluate(f"k8s_yaml(blob('''{pool}'''))")
    assert [one.ref.kind for one in declared.objects] == ["GithubActionRunnerPool"]
    assert declared.environments == ()


def test_the_last_of_allowed_duplicates_counts(project: Project) -> None:
    project.write("dev.yaml", FILE)
    project.write("more.yaml", FILE.replace("orders:1", "orders:2"))
    text = 'k8s_yaml("dev.yaml")\nk8s_yaml("more.yaml", allow_duplicates = True)'
    assert spec(project, text)["deployment"]["image"] == "orders:2"


def test_an_ingress_that_a_file_forgot_to_enable_is_told(project: Project) -> None:
    project.write("dev.yaml", FILE.replace("status:", "  ingress: {host: a.b}\nstatus:"))
    (remark,) = project.evaluate('k8s_yaml("dev.yaml")').remarks
    assert "until it says `enabled: true`" in str(remark)


# The language -------------------------------------------------------------------------------------


def test_a_profile_switches_a_service_on(project: Project) -> None:
    text = 'if profile("mail"):\n    service("mail", "mail", 25)\n'
    assert [one.name for one in project.evaluate(text, "mail").environments] == ["mail"]
    assert project.evaluate(text).environments == ()


def test_a_file_that_ends_early_declares_what_came_before(project: Project) -> None:
    assert only(project, 'service("api", "shop", 80)\nexit()\nservice("x", "y", 1)').name == "api"


@pytest.mark.parametrize("name", ["service", "redis", "secret", "http_get", "ingress", "tcp"])
def test_a_file_may_use_these_names_for_its_own(project: Project, name: str) -> None:
    """Tiltfiles that were written before there were any do."""
    project.write("lib", f"def {name}(x):\n    return 'loaded ' + x\n")
    project.evaluate(f"def {name}(x):\n    return 'own ' + x\nprint({name}('a'))")
    project.evaluate(f"load('./lib', '{name}')\nprint({name}('b'))")
    project.evaluate(f"{name} = 'c'\nprint({name})\nprobe(http_get = http_get_action(port = 1))")
    project.evaluate(f"for {name} in ['d']:\n    print({name})\n")
    assert project.printed == ["own a", "loaded b", "c", "d"]
