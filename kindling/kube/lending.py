"""A connection of ours for a library that speaks HTTP itself."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from kindling.kube.contexts import KubeContext, read_kubeconfig
from kindling.kube.wire import Wire

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Lent", "LentSession"]


class LentSession:
    """What a library needs of an aiohttp session. It stays open when the library closes it: that
    may be while requests of its own are under way, and those would leave their connections
    behind."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.closed = False

    @property
    def headers(self) -> MutableMapping[str, str]:
        return self._session.headers

    async def request(self, method: str, url: str, **more: Any) -> aiohttp.ClientResponse:
        if self.closed:
            raise RuntimeError("Session is closed")
        return await self._session.request(method, url, **more)

    async def close(self) -> None:
        self.closed = True


class Lent:
    """Sessions that are logged in to a cluster. Whoever opens one calls `close`, when nothing uses
    it any more.

    A session carries the credentials that it was opened with: when the server rejects them, `open`
    gives another one.
    """

    def __init__(self, context: KubeContext, environment: Mapping[str, str]) -> None:
        self._context = context
        self._environment = dict(environment)
        self._open: list[Wire] = []

    @property
    def server(self) -> str:
        return self._context.server.rstrip("/")

    async def open(self) -> LentSession:
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
        self._open.append(wire)
        return LentSession(session)

    async def close(self) -> None:
        """End all connections of all sessions."""
        for wire in self._open:
            await wire.close()
        self._open.clear()
