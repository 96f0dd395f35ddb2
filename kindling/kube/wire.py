"""Requests to one API server: connections, credentials, time limits and the mapping of errors.

Everything that reaches the server passes through here. Credentials are renewed before they expire,
and once more when the server rejects them, so that a session outlives the tokens it began with: a
request never carries a token older than the kubeconfig (or its login program) can give.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import socket
import time
import weakref
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kindling.errors import ClusterError
from kindling.kube.contexts import KubeContext
from kindling.kube.credentials import Credentials, load_credentials
from kindling.kube.errors import (
    UnreachableError,
    error_of_exception,
    error_of_response,
)

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Answer", "Params", "Wire"]

Params = Sequence[tuple[str, str]]

_CONNECT_LIMIT = 10.0
_LARGE = 2**20
_TURNS = 30
"""How often the loop may turn until sockets that were shut down are closed; some five do."""


class Answer:
    """A response whose status is good."""

    __slots__ = ("body", "code", "headers")

    def __init__(self, code: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.code = code
        self.body = body
        self.headers = headers

    def json(self) -> Any:
        """The body as JSON values."""
        return json.loads(self.body) if self.body else {}


class Wire:
    """One API server. Make it with a context and the merged kubeconfig it stands in.

    `reread` gives the kubeconfig as it is now, for renewing credentials.
    """

    def __init__(
        self,
        context: KubeContext,
        reread: Callable[[], Mapping[str, Any]],
        environment: Mapping[str, str],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.context = context
        self._reread = reread
        self._environment = environment
        self._now = now
        self._credentials: Credentials | None = None
        self._session: aiohttp.ClientSession | None = None
        self._retired: list[aiohttp.ClientSession] = []
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._loading = asyncio.Lock()

    @property
    def server(self) -> str:
        return self.context.server.rstrip("/")

    async def request(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        params: Params = (),
        body: Any = None,
        content_type: str = "application/json",
        timeout: float,
    ) -> Answer:
        """One request and its whole answer.

        Raises:
            ClusterError: Anything but a 2xx, or no answer within `timeout` seconds.
        """
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        headers = {"Accept": "application/json"}
        if data is not None:
            headers["Content-Type"] = content_type
        try:
            async with asyncio.timeout(timeout):
                stale: Credentials | None = None
                while True:
                    session, used = await self._connected(stale)
                    async with session.request(
                        method,
                        self.server + path,
                        params=params,
                        # aiohttp warns of large bodies that are no files, and sends small ones
                        # again over a new connection, which a file would not outlive.
                        data=io.BytesIO(data) if data and len(data) > _LARGE else data,
                        headers={**headers, **_authorization(used)},
                        allow_redirects=False,
                        **self._options(),
                    ) as response:
                        answer = await response.read()
                    if response.status == 401 and stale is None:
                        stale = used
                        continue
                    if response.status >= 300:
                        raise error_of_response(
                            response.status, answer, doing, headers=response.headers
                        )
                    return Answer(response.status, answer, response.headers)
        except (ClusterError, asyncio.CancelledError):
            raise
        except Exception as error:
            if not _is_wire(error):
                raise
            raise error_of_exception(error, doing, self.server) from error

    @asynccontextmanager
    async def stream(
        self, path: str, doing: str, *, params: Params = (), timeout: float
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """A GET whose body is read as it comes. `timeout` covers the time until it begins.

        Breaks of the connection while it is read come out as `ClusterError` too.
        """
        response: aiohttp.ClientResponse | None = None
        try:
            async with asyncio.timeout(timeout):
                stale: Credentials | None = None
                while True:
                    session, used = await self._connected(stale)
                    opened = response = await session.get(
                        self.server + path,
                        params=params,
                        headers={"Accept": "application/json, */*", **_authorization(used)},
                        allow_redirects=False,
                        **self._options(),
                    )
                    if opened.status == 401 and stale is None:
                        stale = used
                        opened.release()
                        continue
                    break
                if opened.status >= 300:
                    raise error_of_response(
                        opened.status, await opened.read(), doing, headers=opened.headers
                    )
            yield opened.content
        except (ClusterError, asyncio.CancelledError, GeneratorExit):
            raise
        except Exception as error:
            if not _is_wire(error):
                raise
            raise error_of_exception(error, doing, self.server) from error
        finally:
            if response is not None:
                response.close()

    async def websocket(
        self,
        path: str,
        doing: str,
        *,
        params: Params = (),
        protocol: str | Sequence[str],
        timeout: float,
        heartbeat: float | None = 30.0,
        farewell: float = 10.0,
    ) -> aiohttp.ClientWebSocketResponse:
        """A WebSocket that speaks `protocol`, or the first of several that the server knows; the
        caller closes it. Without `heartbeat`, pings and pongs are the caller's as well. Closing
        waits `farewell` seconds at most."""
        import aiohttp

        try:
            async with asyncio.timeout(timeout):
                stale: Credentials | None = None
                while True:
                    session, used = await self._connected(stale)
                    try:
                        opened: aiohttp.ClientWebSocketResponse = await session.ws_connect(
                            "ws" + self.server.removeprefix("http") + path,
                            params=params,
                            protocols=(protocol,) if isinstance(protocol, str) else protocol,
                            headers=_authorization(used),
                            max_msg_size=0,
                            autoping=heartbeat is not None,
                            heartbeat=heartbeat,
                            timeout=aiohttp.ClientWSTimeout(ws_close=farewell),  # pyright: ignore
                            **self._options(),
                        )
                        return opened
                    except aiohttp.WSServerHandshakeError as error:
                        if error.status == 401 and stale is None:
                            stale = used
                            continue
                        body = json.dumps({"kind": "Status", "message": error.message}).encode()
                        raise error_of_response(error.status, body, doing) from error
        except (ClusterError, asyncio.CancelledError):
            raise
        except Exception as error:
            if not _is_wire(error):
                raise
            raise error_of_exception(error, doing, self.server) from error

    @asynccontextmanager
    async def limit(self, timeout: float, doing: str) -> AsyncIterator[None]:
        """A time limit over several requests that serve one purpose."""
        try:
            async with asyncio.timeout(timeout):
                yield
        except TimeoutError as error:
            raise error_of_exception(error, doing, self.server) from error

    async def lend(self) -> aiohttp.ClientSession:
        """The session itself, which says by itself who we are: for a library that makes requests
        of its own. It is closed with this object."""
        session, used = await self._connected(None)
        session.headers.update(_authorization(used))
        return session

    async def close(self) -> None:
        """End all connections."""
        sessions = [*self._retired, *([self._session] if self._session else [])]
        self._session = None
        self._retired.clear()
        for session in sessions:
            connector = session.connector
            await session.close()
            if connector is not None:  # it is ours, so that the session leaves it alone
                await connector.close()
        await self._end_farewells()

    async def _end_farewells(self) -> None:
        """End the connections that were broken off and wait for the server's TLS farewell. No
        session keeps track of them any more, and they would outlive the loop."""
        for sock in self._sockets:
            with contextlib.suppress(OSError):  # it is closed already
                sock.shutdown(socket.SHUT_RDWR)
        for _ in range(_TURNS):
            if all(sock.fileno() == -1 for sock in self._sockets):
                return
            await asyncio.sleep(0)

    def _open_socket(self, address: Any) -> socket.socket:
        family, kind, protocol = address[:3]
        made = socket.socket(family, kind, protocol)
        self._sockets.add(made)
        return made

    async def _connected(
        self, stale: Credentials | None
    ) -> tuple[aiohttp.ClientSession, Credentials]:
        """A session and the credentials to use with it, newer ones than `stale`."""
        async with self._loading:
            known = self._credentials
            if known is None or known is stale or self._now() >= known.renew_at:
                known = await self._load(known)
            if self._session is None:
                self._session = await self._connect(known)
            return self._session, known

    async def _load(self, known: Credentials | None) -> Credentials:
        raw = await asyncio.to_thread(self._reread)
        loaded = await load_credentials(raw, self.context, self._environment, self._now())
        if loaded.server != self.server:
            raise UnreachableError(
                f"The context `{self.context.name}` now leads to another server: {loaded.server} "
                f"in place of {self.server}",
                hint="Start kindling again to work with that cluster",
            )
        if self._session and known and known.fingerprint != loaded.fingerprint:
            # Streams that are open go on with the certificate they began with.
            self._retired.append(self._session)
            self._session = None
        self._credentials = loaded
        return loaded

    async def _connect(self, credentials: Credentials) -> aiohttp.ClientSession:
        # The import takes so long that file events and terminals would notice it on the loop.
        await asyncio.to_thread(_import)
        import aiohttp

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                # A watch holds a connection: any limit starves.
                limit=0,
                ssl=credentials.access.tls,
                socket_factory=self._open_socket,
            ),
            connector_owner=False,
            # An object of a watch may be longer than a line that aiohttp would read by itself.
            read_bufsize=2**21,
            trust_env=not self._on_this_machine(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_LIMIT),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def _options(self) -> dict[str, Any]:
        assert self._credentials is not None
        access = self._credentials.access
        options: dict[str, Any] = {}
        if access.server_name:
            options["server_hostname"] = access.server_name
        if access.proxy:
            options["proxy"] = access.proxy
        return options

    def _on_this_machine(self) -> bool:
        """A proxy of the environment is never asked for a loopback address, as in Go."""
        host = urlsplit(self.server).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def _import() -> None:
    import aiohttp  # noqa: F401


def _authorization(credentials: Credentials) -> dict[str, str]:
    word = credentials.access.authorization
    return {"Authorization": word} if word else {}


def _is_wire(error: Exception) -> bool:
    import aiohttp

    return isinstance(error, aiohttp.ClientError | OSError | TimeoutError | ValueError)
