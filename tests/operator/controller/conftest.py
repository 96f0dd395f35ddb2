"""What tests of the controller share."""

from __future__ import annotations

import pytest

from tests.operator.manifests import Obj, environment


@pytest.fixture
def shop() -> Obj:
    """An environment with everything that makes children."""
    return environment(
        ingress={"enabled": True, "host": "shop.localhost"},
        dependencies=[{"type": "postgres", "storageSize": "1Gi"}, {"type": "redis"}],
    )
