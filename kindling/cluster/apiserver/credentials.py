"""Who asks: client certificates and bearer tokens. Nobody is anonymous."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from kindling.cluster.apiserver.exchange import Exchange
from kindling.cluster.model.api import Api
from kindling.cluster.model.resource import builtin
from kindling.cluster.model.status import unauthorized
from kindling.cluster.pki.identity import Identity

__all__ = ["Credentials", "TokenVerifier"]

_SERVICE_ACCOUNTS = builtin("serviceaccounts")
_PODS = builtin("pods")
_SECRETS = builtin("secrets")


class TokenVerifier(Protocol):
    """What of `Tokens` is needed to know a caller."""

    def verify(self, token: str, audiences: tuple[str, ...] = ...) -> Identity | None: ...


class Credentials:
    """Finds out who sent a request. A service account's token is good only while the account, and
    the pod or secret that it is bound to, are there."""

    def __init__(self, api: Api, tokens: TokenVerifier) -> None:
        self._api = api
        self._tokens = tokens

    def identify(self, exchange: Exchange) -> Identity:
        """Raises `ApiError` 401. A token that is shown must be good, even beside a certificate."""
        scheme, _, token = exchange.headers.get("authorization", "").partition(" ")
        identity: Identity | None = None
        if scheme.lower() == "bearer":
            identity = self.verify(token.strip())
        elif exchange.websocket and (token := _protocol_token(exchange)):
            identity = self.verify(token)
        elif not scheme:
            state = exchange.scope.get("state") or {}
            identity = from_certificate(state.get("peer"))
        if identity is None:
            raise unauthorized()
        return identity

    def verify(self, token: str, audiences: tuple[str, ...] = ()) -> Identity | None:
        """Whose token this is, asked for by our own door or (with audiences) by a TokenReview."""
        if not token:
            return None
        identity = (
            self._tokens.verify(token, audiences) if audiences else self._tokens.verify(token)
        )
        return identity if identity is not None and self._still_there(identity) else None

    def _still_there(self, identity: Identity) -> bool:
        if not identity.service_account:
            return True
        found = self._api.get(_SERVICE_ACCOUNTS, identity.service_account, identity.namespace)
        if found is None or found["metadata"].get("uid") != identity.uid:
            return False
        for resource, name, uid in (
            (_PODS, identity.pod, identity.pod_uid),
            (_SECRETS, identity.secret, identity.secret_uid),
        ):
            if name:
                bound = self._api.get(resource, name, identity.namespace)
                if bound is None or bound["metadata"].get("uid") != uid:
                    return False
        return True


def from_certificate(peer: Mapping[str, Any] | None) -> Identity | None:
    """The user of a client certificate that TLS has checked against our authority: its common name,
    in the groups of its organisations. `peer` is as `SSLSocket.getpeercert` gives it."""
    if not peer:
        return None
    name, groups = "", []
    for part in peer.get("subject", ()):
        for key, value in part:
            if key == "commonName":
                name = value
            elif key == "organizationName":
                groups.append(value)
    if not name:
        return None
    return Identity(name, (*groups, "system:authenticated"))


def _protocol_token(exchange: Exchange) -> str:
    """Browsers cannot set headers on a WebSocket; Kubernetes lets them name the token among the
    subprotocols."""
    import base64

    prefix = "base64url.bearer.authorization.k8s.io."
    for name in exchange.scope.get("subprotocols") or ():
        if name.startswith(prefix):
            encoded = name.removeprefix(prefix)
            try:
                return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
            except ValueError:
                return ""
    return ""
