"""Questions that clients ask of the API: who am I, whose token is this, may I.

Everybody who is let in may do everything here: RBAC objects are stored, and not enforced.
"""

from __future__ import annotations

from typing import Any

from kindling.cluster.apiserver.credentials import Credentials
from kindling.cluster.apiserver.exchange import Exchange
from kindling.cluster.apiserver.verbs import read_object
from kindling.cluster.model.api import Obj
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import ApiError, Cause, invalid, method_not_allowed
from kindling.cluster.pki.identity import Identity
from kindling.cluster.pki.tokens import AUDIENCE

__all__ = ["Reviews"]

_REASON = "RBAC is stored but not enforced by this cluster"
_ACCESS = ("SubjectAccessReview", "SelfSubjectAccessReview", "LocalSubjectAccessReview")


class Reviews:
    """Answers every resource that can only be created and of which nothing is kept."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def reply(self, exchange: Exchange, resource: ResourceType) -> None:
        """Raises `ApiError` 400, 405 and 422."""
        if exchange.method != "POST":
            raise method_not_allowed()
        obj = await read_object(exchange, resource)
        spec = obj.get("spec")
        if not isinstance(spec, dict):
            spec = {}
        match resource.kind:
            case "TokenReview":
                status = self._token(spec)
            case "SelfSubjectReview":
                status = {"userInfo": user_info(exchange.identity)}
            case "SelfSubjectRulesReview":
                status = _rules()
            case kind if kind in _ACCESS:
                _check_access(resource, spec)
                status = {"allowed": True, "reason": _REASON}
            case _:
                raise ApiError(404, "NotFound", "the server could not find the requested resource")
        await exchange.reply_json(obj | {"status": status}, 201)

    def _token(self, spec: Obj) -> Obj:
        token, asked = spec.get("token"), spec.get("audiences")
        audiences = [str(name) for name in asked] if isinstance(asked, list) else []
        identity = self._credentials.verify(
            token if isinstance(token, str) else "", tuple(audiences) or (AUDIENCE,)
        )
        if identity is None:
            return {"authenticated": False, "user": {}, "error": "invalid bearer token"}
        found: Obj = {"authenticated": True, "user": user_info(identity)}
        return found | {"audiences": list(identity.audiences)}


def user_info(identity: Identity) -> Obj:
    found: Obj = {"username": identity.name}
    if identity.uid:
        found["uid"] = identity.uid
    found["groups"] = list(identity.groups)
    if identity.extra:
        found["extra"] = {key: list(values) for key, values in identity.extra.items()}
    return found


def _rules() -> Obj:
    everything: dict[str, Any] = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    urls = {"verbs": ["*"], "nonResourceURLs": ["*"]}
    return {"resourceRules": [everything], "nonResourceRules": [urls], "incomplete": False}


def _check_access(resource: ResourceType, spec: Obj) -> None:
    about = [key for key in ("resourceAttributes", "nonResourceAttributes") if spec.get(key)]
    if len(about) == 1:
        return
    text = (
        "Invalid value: "
        + ("null" if not about else "{}")
        + ": exactly one of nonResourceAttributes or resourceAttributes must be specified"
    )
    cause = Cause("FieldValueInvalid", text, "spec.resourceAttributes")
    raise invalid(resource.kind, "", [cause], resource.group)
