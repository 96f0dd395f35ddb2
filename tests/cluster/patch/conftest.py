"""A real API server, for the tests that compare with one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.patch.real import RealServer, real_server


@pytest.fixture(scope="module")
def server() -> Iterator[RealServer]:
    with real_server() as found:
        yield found
