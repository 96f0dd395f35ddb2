"""A connection of ours for a library that speaks HTTP itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kindling.kube.contexts import KubeContext, read_kubeconfig
from kindling.kube.wire import Wire

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Lent"]


class Lent:
    """An aiohttp session that is logged in to a cluster. Whoever opens one calls `close`.

    It carries the credentials that it was opened with: when the server rejects them, `open` gives
    another one.
    """

    def __init__(self, context: KubeContext, environment: Mapping[str, str]) -> None:
        self._context = context
        self._environment = dict(environment)
        self._wires: list[Wire] = []

    @property
    def server(self) -> str:
        return self._context.server.rstrip("/")

    async def open(self) -> aiohttp.ClientSession:
        """A session with the credentials as they are now.

        Raises:
            ClusterError: They cannot be had.
        """
        environment = self._environment
        wire = Wire(self._context, lambda: read_kubeconfig(environment).raw, environment)
        self._wires.append(wire)
        return await wire.lend()

    async def close(self) -> None:
        """End all connections of all sessions."""
        for wire in self._wires:
            await wire.close()
        self._wires.clear()
