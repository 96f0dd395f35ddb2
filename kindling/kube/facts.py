"""Who a cluster is: identity, version, product, platforms of its nodes, and the registry it
announces."""

from __future__ import annotations

import asyncio
from typing import Any

import yaml

from kindling.kube.contexts import Product
from kindling.kube.errors import ForbiddenError, NotFoundError, ServerFaultError
from kindling.kube.protocol import ClusterFacts, RegistryHosting
from kindling.kube.wire import Wire

__all__ = ["learn_facts", "registry_of"]

_REGISTRY = "/api/v1/namespaces/kube-public/configmaps/local-registry-hosting"
_FIELD = "localRegistryHosting.v1"

_MARKS: tuple[tuple[str, str], ...] = (
    ("k3s", "k3s"),
    ("gke", "gke"),
    ("eks", "eks"),
    ("aks", "aks"),
)


async def learn_facts(wire: Wire, timeout: float) -> ClusterFacts:
    """Ask for everything at once.

    Where a team's cluster does not let its users see the namespace `kube-system`, the address of
    the server stands in for its uid: a cluster made anew at that address is then not told apart.

    Raises:
        ClusterError: The server cannot be reached, or does not accept our credentials.
    """

    async def ask(path: str, doing: str) -> dict[str, Any]:
        answer = await wire.request("GET", path, doing, timeout=timeout)
        body: dict[str, Any] = answer.json()
        return body

    async def optional(path: str, doing: str) -> dict[str, Any]:
        try:
            return await ask(path, doing)
        except (ForbiddenError, NotFoundError):
            return {}

    try:
        async with asyncio.TaskGroup() as group:
            version = group.create_task(ask("/version", "ask the cluster's version"))
            system = group.create_task(
                optional("/api/v1/namespaces/kube-system", "identify the cluster")
            )
            registry = group.create_task(optional(_REGISTRY, "look for a registry"))
            nodes = group.create_task(optional("/api/v1/nodes?limit=50", "look at the nodes"))
    except* Exception as errors:
        # One reason is enough, and callers catch our own errors one by one.
        raise errors.exceptions[0] from None
    return ClusterFacts(
        context=wire.context.name,
        server=wire.server,
        uid=str((system.result().get("metadata") or {}).get("uid") or f"server {wire.server}"),
        version=str(version.result().get("gitVersion") or ""),
        product=_product(wire, version.result()),
        registry=registry_of(registry.result()),
        node_platforms=_platforms(nodes.result()),
    )


def registry_of(configmap: dict[str, Any]) -> RegistryHosting | None:
    """The registry that ConfigMap `kube-public/local-registry-hosting` announces, if any.

    `host` is the name on this machine; nodes know it as `hostFromContainerRuntime`, else by the
    same name (KEP-1755).

    Raises:
        ServerFaultError: The ConfigMap is there and cannot be read.
    """
    text = (configmap.get("data") or {}).get(_FIELD)
    if not text:
        return None
    try:
        body = yaml.safe_load(text)
    except yaml.YAMLError:
        body = None
    if not isinstance(body, dict):
        raise ServerFaultError(
            f"`{_FIELD}` of ConfigMap `kube-public/local-registry-hosting` is no YAML mapping"
        )
    host = str(body.get("host") or "")
    inside = str(body.get("hostFromContainerRuntime") or host)
    return RegistryHosting(host, inside, str(body.get("help") or "")) if host else None


def _product(wire: Wire, version: dict[str, Any]) -> str:
    known = wire.context.product
    if known is not Product.UNKNOWN:
        return str(known.value)
    text = str(version.get("gitVersion") or "")
    for mark, name in _MARKS:
        if mark in text:
            return name
    return str(known.value)


def _platforms(nodes: dict[str, Any]) -> tuple[str, ...]:
    found = set()
    for node in nodes.get("items") or ():
        info = (node.get("status") or {}).get("nodeInfo") or {}
        if info.get("operatingSystem") and info.get("architecture"):
            found.add(f"{info['operatingSystem']}/{info['architecture']}")
    return tuple(sorted(found))
