"""Histories of writes whose field owners are known: a real API server has played them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.cluster.patch.manifests import DEPLOYMENT, Json, at


@dataclass(frozen=True, slots=True)
class Step:
    """One write. `verb` is `create`, `apply`, `merge`, `update` or `status`."""

    verb: str
    manager: str
    body: Json
    force: bool = False


def config(data: Json | None = None, **metadata: Any) -> Json:
    obj: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", **metadata}}
    return obj if data is None else {**obj, "data": data}


def service(*ports: Json, **spec: Any) -> Json:
    if ports:
        spec["ports"] = list(ports)
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": spec}


def template(*containers: Json, **spec: Any) -> Json:
    """A PodTemplate: all of a pod's fields, and no controller writes to it."""
    return {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": {"name": "x"},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": list(containers), **spec} if containers else spec,
        },
    }


def deployment(spec: Json) -> Json:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": spec}


WEB: Json = {"name": "web", "image": "nginx:1"}
SIDE: Json = {"name": "side", "image": "busybox:1"}
WEB_SPEC: Json = {
    "replicas": 0,
    "paused": True,
    "selector": {"matchLabels": {"app": "web"}},
    "template": template(WEB, SIDE)["template"],
}

# Two things of 1.20 are left out, which later servers do otherwise: an applied object that is empty
# is owned by nobody there, and a manager that owns no more than an emptied map (`f:data: {}`) is
# taken to own what others put into it.
HISTORIES: dict[str, tuple[Step, ...]] = {
    "create owns all it sets": (Step("create", "a", config({"x": "1"}, labels={"l": "1"})),),
    "create with a template": (Step("create", "a", template(WEB, SIDE)),),
    "create with a pod's everything": (
        Step(
            "create",
            "a",
            template(
                {
                    **WEB,
                    "resources": {"limits": {"cpu": "1"}},
                    "ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}],
                    "env": [
                        {"name": "A", "value": "1"},
                        {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    ],
                    "args": ["a"],
                    "livenessProbe": {"httpGet": {"path": "/", "port": 80}},
                    "volumeMounts": [{"name": "d", "mountPath": "/d"}],
                    "securityContext": {"capabilities": {"add": ["KILL"]}},
                },
                volumes=[{"name": "d", "emptyDir": {}}],
                tolerations=[{"operator": "Exists"}],
                nodeSelector={"a": "b"},
                imagePullSecrets=[{"name": "s"}],
                hostAliases=[{"ip": "1.2.3.4", "hostnames": ["a"]}],
            ),
        ),
    ),
    "create of a service": (
        Step("create", "a", service({"name": "http", "port": 80}, selector={"a": "b"})),
    ),
    "create of a deployment": (
        Step("create", "a", {**DEPLOYMENT, "metadata": {"name": "x", "labels": {"a": "b"}}}),
    ),
    "an update takes what it changes": (
        Step("create", "a", config({"w": "1", "x": "1", "y": "1"})),
        Step("merge", "b", {"data": {"x": "2"}}),
        Step("merge", "c", {"data": {"y": None, "z": "1"}}),
        Step("merge", "a", {"data": {"x": "3"}}),
    ),
    "an update that changes nothing": (
        Step("create", "a", config({"x": "1"})),
        Step("merge", "b", {"data": {"x": "1"}}),
    ),
    "a map that is emptied": (
        Step("create", "a", config({"x": "1"}, labels={"l": "1"})),
        Step("merge", "b", {"data": None}),
        Step("merge", "b", {"metadata": {"labels": {"l": None}}}),
        Step("merge", "c", {"data": {"n": "1"}}),
    ),
    "finalizers and owners": (
        Step(
            "create",
            "a",
            config(
                {},
                finalizers=["kindling.dev/a"],
                ownerReferences=[{"apiVersion": "v1", "kind": "X", "name": "n", "uid": "u"}],
            ),
        ),
        Step("merge", "b", {"metadata": {"finalizers": ["kindling.dev/a", "kindling.dev/b"]}}),
        Step("merge", "c", {"metadata": {"finalizers": ["kindling.dev/b"]}}),
        Step("merge", "c", {"metadata": {"finalizers": None, "ownerReferences": None}}),
    ),
    "apply creates": (Step("apply", "a", config({"x": "1"}, labels={"l": "1"})),),
    "apply twice": (
        Step("apply", "a", config({"x": "1"})),
        Step("apply", "a", config({"x": "1"})),
    ),
    "apply by two, equal": (
        Step("apply", "a", config({"x": "1"})),
        Step("apply", "b", config({"x": "1"})),
        Step("apply", "a", config(None)),
    ),
    "apply by two, apart": (
        Step("apply", "a", config({"x": "1"})),
        Step("apply", "b", config({"y": "1"})),
        Step("apply", "b", config({"z": "1"})),
        Step("apply", "a", config(None)),
    ),
    "a conflict": (
        Step("apply", "a", config({"x": "1"})),
        Step("apply", "b", config({"x": "2"})),
        Step("apply", "b", config({"x": "2"}), force=True),
        Step("apply", "a", config({"x": "1"})),
    ),
    "conflicts with an updater and an applier": (
        Step("apply", "a", config({"x": "1", "y": "1"})),
        Step("merge", "kubectl-client-side-apply", {"data": {"z": "1", "y": "2"}}),
        Step("apply", "b", config({"x": "2", "y": "3", "z": "2"})),
        Step("apply", "b", config({"x": "2", "y": "3", "z": "2"}), force=True),
    ),
    "apply over what was created": (
        Step("create", "a", config({"x": "1", "y": "1"})),
        Step("apply", "b", config({"x": "1"})),
        Step("apply", "b", config({"x": "2"})),
        Step("apply", "b", config({"y": "1"})),
    ),
    "apply over an object with no entries": (
        Step("create", "a", config({"x": "1", "y": "1"}, labels={"l": "1"})),
        Step("merge", "a", {"metadata": {"managedFields": [{}]}}),
        Step("merge", "a", {"data": {"x": "2"}}),
        Step("apply", "b", config({"x": "2", "z": "1"})),
        Step("apply", "b", config({"x": "5"})),
    ),
    "entries are reset by an empty list": (
        Step("create", "a", config({"x": "1"})),
        Step("merge", "b", {"metadata": {"managedFields": []}, "data": {"y": "1"}}),
    ),
    "entries that a client sends": (
        Step("create", "a", config({"x": "1", "y": "1"})),
        Step(
            "merge",
            "b",
            {
                "metadata": {
                    "managedFields": [
                        {
                            "manager": "z",
                            "operation": "Apply",
                            "apiVersion": "v1",
                            "fieldsType": "FieldsV1",
                            "fieldsV1": {"f:data": {"f:x": {}}},
                        }
                    ]
                },
                "data": {"y": "2"},
            },
        ),
        Step("apply", "z", config({"y": "2"})),
    ),
    "containers by name": (
        Step("apply", "a", template(WEB, SIDE)),
        Step("apply", "b", template({"name": "web", "image": "nginx:1"})),
        Step("apply", "a", template(WEB)),
        Step("apply", "a", template({"name": "web", "image": "nginx:2"})),
        Step("apply", "a", template({"name": "web", "image": "nginx:2"}), force=True),
    ),
    "an applied item in an updated list": (
        Step("create", "a", template(WEB)),
        Step("apply", "b", template(SIDE)),
        Step("apply", "b", template({"name": "other", "image": "x"})),
        Step("apply", "b", template({"name": "web", "image": "nginx:9"})),
        Step("apply", "b", template({"name": "web", "image": "nginx:9"}), force=True),
    ),
    "ports have two keys, one by default": (
        Step("apply", "a", template({**WEB, "ports": [{"containerPort": 80}]})),
        Step(
            "apply",
            "b",
            template(
                {"name": "web", "ports": [{"containerPort": 80, "protocol": "UDP"}]},
            ),
        ),
        Step("apply", "a", template(WEB)),
    ),
    "atomic lists and maps": (
        Step(
            "apply",
            "a",
            template({**WEB, "args": ["a"]}, nodeSelector={"a": "1"}, tolerations=[{"key": "k"}]),
        ),
        Step("apply", "b", template({"name": "web", "args": ["b"]}, nodeSelector={"b": "1"})),
        Step("apply", "b", template({"name": "web"}, nodeSelector={"b": "1"})),
        Step("apply", "a", template(WEB)),
    ),
    "a service's selector and ports": (
        Step(
            "apply", "a", service({"port": 80, "protocol": "TCP", "name": "h"}, selector={"a": "1"})
        ),
        Step("apply", "b", service(selector={"b": "1"})),
        Step("apply", "b", service({"port": 81, "protocol": "TCP", "name": "i"})),
        Step("apply", "a", service({"port": 80, "protocol": "TCP", "name": "h", "targetPort": 9})),
    ),
    "a list without keys in the schema": (
        Step("apply", "a", template(WEB, imagePullSecrets=[{"name": "s"}])),
        Step("apply", "b", template(imagePullSecrets=[{"name": "t"}])),
        Step("apply", "a", template(WEB)),
    ),
    "replicas of a deployment": (
        Step("apply", "a", deployment(WEB_SPEC)),
        Step("merge", "scaler", at("spec.minReadySeconds", 5)),
        Step(
            "apply",
            "a",
            deployment({**WEB_SPEC, "minReadySeconds": 9}),
        ),
        Step("apply", "a", deployment(WEB_SPEC)),
    ),
    "an update adds an item's field": (
        Step("apply", "a", template(WEB, SIDE)),
        Step(
            "strategic",
            "b",
            {
                "template": {
                    "spec": {"containers": [{"name": "web", "env": [{"name": "X", "value": "1"}]}]}
                }
            },
        ),
        Step("apply", "a", template(SIDE)),
        Step("apply", "a", template(SIDE, WEB)),
    ),
    "kubectl takes over from client-side apply": (
        Step(
            "create",
            "kubectl-client-side-apply",
            config(
                {"w": "1", "x": "1", "y": "1"},
                annotations={
                    "kubectl.kubernetes.io/last-applied-configuration": (
                        '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"annotations":{},'
                        '"name":"x"},"data":{"w":"1","x":"1","y":"1"}}\n'
                    )
                },
            ),
        ),
        Step("apply", "kubectl", config({"x": "2", "y": "1"})),
        Step("merge", "other", {"data": {"y": "5"}}),
        Step("apply", "kubectl", config({"x": "2", "y": "1"})),
    ),
    "eleven updaters": tuple(
        [Step("create", "m00", config({"k00": "1"}))]
        + [Step("merge", f"m{n:02}", {"data": {f"k{n:02}": "1"}}) for n in range(1, 14)]
    ),
    "an item twice": (Step("apply", "a", template(WEB, WEB)),),
    # One at a time: 1.20 tells of both, or of one, as its map of fields happens to be walked.
    "an unknown field": (Step("apply", "a", template(WEB, nodSelector={})),),
    "an unknown field of an item": (Step("apply", "a", template({**WEB, "imag": "x"})),),
    "entries in an apply": (Step("apply", "a", config({"x": "1"}, managedFields=[{}])),),
}
