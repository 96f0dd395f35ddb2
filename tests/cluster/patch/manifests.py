"""Objects and patches that the tests share, the ones beside a real server among them."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

CONFIG: Json = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings", "labels": {"app": "web"}},
    "data": {"a": "1", "b": "2"},
}

DEPLOYMENT: Json = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"app": "web"}, "finalizers": ["kindling.dev/a"]},
    "spec": {
        "replicas": 0,
        "strategy": {"type": "RollingUpdate"},
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [
                    {
                        "name": "web",
                        "image": "nginx:1",
                        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                        "ports": [
                            {"containerPort": 80, "protocol": "TCP"},
                            {"containerPort": 53, "protocol": "UDP"},
                        ],
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    },
                    {"name": "side", "image": "busybox:1", "args": ["a", "b"]},
                ],
                "volumes": [{"name": "data", "emptyDir": {}}],
                "tolerations": [{"key": "x", "operator": "Exists"}],
            },
        },
    },
}

SERVICE: Json = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {
        "selector": {"app": "web"},
        "ports": [
            {"name": "http", "port": 80, "targetPort": 8080},
            {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": "dns"},
        ],
    },
}

_POD = "spec.template.spec"


def at(path: str, value: Any) -> Json:
    """A patch of one place: `at("spec.replicas", 3)`."""
    for name in reversed(path.split(".")):
        value = {name: value}
    result: Json = value
    return result


STRATEGIC: dict[str, tuple[Json, Json]] = {
    "a scalar": (DEPLOYMENT, at("spec.minReadySeconds", 3)),
    "a null takes a field away": (CONFIG, {"data": {"a": None, "c": "3"}}),
    "a null for what is not there": (CONFIG, {"data": {"z": None}}),
    "an item by its key": (
        DEPLOYMENT,
        at(f"{_POD}.containers", [{"name": "web", "image": "nginx:2"}]),
    ),
    "a new item comes first": (
        DEPLOYMENT,
        at(f"{_POD}.containers", [{"name": "new", "image": "x"}]),
    ),
    "an item is deleted": (
        DEPLOYMENT,
        at(f"{_POD}.containers", [{"name": "side", "$patch": "delete"}]),
    ),
    "a list is replaced": (
        DEPLOYMENT,
        at(f"{_POD}.containers", [{"$patch": "replace"}, {"name": "only", "image": "x"}]),
    ),
    "a list in an item": (
        DEPLOYMENT,
        at(
            f"{_POD}.containers",
            [
                {
                    "name": "web",
                    "env": [{"name": "C", "value": "3"}, {"name": "A", "$patch": "delete"}],
                }
            ],
        ),
    ),
    "ports by containerPort": (
        DEPLOYMENT,
        at(
            f"{_POD}.containers",
            [{"name": "web", "ports": [{"containerPort": 53, "protocol": "TCP"}]}],
        ),
    ),
    "an atomic list is replaced": (
        DEPLOYMENT,
        at(f"{_POD}.containers", [{"name": "side", "args": ["c"]}]),
    ),
    "tolerations have no key": (
        DEPLOYMENT,
        at(f"{_POD}.tolerations", [{"key": "y", "operator": "Exists"}]),
    ),
    "an object is replaced": (
        DEPLOYMENT,
        at("metadata.labels", {"$patch": "replace", "only": "one"}),
    ),
    "an object is emptied": (DEPLOYMENT, at("metadata.labels", {"$patch": "delete"})),
    "primitives are merged": (DEPLOYMENT, at("metadata.finalizers", ["kindling.dev/b"])),
    "primitives are deleted": (
        DEPLOYMENT,
        {"metadata": {"$deleteFromPrimitiveList/finalizers": ["kindling.dev/a"]}},
    ),
    "primitives are ordered": (
        DEPLOYMENT,
        {
            "metadata": {
                "$setElementOrder/finalizers": ["kindling.dev/b", "kindling.dev/a"],
                "finalizers": ["kindling.dev/b"],
            }
        },
    ),
    "items are ordered": (
        DEPLOYMENT,
        {
            "spec": {
                "template": {
                    "spec": {
                        "$setElementOrder/containers": [{"name": "side"}, {"name": "web"}],
                    }
                }
            }
        },
    ),
    "items are merged and ordered": (
        DEPLOYMENT,
        {
            "spec": {
                "template": {
                    "spec": {
                        "$setElementOrder/containers": [
                            {"name": "new"},
                            {"name": "side"},
                            {"name": "web"},
                        ],
                        "containers": [
                            {"name": "new", "image": "x"},
                            {"name": "web", "image": "y"},
                        ],
                    }
                }
            }
        },
    ),
    "an order that leaves a live item out": (
        DEPLOYMENT,
        {
            "spec": {
                "template": {
                    "spec": {
                        "$setElementOrder/containers": [{"name": "side"}, {"name": "new"}],
                        "containers": [{"name": "new", "image": "x"}],
                    }
                }
            }
        },
    ),
    "only the keys that are to be kept": (
        DEPLOYMENT,
        at("spec.strategy", {"$retainKeys": ["type"], "type": "Recreate"}),
    ),
    "a volume changes its source": (
        DEPLOYMENT,
        at(
            f"{_POD}.volumes",
            [{"name": "data", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}],
        ),
    ),
    "service ports by port": (
        SERVICE,
        at("spec.ports", [{"port": 80, "targetPort": 9090}]),
    ),
    "a selector is merged by a patch": (SERVICE, at("spec.selector", {"tier": "front"})),
    "nothing": (CONFIG, {}),
}

STRATEGIC_ERRORS: dict[str, tuple[Json, Any]] = {
    "no key": (DEPLOYMENT, at(f"{_POD}.containers", [{"image": "x"}])),
    "a wrong directive": (DEPLOYMENT, at("metadata.labels", {"$patch": "what"})),
    "a wrong directive in an item": (
        DEPLOYMENT,
        at(f"{_POD}.containers", [{"name": "web", "$patch": "what"}]),
    ),
    "an item that is no object": (DEPLOYMENT, at(f"{_POD}.containers", ["web"])),
    "a deletion without a key": (DEPLOYMENT, at(f"{_POD}.containers", [{"$patch": "delete"}])),
    "kept keys that are no list": (
        DEPLOYMENT,
        at("spec.strategy", {"$retainKeys": "type", "type": "Recreate"}),
    ),
    "a key that is not kept": (
        DEPLOYMENT,
        at("spec.strategy", {"$retainKeys": ["type"], "rollingUpdate": {}}),
    ),
    "an order that is no list": (
        DEPLOYMENT,
        {"metadata": {"$setElementOrder/finalizers": "a", "finalizers": ["kindling.dev/b"]}},
    ),
    "an order that the items do not follow": (
        DEPLOYMENT,
        {
            "metadata": {
                "$setElementOrder/finalizers": ["kindling.dev/c"],
                "finalizers": ["kindling.dev/b"],
            }
        },
    ),
    "a list": (CONFIG, [1]),
    "a text": (CONFIG, "x"),
}

MERGE: dict[str, tuple[Json, Json]] = {
    "values": (CONFIG, {"data": {"a": "9", "c": "3"}}),
    "null": (CONFIG, {"data": None}),
    "lists are replaced": (
        DEPLOYMENT,
        at(f"{_POD}.containers", [{"name": "only", "image": "x"}]),
    ),
    "nulls below something new": (CONFIG, at("metadata.annotations", {"a": None, "b": "1"})),
}

JSON_PATCHES: dict[str, tuple[Json, list[Json]]] = {
    "add, replace, remove": (
        CONFIG,
        [
            {"op": "add", "path": "/data/c", "value": "3"},
            {"op": "replace", "path": "/data/a", "value": "9"},
            {"op": "remove", "path": "/data/b"},
        ],
    ),
    "test holds": (
        CONFIG,
        [
            {"op": "test", "path": "/data/a", "value": "1"},
            {"op": "move", "from": "/data/a", "path": "/data/x"},
            {"op": "copy", "from": "/data/b", "path": "/data/y"},
        ],
    ),
    "items by place": (
        DEPLOYMENT,
        [
            {"op": "remove", "path": "/spec/template/spec/containers/1"},
            {
                "op": "add",
                "path": "/spec/template/spec/containers/-",
                "value": {"name": "n", "image": "i"},
            },
            {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "z"},
        ],
    ),
    "replace what is not there adds it": (
        CONFIG,
        [{"op": "replace", "path": "/data/z", "value": "1"}],
    ),
    "null is what is not there": (CONFIG, [{"op": "test", "path": "/data/z", "value": None}]),
    "a name with a slash": (
        DEPLOYMENT,
        [{"op": "add", "path": "/metadata/labels/a.b~1c", "value": "d"}],
    ),
}

JSON_ERRORS: dict[str, tuple[Json, Any]] = {
    "test fails": (CONFIG, [{"op": "test", "path": "/data/a", "value": "2"}]),
    "test of what is not there": (CONFIG, [{"op": "test", "path": "/data/z", "value": "2"}]),
    "remove what is not there": (CONFIG, [{"op": "remove", "path": "/data/z"}]),
    "replace below what is not there": (CONFIG, [{"op": "replace", "path": "/z/z", "value": "1"}]),
    "replace an item that is not there": (
        DEPLOYMENT,
        [{"op": "replace", "path": "/spec/template/spec/containers/7", "value": {}}],
    ),
    "the whole is no object": (CONFIG, [{"op": "replace", "path": "/data/a/b", "value": "1"}]),
    "add below what is not there": (CONFIG, [{"op": "add", "path": "/x/y", "value": "1"}]),
    "an unknown operation": (CONFIG, [{"op": "what", "path": "/data/a"}]),
    "no operation": (CONFIG, [{"path": "/data/a", "value": "1"}]),
    "no path": (CONFIG, [{"op": "add", "value": "1"}]),
    "too many": (CONFIG, [{"op": "test", "path": "/data/a", "value": "1"}] * 10_001),
    "an object": (CONFIG, {"op": "add"}),
    "a list of numbers": (CONFIG, [1]),
}
