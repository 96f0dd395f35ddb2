"""Which pods are behind a Service, and on which ports. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kindling.cluster.controllers.meta import labels, matches, name_of, namespace_of, uid_of
from kindling.cluster.controllers.pods import finished, ready
from kindling.cluster.model.api import Obj

__all__ = ["Backend", "Port", "backends_of", "is_headless", "selector_of"]


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """A port of a Service as a pod has it."""

    name: str
    number: int
    protocol: str = "TCP"
    app: str = ""

    def written(self, *, always_named: bool) -> Obj:
        found: Obj = {"port": self.number, "protocol": self.protocol}
        if self.name or always_named:
            found["name"] = self.name
        if self.app:
            found["appProtocol"] = self.app
        return found


@dataclass(frozen=True, slots=True)
class Backend:
    """A pod behind a Service. `hostname` is the name it has below the Service's."""

    pod: Obj
    address: str
    ports: tuple[Port, ...]
    serving: bool
    leaving: bool
    hostname: str

    @property
    def target(self) -> Obj:
        return {
            "kind": "Pod",
            "namespace": namespace_of(self.pod),
            "name": name_of(self.pod),
            "uid": uid_of(self.pod),
        }

    @property
    def node(self) -> str:
        return str(self.pod["spec"].get("nodeName") or "")


def selector_of(service: Obj) -> dict[str, str]:
    """Empty for a Service whose endpoints somebody else writes."""
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return {}
    return spec.get("selector") or {}


def is_headless(service: Obj) -> bool:
    return (service.get("spec") or {}).get("clusterIP") == "None"


def backends_of(service: Obj, pods: Iterable[Obj]) -> list[Backend]:
    """The pods that a Service selects and that have an address, by name."""
    wanted = {"matchLabels": selector_of(service)}
    found = [
        backend
        for pod in pods
        if matches(wanted, labels(pod)) and not finished(pod)
        for backend in _backend(service, pod)
    ]
    return sorted(found, key=lambda one: name_of(one.pod))


def _backend(service: Obj, pod: Obj) -> Sequence[Backend]:
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        return ()
    ports = _ports(service, pod)
    if ports is None:
        return ()
    spec = pod["spec"]
    named = spec.get("hostname") and spec.get("subdomain") == name_of(service)
    return (
        Backend(
            pod,
            str(address),
            ports,
            ready(pod),
            pod["metadata"].get("deletionTimestamp") is not None,
            str(spec["hostname"]) if named else "",
        ),
    )


def _ports(service: Obj, pod: Obj) -> tuple[Port, ...] | None:
    """The Service's ports on this pod; None if it has none of them. A headless Service may do
    without any."""
    declared = service["spec"].get("ports") or ()
    found = []
    for port in declared:
        number = _number(port, pod)
        if number is not None:
            found.append(
                Port(
                    port.get("name") or "",
                    number,
                    port.get("protocol") or "TCP",
                    port.get("appProtocol") or "",
                )
            )
    if not found and (declared or not is_headless(service)):
        return None
    return tuple(sorted(found))


def _number(port: Obj, pod: Obj) -> int | None:
    target = port.get("targetPort")
    if target in (None, "", 0):
        return int(port["port"])
    if isinstance(target, int):
        return target
    if str(target).isdigit():
        return int(target)
    protocol = port.get("protocol") or "TCP"
    sidecars = [
        container
        for container in pod["spec"].get("initContainers") or ()
        if container.get("restartPolicy") == "Always"
    ]
    for container in [*pod["spec"].get("containers", ()), *sidecars]:
        for offered in container.get("ports") or ():
            if offered.get("name") == target and (offered.get("protocol") or "TCP") == protocol:
                return int(offered["containerPort"])
    return None
