"""A server to ask, and the kubectl to ask it with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cluster.apiserver.serve import KUBECTL, Cluster, serving


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """An API server on loopback over an empty registry, with the namespace `default`."""
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture
def kubectl() -> str:
    if KUBECTL is None:
        pytest.skip("kubectl is not installed")
    return KUBECTL
