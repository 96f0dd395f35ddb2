"""Objects, resources, kinds, Secrets."""

from __future__ import annotations

import json

import pytest

from kindling.graph.node import Trigger
from kindling.graph.spec import Readiness
from kindling.lang.declared import (
    DiscoveryStrategy,
    Link,
    ObjectSelector,
    PortForward,
    WorkloadId,
)
from kindling.testing.project import Project

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def test_objects_come_from_files_blobs_and_lists(project: Project) -> None:
    project.write("x.yaml", CONFIG + "---\n---\n" + CONFIG.replace("a}", "b}"))
    declared = project.evaluate(
        "k8s_yaml(['x.yaml', blob('''apiVersion: v1\nkind: List\nitems:\n"
        "- {apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: n}}\n''')])\n"
    )
    assert [(o.ref.name, o.ref.namespace, o.source) for o in declared.objects] == [
        ("a", "", "x.yaml"),
        ("b", "", "x.yaml"),
        ("c", "n", ""),
    ]
    assert json.loads(declared.objects[0].manifest)["kind"] == "ConfigMap"
    assert {"Kindlingfile", "x.yaml"} <= set(declared.reads.paths)


def test_a_duplicate_cites_both_places(project: Project) -> None:
    project.write("x.yaml", CONFIG)
    project.write("y.yaml", CONFIG)
    text = project.fails("k8s_yaml('x.yaml')\nk8s_yaml('y.yaml')\n")
    assert text.startswith("Kindlingfile:2:1: configmap/a is declared twice")
    assert "first at Kindlingfile:1:1, in x.yaml" in text
    assert "again in y.yaml" in text


def test_a_duplicate_may_be_allowed(project: Project) -> None:
    project.write("x.yaml", CONFIG)
    declared = project.evaluate("k8s_yaml('x.yaml')\nk8s_yaml('x.yaml', allow_duplicates=True)\n")
    assert [one.allow_duplicates for one in declared.objects] == [False, True]


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("", "The YAML holds no objects"),
        ("kind: Pod", "has no `apiVersion`"),
        ("apiVersion: v1\\nkind: Pod\\nmetadata: {generateName: x}", "`generateName`"),
        ("a: [", "is not YAML"),
        ("x.yaml", "Is a path meant?"),
    ],
)
def test_what_is_no_object_is_refused(project: Project, yaml: str, message: str) -> None:
    assert message in project.fails(f"k8s_yaml(blob('{yaml}'))\n")


def test_a_resource_is_configured_in_full(project: Project) -> None:
    declared = project.evaluate(
        "k8s_resource('api', new_name='backend', resource_deps=['db'], labels='app',\n"
        "  port_forwards=[8080, '9000:90', '0.0.0.0:1:2', port_forward(5, 6, 'n', 'x', 'h')],\n"
        "  extra_pod_selectors={'app': 'x'}, trigger_mode=TRIGGER_MODE_MANUAL, auto_init=False,\n"
        "  objects=['cfg:configmap', 'a\\\\:b:role:ns:rbac'], pod_readiness='ignore',\n"
        "  links=['localhost:1', link('https://x', 'y')], discovery_strategy='selectors-only',\n"
        "  recreate=True)\n"
    )
    (one,) = declared.resources
    assert one.port_forwards == (
        PortForward(8080),
        PortForward(9000, 90),
        PortForward(1, 2, host="0.0.0.0"),
        PortForward(5, 6, "n", "/x", "h"),
    )
    assert one.objects == (
        ObjectSelector("cfg:configmap", "cfg", "configmap"),
        ObjectSelector("a\\:b:role:ns:rbac", "a:b", "role", "ns", "rbac"),
    )
    assert one.extra_pod_selectors == ((("app", "x"),),)
    assert one.links == (Link("http://localhost:1"), Link("https://x", "y"))
    assert (one.workload, one.new_name, one.labels) == ("api", "backend", ("app",))
    assert (one.trigger, one.auto_init, one.recreate) == (Trigger.MANUAL, False, True)
    assert one.pod_readiness is Readiness.IGNORE
    assert one.discovery_strategy is DiscoveryStrategy.SELECTORS_ONLY


def test_what_a_resource_does_not_say_is_none(project: Project) -> None:
    (one,) = project.evaluate("k8s_resource('api')\n").resources
    assert (one.trigger, one.auto_init, one.recreate, one.pod_readiness) == (None,) * 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("k8s_resource()", "names neither a workload nor objects"),
        ("k8s_resource(objects=['a'])", "needs a `new_name`"),
        ("k8s_resource('a', objects=['a:b:c:d:e'])", "does not select an object"),
        ("k8s_kind('X', image_json_path='spec.image')", "is not a JSON path"),
        ("k8s_kind('X', image_object={'json_path': '{.a}'})", "lacks [repo_field, tag_field]"),
        ("k8s_kind('(')", "is not a regular expression"),
        ("secret_if_absent('A_B')", "is not the name of a Secret"),
        ("secret_if_absent('a')\nsecret_if_absent('a')", "secret `a` is declared twice"),
    ],
)
def test_declarations_that_cannot_be_are_refused(project: Project, call: str, message: str) -> None:
    assert message in project.fails(call + "\n")


def test_kinds_say_where_images_are(project: Project) -> None:
    declared = project.evaluate(
        "k8s_kind('UselessMachine', image_json_path='{.spec.image}', pod_readiness='wait')\n"
        "k8s_image_json_path(['{.a}'], kind='B', name='c')\n"
    )
    workload, other = declared.kinds
    assert (workload.image_json_paths, workload.workload) == (("{.spec.image}",), True)
    assert (other.kind, other.name, other.workload) == ("B", "c", False)


def test_yaml_is_divided(project: Project) -> None:
    project.write("x.yaml", CONFIG + "---\n" + CONFIG.replace("ConfigMap", "Secret"))
    declared = project.evaluate(
        "secrets, rest = filter_yaml('x.yaml', kind='secret')\nk8s_yaml(rest)\n"
        "print(str(secrets).count('Secret'))\n"
    )
    assert [one.ref.kind for one in declared.objects] == ["ConfigMap"]
    assert project.printed == ["1"]


def test_a_function_of_the_files_names_workloads(project: Project) -> None:
    declared = project.evaluate(
        "def name(id):\n  return id.kind.lower() + '-' + id.name\n"
        "workload_to_resource_function(name)\n"
    )
    assert declared.name_workload is not None
    assert declared.name_workload(WorkloadId("a", "Job", "default", "batch")) == "job-a"


def test_a_naming_function_that_fails_is_located(project: Project) -> None:
    declared = project.evaluate("workload_to_resource_function(lambda id: id.nme)\n")
    assert declared.name_workload is not None
    with pytest.raises(Exception, match=r"Kindlingfile:1:.*no attribute `nme`"):
        declared.name_workload(WorkloadId("a", "Job", "default", "batch"))


def test_the_values_of_a_secret_are_in_no_repr(project: Project) -> None:
    declared = project.evaluate("secret_if_absent('a', 'n', literals={'k': 'hush-hush'})\n")
    assert declared.secrets[0].literals == (("k", "hush-hush"),)
    assert "hush-hush" not in repr(declared)
