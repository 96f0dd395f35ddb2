"""What is made by way of another object: tokens of service accounts, evictions, bindings."""

from __future__ import annotations

from datetime import UTC, datetime

from kindling.cluster.apiserver.exchange import Exchange
from kindling.cluster.apiserver.forms import Forms
from kindling.cluster.apiserver.negotiation import negotiate
from kindling.cluster.apiserver.options import write_options
from kindling.cluster.apiserver.paths import Target
from kindling.cluster.apiserver.verbs import read_object
from kindling.cluster.model.api import Api, DeleteOptions, Obj, PatchType, Selection
from kindling.cluster.model.resource import ResourceType, builtin
from kindling.cluster.model.status import (
    ApiError,
    Cause,
    bad_request,
    conflict,
    invalid,
    method_not_allowed,
    not_found,
)
from kindling.cluster.pki.tokens import AUDIENCE, Tokens

__all__ = ["Grants"]

_BUDGETS = builtin("poddisruptionbudgets", "policy")
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
        name = given["metadata"].get("name")
        if name and name != target.name and target.subresource != "token":
            raise bad_request(
                f"name in URL does not match name in {kind[target.subresource]} object"
            )
        match target.subresource:
            case "token":
                made = self._token(found, given, target)
                await self._forms.reply(exchange, resource, made, form, 201)
                return
            case "eviction":
                await self._evict(resource, found, given, target, dry_run=options.dry_run)
            case _:
                await self._bind(resource, found, given, target, dry_run=options.dry_run)
        success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        await exchange.reply_json(success | {"code": 201}, 201)

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

    async def _evict(
        self, resource: ResourceType, pod: Obj, eviction: Obj, target: Target, *, dry_run: bool
    ) -> None:
        """Delete the pod if no disruption budget stands against it; 429 if one does."""
        given = eviction.get("deleteOptions")
        options = given if isinstance(given, dict) else {}
        phase = pod.get("status", {}).get("phase")
        if phase not in ("Succeeded", "Failed", "Pending") and not pod["metadata"].get(
            "deletionTimestamp"
        ):
            await self._spend_budget(pod, dry_run=dry_run)
        grace = options.get("gracePeriodSeconds")
        conditions = options.get("preconditions")
        conditions = conditions if isinstance(conditions, dict) else {}
        deletion = DeleteOptions(
            grace=grace if isinstance(grace, int) else None,
            propagation=str(options.get("propagationPolicy") or ""),
            uid=str(conditions.get("uid") or ""),
            resource_version=str(conditions.get("resourceVersion") or ""),
            dry_run=dry_run or bool(options.get("dryRun")),
        )
        await self._api.delete(resource, target.name, target.namespace, deletion)

    async def _spend_budget(self, pod: Obj, *, dry_run: bool) -> None:
        from kindling.cluster.apiserver.scales import selector_text
        from kindling.cluster.registry.selectors import parse_labels

        namespace = pod["metadata"]["namespace"]
        budgets = [
            budget
            for budget in self._api.select(_BUDGETS, Selection(namespace))
            if (selector := budget.get("spec", {}).get("selector")) is not None
            and parse_labels(selector_text(selector)).matches(pod)
        ]
        if len(budgets) > 1:
            raise ApiError(
                500,
                "InternalError",
                "This pod has more than one PodDisruptionBudget, which the eviction subresource"
                " does not support.",
            )
        for budget in budgets:
            name = budget["metadata"]["name"]
            status = budget.get("status", {})
            allowed = int(status.get("disruptionsAllowed", 0))
            if allowed <= 0:
                needed, healthy = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
                cause = Cause(
                    "DisruptionBudget",
                    f"The disruption budget {name} needs {needed} healthy pods and has {healthy}"
                    " currently",
                )
                raise ApiError(
                    429,
                    "TooManyRequests",
                    "Cannot evict pod as it would violate the pod's disruption budget.",
                    causes=[cause],
                )
            if not dry_run:
                disrupted = {
                    pod["metadata"]["name"]: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                }
                change = {"disruptionsAllowed": allowed - 1, "disruptedPods": disrupted}
                await self._api.patch(
                    _BUDGETS,
                    name,
                    {"status": change},
                    namespace,
                    patch_type=PatchType.MERGE,
                    subresource="status",
                )

    async def _bind(
        self, resource: ResourceType, pod: Obj, binding: Obj, target: Target, *, dry_run: bool
    ) -> None:
        """Give the pod its node, as a scheduler of the user's own does."""
        given = binding.get("target")
        node = str(given.get("name") or "") if isinstance(given, dict) else ""
        if not node:
            cause = Cause("FieldValueRequired", "Required value", "target.name")
            raise invalid("Binding", target.name, [cause])
        current = pod.get("spec", {}).get("nodeName")
        if current:
            raise conflict(
                "pods/binding",
                target.name,
                why=f'pod {target.name} is already assigned to node "{current}"',
            )
        if not dry_run:
            await self._api.patch(
                resource,
                target.name,
                {"spec": {"nodeName": node}},
                target.namespace,
                patch_type=PatchType.MERGE,
                subresource="binding",
            )
