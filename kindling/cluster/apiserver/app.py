"""The API server: an ASGI application in front of the registry."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Iterable

import structlog

from kindling.cluster.apiserver.credentials import Credentials
from kindling.cluster.apiserver.discovery import Discovery
from kindling.cluster.apiserver.exchange import ClientGoneError, Exchange, Message, Receive, Send
from kindling.cluster.apiserver.forms import Forms
from kindling.cluster.apiserver.grants import Grants
from kindling.cluster.apiserver.health import VERSION, reply_health, version_info
from kindling.cluster.apiserver.openapi import OpenApi
from kindling.cluster.apiserver.origins import Origins
from kindling.cluster.apiserver.paths import Target, parse_path, segments
from kindling.cluster.apiserver.pods import PodStreams
from kindling.cluster.apiserver.printing.table import Printers
from kindling.cluster.apiserver.proxy import PodProxy
from kindling.cluster.apiserver.reviews import Reviews
from kindling.cluster.apiserver.verbs import Verbs
from kindling.cluster.model.api import Api
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.schema import Schemas
from kindling.cluster.model.status import (
    ApiError,
    bad_request,
    internal_error,
    method_not_allowed,
)
from kindling.cluster.model.streams import NodeStreams
from kindling.cluster.pki.tokens import ISSUER, Tokens

__all__ = ["ApiServer"]

_log = structlog.get_logger(__name__)
_STREAMS = ("exec", "attach", "portforward", "proxy")


class ApiServer:
    """Serves `api` to whoever shows a client certificate or token of this cluster.

    Everyone who is let in may do everything: RBAC objects are stored and not enforced. `streams` is
    the node, without which pods have no logs, and neither exec nor port-forward; it may be set
    later. `hosts` are further names that this server is reached by.
    """

    def __init__(
        self,
        api: Api,
        schemas: Schemas,
        *,
        tokens: Tokens,
        streams: NodeStreams | None = None,
        version: str = VERSION,
        hosts: Iterable[str] = (),
    ) -> None:
        self.streams = streams
        self._api = api
        self._version = version
        self._stopping = asyncio.Event()
        self._credentials = Credentials(api, tokens)
        self._origins = Origins(hosts)
        self._forms = Forms(Printers(api))
        self._verbs = Verbs(api, self._forms, self._stopping)
        self._discovery = Discovery(api)
        self._openapi = OpenApi(api, schemas, self._discovery)
        self._reviews = Reviews(self._credentials)
        self._grants = Grants(api, self._forms, tokens)
        self._tokens = tokens
        self._pods = PodStreams(api, self, self._stopping)
        self._proxy = PodProxy(api, self)

    def stop(self) -> None:
        """End the watches and the logs that are followed; new ones end at once."""
        self._stopping.set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return
        exchange = Exchange(scope, receive, send)
        began = time.monotonic()
        try:
            await self._serve(exchange)
        except ClientGoneError:
            pass
        except ApiError as error:
            await self._refuse(exchange, error)
        except Exception as error:
            # As text: a rendered traceback with local values would put credentials in the log.
            _log.error(
                "request failed",
                method=exchange.method,
                path=exchange.raw_path,
                traceback=traceback.format_exc(),
            )
            if exchange.status:
                raise
            await self._refuse(exchange, internal_error(f"{type(error).__name__}"))
        finally:
            _log.debug(
                "request",
                method=exchange.method,
                path=exchange.raw_path,
                status=exchange.status,
                user=exchange.identity.name,
                ms=round((time.monotonic() - began) * 1000, 1),
            )

    async def _refuse(self, exchange: Exchange, error: ApiError) -> None:
        if exchange.status:
            # The answer is on its way, and HTTP has no means to take it back but to break off.
            _log.debug("answer broken off", path=exchange.raw_path, error=error.message)
            raise error
        await exchange.reply_error(error)

    async def _serve(self, exchange: Exchange) -> None:
        # Who asks comes first, so that nothing is learnt without credentials.
        exchange.identity = self._credentials.identify(exchange)
        self._origins.check(exchange)
        target = parse_path(exchange.raw_path)
        if exchange.websocket and (target is None or target.subresource not in _STREAMS):
            raise bad_request("there is no WebSocket on this path")
        if target is not None:
            await self._serve_resource(exchange, target)
        else:
            await self._serve_other(exchange, segments(exchange.raw_path))

    async def _serve_other(self, exchange: Exchange, parts: list[str]) -> None:
        if exchange.method not in ("GET", "HEAD"):
            raise method_not_allowed()
        match parts:
            case ["healthz" | "livez" | "readyz", *_]:
                await reply_health(exchange, parts, ready=not self._stopping.is_set())
            case ["version"]:
                await exchange.reply_json(version_info(self._version), pretty=True)
            case ["openapi", *_]:
                await self._openapi.reply(exchange, parts)
            case [".well-known", "openid-configuration"]:
                await exchange.reply_json(_issuer())
            case ["openid", "v1", "jwks"]:
                await exchange.reply_json(self._tokens.key_set())
            case _:
                await self._discovery.reply(exchange, parts)

    async def _serve_resource(self, exchange: Exchange, target: Target) -> None:
        resource = self._api.resource(target.group, target.version, target.plural)
        if resource is None and target.version not in self._discovery.groups().get(
            target.group, {}
        ):
            # As the real server says of groups it does not have: clients add what they asked for.
            await exchange.reply(b"404 page not found\n", "text/plain; charset=utf-8", 404)
            return
        if resource is None or (target.namespace and not resource.namespaced):
            raise _no_such_resource()
        if "list" not in resource.verbs:
            if target.name or (resource.namespaced and not target.namespace):
                raise _no_such_resource()
            await self._reviews.reply(exchange, resource)
        elif not target.name:
            await self._verbs.collection(exchange, resource, target)
        elif not target.subresource:
            if resource.namespaced and not target.namespace:
                raise _no_such_resource()
            await self._verbs.object(exchange, resource, target)
        else:
            await self._serve_subresource(exchange, resource, target)

    async def _serve_subresource(
        self, exchange: Exchange, resource: ResourceType, target: Target
    ) -> None:
        if target.subresource not in resource.subresources:
            raise _no_such_resource()
        if resource.namespaced and not target.namespace:
            raise _no_such_resource()
        if target.rest and target.subresource != "proxy":
            raise _no_such_resource()
        match target.subresource:
            case "log" | "exec" | "attach" | "portforward":
                await self._pods.reply(exchange, resource, target)
            case "proxy":
                await self._proxy.reply(exchange, resource, target)
            case "token" | "eviction" | "binding":
                await self._grants.reply(exchange, resource, target)
            case "finalize" if exchange.method != "PUT":
                raise method_not_allowed()
            case _:
                await self._verbs.object(exchange, resource, target)


def _issuer() -> dict[str, object]:
    return {
        "issuer": ISSUER,
        "jwks_uri": f"{ISSUER}/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }


def _no_such_resource() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource")
