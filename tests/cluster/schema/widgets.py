"""A custom kind for tests."""

from __future__ import annotations

from typing import Any

import yaml

from kindling.cluster.model.resource import ResourceType
from kindling.cluster.schema.catalog import Catalog

WIDGETS = ResourceType(
    "example.com", "v1", "Widget", "widgets", custom=True, subresources=frozenset({"status"})
)
Obj = dict[str, Any]


def definition(spec: str, **changes: Any) -> Obj:
    """A definition whose `spec` property has the schema given as YAML."""
    node = {"type": "object", "properties": {"spec": yaml.safe_load(spec)}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": node}}
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    told: Obj = {
        "group": "example.com",
        "scope": "Namespaced",
        "names": names,
        "versions": [version],
        "conversion": {"strategy": "None"},
    }
    return {"metadata": {"name": "widgets.example.com"}, "spec": told | changes}


def widget(spec: str | Obj) -> Obj:
    told = yaml.safe_load(spec) if isinstance(spec, str) else spec
    metadata = {"name": "w", "namespace": "default"}
    head = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata}
    return head | {"spec": told}


class Widgets:
    """The schema of a custom kind, by its `spec`."""

    def __init__(self, spec: str) -> None:
        self.catalog = Catalog()
        self.catalog.define(definition(spec))
        self.schema = self.catalog.of(WIDGETS)

    def faults(self, spec: str, before: str = "") -> list[str]:
        old = widget(before) if before else None
        found = self.schema.validate(widget(spec), old)
        return [f"{cause.field}: {cause.message}" for cause in found]
