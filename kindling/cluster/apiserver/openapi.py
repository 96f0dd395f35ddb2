"""OpenAPI over HTTP: v2 as one document, v3 as an index and a document a group and version."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from functools import cache

import orjson

from kindling.cluster.apiserver.discovery import Discovery
from kindling.cluster.apiserver.exchange import Exchange
from kindling.cluster.model.api import Api
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.schema import Schemas
from kindling.cluster.model.status import ApiError, not_acceptable

__all__ = ["OpenApi"]

_YEAR = 365 * 24 * 3600  # seconds
_PROTOBUF = (
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
)
"""The type that is answered, and the older spelling, which clients still ask for."""


class OpenApi:
    """Documents are made when first asked for, and again when what is served has changed.

    Encoded ones are kept: that of v2 is several megabytes. Whether a definition's schema has
    changed is told by its resourceVersion.
    """

    def __init__(self, api: Api, schemas: Schemas, discovery: Discovery) -> None:
        self._api = api
        self._schemas = schemas
        self._discovery = discovery
        self._made: dict[str, tuple[str, bytes]] = {}

    async def reply(self, exchange: Exchange, parts: list[str]) -> None:
        """Raises `ApiError` 404, and 406 for forms that there are not."""
        match parts:
            case ["openapi", "v2"]:
                accept = exchange.headers.get("accept", "")
                if any(kind in accept for kind in _PROTOBUF):
                    await self._send_protobuf(exchange)
                    return
                if accept and not any(kind in accept for kind in ("json", "*/*", "application/*")):
                    raise not_acceptable("only application/json is served")
                resources = self._api.resources()
                stamp = self._stamp(resources)
                encoded = self._document(
                    "v2", stamp, lambda: self._schemas.openapi_v2(list(resources))
                )
                await self._send(exchange, encoded, stamp)
            case ["openapi", "v3"]:
                index = orjson.dumps({"paths": self._index()})
                await self._send(exchange, index, hashlib.sha256(index).hexdigest().upper())
            case ["openapi", "v3", *path]:
                resources = self._rows(path)
                group, version = resources[0].group, resources[0].version
                stamp = self._stamp(resources)
                encoded = self._document(
                    f"v3/{group}/{version}",
                    stamp,
                    lambda: self._schemas.openapi_v3(group, version, resources),
                )
                asked = exchange.query.text("hash")
                if asked and asked != stamp:
                    address = f"/openapi/v3/{'/'.join(path)}?hash={stamp}"
                    await exchange.reply(b"", status=301, headers=[(b"location", address.encode())])
                    return
                await self._send(exchange, encoded, stamp, kept=_for_a_year() if asked else ())
            case _:
                raise _missing()

    async def _send_protobuf(self, exchange: Exchange) -> None:
        """The form that Go clients ask for (helm, and kubectl where there is no v3)."""
        from kindling.cluster.schema.openapi.gnostic import openapi_v2_protobuf

        resources = self._api.resources()
        stamp = self._stamp(resources)
        known = self._made.get("v2/protobuf")
        if known is None or known[0] != stamp:
            document = self._schemas.openapi_v2(list(resources))
            known = (stamp, openapi_v2_protobuf(document))
            self._made["v2/protobuf"] = known
        await self._send(exchange, known[1], f"{stamp}-PB", _PROTOBUF[0])

    def _index(self) -> dict[str, dict[str, str]]:
        paths: dict[str, dict[str, str]] = {}
        for group, versions in self._discovery.groups().items():
            for version, rows in versions.items():
                path = f"apis/{group}/{version}" if group else f"api/{version}"
                address = f"/openapi/v3/{path}?hash={self._stamp(rows)}"
                paths[path] = {"serverRelativeURL": address}
        return paths

    def _rows(self, path: list[str]) -> list[ResourceType]:
        groups = self._discovery.groups()
        match path:
            case ["api", version] if version in groups.get("", {}):
                return groups[""][version]
            case ["apis", group, version] if group and version in groups.get(group, {}):
                return groups[group][version]
        raise _missing()

    def _stamp(self, rows: Sequence[ResourceType]) -> str:
        """The same as long as the document is: clients keep what they got under it for a year."""
        from kindling.cluster.model.resource import builtin

        definitions = builtin("customresourcedefinitions", "apiextensions.k8s.io")
        digest = hashlib.sha256(_edition().encode())
        for row in rows:
            digest.update(f"{row.api_version} {row.plural}\n".encode())
            if row.custom and (definition := self._api.get(definitions, row.key)) is not None:
                metadata = definition["metadata"]
                digest.update(f"{metadata.get('uid')} {metadata.get('generation')}\n".encode())
        return digest.hexdigest().upper()

    def _document(self, key: str, stamp: str, make: Callable[[], object]) -> bytes:
        known = self._made.get(key)
        if known is None or known[0] != stamp:
            known = (stamp, orjson.dumps(make()))
            self._made[key] = known
        return known[1]

    async def _send(
        self,
        exchange: Exchange,
        encoded: bytes,
        stamp: str,
        form: str = "application/json",
        kept: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        etag = f'"{stamp}"'
        headers = [(b"etag", etag.encode()), (b"vary", b"Accept")]
        headers += kept
        if exchange.headers.get("if-none-match") == etag:
            await exchange.reply(b"", form, 304, headers)
        else:
            await exchange.reply(encoded, form, 200, headers)


@cache
def _edition() -> str:
    """The same as long as the code and data that documents are made from are."""
    from pathlib import Path

    from kindling import __version__, cluster

    room = Path(cluster.__file__).parent / "schema"
    files = sorted(path for path in room.rglob("*") if path.suffix in (".py", ".jsonl"))
    facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return repr((__version__, facts))


def _for_a_year() -> list[tuple[bytes, bytes]]:
    """What the real server says of a document that was asked for by its hash."""
    ends = formatdate(time.time() + _YEAR, usegmt=True)
    return [(b"cache-control", b"public, immutable"), (b"expires", ends.encode())]


def _missing() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource")
