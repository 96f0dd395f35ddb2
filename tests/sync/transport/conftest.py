"""The agent, built once for all tests of ways to it."""

from __future__ import annotations

from tests.sync.agent.conftest import binary

__all__ = ["binary"]
