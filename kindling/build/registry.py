"""A tiny client of image registries: is one there, and what does it hold under a tag?

The API is that of the OCI distribution specification (`GET /v2/`, `GET /v2/NAME/manifests/TAG`). It
reads only, and only without credentials: pushing goes through the engine, which has the user's
login. Registries on this machine (`localhost`, `*.localhost`, loopback addresses) are spoken to in
plain HTTP, as Docker does; others by TLS, and in plain HTTP when they turn out not to speak TLS.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import ipaddress
import json
import ssl
from dataclasses import dataclass
from typing import Any

from kindling.build.errors import registry_error
from kindling.build.protocol import ImageConfig
from kindling.errors import ContainerError

__all__ = ["HeldManifest", "LoginNeededError", "RegistryClient", "is_loopback"]

_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_MAX_BODY = 4 * 1024 * 1024
"""The most a manifest may have by the specification."""


class LoginNeededError(ContainerError):
    """The registry tells nothing without credentials, which this client has none of."""


@dataclass(frozen=True, slots=True)
class HeldManifest:
    """What a registry holds under a tag. `config` is the image id of a single-platform image."""

    digest: str
    config: str = ""

    def is_image(self, image_id: str) -> bool:
        """Whether it is the image with this id, by either of the two meanings that engines give
        ids: the digest of the configuration, or (containerd's image store) of the manifest."""
        return image_id in (self.digest, self.config)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class RegistryClient:
    """Asks the registry `host` (`localhost:5000`, `ghcr.io`; a path after it is left out).

    `timeout` is in seconds, for each answer.
    """

    def __init__(self, host: str, *, timeout: float = 5.0) -> None:
        self.host = host.partition("/")[0]
        self._timeout = timeout

    async def check(self) -> None:
        """Return when a registry answers, also when it wants a login first.

        Raises:
            ContainerError: Nothing answers, or something that is no registry.
        """
        answer = await self._get("/v2/", f"use the registry `{self.host}`")
        if answer.status not in (200, 401):
            raise registry_error(
                f"GET /v2/ answers {answer.status} {http.client.responses.get(answer.status, '')}",
                f"use the registry `{self.host}`",
                self.host,
            )

    async def manifest(self, repository: str, tag: str) -> HeldManifest | None:
        """What is held under `tag`; None when nothing is.

        Raises:
            LoginNeededError: It tells only those who have logged in.
            ContainerError: It does not tell.
        """
        doing = f"look up `{self.host}/{repository}:{tag}`"
        answer = await self._get(f"/v2/{repository}/manifests/{tag}", doing)
        if answer.status == 404:
            return None
        if answer.status == 401:
            raise LoginNeededError(f"cannot {doing}: the registry wants a login")
        if answer.status != 200:
            words = http.client.responses.get(answer.status, "")
            said = f"the manifest request answers {answer.status} {words}"
            raise registry_error(said, doing, self.host)
        digest = answer.headers.get("docker-content-digest", "")
        if not digest:
            digest = "sha256:" + hashlib.sha256(answer.body).hexdigest()
        try:
            content: Any = json.loads(answer.body)
            config = content.get("config", {}).get("digest", "")
        except (ValueError, AttributeError) as error:
            raise ContainerError(f"cannot {doing}: what answers there is not a registry") from error
        return HeldManifest(digest, config)

    async def config(
        self, repository: str, reference: str, architecture: str = "amd64"
    ) -> ImageConfig | None:
        """What the image under a tag or digest runs; None where none is held. Of an image for
        several platforms, the one for Linux on `architecture`.

        Raises:
            LoginNeededError: It tells only those who have logged in.
            ContainerError: It does not tell.
        """
        doing = f"look up what `{self.host}/{repository}` at `{reference}` runs"
        content = await self._json(f"/v2/{repository}/manifests/{reference}", doing)
        for one in (content or {}).get("manifests") or ():
            platform = one.get("platform") or {}
            if (platform.get("os"), platform.get("architecture")) == ("linux", architecture):
                content = await self._json(f"/v2/{repository}/manifests/{one['digest']}", doing)
                break
        digest = ((content or {}).get("config") or {}).get("digest")
        if not digest:
            return None
        found = await self._json(f"/v2/{repository}/blobs/{digest}", doing)
        return None if found is None else ImageConfig.of(found.get("config") or {})

    async def _json(self, path: str, doing: str) -> dict[str, Any] | None:
        answer = await self._get(path, doing)
        if answer.status == 404:
            return None
        if answer.status == 401:
            raise LoginNeededError(f"cannot {doing}: the registry wants a login")
        try:
            content: Any = json.loads(answer.body) if answer.status == 200 else None
        except ValueError:
            content = None
        if not isinstance(content, dict):
            words = f"{answer.status} {http.client.responses.get(answer.status, '')}"
            raise registry_error(f"the request answers {words}", doing, self.host)
        return content

    async def _get(self, path: str, doing: str) -> _Answer:
        try:
            return await asyncio.to_thread(self._request, path)
        except ssl.SSLCertVerificationError as error:
            raise registry_error(f"x509: {error.verify_message}", doing, self.host) from error
        except TimeoutError as error:
            text = f"timed out after {self._timeout:g} s"
            raise registry_error(text, doing, self.host) from error
        except (OSError, http.client.HTTPException) as error:
            text = str(error) or type(error).__name__
            if isinstance(error, http.client.HTTPException):
                text = f"the connection was closed: hung up ({text})"
            raise registry_error(text, doing, self.host) from error

    def _request(self, path: str) -> _Answer:
        if is_loopback(self.host):
            return self._ask(http.client.HTTPConnection(self.host, timeout=self._timeout), path)
        try:
            return self._ask(http.client.HTTPSConnection(self.host, timeout=self._timeout), path)
        except ssl.SSLCertVerificationError:
            raise
        except ssl.SSLError:
            return self._ask(http.client.HTTPConnection(self.host, timeout=self._timeout), path)

    def _ask(self, connection: http.client.HTTPConnection, path: str) -> _Answer:
        try:
            connection.request(
                "GET", path, headers={"Accept": _MANIFESTS, "User-Agent": "kindling"}
            )
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return _Answer(response.status, headers, response.read(_MAX_BODY))
        finally:
            connection.close()


def is_loopback(host: str) -> bool:
    """Whether a registry's name (with or without a port) means this machine, as Docker sees it."""
    bare = host.partition("/")[0]
    name = bare[1:].partition("]")[0] if bare.startswith("[") else bare.partition(":")[0]
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
