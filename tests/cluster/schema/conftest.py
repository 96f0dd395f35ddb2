"""The catalog, and shorthands for schemas and faults."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kindling.cluster.model.schema import Schema
from kindling.cluster.schema.catalog import Catalog
from tests.cluster.schema.objects import row_of, stored, told


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return Catalog()


@pytest.fixture
def schema(catalog: Catalog) -> Callable[[str, str], Schema]:
    def find(api_version: str, kind: str) -> Schema:
        return catalog.of(row_of({"apiVersion": api_version, "kind": kind}))

    return find


@pytest.fixture
def faults(catalog: Catalog) -> Callable[..., list[str]]:
    """What is wrong with an object given as YAML, or with a change of it to another."""

    def find(text: str, after: str = "") -> list[str]:
        first = stored(catalog, text)
        if not after:
            return told(catalog, first)
        return told(catalog, stored(catalog, after), first)

    return find
