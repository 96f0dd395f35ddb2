"""What is made by way of another object: tokens of service accounts, evictions, bindings."""

from __future__ import annotations

from datetime import UTC, datetime

from kindling.cluster.apiserver.exchange import Exchange
from kindling.cluster.apiserver.forms import Forms
from kindling.cluster.apiserver.negotiation import negotiate
from kindling.cluster.apiserver.options import write_options
from kindling.cluster.apiserver.paths import Target
from kindling.cluster.apiserver.verbs import read_object
from kindling.cluster.model.api import Api, Obj
from kindling.cluster.model.resource import ResourceType, builtin
from kindling.cluster.model.status import (
    Cause,
    bad_request,
    conflict,
    invalid,
    method_not_allowed,
    not_found,
)
from kindling.cluster.pki.tokens import AUDIENCE, Tokens

__all__ = ["Grants"]

_SHORTEST, _LONGEST = 600, 2**32
"""Seconds that a token may be asked for (`TokenRequest`'s own validation)."""


class Grants:
    """Serves `serviceaccounts/NAME/token`, `pods/NAME/eviction` and `pods/NAME/binding`."""

    def __init__(self, api: Api, forms: Forms, tokens: Tokens) -> None:
        self._api = api
        self._forms = forms
        self._tokens = tokens

    async def reply(self, exchange: Exchange, resource: ResourceType, target: Target) -> None:
        """Raises `ApiError`."""
        if exchange.method != "POST":
            raise method_not_allowed()
        form = negotiate(exchange.headers.get("accept", ""))
        options = write_options(exchange, "CreateOptions")
        kind = {"token": "TokenRequest", "eviction": "Eviction", "binding": "Binding"}
        given = await read_object(exchange, resource, kind=kind[target.subresource])
        found = self._api.get(resource, target.name, target.namespace)
        if found is None:
            raise not_found(resource.plural, target.name, resource.group)
        if target.subresource == "token":
            made = self._token(found, given, target)
        else:
            name = given["metadata"].get("name")
            if name and name != target.name:
                said = kind[target.subresource]
                raise bad_request(f"name in URL does not match name in {said} object")
            place = {"name": target.name, "namespace": target.namespace}
            given = given | {"metadata": given["metadata"] | place}
            made = await self._api.update(resource, given, target.subresource, options)
        if made.get("kind") == "Status":
            await exchange.reply_json(made, 201)
        else:
            await self._forms.reply(exchange, resource, made, form, 201)

    def _token(self, account: Obj, request: Obj, target: Target) -> Obj:
        spec = request.get("spec")
        if not isinstance(spec, dict):
            spec = {}
        seconds = spec.get("expirationSeconds")
        if seconds is None:
            seconds = 3600
        causes = []
        if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < _SHORTEST:
            text = f"Invalid value: {seconds}: may not specify a duration less than 10 minutes"
            causes.append(Cause("FieldValueInvalid", text, "spec.expirationSeconds"))
        elif seconds > _LONGEST:
            text = f"Invalid value: {seconds}: may not specify a duration larger than 2^32 seconds"
            causes.append(Cause("FieldValueInvalid", text, "spec.expirationSeconds"))
        if causes:
            raise invalid("TokenRequest", "", causes, "authentication.k8s.io")
        asked = spec.get("audiences")
        audiences = [str(name) for name in asked] if isinstance(asked, list) else []
        bound = self._bound_to(spec.get("boundObjectRef"), target)
        kind = bound[0] if bound else ""
        reference = (bound[1], bound[2]) if bound else None
        token = self._tokens.issue(
            target.namespace,
            target.name,
            uid=account["metadata"]["uid"],
            audiences=audiences,
            lifetime=seconds,
            pod=reference if kind == "Pod" else None,
            node=reference if kind == "Node" else None,
            secret=reference if kind == "Secret" else None,
        )
        identity = self._tokens.verify(token, audiences or [AUDIENCE])
        assert identity is not None
        ends = datetime.fromtimestamp(identity.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata = account["metadata"]
        return request | {
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {
                "name": target.name,
                "namespace": target.namespace,
                "creationTimestamp": metadata.get("creationTimestamp"),
            },
            "spec": spec | {"audiences": audiences or [AUDIENCE], "expirationSeconds": seconds},
            "status": {"token": token, "expirationTimestamp": ends},
        }

    def _bound_to(self, reference: object, target: Target) -> tuple[str, str, str] | None:
        """Kind, name and UID of what the token shall end with. Raises `ApiError` 404, 409."""
        if not isinstance(reference, dict) or not reference:
            return None
        kind, name = str(reference.get("kind", "")), str(reference.get("name", ""))
        plurals = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}
        if kind not in plurals:
            raise bad_request(f"cannot bind token for serviceaccount {target.name!r} to {kind!r}")
        resource = builtin(plurals[kind])
        found = self._api.get(resource, name, target.namespace if resource.namespaced else "")
        if found is None:
            raise not_found(resource.plural, name)
        uid = found["metadata"]["uid"]
        if (wanted := reference.get("uid")) and wanted != uid:
            raise conflict(
                resource.plural,
                name,
                why=f"the UID in the bound object reference ({wanted}) does not match the UID in"
                f" record. The object might have been deleted and then recreated",
            )
        if kind == "Pod":
            account = found.get("spec", {}).get("serviceAccountName", "default")
            if account != target.name:
                raise bad_request(
                    f'cannot bind token for serviceaccount "{target.name}" to pod running with'
                    f' different serviceaccount name "{account}"'
                )
        return kind, name, uid
