"""The published definitions of custom kinds."""

from __future__ import annotations

from typing import Any

from kindling.cluster.model.resource import ResourceType
from kindling.cluster.schema import definitions
from kindling.cluster.schema.custom.structural import Node
from kindling.cluster.schema.openapi.models import META, custom_name

__all__ = ["definitions_of"]

_OBJECT_META = META + "ObjectMeta"


def definitions_of(resource: ResourceType, node: Node) -> dict[str, dict[str, Any]]:
    """The definition of a custom kind and of its list, with bare references."""
    group, version = resource.group, resource.version
    name = custom_name(group, version, resource.kind)
    shared = definitions.descriptions("io.k8s.api.core.v1.Pod")
    of_list = definitions.descriptions("io.k8s.api.core.v1.PodList")
    envelope: dict[str, Any] = {
        "apiVersion": {"type": "string", "description": shared["apiVersion"]},
        "kind": {"type": "string", "description": shared["kind"]},
    }
    told: dict[str, Any] = {
        key: value for key, value in node.items() if key != "x-kubernetes-validations"
    }
    metadata = {"allOf": [{"$ref": _OBJECT_META}], "description": shared["metadata"]}
    told["properties"] = {**(node.get("properties") or {}), **envelope, "metadata": metadata}
    told["x-kubernetes-group-version-kind"] = [_kind(group, version, resource.kind)]
    listing: dict[str, Any] = {
        "description": f"{resource.list_kind} is a list of {resource.kind}",
        "type": "object",
        "required": ["items"],
        "properties": envelope
        | {
            "items": {
                "type": "array",
                "items": {"$ref": name},
                "description": f"List of {resource.plural}.",
            },
            "metadata": {
                "allOf": [{"$ref": META + "ListMeta"}],
                "description": of_list.get("metadata", ""),
            },
        },
        "x-kubernetes-group-version-kind": [_kind(group, version, resource.list_kind)],
    }
    return {name: told, custom_name(group, version, resource.list_kind): listing}


def _kind(group: str, version: str, kind: str) -> dict[str, str]:
    return {"group": group, "version": version, "kind": kind}
