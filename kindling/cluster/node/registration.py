"""The node's own objects: its Node, kept true, and the Lease that says it is there.

An idle cluster stays idle: the Node is written when something about it changed, and the lease every
five minutes instead of every ten seconds, with a duration to match.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from kindling import __version__
from kindling.cluster.images.protocol import Image, Images
from kindling.cluster.model.api import Api, Obj
from kindling.cluster.model.resource import builtin
from kindling.cluster.model.status import ApiError
from kindling.cluster.node.clock import Clock, stamp, stamp_micro, wait_until
from kindling.cluster.node.machine import Machine, Pressure, machine, pressure
from kindling.cluster.runtime.protocol import Isolation, Runtime

__all__ = [
    "ISOLATION",
    "KUBELET_VERSION",
    "RENEW_SECONDS",
    "Registration",
    "allocatable_of",
    "node_object",
    "register",
    "renew",
]

KUBELET_VERSION = "v1.32.0+kindling"
ISOLATION = "kindling.dev/Isolation"
_NODES, _LEASES = builtin("nodes"), builtin("leases", "coordination.k8s.io")
_LEASE_NAMESPACE = "kube-node-lease"
_MOST_IMAGES = 50
_LEASE_SECONDS = 900
RENEW_SECONDS = 300.0
_log = logging.getLogger(__name__)


def allocatable_of(here: Machine) -> Mapping[str, str]:
    """What there is to hand out, which is all there is."""
    return {
        "cpu": str(here.cpus),
        "ephemeral-storage": f"{here.disk // 1024}Ki",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
        "memory": f"{here.memory // 1024}Ki",
        "pods": "110",
    }


def node_object(
    name: str,
    address: str,
    here: Machine,
    pressed: Pressure,
    isolation: Isolation,
    images: tuple[Image, ...],
    now: float,
    before: Obj | None,
    release: str,
) -> Obj:
    """The Node as it should be; what others put on it (labels, taints, cordons) stays."""
    before = before or {}
    metadata: Obj = dict(before.get("metadata") or {"name": name})
    metadata["labels"] = {
        "node-role.kubernetes.io/control-plane": "",
        **(metadata.get("labels") or {}),
        "beta.kubernetes.io/arch": here.architecture,
        "beta.kubernetes.io/os": here.system,
        "kubernetes.io/arch": here.architecture,
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": here.system,
    }
    old = {one["type"]: one for one in (before.get("status") or {}).get("conditions") or ()}
    wanted = (
        _pressure(
            "MemoryPressure",
            pressed.memory,
            "KubeletHasInsufficientMemory",
            "KubeletHasSufficientMemory",
            "kubelet has insufficient memory available",
            "kubelet has sufficient memory available",
        ),
        _pressure(
            "DiskPressure",
            pressed.disk,
            "KubeletHasDiskPressure",
            "KubeletHasNoDiskPressure",
            "kubelet has disk pressure",
            "kubelet has no disk pressure",
        ),
        _pressure(
            "PIDPressure",
            pressed.pids,
            "KubeletHasInsufficientPID",
            "KubeletHasSufficientPID",
            "kubelet has insufficient PID available",
            "kubelet has sufficient PID available",
        ),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        _isolation(isolation),
    )
    conditions: list[Obj] = []
    for kind, value, reason, message in wanted:
        known = old.get(kind, {})
        same = known.get("status") == value
        conditions.append(
            {
                "type": kind,
                "status": value,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": stamp(now),
                "lastTransitionTime": known.get("lastTransitionTime") if same else stamp(now),
            }
        )
    sizes = dict(allocatable_of(here))
    status: Obj = {
        "addresses": [
            {"type": "InternalIP", "address": address},
            {"type": "Hostname", "address": name},
        ],
        "allocatable": sizes,
        "capacity": sizes,
        "conditions": conditions,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
        "images": [
            {"names": [*image.digests, *image.names], "sizeBytes": image.size}
            for image in sorted(images, key=lambda one: (-one.size, one.id))[:_MOST_IMAGES]
            if image.names or image.digests
        ],
        "nodeInfo": {
            "architecture": here.architecture,
            "bootID": here.boot_id,
            "containerRuntimeVersion": f"kindling://{release}",
            "kernelVersion": here.kernel,
            "kubeProxyVersion": KUBELET_VERSION,
            "kubeletVersion": KUBELET_VERSION,
            "machineID": here.system_id,
            "operatingSystem": here.system,
            "osImage": here.os_image,
            "systemUUID": here.system_id,
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata,
        "spec": before.get("spec") or {},
        "status": status,
    }


def _pressure(
    kind: str, short: bool, bad: str, good: str, bad_text: str, good_text: str
) -> tuple[str, str, str, str]:
    if short:
        return kind, "True", bad, bad_text
    return kind, "False", good, good_text


def _isolation(isolation: Isolation) -> tuple[str, str, str, str]:
    """Ours: `True` when containers are kept apart in every respect, and what is missing in any
    case."""
    kept = (isolation.pids, isolation.root, isolation.network, isolation.memory, isolation.users)
    text = "\n".join(isolation.missing) or (
        "containers have their own processes, root, network, memory limits and users"
    )
    if all(kept):
        return ISOLATION, "True", "Isolated", text
    return ISOLATION, "False", "PartlyIsolated" if any(kept) else "PlainProcesses", text


def _telling(obj: Obj) -> Obj:
    """A Node without the times of its heartbeats, to see whether anything changed."""
    status = dict(obj.get("status") or {})
    status["conditions"] = [
        {key: value for key, value in one.items() if key != "lastHeartbeatTime"}
        for one in status.get("conditions") or ()
    ]
    return {"labels": obj["metadata"].get("labels"), "status": status}


async def register(api: Api, wanted: Obj) -> None:
    """Make the Node or bring it up to date; without a change nothing is written."""
    name = wanted["metadata"]["name"]
    there = api.get(_NODES, name)
    if there is None:
        bare = {key: value for key, value in wanted.items() if key != "status"}
        there = await api.create(_NODES, bare)
    elif there["metadata"].get("labels") != wanted["metadata"]["labels"]:
        there = await api.update(_NODES, wanted)
    if _telling(there) != _telling(wanted):
        await api.update(_NODES, there | {"status": wanted["status"]}, "status")


async def renew(api: Api, name: str, uid: str, now: float) -> None:
    """Make or renew the node's Lease."""
    spec = {
        "holderIdentity": name,
        "leaseDurationSeconds": _LEASE_SECONDS,
        "renewTime": stamp_micro(now),
    }
    try:
        if api.get(_LEASES, name, _LEASE_NAMESPACE) is not None:
            await api.patch(_LEASES, name, {"spec": spec}, _LEASE_NAMESPACE)
            return
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": name,
                "namespace": _LEASE_NAMESPACE,
                "ownerReferences": [owner],
            },
            "spec": spec,
        }
        await api.create(_LEASES, lease, _LEASE_NAMESPACE)
    except ApiError as error:
        # The namespace may not be there yet, or the disk is full; the next one will do.
        _log.debug("lease not renewed: %s", error)


