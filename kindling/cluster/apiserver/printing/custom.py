"""The columns that a CustomResourceDefinition asks for."""

from __future__ import annotations

from typing import Any

from kindling.cluster.apiserver.printing.column import NAME, Column, Printer, since
from kindling.cluster.apiserver.printing.jsonpath import JsonPathError, find, parse
from kindling.cluster.model.api import Obj

__all__ = ["custom_printer"]


def custom_printer(definition: Obj, version: str) -> Printer | None:
    """The printer of one version; None where the definition names no columns (they are then `Name`
    and `Age`). A path that cannot be read gives an empty column, as it does in the real server."""
    for served in definition.get("spec", {}).get("versions", ()):
        if served.get("name") == version:
            asked = served.get("additionalPrinterColumns")
            return _printer(asked) if asked else None
    return None


def _printer(asked: list[Obj]) -> Printer:
    columns = [NAME]
    paths: list[tuple[str, Any]] = []
    for given in asked:
        kind = str(given.get("type", "string"))
        columns.append(
            Column(
                str(given.get("name", "")),
                kind,
                str(given.get("format", "")),
                str(given.get("description", "")),
                int(given.get("priority", 0)),
            )
        )
        try:
            paths.append((kind, parse(str(given.get("jsonPath", "")))))
        except JsonPathError:
            paths.append((kind, None))

    def cells(obj: Obj, now: float) -> list[Any]:
        row: list[Any] = [obj.get("metadata", {}).get("name", "")]
        row += [None if path is None else _cell(kind, find(path, obj), now) for kind, path in paths]
        return row

    return Printer(tuple(columns), cells)


def _cell(kind: str, found: list[Any], now: float) -> Any:
    """One value as the type of its column shows it; None (an empty cell) where it does not fit."""
    if not found or (found[0] is None):
        return None
    value = found[0]
    match kind:
        case "integer":
            if isinstance(value, bool) or not isinstance(value, int | float):
                return None
            return int(value)
        case "number":
            return value if isinstance(value, int | float) and value is not True else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case "date":
            return since(value, now) if isinstance(value, str) else "<invalid>"
        case _:
            return ",".join(_text(item) for item in found) if len(found) > 1 else _text(value)


def _text(value: Any) -> str:
    """Scalars as Go prints them, the rest as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    import orjson

    return orjson.dumps(value).decode()
