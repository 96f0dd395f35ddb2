"""CustomResourceDefinitions, as one kind among others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kindling.cluster.model.status import Cause
from kindling.cluster.schema.custom.definition import check_definition, check_definition_change

__all__ = ["check_custom_definition"]


def check_custom_definition(obj: dict[str, Any], before: dict[str, Any] | None) -> Iterator[Cause]:
    yield from check_definition(obj)
    if before is not None:
        yield from check_definition_change(obj, before)
