"""Whole documents, put together from definitions and operations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kindling.cluster.model.resource import ResourceType
from kindling.cluster.schema import definitions
from kindling.cluster.schema.openapi.models import (
    META,
    closure,
    custom_name,
    definition_v2,
    definition_v3,
    expand_v3,
)
from kindling.cluster.schema.openapi.operations import Operation, Parameter, operations

__all__ = ["document_v2", "document_v3"]

_VERSION = "v1.32.0"
_MEDIA = ("application/json", "application/yaml")
_PARTS = {
    "scale": "io.k8s.api.autoscaling.v1.Scale",
    "binding": "io.k8s.api.core.v1.Binding",
    "eviction": "io.k8s.api.policy.v1.Eviction",
    "token": "io.k8s.api.authentication.v1.TokenRequest",
}
_ALWAYS = (META + "DeleteOptions", META + "ListMeta", META + "ObjectMeta", META + "Patch")


def _name_of(resource: ResourceType, kind: str) -> str:
    if resource.custom:
        return custom_name(resource.group, resource.version, kind)
    return definitions.definition_name(resource.group, resource.version, kind) or ""


def _operations(resources: Iterable[ResourceType]) -> list[Operation]:
    found: list[Operation] = []
    for row in resources:
        one, many = _name_of(row, row.kind), _name_of(row, row.list_kind)
        found += operations(row, one, many, _PARTS)
    return found


def _needed(rows: Iterable[Operation], custom: Mapping[str, Any]) -> list[str]:
    names = {name for row in rows for name in (row.takes, row.gives) if name}
    return closure({*names, *_ALWAYS, META + "Status"} - custom.keys())


def document_v3(
    resources: Sequence[ResourceType], custom: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """The document of the resources of one group and version. `custom` holds the definitions of
    custom kinds and their lists, with bare references."""
    rows = _operations(resources)
    schemas = {name: definition_v3(name) for name in _needed(rows, custom)}
    schemas |= {name: expand_v3(told) for name, told in custom.items()}
    paths: dict[str, Any] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method] = _operation_v3(row)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": _VERSION},
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "BearerToken": {
                    "type": "apiKey",
                    "description": "Bearer Token authentication",
                    "name": "authorization",
                    "in": "header",
                }
            },
        },
        "security": [{"BearerToken": []}],
    }


def _extensions(row: Operation) -> dict[str, Any]:
    group, version, kind = row.kind
    return {
        "x-kubernetes-action": row.action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    }


def _responses(row: Operation) -> dict[str, str]:
    answers = {"200": "OK"}
    if row.method in ("post", "put", "patch"):
        answers["201"] = "Created"
    if row.method in ("post", "delete") and row.action != "deletecollection":
        answers["202"] = "Accepted"
    return answers | {"401": "Unauthorized"}


def _operation_v3(row: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {
        "tags": [row.tag],
        "description": row.description,
        "operationId": row.id,
        "parameters": [_parameter_v3(one) for one in row.parameters],
    }
    if row.takes:
        reference = {"schema": {"$ref": f"#/components/schemas/{row.takes}"}}
        told["requestBody"] = {
            "content": dict.fromkeys(row.media, reference),
            **({"required": True} if row.method != "delete" else {}),
        }
    told["responses"] = {}
    for code, word in _responses(row).items():
        told["responses"][code] = {"description": word}
        if code != "401":
            given: dict[str, Any] = {"type": "string"}
            if row.gives:
                given = {"$ref": f"#/components/schemas/{row.gives}"}
            told["responses"][code]["content"] = {media: {"schema": given} for media in _MEDIA}
    return told | _extensions(row)


def _parameter_v3(one: Parameter) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": one.name,
        "in": "path" if one.in_path else "query",
        "description": one.description,
        "schema": {"type": one.type, "uniqueItems": True},
    }
    return told | ({"required": True} if one.in_path else {})


def document_v2(
    resources: Sequence[ResourceType], custom: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """The one document of everything, in version 2. Custom definitions come as version 2 can tell
    them: it has no `oneOf`, `anyOf`, `not` and no `nullable`."""
    rows = _operations(resources)
    told = {name: definition_v2(name) for name in _needed(rows, custom)}
    told |= {name: _simplified(one) for name, one in custom.items()}
    paths: dict[str, Any] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method] = _operation_v2(row)
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": _VERSION},
        "paths": paths,
        "definitions": dict(sorted(told.items())),
        "securityDefinitions": {
            "BearerToken": {
                "description": "Bearer Token authentication",
                "type": "apiKey",
                "name": "authorization",
                "in": "header",
            }
        },
        "security": [{"BearerToken": []}],
    }


_NOT_IN_V2 = ("oneOf", "anyOf", "not", "nullable", "allOf")


def _simplified(node: Any) -> Any:
    """As the real server publishes a custom schema in version 2: where kubectl could refuse what
    the server takes, the type is left open."""
    if isinstance(node, list):
        return [_simplified(one) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node and isinstance(node["$ref"], str):
        target = node["$ref"].rpartition("/")[2]
        return node | {"$ref": f"#/definitions/{target}"}
    if len(node.get("allOf") or ()) == 1 and "$ref" in node["allOf"][0]:
        return _simplified(node["allOf"][0] | {"description": node.get("description", "")})
    out: dict[str, Any] = {}
    for key, value in node.items():
        if key in _NOT_IN_V2:
            continue
        if key == "properties" and isinstance(value, dict):
            out[key] = {name: _simplified(one) for name, one in value.items()}
        elif key in ("default", "enum", "example"):
            out[key] = value
        else:
            out[key] = _simplified(value)
    if (
        node.get("nullable")
        or node.get("x-kubernetes-int-or-string")
        or node.get("x-kubernetes-preserve-unknown-fields")
    ):
        for key in ("type", "items", "properties", "additionalProperties"):
            out.pop(key, None)
    return out


def _operation_v2(row: Operation) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = []
    if row.takes:
        body: dict[str, Any] = {
            "in": "body",
            "name": "body",
            "schema": {"$ref": f"#/definitions/{row.takes}"},
        }
        parameters.append(body | ({"required": True} if row.method != "delete" else {}))
    for one in row.parameters:
        told: dict[str, Any] = {
            "name": one.name,
            "in": "path" if one.in_path else "query",
            "type": one.type,
            "description": one.description,
            "uniqueItems": True,
        }
        parameters.append(told | ({"required": True} if one.in_path else {}))
    given: dict[str, Any] = {"type": "string"}
    if row.gives:
        given = {"$ref": f"#/definitions/{row.gives}"}
    responses = {
        code: {"description": word} | ({"schema": given} if code != "401" else {})
        for code, word in _responses(row).items()
    }
    return {
        "tags": [row.tag],
        "description": row.description,
        "operationId": row.id,
        "consumes": list(row.media),
        "produces": list(_MEDIA),
        "schemes": ["https"],
        "parameters": parameters,
        "responses": responses,
    } | _extensions(row)
