"""Endpoints and EndpointSlices: the addresses behind Services that have a selector."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kindling.cluster.controllers.backends import (
    Backend,
    Port,
    backends_of,
    is_headless,
    selector_of,
)
from kindling.cluster.controllers.controller import OPTIONS, Controller, key_of
from kindling.cluster.controllers.kinds import ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES
from kindling.cluster.controllers.meta import (
    labels,
    matches,
    name_of,
    namespace_of,
    notes_of,
    owner_reference,
    terminating,
    uid_of,
)
from kindling.cluster.controllers.ownership import owned
from kindling.cluster.controllers.work import Key
from kindling.cluster.model.api import Change, DeleteOptions, Obj, Selection
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import ApiError

__all__ = ["EndpointSliceController", "EndpointsController"]

_SLICE_SIZE = 100
_HEADLESS = "service.kubernetes.io/headless"
_SERVICE_NAME = "kubernetes.io/service-name"
_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"


class _BackendController(Controller):
    """What both forms have in common: which Services a pod's change concerns."""

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.key == SERVICES.key:
            return (key_of(change.object),)
        if change.resource.key == PODS.key:
            return self._behind(change)
        return self._written(change.object)

    def _behind(self, change: Change) -> Iterable[Key]:
        before, after = change.before, change.object
        if before is not None and _seen(before) == _seen(after):
            return ()
        found: set[Key] = set()
        for service in self.api.select(SERVICES, Selection(namespace_of(after))):
            wanted = selector_of(service)
            if wanted and any(
                matches({"matchLabels": wanted}, labels(pod))
                for pod in (before, after)
                if pod is not None
            ):
                found.add(key_of(service))
        return found

    def _written(self, obj: Obj) -> Iterable[Key]:
        return (key_of(obj),)

    def _backends(self, service: Obj) -> list[Backend]:
        return backends_of(service, self.api.select(PODS, Selection(namespace_of(service))))

    async def _delete(self, resource: ResourceType, obj: Obj) -> None:
        try:
            await self.api.delete(
                resource, name_of(obj), namespace_of(obj), DeleteOptions(uid=uid_of(obj))
            )
        except ApiError as error:
            if error.code not in (404, 409):
                raise


def _seen(pod: Obj) -> tuple[Any, ...]:
    """What of a pod its endpoints depend on."""
    status = pod.get("status") or {}
    readiness = [
        one.get("status") for one in status.get("conditions") or () if one.get("type") == "Ready"
    ]
    return (
        labels(pod),
        terminating(pod),
        status.get("podIP"),
        status.get("phase"),
        readiness,
        pod["spec"].get("nodeName"),
    )


class EndpointsController(_BackendController):
    name = "endpoint"
    kinds = (SERVICES, PODS, ENDPOINTS)

    async def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        service = self.api.get(SERVICES, name, namespace)
        there = self.api.get(ENDPOINTS, name, namespace)
        if service is None:
            # Those that nobody made for a Service (leader election of old) are not ours to delete.
            if there is not None and _TRIGGER in notes_of(there):
                await self._delete(ENDPOINTS, there)
            return None
        if not selector_of(service) or terminating(service):
            return None
        early = bool(service["spec"].get("publishNotReadyAddresses"))
        backends = [one for one in self._backends(service) if early or not one.leaving]
        subsets = _subsets(backends, early)
        found = dict(labels(service))
        if is_headless(service):
            found[_HEADLESS] = ""
        same = there is not None and (there.get("subsets") or []) == subsets
        if there is not None and same and labels(there) == found:
            return None
        meta: Obj = {
            **(there["metadata"] if there else {"name": name, "namespace": namespace}),
            "labels": found,
        }
        meta["annotations"] = {**(notes_of(there) if there else {}), _TRIGGER: self.world.now}
        obj: Obj = {"apiVersion": "v1", "kind": "Endpoints", "metadata": meta}
        if not found:
            del meta["labels"]
        if subsets:
            obj["subsets"] = subsets
        if there is None:
            await self.api.create(ENDPOINTS, obj, namespace, OPTIONS)
        else:
            await self.api.update(ENDPOINTS, obj, options=OPTIONS)
        return None


def _subsets(backends: Sequence[Backend], early: bool) -> list[Obj]:
    """Addresses that share their ports, together."""
    groups: dict[tuple[Port, ...], tuple[list[Obj], list[Obj]]] = {}
    for backend in backends:
        serving, waiting = groups.setdefault(backend.ports, ([], []))
        address: Obj = {"ip": backend.address, "targetRef": backend.target}
        if backend.hostname:
            address["hostname"] = backend.hostname
        if backend.node:
            address["nodeName"] = backend.node
        (serving if backend.serving or early else waiting).append(address)
    subsets: list[Obj] = []
    for ports in sorted(groups):
        serving, waiting = groups[ports]
        subset: Obj = {}
        if serving:
            subset["addresses"] = serving
        if waiting:
            subset["notReadyAddresses"] = waiting
        if ports:
            subset["ports"] = [port.written(always_named=False) for port in ports]
        subsets.append(subset)
    return subsets


