"""Columns of Service and its endpoints, Ingress, and network policies."""

from __future__ import annotations

from typing import Any

from kindling.cluster.apiserver.printing.column import AGE, NAME, Printer, age, column
from kindling.cluster.apiserver.printing.texts import labels, shortened
from kindling.cluster.model.api import Obj

__all__ = ["PRINTERS"]


def _service(obj: Obj, now: float) -> list[Any]:
    spec = obj.get("spec", {})
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP") or "<none>"]
    ports = [
        f"{port.get('port')}:{port['nodePort']}/{port.get('protocol', 'TCP')}"
        if port.get("nodePort")
        else f"{port.get('port')}/{port.get('protocol', 'TCP')}"
        for port in spec.get("ports") or ()
    ]
    return [
        obj["metadata"]["name"],
        spec.get("type", ""),
        addresses[0],
        _external(obj),
        ",".join(ports) or "<none>",
        age(obj, now),
        labels(spec.get("selector")),
    ]


def _external(obj: Obj) -> str:
    spec = obj.get("spec", {})
    extra = spec.get("externalIPs") or []
    match spec.get("type"):
        case "ClusterIP" | "NodePort":
            return ",".join(extra) or "<none>"
        case "LoadBalancer":
            balancer = _balancer(obj)
            return ",".join([*([balancer] if balancer else []), *extra]) or "<pending>"
        case "ExternalName":
            return str(spec.get("externalName", ""))
        case _:
            return "<unknown>"


def _balancer(obj: Obj) -> str:
    ingress = obj.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    found = {str(one.get("ip") or one.get("hostname") or "") for one in ingress} - {""}
    return ",".join(sorted(found))


def _endpoints(obj: Obj, now: float) -> list[Any]:
    found: list[str] = []
    for subset in obj.get("subsets") or ():
        addresses = [str(one.get("ip", "")) for one in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        if not ports:
            found += addresses
        found += [
            f"[{ip}]:{port['port']}" if ":" in ip else f"{ip}:{port['port']}"
            for port in ports
            for ip in addresses
        ]
    text = shortened(found) if obj.get("subsets") else "<none>"
    return [obj["metadata"]["name"], text, age(obj, now)]


def _slice(obj: Obj, now: float) -> list[Any]:
    ports = [
        str(port["port"]) if port.get("port") is not None else str(port.get("name") or "*")
        for port in obj.get("ports") or ()
    ]
    addresses = [
        str(address) for one in obj.get("endpoints") or () for address in one.get("addresses") or ()
    ]
    return [
        obj["metadata"]["name"],
        obj.get("addressType", ""),
        shortened(ports) or "<unset>",
        shortened(addresses) or "<unset>",
        age(obj, now),
    ]


def _ingress(obj: Obj, now: float) -> list[Any]:
    spec = obj.get("spec", {})
    rules = spec.get("rules") or ()
    # Past three hosts the real printer counts rules, with or without a host.
    hosts = [str(rule["host"]) for rule in rules if rule.get("host")]
    told = shortened(hosts, len(rules) if len(hosts) >= 3 else len(hosts)) or "*"
    return [
        obj["metadata"]["name"],
        spec.get("ingressClassName") or "<none>",
        told,
        _balancer(obj),
        "80, 443" if spec.get("tls") else "80",
        age(obj, now),
    ]


def _ingress_class(obj: Obj, now: float) -> list[Any]:
    spec = obj.get("spec", {})
    told = "<none>"
    if (parameters := spec.get("parameters")) is not None:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") is not None else ""
        told = f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"
    return [obj["metadata"]["name"], spec.get("controller", ""), told, age(obj, now)]


def _policy(obj: Obj, now: float) -> list[Any]:
    selector = labels(obj.get("spec", {}).get("podSelector"))
    return [obj["metadata"]["name"], selector, age(obj, now)]


PRINTERS: dict[str, Printer] = {
    "services": Printer(
        (
            NAME,
            column("Type", about="How the service is reached."),
            column("Cluster-IP", about="Its address inside the cluster."),
            column("External-IP", about="Its addresses from outside."),
            column("Port(s)", about="Its ports, with the node's where there are some."),
            AGE,
            column("Selector", wide=True, about="Which pods are behind it."),
        ),
        _service,
    ),
    "endpoints": Printer(
        (NAME, column("Endpoints", about="Addresses and ports of the pods."), AGE), _endpoints
    ),
    "endpointslices.discovery.k8s.io": Printer(
        (
            NAME,
            column("AddressType", about="What kind of addresses they are."),
            column("Ports", about="The ports of all of them."),
            column("Endpoints", about="The addresses."),
            AGE,
        ),
        _slice,
    ),
    "ingresses.networking.k8s.io": Printer(
        (
            NAME,
            column("Class", about="Which controller serves it."),
            column("Hosts", about="The hosts that it has rules for."),
            column("Address", about="Where it is served."),
            column("Ports", about="The ports that are open."),
            AGE,
        ),
        _ingress,
    ),
    "ingressclasses.networking.k8s.io": Printer(
        (
            NAME,
            column("Controller", about="The controller of this class."),
            column("Parameters", about="An object with its settings."),
            AGE,
        ),
        _ingress_class,
    ),
    "networkpolicies.networking.k8s.io": Printer(
        (NAME, column("Pod-Selector", about="Which pods it is for."), AGE), _policy
    ),
}
