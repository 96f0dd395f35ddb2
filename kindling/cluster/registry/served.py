"""Which resources are served: the built-in table, and what the definitions add."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kindling.cluster.model.api import Obj
from kindling.cluster.model.resource import BUILTIN, ResourceType
from kindling.cluster.model.schema import Schemas
from kindling.cluster.registry import autoscalers
from kindling.cluster.registry.definitions import DEFINITIONS, is_established, rows_of
from kindling.cluster.registry.history import Entry
from kindling.cluster.registry.memory import Memory
from kindling.cluster.registry.scales import ScalePaths
from kindling.cluster.registry.versions import storage_key

__all__ = ["Served", "version_rank"]


class Served:
    """The table of resources, which changes with the CustomResourceDefinitions as soon as a change
    of theirs is durable."""

    def __init__(self, memory: Memory, schemas: Schemas) -> None:
        self._memory = memory
        self._schemas = schemas
        self._custom: dict[str, tuple[ResourceType, ...]] = {}
        self._storage: dict[str, str] = {}
        self._scales: dict[tuple[str, str], ScalePaths] = {}
        self._rows: tuple[ResourceType, ...] = ()
        self._table: dict[tuple[str, str, str], ResourceType] = {}
        self._kinds: dict[tuple[str, str, str], ResourceType] = {}
        self._stored: dict[tuple[str, str], ResourceType] = {}
        self._index()
        memory.listen(self._changed)

    def load(self) -> None:
        """Take up the definitions that are stored."""
        for definition in self._memory.select(DEFINITIONS):
            self._define(definition)
        self._index()

    def all(self) -> Sequence[ResourceType]:
        return self._rows

    def resource(self, group: str, version: str, plural: str) -> ResourceType | None:
        return self._table.get((group, version, plural))

    def by_kind(self, group: str, kind: str, version: str = "") -> ResourceType | None:
        return self._kinds.get((group, kind, version))

    def stored_as(self, key: str, api_version: str) -> ResourceType | None:
        """The resource of a storage key in the version that an object of it was stored in, or in
        any when that version is not served any more."""
        return self._stored.get((key, api_version)) or self._stored.get((key, ""))

    def storage_version(self, resource: ResourceType) -> str:
        """The apiVersion in which its objects are stored."""
        if resource.key == autoscalers.KEY:
            return autoscalers.STORED_AS
        return self._storage.get(resource.key, resource.api_version)

    def scale_paths(self, resource: ResourceType) -> ScalePaths | None:
        """Where a custom resource has its replicas; None for built-in ones."""
        return self._scales.get((resource.key, resource.version))

    def _changed(self, entries: Sequence[Entry]) -> None:
        mine = [entry for entry in entries if entry.key == DEFINITIONS]
        for entry in mine:
            if entry.after is None:
                self._forget(entry.name)
            elif entry.before is None or _served_by(entry.before) != _served_by(entry.after):
                self._define(entry.after)
        if mine:
            self._index()

    def _define(self, definition: Obj) -> None:
        if not is_established(definition):
            return
        name = definition["metadata"]["name"]
        self._schemas.define(definition)
        self._custom[name] = rows_of(definition)
        spec = definition["spec"]
        for version in spec["versions"]:
            if version.get("storage"):
                self._storage[name] = f"{spec['group']}/{version['name']}"
            scale = (version.get("subresources") or {}).get("scale")
            if scale:
                self._scales[name, version["name"]] = (
                    scale["specReplicasPath"],
                    scale["statusReplicasPath"],
                    scale.get("labelSelectorPath") or "",
                )
            else:
                self._scales.pop((name, version["name"]), None)

    def _forget(self, name: str) -> None:
        self._schemas.forget(name)
        self._custom.pop(name, None)
        self._storage.pop(name, None)
        for place in [place for place in self._scales if place[0] == name]:
            del self._scales[place]

    def _index(self) -> None:
        custom = [row for rows in self._custom.values() for row in rows]
        self._rows = (*BUILTIN.values(), *custom)
        self._table = {(row.group, row.version, row.plural): row for row in self._rows}
        self._kinds, self._stored = {}, {}
        for row in sorted(self._rows, key=lambda row: version_rank(row.version)):
            self._kinds[row.group, row.kind, row.version] = row
            self._kinds.setdefault((row.group, row.kind, ""), row)
            if storage_key(row) == row.key:
                self._stored[row.key, row.api_version] = row
                self._stored.setdefault((row.key, ""), row)


def _served_by(definition: Obj) -> tuple[object, object]:
    return definition.get("spec"), is_established(definition)


def version_rank(version: str) -> tuple[int, int, int, str]:
    """Preferred versions first: v2, v1, v1beta1, v1alpha1, then others by name (k8s.io/apimachinery
    `pkg/version`)."""
    found = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if found is None:
        return (3, 0, 0, version)
    major, stage, minor = found.groups()
    rank = {None: 0, "beta": 1, "alpha": 2}[stage]
    return (rank, -int(major), -int(minor or 0), "")
