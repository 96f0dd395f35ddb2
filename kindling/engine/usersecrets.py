"""What `kindling secrets` does: a user's secrets in a cluster, and the sealed backup beside them.

The cluster is written first and the backup second, so that nothing is kept that a cluster refused;
that the backup can be written is made sure of before either. Values are bytes that pass through:
they are in no message, no repr and no log.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from kindling.engine.secretrows import value_of
from kindling.errors import ClusterError, StoreError, UsageError, nearest
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import AlreadyExistsError, ConflictError, NotFoundError
from kindling.kube.protocol import Cluster, Object
from kindling.objects.secretnames import PREFIX, VALUE_KEY, secret_name
from kindling.store.sealed import Kept, Place, SealedSecrets

__all__ = [
    "LARGEST",
    "MANAGED_BY",
    "Change",
    "Restored",
    "UserSecrets",
    "backup_of",
    "check_value",
    "known_values",
]

MANAGED_BY = ("app.kubernetes.io/managed-by", "kindling")

LARGEST = 512 * 1024
"""Bytes of one value. A Secret has room for 1 MiB, and the value is in it twice."""


class Change(Enum):
    """What writing a secret did."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


class Restored(Enum):
    """What restoring one secret did."""

    RESTORED = "restored"
    REPLACED = "replaced"
    KEPT = "kept"
    """The cluster has that value already."""
    DIFFERS = "differs"
    """The cluster has another value, and nobody said that it may go."""


@dataclass(slots=True)
class UserSecrets:
    """The secrets of one cluster, which `context` names, with a project's backup of them."""

    cluster: Cluster
    context: str
    backup: SealedSecrets
    clock: Callable[[], float] = field(default=time.time)

    async def set(
        self, namespace: str, name: str, value: bytes, *, make_namespace: bool = False
    ) -> Change:
        """Create or update a secret in place, and keep it in the backup.

        Raises:
            UsageError: The name or the value cannot be a secret's.
            StoreError: It could not be kept; where that is known beforehand, nothing is written.
            ClusterError: The cluster refused it, or the Secret is not one of kindling's.
        """
        check_value(name, value)
        self.backup.check()
        place = Place(self.context, namespace, name)
        live = await self._live(namespace, name)
        if live is not None and _has(live, _manifest(place, value)):
            change = Change.UNCHANGED
        else:
            await self._apply(place, value, make_namespace=make_namespace)
            change = Change.CREATED if live is None else Change.CHANGED
        try:
            self.backup.keep([(place, value)], self.clock())
        except StoreError as error:
            raise StoreError(
                f"`{name}` is set in the cluster, but not in the backup: {error.message}",
                details=error.details,
                hint=error.hint,
            ) from error
        return change

    async def delete(self, namespace: str, name: str) -> tuple[bool, bool]:
        """Remove a secret from the cluster and the backup; in which of the two it was."""
        live = await self._live(namespace, name)
        there = live is not None and await self.cluster.delete(
            _ref(namespace, name), uid=live["metadata"]["uid"]
        )
        kept = self.backup.forget([Place(self.context, namespace, name)]) > 0
        return there, kept

    async def live(self, namespace: str = "") -> tuple[Object, ...]:
        """The Secrets of users' secrets; of every namespace when none is named."""
        found = await self.cluster.list("v1", "Secret", namespace=namespace, labels=(MANAGED_BY,))
        return tuple(one for one in found.items if one["metadata"]["name"].startswith(PREFIX))

    async def restore(
        self, kept: Kept, namespace: str, replace: Callable[[Kept], Awaitable[bool]]
    ) -> Restored:
        """Bring one secret of the backup into a namespace of this cluster. `replace` is asked
        before another value is overwritten.

        Raises:
            KindlingError: The value cannot be opened, or the cluster refused it.
        """
        value = self.backup.value(kept)
        place = Place(self.context, namespace, kept.place.name)
        live = await self._live(namespace, place.name)
        if live is not None and value_of(live) == value:
            done = Restored.KEPT
        elif live is not None and not await replace(kept):
            return Restored.DIFFERS
        else:
            await self._apply(place, value, make_namespace=True)
            done = Restored.RESTORED if live is None else Restored.REPLACED
        if place != kept.place:
            self.backup.keep([(place, value)], kept.at)
        return done

    async def _live(self, namespace: str, name: str) -> Object | None:
        """The Secret; None where there is none. Refuses one that somebody else made."""
        ref = _ref(namespace, name)
        try:
            found = await self.cluster.get(ref)
        except NotFoundError:
            return None
        key, manager = MANAGED_BY
        if (found["metadata"].get("labels") or {}).get(key) != manager:
            raise ClusterError(
                f"{ref} was not made by kindling, so it is left alone",
                hint=f"Delete it, or give it the label `{key}={manager}` to hand it over.",
            )
        return found

    async def _apply(self, place: Place, value: bytes, *, make_namespace: bool) -> None:
        try:
            await self._write(place, value)
        except NotFoundError:
            if not make_namespace:
                raise await self._no_namespace(place.namespace) from None
            head = {"name": place.namespace}
            with suppress(AlreadyExistsError):  # made meanwhile by another
                await self.cluster.create(
                    {"apiVersion": "v1", "kind": "Namespace", "metadata": head}
                )
            await self._write(place, value)

    async def _write(self, place: Place, value: bytes) -> None:
        manifest = _manifest(place, value)
        try:
            await self.cluster.apply(manifest, force=True)
        except ConflictError:
            # Somebody wrote between the server's reading and writing: the same again works.
            await self.cluster.apply(manifest, force=True)

    async def _no_namespace(self, namespace: str) -> UsageError:
        known = [
            one["metadata"]["name"] for one in (await self.cluster.list("v1", "Namespace")).items
        ]
        return UsageError(
            f"The cluster `{self.context}` has no namespace `{namespace}`",
            hint=nearest(namespace, known) or f"It has [{', '.join(sorted(known)[:20])}].",
        )


