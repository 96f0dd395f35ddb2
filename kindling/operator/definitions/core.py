"""Pieces of schema that the custom kinds share.

The core types are written out as far as an environment needs them, so that a server without our
code refuses a wrong field by its path. Every function returns a new value: a definition is one
tree, with nothing shared in it.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "GROUP",
    "QUANTITY_PATTERN",
    "VERSION",
    "Schema",
    "array",
    "conditions",
    "definition",
    "env_vars",
    "integer",
    "mapping",
    "port",
    "quantity",
    "record",
    "resources",
    "rule",
    "text",
]

GROUP = "apps.example.com"
VERSION = "v1alpha1"

Schema = dict[str, Any]

QUANTITY_PATTERN = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
    r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)
"""The grammar of quantities, as controller-gen writes it for `resource.Quantity`."""


def record(properties: Schema, *required: str, **more: Any) -> Schema:
    """An object with these fields."""
    node: Schema = {"type": "object", "properties": properties}
    if required:
        node["required"] = list(required)
    return node | more


def array(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items} | more


def mapping(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def text(description: str = "", **more: Any) -> Schema:
    return {"type": "string"} | ({"description": description} if description else {}) | more


def integer(description: str = "", **more: Any) -> Schema:
    node: Schema = {"type": "integer", "format": "int32"}
    return node | ({"description": description} if description else {}) | more


def port(description: str) -> Schema:
    return integer(description, minimum=1, maximum=65535)


def quantity(description: str) -> Schema:
    return {
        "description": description,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "pattern": QUANTITY_PATTERN,
        "x-kubernetes-int-or-string": True,
    }


def rule(expression: str, message: str) -> Schema:
    """One validation in the expression language; servers before 1.25 ignore it."""
    return {"rule": expression, "message": message}


def resources() -> Schema:
    return record(
        {
            "cpuRequest": quantity("CPU that is set aside."),
            "cpuLimit": quantity("CPU that may be used."),
            "memoryRequest": quantity("Memory that is set aside."),
            "memoryLimit": quantity("Memory beyond which the container is killed."),
        }
    )


def _key_of(what: str) -> Schema:
    return record(
        {
            "name": text(f"Name of the {what}."),
            "key": text("Which of its keys."),
            "optional": {"type": "boolean"},
        },
        "key",
        **{"x-kubernetes-map-type": "atomic"},
    )


def env_vars(description: str) -> Schema:
    """`[]core/v1.EnvVar`."""
    source = record(
        {
            "secretKeyRef": _key_of("Secret"),
            "configMapKeyRef": _key_of("ConfigMap"),
            "fieldRef": record(
                {"apiVersion": text(), "fieldPath": text()},
                "fieldPath",
                **{"x-kubernetes-map-type": "atomic"},
            ),
            "resourceFieldRef": record(
                {
                    "containerName": text(),
                    "divisor": quantity("Unit of the value."),
                    "resource": text(),
                },
                "resource",
                **{"x-kubernetes-map-type": "atomic"},
            ),
        }
    )
    variable = record(
        {"name": text(minLength=1), "value": text(), "valueFrom": source},
        "name",
        **{
            "x-kubernetes-validations": [
                rule(
                    "!has(self.valueFrom) || !has(self.value) || self.value == ''",
                    "may not have both value and valueFrom",
                )
            ]
        },
    )
    return array(variable, description=description)


def conditions() -> Schema:
    """`[]meta/v1.Condition`, one per type."""
    condition = record(
        {
            "type": text(maxLength=316),
            "status": text(enum=["True", "False", "Unknown"]),
            "reason": text(maxLength=1024, minLength=1),
            "message": text(maxLength=32768),
            "lastTransitionTime": text(format="date-time"),
            "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
        },
        "type",
        "status",
        "reason",
        "message",
        "lastTransitionTime",
    )
    return array(
        condition,
        **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )


def definition(
    kind: str,
    plural: str,
    short: tuple[str, ...],
    root: Schema,
    columns: list[Schema],
) -> Schema:
    """The CustomResourceDefinition of a namespaced kind with a status of its own."""
    head: Schema = {
        "apiVersion": text("Which version of the schema this object is written in."),
        "kind": text("Which kind of object this is."),
        "metadata": {"type": "object"},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{GROUP}",
            "labels": {"app.kubernetes.io/part-of": "kindling"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": list(short),
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "schema": {
                        "openAPIV3Schema": root
                        | {"type": "object", "properties": head | root["properties"]}
                    },
                }
            ],
        },
    }