class EndpointSliceController(_BackendController):
    name = "endpointslice"
    kinds = (SERVICES, PODS, ENDPOINT_SLICES)

    @property
    def component(self) -> str:
        return "endpoint-slice-controller"

    def _written(self, obj: Obj) -> Iterable[Key]:
        if labels(obj).get(_MANAGED_BY) != "endpointslice-controller.k8s.io":
            return ()
        service = labels(obj).get(_SERVICE_NAME)
        return ((namespace_of(obj), service),) if service else ()

    async def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        service = self.api.get(SERVICES, name, namespace)
        # Those of a Service that is gone go with it, as its dependents.
        if service is None or not selector_of(service) or terminating(service):
            return None
        there = [
            one
            for one in owned(self.api, ENDPOINT_SLICES, service)
            if labels(one).get(_MANAGED_BY) == "endpointslice-controller.k8s.io"
        ]
        early = bool(service["spec"].get("publishNotReadyAddresses"))
        wanted = _slices(self._backends(service), early)
        there.sort(key=lambda one: (not _same_ports(one, wanted), name_of(one)))
        used: set[str] = set()
        for content in wanted:
            # A slice of the same ports is changed rather than another one.
            match = next(
                (
                    one
                    for one in there
                    if name_of(one) not in used and (one.get("ports") or []) == content["ports"]
                ),
                None,
            ) or next((one for one in there if name_of(one) not in used), None)
            if match is not None:
                used.add(name_of(match))
            await self._put(service, content, match)
        for one in there:
            if name_of(one) not in used:
                await self._delete(ENDPOINT_SLICES, one)
        return None

    async def _put(self, service: Obj, content: Obj, there: Obj | None) -> None:
        found = {
            key: value for key, value in labels(service).items() if not key.startswith(_MANAGED_BY)
        }
        found[_MANAGED_BY] = "endpointslice-controller.k8s.io"
        found[_SERVICE_NAME] = name_of(service)
        if is_headless(service):
            found[_HEADLESS] = ""
        if there is not None:
            if labels(there) == found and all(
                (there.get(key) or []) == value for key, value in content.items()
            ):
                return
            meta = {
                **there["metadata"],
                "labels": found,
                "annotations": {**notes_of(there), _TRIGGER: self.world.now},
            }
            await self.api.update(
                ENDPOINT_SLICES, {**there, **content, "metadata": meta}, options=OPTIONS
            )
            return
        meta = {
            "generateName": f"{name_of(service)}-",
            "namespace": namespace_of(service),
            "labels": found,
            "annotations": {_TRIGGER: self.world.now},
            "ownerReferences": [owner_reference(SERVICES, service)],
        }
        obj: Obj = {
            "apiVersion": ENDPOINT_SLICES.api_version,
            "kind": "EndpointSlice",
            "metadata": meta,
            "addressType": "IPv4",
            **content,
        }
        await self.api.create(ENDPOINT_SLICES, obj, namespace_of(service), OPTIONS)


def _same_ports(slice_: Obj, wanted: Sequence[Obj]) -> bool:
    return any((slice_.get("ports") or []) == content["ports"] for content in wanted)


def _slices(backends: Sequence[Backend], early: bool) -> list[Obj]:
    """The contents of slices: one sort of ports in each, and at most a hundred addresses. Without
    any there is an empty one, by which one sees that somebody looked."""
    groups: dict[tuple[Port, ...], list[Obj]] = {}
    for backend in backends:
        endpoint: Obj = {
            "addresses": [backend.address],
            "conditions": {
                "ready": early or (backend.serving and not backend.leaving),
                "serving": backend.serving,
                "terminating": backend.leaving,
            },
            "targetRef": backend.target,
        }
        if backend.hostname:
            endpoint["hostname"] = backend.hostname
        if backend.node:
            endpoint["nodeName"] = backend.node
        groups.setdefault(backend.ports, []).append(endpoint)
    found = [
        {
            "endpoints": endpoints[start : start + _SLICE_SIZE],
            "ports": [port.written(always_named=True) for port in ports],
        }
        for ports, endpoints in sorted(groups.items())
        for start in range(0, len(endpoints), _SLICE_SIZE)
    ]
    return found or [{"endpoints": [], "ports": []}]