class Registration:
    """Keeps the objects true. `changed` asks for a look before the next renewal is due."""

    def __init__(
        self, api: Api, runtime: Runtime, images: Images, name: str, folder: Path, clock: Clock
    ) -> None:
        self.changed = asyncio.Event()
        self._api = api
        self._runtime = runtime
        self._images = images
        self._name = name
        self._folder = folder
        self._clock = clock
        self._machine: Machine | None = None

    async def refresh(self) -> None:
        """Bring the Node up to date."""
        if self._machine is None:
            self._machine = machine(self._folder)
        wanted = node_object(
            self._name,
            self._runtime.node_address,
            self._machine,
            pressure(self._folder),
            self._runtime.isolation,
            self._images.all(),
            self._clock.time(),
            self._api.get(_NODES, self._name),
            __version__,
        )
        try:
            await register(self._api, wanted)
        except ApiError as error:
            if error.code != 409:
                raise
            # Somebody labelled it at this moment; the next round brings both together.
            self.changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.changed.clear()
            try:
                await self.refresh()
            except ApiError as error:
                _log.warning("node not registered: %s", error)
            node = self._api.get(_NODES, self._name)
            uid = node["metadata"]["uid"] if node else ""
            await renew(self._api, self._name, uid, self._clock.time())
            await wait_until(self.changed, self._clock, self._clock.monotonic() + RENEW_SECONDS)
