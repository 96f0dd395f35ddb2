"""A client of image registries: the OCI distribution API with the logins that registries want.

Refusals are worded as containerd words them, since that is what users find in their events and in
search engines.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from kindling.cluster.images.blobs import digest_of, is_digest
from kindling.cluster.images.credentials import TOKEN_USER
from kindling.cluster.images.manifest import ACCEPTED
from kindling.cluster.images.protocol import Credentials
from kindling.cluster.images.reference import Reference

if TYPE_CHECKING:
    import aiohttp

__all__ = ["BACK_OFF_SECS", "RegistryClient", "RegistryError", "is_loopback"]

_CONNECT_SECS = 10.0
_SILENCE_SECS = 60.0
_MOST_MANIFEST = 4 * 1024 * 1024
BACK_OFF_SECS = (0.3, 1.0, 3.0)
"""How long to wait before each further attempt, where a registry fails for the moment."""

_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_TRIED = re.compile(r"\('([0-9a-fA-F.:]+)', \d+")
_CHALLENGE = re.compile(r'([a-zA-Z_]+)="([^"]*)"')


class RegistryError(Exception):
    """What a registry said, or why it could not be asked. `status` is 0 for the latter."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def is_loopback(host: str) -> bool:
    """Whether a registry's name (with or without a port) means this machine: it is then spoken to
    without TLS, as Docker does."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class RegistryClient:
    """Requests to the registry of one repository. Use as a context manager.

    `logins` are tried in turn, and none at last. `scope` is what tokens are asked for: `pull`, or
    `pull,push`.
    """

    def __init__(
        self,
        reference: Reference,
        logins: Sequence[Credentials] = (),
        *,
        scope: str = "pull",
        back_off: Sequence[float] | None = None,
    ) -> None:
        host = "registry-1.docker.io" if reference.host == "docker.io" else reference.host
        scheme = "http" if is_loopback(host) else "https"
        self._base = f"{scheme}://{host}/v2/{reference.path}"
        self._path = reference.path
        self._scope = scope
        self._back_off = BACK_OFF_SECS if back_off is None else tuple(back_off)
        self._logins: list[Credentials | None] = [*logins, None]
        self._current: list[Credentials | None] = []
        """The login in use, until an answer shows that it is good."""
        self._authorization = ""
        self._logging_in = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> RegistryClient:
        import aiohttp

        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_SECS, sock_read=_SILENCE_SECS
        )
        self._session = aiohttp.ClientSession(
            timeout=timeout,
            trust_env=True,
            auto_decompress=False,
            headers={"User-Agent": "kindling"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    # Reading -------------------------------------------------------------------------------------

    async def head(self, wanted: str) -> tuple[str, str]:
        """The digest and media type of a tag or digest."""
        async with self.request("HEAD", f"/manifests/{wanted}", headers=_ACCEPT) as answer:
            digest = answer.headers.get("Docker-Content-Digest", "")
            media_type = answer.headers.get("Content-Type", "")
        if is_digest(digest):
            return digest, media_type
        data, media_type = await self.manifest(wanted)
        return digest_of(data), media_type

    async def manifest(self, wanted: str) -> tuple[bytes, str]:
        """A manifest or index by tag or digest, and its media type."""
        async with self.request("GET", f"/manifests/{wanted}", headers=_ACCEPT) as answer:
            data = await answer.content.read(_MOST_MANIFEST + 1)
            while len(data) <= _MOST_MANIFEST and (more := await answer.content.readany()):
                data += more
            media_type = answer.headers.get("Content-Type", "")
        if len(data) > _MOST_MANIFEST:
            raise RegistryError(f"the manifest `{wanted}` has more than {_MOST_MANIFEST} bytes")
        if is_digest(wanted) and digest_of(data) != wanted:
            raise RegistryError(
                f"failed precondition: the manifest is {digest_of(data)}, not {wanted}"
            )
        return data, media_type

    @asynccontextmanager
    async def blob(self, digest: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The chunks of a blob."""
        async with self.request("GET", f"/blobs/{digest}") as answer:
            yield answer.content.iter_chunked(256 * 1024)

    # Writing -------------------------------------------------------------------------------------

    async def has_blob(self, digest: str) -> bool:
        try:
            async with self.request("HEAD", f"/blobs/{digest}"):
                return True
        except RegistryError as error:
            if error.status == 404:
                return False
            raise

    async def push_blob(self, digest: str, path: Path) -> None:
        """Send a blob from a file."""
        async with self.request("POST", "/blobs/uploads/") as answer:
            place = urljoin(str(answer.url), answer.headers["Location"])
        if urlsplit(place).netloc != urlsplit(self._base).netloc:
            raise RegistryError(f"the registry sends uploads elsewhere: `{place}`")
        mark = "&" if "?" in place else "?"
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(os.stat(path).st_size),
        }
        async with self.request("PUT", f"{place}{mark}digest={digest}", headers=headers, file=path):
            return

    async def push_manifest(self, wanted: str, data: bytes, media_type: str) -> None:
        """Send a manifest under a tag or its digest."""
        headers = {"Content-Type": media_type}
        async with self.request("PUT", f"/manifests/{wanted}", headers=headers, data=data):
            return

    # Requests ------------------------------------------------------------------------------------

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        file: Path | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A request that was answered with success, logged in as the registry wants it, tried again
        where that may help.

        Raises:
            RegistryError: Refused, or no answer.
        """
        answer = await self._ask(method, path, headers or {}, data, file)
        try:
            yield answer
        except (TimeoutError, OSError) as error:
            raise RegistryError(_unreachable(method, str(answer.url), error)) from error
        except Exception as error:
            if type(error).__module__.startswith("aiohttp"):
                raise RegistryError(_unreachable(method, str(answer.url), error)) from error
            raise
        finally:
            answer.release()

    async def _ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        data: bytes | None,
        file: Path | None,
    ) -> aiohttp.ClientResponse:
        url = path if path.startswith("http") else self._base + path
        pauses = list(self._back_off)
        while True:
            used = self._authorization
            try:
                answer = await self._send(method, url, headers, data, file)
            except RegistryError:
                raise
            except Exception as error:
                if not _is_network(error):
                    raise
                if pauses and isinstance(error, ConnectionResetError):
                    await asyncio.sleep(pauses.pop(0))
                    continue
                raise RegistryError(_unreachable(method, url, error)) from error
            if answer.status < 400:
                if self._current:
                    self._logins.insert(0, self._current.pop())  # for when its token expires
                return answer
            if answer.status == 401 and await self._log_in(answer, used):
                continue
            if answer.status in _PASSING and pauses:
                answer.release()
                await asyncio.sleep(pauses.pop(0))
                continue
            said = (await answer.content.read(4096)).decode("utf-8", "replace")
            answer.release()
            raise RegistryError(_refused(method, answer, said), answer.status)

    async def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        data: bytes | None,
        file: Path | None,
    ) -> aiohttp.ClientResponse:
        assert self._session is not None, "used outside its context"
        sent = dict(headers)
        if self._authorization:
            sent["Authorization"] = self._authorization
        if file is None:
            return await self._session.request(method, url, headers=sent, data=data)
        with file.open("rb") as body:
            return await self._session.request(method, url, headers=sent, data=body)

    async def _log_in(self, answer: aiohttp.ClientResponse, used: str) -> bool:
        """Do as the registry's challenge says with the next login; False when none is left."""
        challenge = answer.headers.get("WWW-Authenticate", "")
        answer.release()
        async with self._logging_in:
            if self._authorization != used:
                return True  # another request has done it meanwhile
            while self._logins:
                login = self._logins.pop(0)
                scheme = challenge.partition(" ")[0].lower()
                self._authorization = ""
                if scheme == "basic" and login is not None:
                    self._authorization = _basic(login)
                elif scheme == "bearer":
                    token = await self._token(dict(_CHALLENGE.findall(challenge)), login)
                    self._authorization = f"Bearer {token}" if token else ""
                if self._authorization:
                    self._current = [login]
                    return True
        return False

    async def _token(self, challenge: Mapping[str, str], login: Credentials | None) -> str:
        assert self._session is not None
        realm = challenge.get("realm", "")
        if not realm.startswith(("https://", "http://")) or (
            realm.startswith("http://") and self._base.startswith("https://")
        ):
            raise RegistryError(f"the registry names no place to get a token: `{realm[:200]}`")
        scope = challenge.get("scope") or f"repository:{self._path}:{self._scope}"
        asked = {"service": challenge.get("service", ""), "scope": scope}
        headers = {}
        if login is not None and login.username == TOKEN_USER:
            form = {
                **asked,
                "grant_type": "refresh_token",
                "refresh_token": login.password,
                "client_id": "kindling",
            }
            asking = self._session.post(realm, data=form)
        else:
            if login is not None:
                headers["Authorization"] = _basic(login)
            asking = self._session.get(realm, params=asked, headers=headers)
        try:
            async with asking as answer:
                if answer.status != 200:
                    return ""
                value: Any = await answer.json(content_type=None)
        except Exception as error:
            if not _is_network(error) and not isinstance(error, ValueError):
                raise
            raise RegistryError(
                f"failed to authorize: failed to fetch {'oauth' if login else 'anonymous'} token:"
                f" {_unreachable('Get', realm, error)}"
            ) from error
        return str(value.get("token") or value.get("access_token") or "")


