"""The addresses that Ingresses open, where the embedded cluster serves them.

Elsewhere nobody can tell: an Ingress names hosts, and what leads to them is not part of the
cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import aclosing

from kindling.graph.spec import ObjectRef
from kindling.kube.contexts import Product
from kindling.kube.protocol import Cluster, EventKind, Object

__all__ = ["addresses_of", "ingress_addresses"]

_LIMIT = 3.0
"""Seconds: the embedded controller writes the status within milliseconds, or the class is another's
and nobody will."""


async def ingress_addresses(cluster: Cluster, refs: Iterable[ObjectRef]) -> tuple[str, ...]:
    """URLs of the Ingresses among `refs`, once the embedded cluster serves them; none on others."""
    mine = [ref for ref in refs if ref.kind == "Ingress"]
    if not mine or (await cluster.facts()).product != Product.EMBEDDED.value:
        return ()
    found: list[str] = []
    for ref in mine:
        found += await _of(cluster, ref)
    return tuple(dict.fromkeys(found))


async def _of(cluster: Cluster, ref: ObjectRef) -> tuple[str, ...]:
    fields = (("metadata.name", ref.name),)
    events = cluster.watch(ref.api_version, ref.kind, namespace=ref.namespace, fields=fields)
    try:
        async with asyncio.timeout(_LIMIT), aclosing(events):
            async for event in events:
                items = event.items if event.kind is EventKind.SYNCED else (event.object,)
                for item in items:
                    if found := addresses_of(item):
                        return found
    except TimeoutError:
        return ()
    return ()


def addresses_of(ingress: Object) -> tuple[str, ...]:
    """`http://host:port/path` for each host and first path of an Ingress that is served on a port
    of loopback; empty before its status says so. Wildcard hosts are no address."""
    served = ((ingress.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    ports = [port["port"] for one in served for port in one.get("ports") or ()]
    if not ports:
        return ()
    found = []
    for rule in (ingress.get("spec") or {}).get("rules") or ():
        host = rule.get("host") or "localhost"
        paths = (rule.get("http") or {}).get("paths") or [{}]
        path = (paths[0].get("path") or "/").rstrip("/")
        if not host.startswith("*"):
            found.append(f"http://{host}{'' if ports[0] == 80 else f':{ports[0]}'}{path}")
    return tuple(dict.fromkeys(found))
