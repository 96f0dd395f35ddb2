"""The volumes of a pod on this machine: made, filled, and kept up to date.

Contents are made from what the API holds at the moment of `prepare`; calling it again brings them
up to date, and it changes nothing when nothing changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kindling.cluster.model.api import Api, Obj
from kindling.cluster.model.resource import builtin
from kindling.cluster.node.clock import Clock
from kindling.cluster.node.downward import FieldError, PodFacts, field_value, resource_value
from kindling.cluster.node.hostpath import host_path
from kindling.cluster.node.payload import decoded
from kindling.cluster.node.projection import PayloadFile, write_payload
from kindling.cluster.node.quantity import quantity

__all__ = ["PodVolumes", "TokenIssuer", "VolumeError", "VolumePlace"]

_CONFIG_MAPS, _SECRETS = builtin("configmaps"), builtin("secrets")
_CLAIMS, _PERSISTENT = builtin("persistentvolumeclaims"), builtin("persistentvolumes")
_ACCOUNTS = builtin("serviceaccounts")


class VolumeError(Exception):
    """A volume that cannot be had now. The text follows `MountVolume.SetUp failed for volume "x" :`
    in the event."""

    def __init__(self, volume: str, message: str) -> None:
        super().__init__(message)
        self.volume = volume


class TokenIssuer(Protocol):
    """What makes service account tokens (`pki.tokens.Tokens`)."""

    def issue(
        self,
        namespace: str,
        service_account: str,
        *,
        uid: str,
        audiences: tuple[str, ...],
        lifetime: float,
        pod: tuple[str, str] | None,
    ) -> str: ...


@dataclass(frozen=True, slots=True)
class VolumePlace:
    """Where a volume is: a folder or file, or (None) memory of at most `size` bytes."""

    path: Path | None
    read_only: bool = False
    size: int = 0


@dataclass(slots=True)
class _Token:
    text: str
    renew_at: float


class PodVolumes:
    """The volumes of one pod below `folder`. `token_renewal` is when the next token is due, on the
    wall clock; infinity for none."""

    def __init__(
        self, api: Api, tokens: TokenIssuer | None, clock: Clock, folder: Path, *, users: bool
    ) -> None:
        self._api = api
        self._issuer = tokens
        self._clock = clock
        self._folder = folder
        self._users = users
        self._tokens: dict[tuple[str, str, float], _Token] = {}

    @property
    def token_renewal(self) -> float:
        return min((token.renew_at for token in self._tokens.values()), default=float("inf"))

    def prepare(self, pod: Obj, facts: PodFacts) -> Mapping[str, VolumePlace]:
        """Every volume by name. Raises `VolumeError` for the first that cannot be had."""
        places: dict[str, VolumePlace] = {}
        for volume in pod["spec"].get("volumes") or ():
            try:
                places[volume["name"]] = self._place(pod, volume, facts)
            except (OSError, ValueError, FieldError) as error:
                raise VolumeError(volume["name"], str(error)) from error
        return places

    def _place(self, pod: Obj, volume: Obj, facts: PodFacts) -> VolumePlace:
        name = volume["name"]
        group = self._group(pod)
        if (source := volume.get("hostPath")) is not None:
            return VolumePlace(host_path(source["path"], source.get("type") or ""))
        if (source := volume.get("persistentVolumeClaim")) is not None:
            return self._claim(pod, name, source["claimName"], bool(source.get("readOnly")))
        if volume.get("ephemeral") is not None:
            return self._claim(pod, name, f"{pod['metadata']['name']}-{name}", False)
        folder = self._folder / name
        files = self._files(pod, volume, facts)
        if files is not None:
            write_payload(folder, files, group)
            folder.chmod(0o755 if group is None else 0o2775)
            return VolumePlace(folder, read_only=True)
        if (source := volume.get("emptyDir")) is not None or _only_name(volume):
            return self._empty_dir(pod, name, source or {}, group)
        kind = next((key for key in volume if key != "name"), "")
        raise VolumeError(name, f"volume kind {kind!r} is not served by this node")

    def _empty_dir(self, pod: Obj, name: str, source: Obj, group: int | None) -> VolumePlace:
        if source.get("medium") == "Memory" and _mounted_once(pod, name):
            # A memory file system belongs to one container; a shared one is a folder instead, as
            # sharing is what programs can tell.
            return VolumePlace(None, size=int(quantity(source.get("sizeLimit") or 0)))
        folder = self._folder / name
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o777)
            if group is not None:
                os.chown(folder, -1, group)
                folder.chmod(0o2777)
        return VolumePlace(folder)

    def _claim(self, pod: Obj, name: str, claim_name: str, read_only: bool) -> VolumePlace:
        namespace = pod["metadata"]["namespace"]
        claim = self._api.get(_CLAIMS, claim_name, namespace)
        if claim is None:
            raise VolumeError(name, f'persistentvolumeclaim "{claim_name}" not found')
        bound = claim.get("spec", {}).get("volumeName")
        if not bound or claim.get("status", {}).get("phase") != "Bound":
            raise VolumeError(name, f'persistentvolumeclaim "{claim_name}" is not bound')
        persistent = self._api.get(_PERSISTENT, bound)
        if persistent is None:
            raise VolumeError(name, f'persistentvolume "{bound}" not found')
        spec = persistent["spec"]
        if (source := spec.get("hostPath")) is not None:
            path = host_path(source["path"], source.get("type") or "")
        elif (source := spec.get("local")) is not None:
            path = host_path(source["path"], "Directory")
        else:
            raise VolumeError(name, f'persistentvolume "{bound}" is of a kind not served here')
        group = self._group(pod)
        if group is not None and path.is_dir() and path.stat().st_gid != group:
            os.chown(path, -1, group)
            path.chmod(path.stat().st_mode | 0o2070)
        modes = spec.get("accessModes") or ()
        return VolumePlace(path, read_only or (bool(modes) and set(modes) == {"ReadOnlyMany"}))

    def _group(self, pod: Obj) -> int | None:
        group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        return int(group) if group is not None and self._users else None

    def _files(self, pod: Obj, volume: Obj, facts: PodFacts) -> dict[str, PayloadFile] | None:
        """The files of a volume that is made of objects; None for any other."""
        for key in ("configMap", "secret", "downwardAPI"):
            if (source := volume.get(key)) is not None:
                mode = source.get("defaultMode", 0o644)
                return dict(self._source(pod, volume["name"], key, source, mode, facts))
        if (projected := volume.get("projected")) is None:
            return None
        mode = projected.get("defaultMode", 0o644)
        files: dict[str, PayloadFile] = {}
        for one in projected.get("sources") or ():
            for key, source in one.items():
                files |= dict(self._source(pod, volume["name"], key, source, mode, facts))
        return files

    def _source(
        self, pod: Obj, volume: str, kind: str, source: Obj, mode: int, facts: PodFacts
    ) -> Iterator[tuple[str, PayloadFile]]:
        if kind in ("configMap", "secret"):
            yield from self._keys(pod, volume, kind, source, mode)
        elif kind == "downwardAPI":
            for item in source.get("items") or ():
                text = (
                    field_value(pod, item["fieldRef"]["fieldPath"], facts)
                    if item.get("fieldRef")
                    else resource_value(pod, {}, item["resourceFieldRef"], facts)
                )
                yield item["path"], PayloadFile(text.encode(), item.get("mode") or mode)
        elif kind == "serviceAccountToken":
            yield source["path"], PayloadFile(self._token(pod, volume, source).encode(), mode)
        else:
            raise VolumeError(volume, f"projected source {kind!r} is not served by this node")

    def _keys(
        self, pod: Obj, volume: str, kind: str, source: Obj, mode: int
    ) -> Iterator[tuple[str, PayloadFile]]:
        name = source.get("name") or source.get("secretName") or ""
        resource = _CONFIG_MAPS if kind == "configMap" else _SECRETS
        found = self._api.get(resource, name, pod["metadata"]["namespace"])
        optional = bool(source.get("optional"))
        if found is None:
            if optional:
                return
            raise VolumeError(volume, f'{kind.lower()} "{name}" not found')
        values = decoded(found)
        items = source.get("items")
        if not items:
            for key, value in values.items():
                yield key, PayloadFile(value, mode)
            return
        for item in items:
            if item["key"] not in values:
                if optional:
                    continue
                word = "config" if kind == "configMap" else "secret"
                raise VolumeError(volume, f"references non-existent {word} key: {item['key']}")
            yield item["path"], PayloadFile(values[item["key"]], item.get("mode") or mode)

    def _token(self, pod: Obj, volume: str, source: Obj) -> str:
        if self._issuer is None:
            raise VolumeError(volume, "this node has no issuer of service account tokens")
        metadata = pod["metadata"]
        account_name = pod["spec"].get("serviceAccountName") or "default"
        account = self._api.get(_ACCOUNTS, account_name, metadata["namespace"])
        if account is None:
            raise VolumeError(
                volume,
                f"failed to fetch token: serviceaccounts {account_name!r} not found".replace(
                    "'", '"'
                ),
            )
        lifetime = float(source.get("expirationSeconds") or 3600)
        key = (account_name, source.get("audience") or "", lifetime)
        now = self._clock.time()
        kept = self._tokens.get(key)
        if kept is None or now >= kept.renew_at:
            # A fifth of its life before the end, and at the latest after a day: the kubelet's rule.
            text = self._issuer.issue(
                metadata["namespace"],
                account_name,
                uid=account["metadata"].get("uid", ""),
                audiences=(source["audience"],) if source.get("audience") else (),
                lifetime=lifetime,
                pod=(metadata["name"], metadata["uid"]),
            )
            kept = self._tokens[key] = _Token(text, now + min(lifetime * 0.8, 86400.0))
        return kept.text


def _only_name(volume: Obj) -> bool:
    return not any(value is not None for key, value in volume.items() if key != "name")


def _mounted_once(pod: Obj, name: str) -> bool:
    spec = pod["spec"]
    mounts = [
        mount
        for field in ("initContainers", "containers", "ephemeralContainers")
        for container in spec.get(field) or ()
        for mount in container.get("volumeMounts") or ()
        if mount["name"] == name
    ]
    return len(mounts) <= 1 and not any(
        one.get("subPath") or one.get("subPathExpr") for one in mounts
    )
