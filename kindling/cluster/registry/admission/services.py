"""Addresses and node ports of services.

What is taken is read off the services themselves, those on their way to the disk included, so that
nothing can leak: a service that goes gives back what it had.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable
from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.status import Cause, internal_error, invalid
from kindling.cluster.registry.memory import Key, Memory

__all__ = ["FIRST_NODE_PORT", "LAST_NODE_PORT", "SERVICE_NETWORK", "allocate", "families", "kept"]

SERVICE_NETWORK = ipaddress.IPv4Network("10.198.0.0/16")
FIRST_NODE_PORT = 30_000
LAST_NODE_PORT = 32_767

_STATIC = 256
"""The lower addresses are left to services that ask for one by number, as the real allocator
does."""
_STATIC_PORTS = 86


def families(service: Obj) -> Obj:
    """The service with IP families and `clusterIPs` beside `clusterIP`. Raises `ApiError` 422 for
    what a cluster of IPv4 alone cannot give."""
    spec = dict(service.get("spec") or {})
    if spec.get("type") == "ExternalName":
        return service | {"spec": spec}
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    elif spec.get("clusterIPs") and not spec.get("clusterIP"):
        spec["clusterIP"] = spec["clusterIPs"][0]
    headless = spec.get("clusterIP") == "None"
    if headless and not spec.get("selector"):
        # Nobody knows which families its endpoints will have.
        spec.setdefault("ipFamilyPolicy", "RequireDualStack")
        if not spec.get("ipFamilies"):
            both = spec["ipFamilyPolicy"] != "SingleStack"
            spec["ipFamilies"] = ["IPv4", "IPv6"] if both else ["IPv4"]
        return service | {"spec": spec}
    if spec.get("ipFamilyPolicy") == "RequireDualStack":
        said = (
            'Invalid value: "RequireDualStack": this cluster is not configured for dual-stack'
            " services"
        )
        raise _invalid(service, Cause("FieldValueInvalid", said, "spec.ipFamilyPolicy"))
    for index, family in enumerate(spec.get("ipFamilies") or ()):
        if family != "IPv4":
            said = f'Invalid value: "{family}": not configured on this cluster'
            raise _invalid(service, Cause("FieldValueInvalid", said, f"spec.ipFamilies[{index}]"))
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    spec["ipFamilies"] = ["IPv4"]
    return service | {"spec": spec}


def kept(service: Obj, before: Obj) -> Obj:
    """An updated service with the allocations of the old one where it does not speak of them, and
    without those that its type has no use for. Raises `ApiError` 422 for a change of address."""
    spec, old = dict(service.get("spec") or {}), before.get("spec") or {}
    was, now = old.get("type", "ClusterIP"), spec.get("type", "ClusterIP")
    if now == "ExternalName":
        if was != "ExternalName":
            for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                if spec.get(field) == old.get(field):
                    spec.pop(field, None)
            spec.pop("internalTrafficPolicy", None)
    elif was != "ExternalName":
        if spec.get("clusterIPs") == old.get("clusterIPs") and spec.get("clusterIP") != old.get(
            "clusterIP"
        ):
            spec.pop("clusterIPs", None)
            if spec.get("clusterIP"):
                spec["clusterIPs"] = [spec["clusterIP"]]
        for field in ("clusterIP", "clusterIPs"):
            if not spec.get(field) and old.get(field):
                spec[field] = old[field]
        if old.get("clusterIPs") and spec.get("clusterIPs") != old["clusterIPs"]:
            shown = ", ".join(f'"{ip}"' for ip in spec["clusterIPs"])
            said = f"Invalid value: []string{{{shown}}}: may not change once set"
            raise _invalid(service, Cause("FieldValueInvalid", said, "spec.clusterIPs[0]"))
        for field in ("ipFamilies", "ipFamilyPolicy"):
            if not spec.get(field) and old.get(field):
                spec[field] = old[field]
    spec = _ports_kept(spec, old, wants=_wants_ports(spec), had=_wants_ports(old))
    if not (now == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"):
        spec.pop("healthCheckNodePort", None)
    elif old.get("healthCheckNodePort"):
        spec.setdefault("healthCheckNodePort", old["healthCheckNodePort"])
    if not _wants_ports(spec):
        spec.pop("externalTrafficPolicy", None)
    if now != "LoadBalancer":
        spec.pop("allocateLoadBalancerNodePorts", None)
    return service | {"spec": spec}


def _ports_kept(spec: Obj, old: Obj, *, wants: bool, had: bool) -> Obj:
    if not spec.get("ports"):
        return spec
    known = {_port_key(port): port.get("nodePort") for port in old.get("ports") or ()}
    ports = []
    for port in spec["ports"]:
        number = known.get(_port_key(port))
        if wants and had and number and not port.get("nodePort"):
            port = port | {"nodePort": number}
        elif not wants and had and number and port.get("nodePort") == number:
            port = {field: value for field, value in port.items() if field != "nodePort"}
        ports.append(port)
    return spec | {"ports": ports}


def _port_key(port: Obj) -> tuple[Any, Any]:
    return port.get("protocol", "TCP"), port.get("port")


def _wants_ports(spec: Obj) -> bool:
    return spec.get("type") in ("NodePort", "LoadBalancer")


def allocate(memory: Memory, key: Key, service: Obj) -> Obj:
    """The service with an address and node ports, if its type has such. Raises `ApiError` 422 for
    what is taken or out of range, or 500 when nothing is left."""
    spec = dict(service.get("spec") or {})
    if spec.get("type") == "ExternalName":
        return service
    others = [
        (found.get("spec") or {})
        for found in memory.current_all("services")
        if (found["metadata"].get("namespace"), found["metadata"]["name"]) != key[1:]
    ]
    if spec.get("clusterIP") != "None":
        address = _address(service, spec.get("clusterIP") or "", others)
        spec["clusterIP"], spec["clusterIPs"] = address, [address]
    if _wants_ports(spec):
        spec = _node_ports(service, spec, others)
    return service | {"spec": spec}


def _address(service: Obj, asked: str, others: list[Obj]) -> str:
    taken = {ip for spec in others for ip in (spec.get("clusterIPs") or ())}
    if not asked:
        size = SERVICE_NETWORK.num_addresses
        first = SERVICE_NETWORK.network_address
        return str(first + _free(_STATIC + 1, size - 2, lambda n: str(first + n) in taken))
    field = "spec.clusterIPs"
    try:
        inside = ipaddress.ip_address(asked) in SERVICE_NETWORK
    except ValueError:
        said = (
            f'Invalid value: "{asked}": must be a valid IP address, (e.g. 10.9.8.7 or'
            " 2001:db8::ffff)"
        )
        raise _invalid(service, Cause("FieldValueInvalid", said, field + "[0]")) from None
    why = ""
    if not inside:
        why = (
            f"the provided IP ({asked}) is not in the valid range. The range of valid IPs is"
            f" {SERVICE_NETWORK}"
        )
    elif asked in taken:
        why = "provided IP is already allocated"
    if why:
        said = f'Invalid value: []string{{"{asked}"}}: failed to allocate IP {asked}: {why}'
        raise _invalid(service, Cause("FieldValueInvalid", said, field))
    return asked


def _node_ports(service: Obj, spec: Obj, others: list[Obj]) -> Obj:
    taken: set[tuple[str, int]] = set()
    for other in others:
        for port in other.get("ports") or ():
            if port.get("nodePort"):
                taken.add((port.get("protocol", "TCP"), port["nodePort"]))
        if other.get("healthCheckNodePort"):
            taken.add(("TCP", other["healthCheckNodePort"]))
    ports = list(spec.get("ports") or ())
    for index, port in enumerate(ports):
        number = port.get("nodePort")
        if not number:
            continue
        why = ""
        if not FIRST_NODE_PORT <= number <= LAST_NODE_PORT:
            why = (
                "provided port is not in the valid range. The range of valid ports is"
                f" {FIRST_NODE_PORT}-{LAST_NODE_PORT}"
            )
        elif (port.get("protocol", "TCP"), number) in taken:
            why = "provided port is already allocated"
        if why:
            said = f"Invalid value: {number}: {why}"
            field = f"spec.ports[{index}].nodePort"
            raise _invalid(service, Cause("FieldValueInvalid", said, field))
        taken.add((port.get("protocol", "TCP"), number))
    if spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
        return spec
    for index, port in enumerate(ports):
        if not port.get("nodePort"):
            number = _free_port(port.get("protocol", "TCP"), taken)
            ports[index] = port | {"nodePort": number}
            taken.add((port.get("protocol", "TCP"), number))
    spec = spec | {"ports": ports}
    local = spec["type"] == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
    if local and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = _free_port("TCP", taken)
    return spec


def _free_port(protocol: str, taken: set[tuple[str, int]]) -> int:
    first = FIRST_NODE_PORT + _STATIC_PORTS
    return _free(first, LAST_NODE_PORT, lambda number: (protocol, number) in taken)


def _free(first: int, last: int, taken: Callable[[int], bool]) -> int:
    """One that is free, from a random place on, so that a number is not given out again soon."""
    count = last - first + 1
    start = secrets.randbelow(count)
    for step in range(count):
        number = first + (start + step) % count
        if not taken(number):
            return number
    raise internal_error("failed to allocate: range is full")


def _invalid(service: Obj, cause: Cause) -> Exception:
    return invalid("Service", service["metadata"].get("name", ""), [cause])
