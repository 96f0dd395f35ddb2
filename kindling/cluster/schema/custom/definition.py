"""Checking a CustomResourceDefinition itself (`pkg/apis/apiextensions/validation`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.status import Cause
from kindling.cluster.schema import causes, metadata, names
from kindling.cluster.schema.custom.structure_rules import check_schema

__all__ = ["check_definition", "check_definition_change", "validate_definition"]

_NAME = 'must be spec.names.plural+"."+spec.group'
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = (
    "",
    "binary",
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "name",
    "password",
)


def validate_definition(crd: Obj) -> tuple[Cause, ...]:
    """What is wrong with a defaulted definition; empty when it can be served."""
    return tuple(check_definition(crd))


def check_definition(crd: Obj) -> Iterator[Cause]:
    spec = crd.get("spec", {})
    told = spec.get("names", {})
    wanted = f"{told.get('plural', '')}.{spec.get('group', '')}"

    def name_rule(name: str) -> list[str]:
        return names.dns_subdomain(name) + ([] if name == wanted else [_NAME])

    yield from metadata.check_metadata(
        crd.get("metadata", {}), name_rule=name_rule, namespaced=False
    )
    yield from _group(spec)
    yield from _scope(spec)
    yield from _versions(spec)
    yield from _names(told)
    yield from _conversion(spec)


def _group(spec: Obj) -> Iterator[Cause]:
    group = spec.get("group", "")
    if not group:
        yield causes.required("spec.group")
    elif wrong := names.dns_subdomain(group):
        yield causes.invalid("spec.group", group, ",".join(wrong))
    elif "." not in group:
        yield causes.invalid("spec.group", group, "should be a domain with at least one dot")


def _scope(spec: Obj) -> Iterator[Cause]:
    scope = spec.get("scope", "")
    if not scope:
        yield causes.required("spec.scope")
    elif scope not in ("Cluster", "Namespaced"):
        yield causes.not_supported("spec.scope", scope, ("Cluster", "Namespaced"))


def _versions(spec: Obj) -> Iterator[Cause]:
    versions: list[Obj] = spec.get("versions") or []
    if spec.get("preserveUnknownFields"):
        yield causes.invalid(
            "spec.preserveUnknownFields",
            True,
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in"
            " spec.versions[*].schema instead",
        )
    for index, version in enumerate(versions):
        where = causes.at("spec.versions", index)
        name = version.get("name", "")
        if wrong := names.dns_label_1035(name):
            yield causes.invalid(f"{where}.name", name, ",".join(wrong))
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if not schema:
            yield causes.required(f"{where}.schema.openAPIV3Schema", "schemas are required")
        else:
            yield from check_schema(schema, f"{where}.schema.openAPIV3Schema")
        yield from _subresources(version.get("subresources") or {}, f"{where}.subresources")
        for place, column in enumerate(version.get("additionalPrinterColumns") or []):
            yield from _column(column, causes.at(f"{where}.additionalPrinterColumns", place))
    shown = causes.Literal("[]apiextensions.CustomResourceDefinitionVersion{...}")
    if len({one.get("name") for one in versions}) < len(versions):
        yield causes.invalid("spec.versions", shown, "must contain unique version names")
    if sum(1 for one in versions if one.get("storage")) != 1:
        text = "must have exactly one version marked as storage version"
        yield causes.invalid("spec.versions", shown, text)


def _names(told: Obj) -> Iterator[Cause]:
    for field in ("plural", "singular", "kind", "listKind"):
        if not told.get(field):
            yield causes.required(f"spec.names.{field}")
    mixed = "may have mixed case, but should otherwise match: "
    for field in ("plural", "singular", "kind", "listKind"):
        value = told.get(field, "")
        cased = field in ("kind", "listKind")
        wrong = names.dns_label_1035(value.lower() if cased else value) if value else []
        if wrong:
            text = (mixed if cased else "") + ",".join(wrong)
            yield causes.invalid(f"spec.names.{field}", value, text)
    for field in ("shortNames", "categories"):
        for index, value in enumerate(told.get(field) or []):
            if wrong := names.dns_label_1035(value):
                where = causes.at(f"spec.names.{field}", index)
                yield causes.invalid(where, value, ",".join(wrong))
    if told.get("kind") and told.get("kind") == told.get("listKind"):
        text = "kind and listKind may not be the same"
        yield causes.invalid("spec.names.listKind", told["listKind"], text)


def _subresources(told: Obj, path: str) -> Iterator[Cause]:
    scale = told.get("scale")
    if scale is None:
        return
    for field, root, needed in (
        ("specReplicasPath", ".spec.", True),
        ("statusReplicasPath", ".status.", True),
        ("labelSelectorPath", "", False),
    ):
        value = scale.get(field, "")
        where = f"{path}.scale.{field}"
        if not value:
            if needed:
                yield causes.required(where)
        elif root and not value.startswith(root):
            text = f"should be a json path under {root.rstrip('.')}"
            yield causes.invalid(where, value, text)
        elif not root and not value.startswith((".spec.", ".status.")):
            text = "should be a json path under either .status or .spec"
            yield causes.invalid(where, value, text)


def _column(column: Obj, path: str) -> Iterator[Cause]:
    if not column.get("name"):
        yield causes.required(f"{path}.name")
    if not column.get("type"):
        yield causes.required(f"{path}.type", f"must be one of {','.join(_COLUMN_TYPES)}")
    elif column["type"] not in _COLUMN_TYPES:
        text = f"must be one of {','.join(_COLUMN_TYPES)}"
        yield causes.invalid(f"{path}.type", column["type"], text)
    if column.get("format", "") not in _COLUMN_FORMATS:
        text = f"must be one of {','.join(_COLUMN_FORMATS)}"
        yield causes.invalid(f"{path}.format", column["format"], text)
    if not column.get("jsonPath"):
        yield causes.required(f"{path}.JSONPath")


def _conversion(spec: Obj) -> Iterator[Cause]:
    conversion: dict[str, Any] = spec.get("conversion") or {}
    strategy = conversion.get("strategy", "")
    if strategy and strategy not in ("None", "Webhook"):
        yield causes.not_supported("spec.conversion.strategy", strategy, ("None", "Webhook"))
    if strategy == "Webhook":
        if not (conversion.get("webhook") or {}).get("clientConfig"):
            text = 'required when strategy is set to "Webhook"'
            yield causes.required("spec.conversion.webhookClientConfig", text)
    elif conversion.get("webhook"):
        text = 'should not be set when strategy is not set to "Webhook"'
        yield causes.forbidden("spec.conversion.webhookClientConfig", text)


def check_definition_change(crd: Obj, before: Obj) -> Iterator[Cause]:
    """What an update of a definition may not change, and what must stay listed."""
    spec, old = crd.get("spec", {}), before.get("spec", {})
    established = any(
        one.get("type") == "Established" and one.get("status") == "True"
        for one in (before.get("status") or {}).get("conditions") or ()
    )
    if established:
        if spec.get("scope") != old.get("scope"):
            yield causes.immutable("spec.scope", spec.get("scope"))
        if spec["names"].get("kind") != old["names"].get("kind"):
            yield causes.immutable("spec.names.kind", spec["names"].get("kind"))
    if spec.get("group") != old.get("group"):
        yield causes.immutable("spec.group", spec.get("group"))
    if spec["names"].get("plural") != old["names"].get("plural"):
        yield causes.immutable("spec.names.plural", spec["names"].get("plural"))
    known = {one.get("name") for one in spec.get("versions") or ()}
    stored = (crd.get("status") or before.get("status") or {}).get("storedVersions") or ()
    for index, name in enumerate(stored):
        if name not in known:
            where = causes.at("status.storedVersions", index)
            yield causes.invalid(where, name, "must appear in spec.versions")
