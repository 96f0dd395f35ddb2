"""The extensions that are built in, by what their documentation promises."""

from __future__ import annotations

import base64
import json

import pytest

from kindling.lang.declared import RestartContainer, SyncStep
from kindling.lang.prelude import extensions
from kindling.testing.project import Project


def test_namespaces_are_created_and_injected(project: Project) -> None:
    project.write(
        "x.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n"
        "spec: {template: {metadata: {}}}\n",
    )
    declared = project.evaluate(
        "load('ext://namespace', 'namespace_create', 'namespace_inject')\n"
        "namespace_create('dev', labels=['team: web'])\n"
        "k8s_yaml(namespace_inject('x.yaml', 'dev'))\n"
        "k8s_yaml(namespace_inject(read_file('x.yaml'), 'prod'))\n"
    )
    namespace, first, second = declared.objects
    assert json.loads(namespace.manifest)["metadata"] == {"labels": {"team": "web"}, "name": "dev"}
    assert (first.ref.namespace, second.ref.namespace) == ("dev", "prod")
    spec = json.loads(first.manifest)["spec"]
    assert spec["template"]["metadata"]["namespace"] == "dev"
    assert namespace.where.line == 2, "a declaration belongs to the user's line"


def test_dotenv_fills_the_environment(project: Project) -> None:
    project.write(
        ".env", "# c\nA=1\nexport B = two # c\nC=\"x\\n$y\nz\"\nD='raw \\n'\nnothing\nE=a=b\n"
    )
    declared = project.evaluate(
        "load('ext://dotenv', 'dotenv')\ndotenv()\n"
        "print([os.getenv(k) for k in ['A', 'B', 'C', 'D', 'E']])\n"
    )
    assert project.printed == [r'["1", "two", "x\n$y\nz", "raw \\n", "a=b"]']
    assert ".env" in declared.reads.paths


def test_secrets_come_from_files_and_dicts(project: Project) -> None:
    project.write("key", "hush")
    declared = project.evaluate(
        "load('ext://secret', 'secret_from_dict', 'secret_create_generic')\n"
        "k8s_yaml(secret_from_dict('a', inputs={'x': 'y', 'n': 1}))\n"
        "secret_create_generic('b', 'ns', from_file='k=key')\n"
    )
    data = [json.loads(one.manifest)["data"] for one in declared.objects]
    assert base64.b64decode(data[0]["x"]) == b"y"
    assert base64.b64decode(data[0]["n"]) == b"1"
    assert base64.b64decode(data[1]["k"]) == b"hush"
    assert declared.objects[1].ref.namespace == "ns"


def test_config_maps_come_from_files(project: Project) -> None:
    project.write("conf/a.ini", "x=1")
    project.write("vars", "K=v\n")
    declared = project.evaluate(
        "load('ext://configmap', 'configmap_create', 'configmap_from_dict')\n"
        "configmap_create('a', from_file=['conf'], from_env_file='vars')\n"
        "k8s_yaml(configmap_from_dict('b', inputs={'k': 1}))\n"
    )
    data = [json.loads(one.manifest)["data"] for one in declared.objects]
    assert data == [{"a.ini": "x=1", "K": "v"}, {"k": "1"}]


def test_an_image_that_restarts_is_the_image_itself(project: Project) -> None:
    project.write("Dockerfile", "FROM scratch\n")
    declared = project.evaluate(
        "load('ext://restart_process', 'docker_build_with_restart')\n"
        "docker_build_with_restart('a', '.', entrypoint='/run', live_update=[sync('.', '/a')])\n"
    )
    assert declared.images[0].entrypoint == ("sh", "-c", "/run")
    assert declared.images[0].live_update == (SyncStep(".", "/a"), RestartContainer())
    assert not declared.remarks
    assert declared.images[0].where.line == 2


def test_the_smaller_ones(project: Project) -> None:
    declared = project.evaluate(
        "load('ext://uibutton', 'cmd_button', 'location', 'text_input')\n"
        "load('ext://local_output', 'local_output')\n"
        "load('ext://min_tilt_version', 'min_tilt_version')\n"
        "load('ext://deployment', 'deployment_create')\n"
        "min_tilt_version('0.13')\n"
        "cmd_button('b', argv=['x'], location=location.NAV, inputs=[text_input('t')])\n"
        "print(local_output('echo hi') + '!')\n"
        "deployment_create('web', ports='80:8080', readiness_probe={'exec': {'command': ['x']}})\n"
    )
    assert project.printed == ["hi!"]
    deployment, service = (json.loads(one.manifest) for one in declared.objects)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"] == {"exec": {"command": ["x"]}}
    assert service["spec"]["ports"] == [{"name": "port-80", "port": 80, "targetPort": 8080}]


@pytest.mark.parametrize("name", ["helm_resource", "helm_remote", "git_resource", "nonesuch"])
def test_an_extension_that_is_not_there_stops_at_its_load(project: Project, name: str) -> None:
    text = project.fails(f"x = 1\nload('ext://{name}', 'y')\n")
    assert text.startswith(
        f"Kindlingfile:2:6: The extension `ext://{name}` is not part of kindling"
    )


@pytest.mark.parametrize("name", extensions())
def test_every_extension_loads(project: Project, name: str) -> None:
    assert "has no `no_such_name`" in project.fails(f"load('ext://{name}', 'no_such_name')\n")
