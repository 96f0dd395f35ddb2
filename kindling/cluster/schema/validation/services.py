"""Services, endpoints, ingress."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kindling.cluster.model.status import Cause
from kindling.cluster.schema import causes, names
from kindling.cluster.schema.metadata import check_labels
from kindling.cluster.schema.validation import common

__all__ = [
    "check_endpoint_slice",
    "check_endpoints",
    "check_ingress",
    "check_ingress_class",
    "check_network_policy",
    "check_service",
]

_Obj = dict[str, Any]
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")


def check_service(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    kind = spec.get("type", "")
    ports: list[_Obj] = spec.get("ports") or []
    headless = spec.get("clusterIP") == "None"
    if not ports and kind != "ExternalName" and not headless:
        yield causes.required("spec.ports")
    if kind == "LoadBalancer":
        for index, one in enumerate(ports):
            if one.get("port") == 10250:
                text = "may not expose port 10250 externally since it is used by kubelet"
                yield causes.invalid(f"{causes.at('spec.ports', index)}.port", 10250, text)
        if headless:
            text = "may not be set to 'None' for LoadBalancer services"
            yield causes.invalid("spec.clusterIPs[0]", "None", text)
    elif kind == "NodePort" and headless:
        text = "may not be set to 'None' for NodePort services"
        yield causes.invalid("spec.clusterIPs[0]", "None", text)
    elif kind == "ExternalName":
        yield from _external_name(spec)
    yield from _ports(ports, kind)
    yield from check_labels(spec.get("selector") or {}, "spec.selector")
    affinity = spec.get("sessionAffinity", "")
    if not affinity:
        yield causes.required("spec.sessionAffinity")
    else:
        known = ("ClientIP", "None")
        yield from common.one_of(affinity, "spec.sessionAffinity", known)
    for index, address in enumerate(spec.get("externalIPs") or []):
        yield from common.ip_address(address, causes.at("spec.externalIPs", index))
    if not kind:
        yield causes.required("spec.type")
    else:
        yield from common.one_of(kind, "spec.type", _TYPES)
    yield from _traffic(spec, kind)
    if before is not None:
        yield from _address_stays(spec, before.get("spec") or {})


def _external_name(spec: _Obj) -> Iterator[Cause]:
    if spec.get("clusterIP"):
        text = "may not be set for ExternalName services"
        yield causes.forbidden("spec.clusterIPs", text)
    name = spec.get("externalName", "")
    if name:
        yield from common.check_name(name.removesuffix("."), "spec.externalName")
    else:
        yield causes.required("spec.externalName")


def _ports(ports: list[_Obj], kind: str) -> Iterator[Cause]:
    seen_names: set[str] = set()
    for index, one in enumerate(ports):
        where = causes.at("spec.ports", index)
        name = one.get("name", "")
        if len(ports) > 1 and not name:
            yield causes.required(f"{where}.name")
        elif name:
            yield from common.check_name(name, f"{where}.name", names.dns_label)
            if name in seen_names:
                yield causes.duplicate(f"{where}.name", name)
            seen_names.add(name)
        yield from common.port(one.get("port", 0), f"{where}.port")
        if not one.get("protocol"):
            yield causes.required(f"{where}.protocol")
        else:
            yield from common.one_of(one["protocol"], f"{where}.protocol", _PROTOCOLS)
        yield from common.port(one.get("targetPort"), f"{where}.targetPort")
        if app := one.get("appProtocol"):
            yield from common.check_name(app, f"{where}.appProtocol", names.qualified_name)
        if one.get("nodePort") and kind in ("ClusterIP", "ExternalName"):
            text = "may not be used when `type` is 'ClusterIP'"
            yield causes.forbidden(f"{where}.nodePort", text)
    yield from _twice(ports)


def _twice(ports: list[_Obj]) -> Iterator[Cause]:
    for field, word in (("nodePort", "nodePort"), ("port", "")):
        seen: set[tuple[Any, Any]] = set()
        for index, one in enumerate(ports):
            mark = (one.get("protocol"), one.get(field))
            if not one.get(field):
                continue
            if mark in seen:
                where = causes.at("spec.ports", index)
                if word:
                    yield causes.duplicate(f"{where}.{word}", one[field])
                else:
                    yield causes.duplicate(where, _shown_port(one))
            seen.add(mark)


def _shown_port(one: _Obj) -> causes.Literal:
    """What the server shows of a port that is there twice: only what counts for that."""
    protocol = causes.quoted(one.get("protocol", ""))
    return causes.Literal(
        f'core.ServicePort{{Name:"", Protocol:{protocol}, AppProtocol:(*string)(nil),'
        f" Port:{one['port']}, TargetPort:intstr.IntOrString{{Type:0, IntVal:0,"
        ' StrVal:""}, NodePort:0}'
    )


def _traffic(spec: _Obj, kind: str) -> Iterator[Cause]:
    known = ("Cluster", "Local")
    external = spec.get("externalTrafficPolicy")
    if external and kind not in ("NodePort", "LoadBalancer") and not spec.get("externalIPs"):
        text = "may only be set for externally-accessible services"
        yield causes.invalid("spec.externalTrafficPolicy", external, text)
    else:
        yield from common.one_of(external, "spec.externalTrafficPolicy", known)
    yield from common.one_of(spec.get("internalTrafficPolicy"), "spec.internalTrafficPolicy", known)
    if kind != "LoadBalancer":
        if spec.get("loadBalancerClass"):
            text = "may only be used when `type` is 'LoadBalancer'"
            yield causes.forbidden("spec.loadBalancerClass", text)
        if spec.get("allocateLoadBalancerNodePorts") is not None:
            text = "may only be used when `type` is 'LoadBalancer'"
            yield causes.forbidden("spec.allocateLoadBalancerNodePorts", text)


def _address_stays(spec: _Obj, old: _Obj) -> Iterator[Cause]:
    if "ExternalName" in (spec.get("type"), old.get("type")):
        return
    earlier, now = old.get("clusterIP", ""), spec.get("clusterIP", "")
    if earlier and now != earlier:
        shown = causes.Literal(f"[]string{{{causes.quoted(now)}}}" if now else "[]string(nil)")
        yield causes.invalid("spec.clusterIPs[0]", shown, "may not change once set")


def check_endpoints(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:  # noqa: ARG001
    for index, subset in enumerate(obj.get("subsets") or []):
        where = causes.at("subsets", index)
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            text = "must specify `addresses` or `notReadyAddresses`"
            yield causes.required(where, text)
        for kind in ("addresses", "notReadyAddresses"):
            for place, address in enumerate(subset.get(kind) or []):
                at = causes.at(f"{where}.{kind}", place)
                yield from common.ip_address(address.get("ip", ""), f"{at}.ip")
        ports = subset.get("ports") or []
        for place, one in enumerate(ports):
            at = causes.at(f"{where}.ports", place)
            if len(ports) > 1 and not one.get("name"):
                yield causes.required(f"{at}.name")
            yield from common.port(one.get("port", 0), f"{at}.port")


def check_endpoint_slice(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:
    kind = obj.get("addressType", "")
    known = ("FQDN", "IPv4", "IPv6")
    if not kind:
        yield causes.required("addressType")
    else:
        yield from common.one_of(kind, "addressType", known)
    for index, endpoint in enumerate(obj.get("endpoints") or []):
        where = causes.at("endpoints", index)
        if not endpoint.get("addresses"):
            yield causes.required(f"{where}.addresses", "must contain at least 1 address")
    if before is not None and kind != before.get("addressType"):
        yield causes.immutable("addressType", kind)


def check_ingress(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:  # noqa: ARG001
    spec = obj.get("spec") or {}
    rules: list[_Obj] = spec.get("rules") or []
    backend = spec.get("defaultBackend")
    if not rules and backend is None:
        shown = causes.Literal("[]networking.IngressRule(nil)")
        text = "either `defaultBackend` or `rules` must be specified"
        yield causes.invalid("spec", shown, text)
    if backend is not None:
        yield from _backend(backend, "spec.defaultBackend")
    for index, rule in enumerate(rules):
        where = causes.at("spec.rules", index)
        if host := rule.get("host"):
            yield from _host(host, f"{where}.host")
        http = rule.get("http")
        if http is not None:
            if not http.get("paths"):
                yield causes.required(f"{where}.http.paths")
            for place, path in enumerate(http.get("paths") or []):
                yield from _path(path, causes.at(f"{where}.http.paths", place))
    for index, entry in enumerate(spec.get("tls") or []):
        for place, host in enumerate(entry.get("hosts") or []):
            at = causes.at(f"{causes.at('spec.tls', index)}.hosts", place)
            rule_of = names.wildcard_subdomain if "*" in host else names.dns_subdomain
            yield from common.check_name(host, at, rule_of)
    if "ingressClassName" in spec:
        yield from common.check_name(spec["ingressClassName"], "spec.ingressClassName")


def _host(host: str, path: str) -> Iterator[Cause]:
    if host.replace(".", "").isdigit() or ":" in host:
        yield causes.invalid(path, host, "must be a DNS name, not an IP address")
    elif "*" in host:
        yield from common.check_name(host, path, names.wildcard_subdomain)
    else:
        yield from common.check_name(host, path)


def _path(told: _Obj, path: str) -> Iterator[Cause]:
    kind, place = told.get("pathType"), told.get("path", "")
    if kind is None:
        yield causes.required(f"{path}.pathType", "pathType must be specified")
        return
    if kind not in _PATH_TYPES:
        yield causes.not_supported(f"{path}.pathType", kind, _PATH_TYPES)
    elif (kind != "ImplementationSpecific" or place) and not place.startswith("/"):
        yield causes.invalid(f"{path}.path", place, "must be an absolute path")
    elif kind != "ImplementationSpecific":
        for bad in ("//", "/./", "/../", "%2f", "%2F"):
            if bad in place:
                yield causes.invalid(f"{path}.path", place, f"must not contain '{bad}'")
    yield from _backend(told.get("backend") or {}, f"{path}.backend")


def _backend(told: _Obj, path: str) -> Iterator[Cause]:
    service, resource = told.get("service"), told.get("resource")
    if service is not None and resource is not None:
        text = "cannot set both resource and service backends"
        yield causes.invalid(path, "", text)
    elif service is not None:
        if not service.get("name"):
            yield causes.required(f"{path}.service.name")
        else:
            yield from common.check_name(
                service["name"], f"{path}.service.name", names.dns_label_1035
            )
        port = service.get("port") or {}
        if port.get("name") and port.get("number"):
            text = "cannot set both port name & port number"
            yield causes.invalid(path, "", text)
        elif port.get("name"):
            yield from common.port(port["name"], f"{path}.service.port.name")
        elif port.get("number"):
            yield from common.port(port["number"], f"{path}.service.port.number")
        else:
            yield causes.required(path, "port name or number is required")
    elif resource is None:
        yield causes.invalid(path, "", "resource or service backend is required")


def check_ingress_class(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:
    controller = (obj.get("spec") or {}).get("controller", "")
    if not controller:
        yield causes.required("spec.controller")
    if before is not None and controller != (before.get("spec") or {}).get("controller"):
        yield causes.immutable("spec.controller", controller)


def check_network_policy(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:  # noqa: ARG001
    spec = obj.get("spec") or {}
    yield from common.check_label_selector(spec.get("podSelector") or {}, "spec.podSelector")
    for index, kind in enumerate(spec.get("policyTypes") or []):
        known = ("Ingress", "Egress")
        yield from common.one_of(kind, causes.at("spec.policyTypes", index), known)
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or []):
            where = causes.at(f"spec.{direction}", index)
            for place, peer in enumerate(rule.get(peers) or []):
                at = causes.at(f"{where}.{peers}", place)
                if not peer.keys() & {"podSelector", "namespaceSelector", "ipBlock"}:
                    yield causes.required(at, "must specify a peer")
                elif "ipBlock" in peer and len(peer) > 1:
                    text = "may not specify both ipBlock and another peer"
                    yield causes.forbidden(at, text)
