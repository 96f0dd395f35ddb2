"""Secrets of type `kubernetes.io/service-account-token`: filled with a token that lasts as long as
they do, and gone with their service account.

Kubernetes makes none of itself any more, and fills those that somebody makes: charts do, for
programs outside of the cluster.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable

from kindling.cluster.controllers.controller import OPTIONS, Controller
from kindling.cluster.controllers.kinds import SECRETS, SERVICE_ACCOUNTS
from kindling.cluster.controllers.meta import name_of, namespace_of, terminating
from kindling.cluster.controllers.work import Key
from kindling.cluster.model.api import Change, ChangeType, DeleteOptions, Obj, Selection
from kindling.cluster.model.status import ApiError

__all__ = ["TokenSecretController"]

_TYPE = "kubernetes.io/service-account-token"
_NAME = "kubernetes.io/service-account.name"
_UID = "kubernetes.io/service-account.uid"
_LIFETIME = float(1 << 32)  # seconds: the longest that a token may be asked for, 136 years


class TokenSecretController(Controller):
    """Fills the secrets that are to hold a service account's token, and deletes those whose account
    is not there."""

    name = "serviceaccount-token"
    kinds = (SERVICE_ACCOUNTS, SECRETS)

    @property
    def component(self) -> str:
        return "token-controller"

    def keys(self, change: Change) -> Iterable[Key]:
        obj = change.object
        if change.resource.key == SECRETS.key:
            return ((namespace_of(obj), name_of(obj)),) if obj.get("type") == _TYPE else ()
        if change.type is not ChangeType.DELETED:
            return ()
        space = namespace_of(obj)
        return tuple(
            (space, name_of(secret))
            for secret in self.api.select(SECRETS, Selection(space))
            if secret.get("type") == _TYPE and _account(secret)[0] == name_of(obj)
        )

    async def reconcile(self, key: Key) -> float | None:
        space, name = key
        secret = self.api.get(SECRETS, name, space)
        if secret is None or secret.get("type") != _TYPE or terminating(secret):
            return None
        wanted, uid = _account(secret)
        account = self.api.get(SERVICE_ACCOUNTS, wanted, space)
        if account is None or (uid and uid != account["metadata"]["uid"]):
            await self._delete(secret)
            return None
        filled = self._filled(secret, account)
        if filled != secret:
            await self.api.update(SECRETS, filled, options=OPTIONS)
        return None

    def _filled(self, secret: Obj, account: Obj) -> Obj:
        metadata, data = secret["metadata"], dict(secret.get("data") or {})
        space = namespace_of(secret)
        if self.world.authority:
            data["ca.crt"] = _encoded(self.world.authority)
        data["namespace"] = _encoded(space)
        uid = account["metadata"]["uid"]
        if not data.get("token") and self.world.tokens is not None:
            token = self.world.tokens.issue(
                space,
                name_of(account),
                uid=uid,
                lifetime=_LIFETIME,
                secret=(name_of(secret), metadata["uid"]),
            )
            data["token"] = _encoded(token)
        annotations = {**(metadata.get("annotations") or {}), _UID: uid}
        return {**secret, "metadata": {**metadata, "annotations": annotations}, "data": data}

    async def _delete(self, secret: Obj) -> None:
        uid = secret["metadata"]["uid"]
        try:
            await self.api.delete(
                SECRETS, name_of(secret), namespace_of(secret), DeleteOptions(uid=uid)
            )
        except ApiError as error:
            if error.code not in (404, 409):
                raise


def _account(secret: Obj) -> tuple[str, str]:
    """Name and UID (empty when nobody said) of the service account that a secret is for."""
    annotations = secret["metadata"].get("annotations") or {}
    return str(annotations.get(_NAME, "")), str(annotations.get(_UID, ""))


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
