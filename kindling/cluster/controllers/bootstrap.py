"""What every cluster has from the beginning. Idempotent, and quick when it is there already."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from kindling.cluster.controllers.kinds import (
    CLASSES,
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    INGRESS_CLASSES,
    NAMESPACES,
    SERVICE_ACCOUNTS,
    SERVICES,
)
from kindling.cluster.model.api import Api, Obj, PatchType, WriteOptions
from kindling.cluster.model.resource import ResourceType, builtin
from kindling.cluster.model.status import ApiError

__all__ = ["API_ADDRESS", "CLASS_NAME", "DNS_ADDRESS", "PROVISIONER", "bootstrap", "root_ca"]

API_ADDRESS = "10.198.0.1"
DNS_ADDRESS = "10.198.0.10"
CLASS_NAME = "standard"
PROVISIONER = "kindling.dev/host-path"
_PRIORITIES = (
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in"
        " the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
)
_OPTIONS = WriteOptions(field_manager="kindling-cluster")


async def bootstrap(
    api: Api,
    *,
    authority: str = "",
    endpoint: tuple[str, int] | None = None,
    namespaces: Sequence[str] = ("default", "kube-system", "kube-public", "kube-node-lease"),
) -> None:
    """Make namespaces with their default service account and root CA config map, the Services
    `kubernetes` and `kube-dns`, StorageClass `standard` and IngressClass `kindling`.

    `endpoint` is the address and port at which pods reach the API server; the Endpoints of
    `kubernetes` are put right when it changed. What people changed otherwise stays as they left it.
    """
    await asyncio.gather(*(_ensure(api, NAMESPACES, _plain("Namespace", n)) for n in namespaces))
    jobs: list[Coroutine[Any, Any, object]] = [
        _ensure(api, CLASSES, _storage_class()),
        _ensure(api, INGRESS_CLASSES, _ingress_class()),
        _ensure(api, SERVICES, _api_service(), "default"),
        _ensure(api, SERVICES, _dns_service(), "kube-system"),
    ]
    for name, value, text in _PRIORITIES:
        jobs.append(
            _ensure(
                api, builtin("priorityclasses", "scheduling.k8s.io"), _priority(name, value, text)
            )
        )
    for namespace in namespaces:
        account = _plain("ServiceAccount", "default", namespace)
        jobs.append(_ensure(api, SERVICE_ACCOUNTS, account, namespace))
        if authority:
            jobs.append(_put(api, CONFIG_MAPS, root_ca(namespace, authority), namespace, "data"))
    if endpoint is not None:
        jobs.append(_put(api, ENDPOINTS, _endpoints(*endpoint), "default", "subsets"))
        jobs.append(_put(api, ENDPOINT_SLICES, _slice(*endpoint), "default", "endpoints", "ports"))
    await asyncio.gather(*jobs)


async def _ensure(api: Api, resource: ResourceType, obj: Obj, namespace: str = "") -> Obj:
    name = obj["metadata"]["name"]
    found = api.get(resource, name, namespace)
    if found is not None:
        return found
    try:
        return await api.create(resource, obj, namespace, _OPTIONS)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
        return api.get(resource, name, namespace) or obj


async def _put(api: Api, resource: ResourceType, obj: Obj, namespace: str, *fields: str) -> None:
    """As `_ensure`, and the fields are ours whatever somebody made of them."""
    found = await _ensure(api, resource, obj, namespace)
    wanted = {field: obj[field] for field in fields if found.get(field) != obj[field]}
    if wanted:
        await api.patch(
            resource,
            obj["metadata"]["name"],
            wanted,
            namespace,
            patch_type=PatchType.MERGE,
            options=_OPTIONS,
        )


def root_ca(namespace: str, authority: str) -> Obj:
    """The config map from which pods learn whom to trust."""
    obj = _plain("ConfigMap", "kube-root-ca.crt", namespace)
    obj["metadata"]["annotations"] = {
        "kubernetes.io/description": "Contains a CA bundle that can be used to verify the"
        " kube-apiserver when using internal endpoints such as the internal service IP or"
        " kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes"
        " clusters."
    }
    return obj | {"data": {"ca.crt": authority}}


def _plain(kind: str, name: str, namespace: str = "") -> Obj:
    meta = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "v1", "kind": kind, "metadata": meta}


def _storage_class() -> Obj:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": CLASS_NAME,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }


def _ingress_class() -> Obj:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {
            "name": "kindling",
            "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"},
        },
        "spec": {"controller": "kindling.dev/ingress"},
    }


def _priority(name: str, value: int, text: str) -> Obj:
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": value,
        "description": text,
        "preemptionPolicy": "PreemptLowerPriority",
    }


def _api_service() -> Obj:
    service = _plain("Service", "kubernetes", "default")
    service["metadata"]["labels"] = {"component": "apiserver", "provider": "kubernetes"}
    return service | {
        "spec": {
            "type": "ClusterIP",
            "clusterIP": API_ADDRESS,
            "clusterIPs": [API_ADDRESS],
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        }
    }


def _dns_service() -> Obj:
    service = _plain("Service", "kube-dns", "kube-system")
    service["metadata"]["labels"] = {
        "k8s-app": "kube-dns",
        "kubernetes.io/cluster-service": "true",
        "kubernetes.io/name": "CoreDNS",
    }
    return service | {
        "spec": {
            "type": "ClusterIP",
            "clusterIP": DNS_ADDRESS,
            "clusterIPs": [DNS_ADDRESS],
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            ],
        }
    }


def _endpoints(address: str, port: int) -> Obj:
    obj = _plain("Endpoints", "kubernetes", "default")
    obj["metadata"]["labels"] = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    return obj | {"subsets": [{"addresses": [{"ip": address}], "ports": ports}]}


def _slice(address: str, port: int) -> Obj:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }
