"""What the cluster's names mean: the rules of the Kubernetes DNS specification 1.1, over the API's
memory. Pure apart from reading it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import Enum

from kindling.cluster.model.api import Api, Selection
from kindling.cluster.model.resource import builtin
from kindling.cluster.network.endpoints import SERVICES, endpoints_of, service_port

__all__ = ["DOMAIN", "Answer", "Sought", "lookup", "reverse"]

DOMAIN = "cluster.local"
_NAMESPACES = builtin("namespaces")
_PODS = builtin("pods")


class Sought(Enum):
    """The types of record that mean something here."""

    A = "A"
    SRV = "SRV"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of a name. `exists` False is NXDOMAIN; True with nothing else is an empty
    answer.

    `targets` are (port, name) of SRV records. `alias` is what an ExternalName stands for.
    """

    exists: bool
    addresses: tuple[str, ...] = ()
    targets: tuple[tuple[int, str], ...] = ()
    alias: str = ""


_NOTHING = Answer(exists=False)
_EMPTY = Answer(exists=True)


def lookup(api: Api, name: str, sought: Sought) -> Answer | None:
    """The answer for a name without its final dot, in any case; None where it is none of ours."""
    labels = name.lower().split(".")
    if labels[-2:] != DOMAIN.split("."):
        return None
    labels = labels[:-2]
    if not labels:
        return _EMPTY
    match labels[-1]:
        case "svc":
            return _service(api, labels[:-1], sought)
        case "pod":
            return _pod(api, labels[:-1], sought)
        case _:
            return _NOTHING


def _service(api: Api, labels: list[str], sought: Sought) -> Answer:
    if not labels:
        return _EMPTY
    namespace = labels[-1]
    if len(labels) == 1:
        return _EMPTY if api.get(_NAMESPACES, namespace) is not None else _NOTHING
    name, rest = labels[-2], labels[:-2]
    service = api.get(SERVICES, name, namespace)
    if service is None:
        return _NOTHING
    spec = service.get("spec", {})
    if spec.get("type") == "ExternalName":
        return (
            Answer(exists=True, alias=str(spec.get("externalName", ""))) if not rest else _NOTHING
        )
    own = f"{name}.{namespace}.svc.{DOMAIN}"
    headless = spec.get("clusterIP") in (None, "", "None")
    publish = bool(spec.get("publishNotReadyAddresses"))
    if len(rest) == 2 and rest[0].startswith("_") and rest[1].startswith("_"):
        return _named_port(api, namespace, name, rest, own, headless, publish)
    if not rest:
        if not headless:
            return Answer(True, (str(spec["clusterIP"]),)) if sought is Sought.A else _EMPTY
        found = endpoints_of(api, namespace, name, ready=not publish)
        if not found:
            # An existing name without addresses would be cached as such; so does CoreDNS say it.
            return _NOTHING
        addresses = tuple(dict.fromkeys(one.address for one in found))
        return Answer(True, addresses) if sought is Sought.A else _EMPTY
    if len(rest) == 1 and headless:
        mine = [
            one.address
            for one in endpoints_of(api, namespace, name, ready=not publish)
            if rest[0] in (one.hostname, one.address.replace(".", "-"))
        ]
        if not mine:
            return _NOTHING
        return Answer(True, tuple(dict.fromkeys(mine))) if sought is Sought.A else _EMPTY
    return _NOTHING


def _named_port(
    api: Api,
    namespace: str,
    name: str,
    rest: list[str],
    own: str,
    headless: bool,
    publish: bool,
) -> Answer:
    service = api.get(SERVICES, name, namespace)
    assert service is not None
    port = service_port(service, rest[0][1:])
    if port is None or rest[1][1:] != str(port.get("protocol") or "TCP").lower():
        return _NOTHING
    if not headless:
        return Answer(True, targets=((int(port["port"]), own),))
    found = endpoints_of(api, namespace, name, port.get("name") or "", ready=not publish)
    targets = tuple(
        (one.port, f"{one.hostname or one.address.replace('.', '-')}.{own}") for one in found
    )
    return Answer(True, targets=targets) if targets else _NOTHING


def _pod(api: Api, labels: list[str], sought: Sought) -> Answer:
    """`10-199-0-7.NAMESPACE.pod`: the address that the name spells, if the namespace exists."""
    if len(labels) < 2:
        return _EMPTY
    if len(labels) > 2 or api.get(_NAMESPACES, labels[1]) is None:
        return _NOTHING
    try:
        address = str(ipaddress.IPv4Address(labels[0].replace("-", ".")))
    except ValueError:
        return _NOTHING
    return Answer(True, (address,)) if sought is Sought.A else _EMPTY


def reverse(api: Api, address: str) -> str:
    """The name of a Service's address, or of a pod behind a headless one; empty for any other."""
    for service in api.select(SERVICES, Selection()):
        metadata, spec = service["metadata"], service.get("spec", {})
        own = f"{metadata['name']}.{metadata['namespace']}.svc.{DOMAIN}"
        if spec.get("clusterIP") == address:
            return own
        if spec.get("clusterIP") == "None":
            for one in endpoints_of(api, metadata["namespace"], metadata["name"]):
                if one.address == address:
                    return f"{one.hostname or address.replace('.', '-')}.{own}"
    return ""