_ACCEPT = {"Accept": ", ".join(ACCEPTED)}


def _basic(login: Credentials) -> str:
    pair = f"{login.username}:{login.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _is_network(error: BaseException) -> bool:
    return isinstance(error, TimeoutError | OSError) or type(error).__module__.startswith("aiohttp")


def _refused(method: str, answer: aiohttp.ClientResponse, said: str) -> str:
    words = http.client.responses.get(answer.status, "")
    match answer.status:
        case 401 | 403:
            what = "insufficient_scope: authorization failed"
            if "denied" in said:
                what = "denied: requested access to the resource is denied"
            return (
                "pull access denied, repository does not exist or may require authorization:"
                f" server message: {what}"
                if method in ("GET", "HEAD")
                else f"push access denied: {what}"
            )
        case 404:
            return "not found"
        case 429:
            return (
                f"unexpected status from {method} request to {answer.url}: 429 Too Many Requests"
                " toomanyrequests: you have reached the pull rate limit"
            )
    about = f": {' '.join(said.split())[:300]}" if said.strip() else ""
    return (
        f"unexpected status from {method} request to {answer.url}: {answer.status} {words}{about}"
    )


def _unreachable(method: str, url: str, error: BaseException) -> str:
    """Why there was no answer, as a Go program says it."""
    at = urlsplit(url)
    system = getattr(error, "os_error", None) or error
    if isinstance(error, ssl.SSLError) or "SSL" in type(error).__name__:
        inner = getattr(error, "certificate_error", None) or system
        text = str(getattr(inner, "verify_message", "") or "")
        if text:
            why = f"tls: failed to verify certificate: x509: {text}"
        elif "WRONG_VERSION_NUMBER" in str(inner) or "record layer" in str(inner).lower():
            why = "http: server gave HTTP response to HTTPS client"
        else:
            why = f"tls: {inner}"
    elif isinstance(system, socket.gaierror) or "DNSError" in type(error).__name__:
        why = f"dial tcp: lookup {at.hostname}: no such host"
    elif isinstance(error, TimeoutError):
        why = f"dial tcp {at.netloc}: i/o timeout"
    elif isinstance(system, OSError) and system.strerror:
        port = at.port or (443 if at.scheme == "https" else 80)
        tried = _TRIED.search(str(system))
        words = os.strerror(system.errno).lower() if system.errno else system.strerror.lower()
        why = f"dial tcp {tried[1] if tried else at.hostname}:{port}: connect: {words}"
    else:
        why = f"{type(error).__name__}: {error}" if str(error) else "unexpected EOF"
    return f'failed to do request: {method.capitalize()} "{url}": {why}'
