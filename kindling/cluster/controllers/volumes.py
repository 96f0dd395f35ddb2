"""Persistent volumes: claims find one, or get a folder of this machine."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from kindling.cluster.controllers.bootstrap import PROVISIONER
from kindling.cluster.controllers.claims import binds_late, class_of
from kindling.cluster.controllers.controller import OPTIONS, Controller, key_of
from kindling.cluster.controllers.kinds import CLAIMS, CLASSES, VOLUMES
from kindling.cluster.controllers.meta import (
    labels,
    matches,
    name_of,
    namespace_of,
    notes_of,
    terminating,
    uid_of,
)
from kindling.cluster.controllers.quantities import parse_quantity
from kindling.cluster.controllers.scheduler import SELECTED_NODE
from kindling.cluster.controllers.work import Key
from kindling.cluster.model.api import Change, DeleteOptions, Obj
from kindling.cluster.model.status import ApiError

__all__ = ["ClaimController", "VolumeController"]

_BOUND_BY_US = "pv.kubernetes.io/bound-by-controller"
_BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_SAFE = re.compile(r"pvc-[0-9a-f-]{36}")
"""The names of volumes that we make; nothing else becomes a path."""


class ClaimController(Controller):
    """Binds claims to volumes, makes volumes for those of class `standard`, and lets them grow."""

    name = "persistentvolumeclaim"
    kinds = (CLAIMS, VOLUMES, CLASSES)

    @property
    def component(self) -> str:
        return "persistentvolume-controller"

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.key == CLAIMS.key:
            return (key_of(change.object),)
        if change.resource.key == VOLUMES.key:
            reference = change.object["spec"].get("claimRef")
            if reference:
                return ((str(reference.get("namespace")), str(reference.get("name"))),)
        # A new volume or class may be what others wait for.
        return [
            key_of(claim)
            for claim in self.api.select(CLAIMS)
            if (claim.get("status") or {}).get("phase") != "Bound"
        ]

    async def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        claim = self.api.get(CLAIMS, name, namespace)
        if claim is None or terminating(claim):
            return None
        if claim["spec"].get("volumeName"):
            await self._follow(claim)
            return None
        claim = await self._with_class(claim)
        volume = self._reserved(claim)
        late = binds_late(self.api, claim) and SELECTED_NODE not in notes_of(claim)
        if volume is None and not late:
            volume = self._fitting(claim)
        if volume is not None:
            await self._bind(claim, volume)
        elif late:
            await self._pending(claim)
            self.events.normal(
                claim,
                "WaitForFirstConsumer",
                "waiting for first consumer to be created before binding",
            )
        else:
            await self._provision(claim)
        return None

    async def _with_class(self, claim: Obj) -> Obj:
        """The claim with the default class, if it was made before there was one."""
        if class_of(claim) is not None:
            return claim
        for found in self.api.select(CLASSES):
            if notes_of(found).get(_DEFAULT_CLASS) == "true":
                spec = {**claim["spec"], "storageClassName": name_of(found)}
                return await self.api.update(CLAIMS, {**claim, "spec": spec}, options=OPTIONS)
        return claim

    def _reserved(self, claim: Obj) -> Obj | None:
        """The volume that somebody made for this very claim."""
        for volume in self.api.select(VOLUMES):
            reference = volume["spec"].get("claimRef") or {}
            if (
                reference.get("name") == name_of(claim)
                and reference.get("namespace") == namespace_of(claim)
                and reference.get("uid") in (None, "", uid_of(claim))
            ):
                return volume
        return None

    def _fitting(self, claim: Obj) -> Obj | None:
        """The smallest free volume that has what the claim asks for."""
        spec = claim["spec"]
        wanted = parse_quantity(_request(claim))
        found = [
            volume
            for volume in self.api.select(VOLUMES)
            if not volume["spec"].get("claimRef")
            and not terminating(volume)
            and (volume["spec"].get("storageClassName") or "") == (class_of(claim) or "")
            and (volume["spec"].get("volumeMode") or "Filesystem")
            == (spec.get("volumeMode") or "Filesystem")
            and set(spec.get("accessModes") or ()) <= set(volume["spec"].get("accessModes") or ())
            and parse_quantity(_capacity(volume)) >= wanted
            and (spec.get("selector") is None or matches(spec["selector"], labels(volume)))
        ]
        found.sort(key=lambda volume: (parse_quantity(_capacity(volume)), name_of(volume)))
        return found[0] if found else None

    async def _pending(self, claim: Obj) -> None:
        if (claim.get("status") or {}).get("phase") != "Pending":
            status = {**(claim.get("status") or {}), "phase": "Pending"}
            await self.write_status(CLAIMS, claim, status)

    # --- binding -------------------------------------------------------------------------------

    async def _bind(self, claim: Obj, volume: Obj) -> None:
        """First the volume is taken, so that no other claim gets it, then the claim is told."""
        reference = {
            "kind": "PersistentVolumeClaim",
            "namespace": namespace_of(claim),
            "name": name_of(claim),
            "uid": uid_of(claim),
            "apiVersion": "v1",
        }
        there = volume["spec"].get("claimRef") or {}
        if there.get("uid") != uid_of(claim):
            meta = dict(volume["metadata"])
            if not there:
                meta["annotations"] = {**notes_of(volume), _BOUND_BY_US: "yes"}
            spec = {**volume["spec"], "claimRef": reference}
            volume = await self.api.update(
                VOLUMES, {**volume, "metadata": meta, "spec": spec}, options=OPTIONS
            )
        notes = {**notes_of(claim), _BIND_COMPLETED: "yes", _BOUND_BY_US: "yes"}
        bound = await self.api.update(
            CLAIMS,
            {
                **claim,
                "metadata": {**claim["metadata"], "annotations": notes},
                "spec": {**claim["spec"], "volumeName": name_of(volume)},
            },
            options=OPTIONS,
        )
        await self._follow(bound)

    async def _follow(self, claim: Obj) -> None:
        """Say of a claim what its volume is, or that it is gone."""
        volume = self.api.get(VOLUMES, str(claim["spec"]["volumeName"]))
        status = dict(claim.get("status") or {})
        reference = (volume["spec"].get("claimRef") or {}) if volume is not None else {}
        if volume is not None and not reference:
            await self._bind(claim, volume)  # the claim names a volume itself
            return
        if volume is None or reference.get("uid") not in (None, "", uid_of(claim)):
            if status.get("phase") == "Lost":
                return
            if status.get("phase") == "Bound":
                self.events.warning(
                    claim,
                    "ClaimLost",
                    "Bound claim has lost its PersistentVolume. Data on the volume is lost!",
                )
                await self.write_status(CLAIMS, claim, {"phase": "Lost"})
            elif volume is not None:
                await self._pending(claim)
                self.events.warning(
                    claim,
                    "FailedBinding",
                    f'volume "{name_of(volume)}" already bound to a different claim.',
                )
            else:
                await self._pending(claim)
            return
        if not reference.get("uid"):
            await self._bind(claim, volume)
            return
        volume = await self._grow(claim, volume)
        status.update(
            phase="Bound",
            accessModes=list(volume["spec"].get("accessModes") or ()),
            capacity=dict(volume["spec"].get("capacity") or {}),
        )
        await self.write_status(CLAIMS, claim, status)

    async def _grow(self, claim: Obj, volume: Obj) -> Obj:
        """A folder has no size of its own, so that it only needs to be written down."""
        if notes_of(volume).get(_PROVISIONED_BY) != PROVISIONER:
            return volume
        if parse_quantity(_request(claim)) <= parse_quantity(_capacity(volume)):
            return volume
        capacity = {**(volume["spec"].get("capacity") or {}), "storage": _request(claim)}
        return await self.api.update(
            VOLUMES, {**volume, "spec": {**volume["spec"], "capacity": capacity}}, options=OPTIONS
        )

    # --- making --------------------------------------------------------------------------------

    async def _provision(self, claim: Obj) -> None:
        class_name = class_of(claim)
        class_ = self.api.get(CLASSES, class_name) if class_name else None
        if class_ is None:
            await self._pending(claim)
            if class_name:
                self.events.warning(
                    claim,
                    "ProvisioningFailed",
                    f'storageclass.storage.k8s.io "{class_name}" not found',
                )
            else:
                self.events.normal(
                    claim,
                    "FailedBinding",
                    "no persistent volumes available for this claim and no storage class is set",
                )
            return
        provisioner = str(class_.get("provisioner"))
        if provisioner != PROVISIONER or self.world.volumes is None:
            await self._pending(claim)
            self.events.normal(
                claim,
                "ExternalProvisioning",
                "Waiting for a volume to be created either by the external provisioner"
                f" '{provisioner}' or manually by the system administrator. If volume creation is"
                " delayed, please verify that the provisioner is running and correctly registered.",
            )
            return
        notes = dict(notes_of(claim))
        for prefix in ("volume.beta.kubernetes.io", "volume.kubernetes.io"):
            notes[f"{prefix}/storage-provisioner"] = provisioner
        if notes != notes_of(claim):
            meta = {**claim["metadata"], "annotations": notes}
            claim = await self.api.update(CLAIMS, {**claim, "metadata": meta}, options=OPTIONS)
        volume = self._volume(claim, class_, self.world.volumes)
        folder = Path(volume["spec"]["hostPath"]["path"])
        await asyncio.to_thread(_make, folder)
        try:
            volume = await self.api.create(VOLUMES, volume, options=OPTIONS)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        self.events.normal(
            claim, "ProvisioningSucceeded", f"Successfully provisioned volume {name_of(volume)}"
        )
        there = self.api.get(VOLUMES, name_of(volume))
        if there is not None:
            await self._bind(claim, there)

    @staticmethod
    def _volume(claim: Obj, class_: Obj, base: Path) -> Obj:
        name = f"pvc-{uid_of(claim)}"
        if not _SAFE.fullmatch(name):
            raise ValueError(f"{name} cannot be the name of a volume")
        spec: Obj = {
            "capacity": {"storage": _request(claim)},
            "accessModes": list(claim["spec"].get("accessModes") or ()),
            "persistentVolumeReclaimPolicy": class_.get("reclaimPolicy") or "Delete",
            "storageClassName": name_of(class_),
            "volumeMode": claim["spec"].get("volumeMode") or "Filesystem",
            "hostPath": {"path": str(base / name), "type": "DirectoryOrCreate"},
            "claimRef": {
                "kind": "PersistentVolumeClaim",
                "namespace": namespace_of(claim),
                "name": name_of(claim),
                "uid": uid_of(claim),
                "apiVersion": "v1",
            },
        }
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {
                "name": name,
                "annotations": {_PROVISIONED_BY: PROVISIONER},
                "finalizers": ["kubernetes.io/pv-protection"],
            },
            "spec": spec,
        }


class VolumeController(Controller):
    """Says in what state a volume is, and deletes what its claim has left behind."""

    name = "persistentvolume"
    kinds = (VOLUMES, CLAIMS)

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.key == VOLUMES.key:
            return (key_of(change.object),)
        name = change.object["spec"].get("volumeName")
        return (("", str(name)),) if name else ()

    async def reconcile(self, key: Key) -> float | None:
        volume = self.api.get(VOLUMES, key[1])
        if volume is None:
            return None
        reference = volume["spec"].get("claimRef")
        if not reference:
            await self._phase(volume, "Available")
            return None
        claim = self.api.get(CLAIMS, str(reference.get("name")), str(reference.get("namespace")))
        if not reference.get("uid"):
            await self._phase(volume, "Available")  # kept for a claim that is yet to come
            return None
        if claim is not None and uid_of(claim) == reference["uid"]:
            if claim["spec"].get("volumeName") == name_of(volume):
                await self._phase(volume, "Bound")
            return None
        if (volume.get("status") or {}).get("phase") not in ("Bound", "Released", "Failed") and (
            notes_of(volume).get(_PROVISIONED_BY) != PROVISIONER
        ):
            await self._phase(volume, "Available")
            return None
        volume = await self._phase(volume, "Released")
        if volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            await self._reclaim(volume)
        return None

    async def _phase(self, volume: Obj, phase: str) -> Obj:
        status = dict(volume.get("status") or {})
        if status.get("phase") == phase:
            return volume
        status["phase"] = phase
        status["lastPhaseTransitionTime"] = self.world.now
        return await self.write_status(VOLUMES, volume, status)

    async def _reclaim(self, volume: Obj) -> None:
        """Remove the folder of a volume that we made, and then the volume."""
        if notes_of(volume).get(_PROVISIONED_BY) != PROVISIONER or self.world.volumes is None:
            return
        name = name_of(volume)
        if _SAFE.fullmatch(name):
            await asyncio.to_thread(_remove, self.world.volumes / name)
        if terminating(volume):
            return
        try:
            await self.api.delete(VOLUMES, name, options=DeleteOptions(uid=uid_of(volume)))
        except ApiError as error:
            if error.code != 404:
                raise


def _request(claim: Obj) -> str:
    return str(((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage", "0"))


def _capacity(volume: Obj) -> str:
    return str((volume["spec"].get("capacity") or {}).get("storage", "0"))


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # Containers of any user are to be able to write, as in the folders of a real provisioner.
    folder.chmod(0o777)


def _remove(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
