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
        self._open: list[tuple[Wire, aiohttp.BaseConnector | None]] = []

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
        try:
            session = await wire.lend()
        except BaseException:
            await wire.close()
            raise
        self._open.append((wire, session.connector))
        return session

    async def close(self) -> None:
        """End all connections of all sessions."""
        for wire, connector in self._open:
            if connector is not None:  # a session that somebody closed has lost it from sight
                await connector.close()
            await wire.close()
        self._open.clear()
