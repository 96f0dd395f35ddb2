"""Objects as YAML, read and filled in as the API server would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from kindling.cluster.model.resource import BUILTIN, ResourceType
from kindling.cluster.schema.catalog import Catalog

HERE = Path(__file__).parent
Obj = dict[str, Any]


def row_of(obj: Obj) -> ResourceType:
    group, _, version = obj["apiVersion"].rpartition("/")
    wanted = (group, version, obj["kind"])
    return next(row for row in BUILTIN.values() if (row.group, row.version, row.kind) == wanted)


def placed(obj: Obj) -> Obj:
    """The object with what the registry gives it before it is filled in."""
    row = row_of(obj)
    metadata: Obj = {"uid": "0f1e"} | ({"namespace": "default"} if row.namespaced else {})
    return obj | {"metadata": metadata | obj["metadata"]}


def stored(catalog: Catalog, text: str) -> Obj:
    obj = placed(yaml.safe_load(text))
    schema = catalog.of(row_of(obj))
    return schema.default(schema.prune(obj)[0])


def told(catalog: Catalog, obj: Obj, before: Obj | None = None) -> list[str]:
    """What is wrong with an object, as `field: message`."""
    found = catalog.of(row_of(obj)).validate(obj, before)
    return [f"{cause.field}: {cause.message}" for cause in found]


def documents(name: str) -> list[Obj]:
    return [one for one in yaml.safe_load_all((HERE / name).read_text()) if one]