def backup_of(state_dir: Path, environment: Mapping[str, str]) -> SealedSecrets:
    """The backup of a project, with its key in this user's data folder."""
    import platformdirs

    told = environment.get("XDG_DATA_HOME", "")
    # As for clusters: the variable counts on every system.
    data = Path(told) / "kindling" if told else platformdirs.user_data_path("kindling")
    return SealedSecrets(state_dir, data)


def known_values(backup: SealedSecrets) -> tuple[tuple[str, str], ...]:
    """The values in the backup that are text, as the redactor learns them. Without the key there
    are none: a session does not need it."""
    with suppress(StoreError):
        return tuple(
            (f"{one.place.name}:{VALUE_KEY}", value.decode())
            for one in backup.entries()
            if _is_text(value := backup.value(one))
        )
    return ()


def _is_text(value: bytes) -> bool:
    with suppress(UnicodeDecodeError):
        return bool(value.decode())
    return False


def check_value(name: str, value: bytes) -> None:
    """Refuse a value that no Secret could hold, before any cluster is asked.

    Raises:
        UsageError: The name or the value cannot be a secret's.
    """
    secret_name(name)
    if not value:
        raise UsageError(
            f"The value of `{name}` is empty",
            hint=f"`kindling secrets delete {name}` removes a secret.",
        )
    if len(value) > LARGEST:
        raise UsageError(
            f"The value of `{name}` has more than {LARGEST:,} bytes, which is the most that a"
            " secret can have",
            hint="Keep large files in a volume or an image, and only the key to them in a secret.",
        )


def _ref(namespace: str, name: str) -> ObjectRef:
    return ObjectRef("v1", "Secret", secret_name(name), namespace)


def _manifest(place: Place, value: bytes) -> Object:
    """The Secret. The value is there under the secret's own name too, so that `envFrom` gives the
    variable that one expects."""
    encoded = base64.b64encode(value).decode()
    key, manager = MANAGED_BY
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": secret_name(place.name),
            "namespace": place.namespace,
            "labels": {key: manager},
        },
        "data": {place.name: encoded, VALUE_KEY: encoded},
    }


def _has(live: Object, manifest: Object) -> bool:
    data: Mapping[str, Any] = live.get("data") or {}
    return all(data.get(key) == value for key, value in manifest["data"].items())
