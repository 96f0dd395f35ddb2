"""Which addresses stand behind a Service just now: read from the API's memory, never remembered."""

from __future__ import annotations

from dataclasses import dataclass

from kindling.cluster.model.api import Api, Obj, Selection
from kindling.cluster.model.resource import builtin

__all__ = [
    "ENDPOINT_SLICES",
    "SERVICES",
    "Endpoint",
    "endpoints_of",
    "service_behind",
    "service_port",
]

SERVICES = builtin("services")
ENDPOINT_SLICES = builtin("endpointslices", "discovery.k8s.io")

_OWNER = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address behind a Service port. `hostname` is the pod's name in a headless Service."""

    address: str
    port: int
    hostname: str = ""


def endpoints_of(
    api: Api, namespace: str, service: str, port_name: str | None = None, *, ready: bool = True
) -> tuple[Endpoint, ...]:
    """The endpoints of a Service: of the port called `port_name`, or (None) of each port.

    With `ready`, those that may get traffic; pods that are ending stand in when no other does, as
    kube-proxy does it.
    """
    slices = api.select(ENDPOINT_SLICES, Selection(namespace, labels=f"{_OWNER}={service}"))
    serving: list[Endpoint] = []
    ending: list[Endpoint] = []
    for one in slices:
        if one.get("addressType", "IPv4") != "IPv4":
            continue
        for port in one.get("ports") or [{"port": 0}]:
            if port_name is not None and (port.get("name") or "") != port_name:
                continue
            for endpoint in one.get("endpoints") or ():
                conditions = endpoint.get("conditions") or {}
                made = [
                    Endpoint(address, int(port.get("port") or 0), endpoint.get("hostname") or "")
                    for address in endpoint.get("addresses") or ()
                ]
                if not ready or conditions.get("ready", True) is not False:
                    serving += made
                elif conditions.get("serving") and conditions.get("terminating"):
                    ending += made
    return tuple(dict.fromkeys(serving or ending))


def service_behind(endpoint_slice: Obj) -> str:
    """The name of the Service that a slice is of; empty if it is of none."""
    return str((endpoint_slice["metadata"].get("labels") or {}).get(_OWNER) or "")


def service_port(service: Obj, wanted: object) -> Obj | None:
    """The port of a Service by number or name, as an Ingress or a request names it."""
    for port in service.get("spec", {}).get("ports") or ():
        if wanted in (port.get("port"), port.get("name")):
            found: Obj = port
            return found
    return None
