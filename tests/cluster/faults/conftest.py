"""Whole clusters to be hurt. One of a test's own where it is killed, one for a module where not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.faults.bed import Bed, made


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """Pods are plain processes, so that it is the same on every machine."""
    with made(tmp_path, "none") as bed:
        yield bed


@pytest.fixture
def isolated(tmp_path: Path) -> Iterator[Bed]:
    """Pods are in namespaces."""
    with made(tmp_path, "") as bed:
        yield bed


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A cluster that the module's tests must not break; plain processes."""
    with made(tmp_path_factory.mktemp("shared"), "none") as bed:
        yield bed
        with bed.client() as client:
            assert client.call("GET", "/readyz")[0] == 200
