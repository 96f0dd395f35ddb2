"""What a node is filled with, kept up to date pod by pod, so that placing one more is cheap."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from kindling.cluster.controllers.meta import uid_of
from kindling.cluster.controllers.quantities import Amounts, requests_of
from kindling.cluster.model.api import Obj

__all__ = ["Occupancy"]


class Occupancy:
    """The pods of one node that have not ended, and what they ask for together."""

    def __init__(self, pods: Iterable[Obj] = ()) -> None:
        self.used: Amounts = {}
        self._pods: dict[str, tuple[Obj, Amounts]] = {}
        self._holding_ports: dict[str, None] = {}
        self._keeping_apart: dict[str, None] = {}
        for pod in pods:
            self.put(pod)

    def __len__(self) -> int:
        return len(self._pods)

    def __contains__(self, uid: str) -> bool:
        return uid in self._pods

    @property
    def pods(self) -> list[Obj]:
        return [pod for pod, _ in self._pods.values()]

    @property
    def holding_ports(self) -> list[Obj]:
        """Those with ports of the node itself."""
        return [self._pods[uid][0] for uid in self._holding_ports]

    @property
    def keeping_apart(self) -> list[Obj]:
        """Those with a required anti-affinity, which may object to newcomers."""
        return [self._pods[uid][0] for uid in self._keeping_apart]

    def put(self, pod: Obj) -> None:
        """Take a pod in, or take note of its new state."""
        uid = uid_of(pod)
        self.drop(uid)
        asked = requests_of(pod)
        for name, amount in asked.items():
            self.used[name] = self.used.get(name, Decimal(0)) + amount
        self._pods[uid] = (pod, asked)
        spec = pod["spec"]
        if any(
            port.get("hostPort")
            for container in spec.get("containers") or ()
            for port in container.get("ports") or ()
        ):
            self._holding_ports[uid] = None
        if (spec.get("affinity") or {}).get("podAntiAffinity"):
            self._keeping_apart[uid] = None

    def drop(self, uid: str) -> bool:
        """Forget a pod; whether it was there."""
        found = self._pods.pop(uid, None)
        if found is None:
            return False
        self._holding_ports.pop(uid, None)
        self._keeping_apart.pop(uid, None)
        for name, amount in found[1].items():
            self.used[name] -= amount
        return True
