"""Exactly one operator acts: the one that holds a Lease.

An operator of one namespace holds that namespace's Lease, and only while nobody holds the one of
`kindling-system`, which is for all of them. Clocks of other machines are not believed: a holder
counts as alive for the Lease's duration from the moment at which we saw it renewed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kindling.errors import ClusterError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
)
from kindling.kube.protocol import Cluster, EventKind
from kindling.operator.controller.writing import OPERATOR_MANAGER

__all__ = ["LEASE", "SYSTEM_NAMESPACE", "Election", "Terms", "holder_in_force", "lease_ref"]

LEASE = "kindling-operator"
SYSTEM_NAMESPACE = "kindling-system"


@dataclass(frozen=True, slots=True)
class Terms:
    """Times in seconds: how long a Lease lasts, and how often its holder renews it. `system` is the
    namespace of the Lease that is for all namespaces."""

    duration: int = 15
    renew: float = 5.0
    system: str = SYSTEM_NAMESPACE


@dataclass(slots=True)
class _Sighting:
    """A Lease as it was last seen, and when its last change was, by our own clock."""

    holder: str = ""
    mark: str = ""
    version: str = ""
    duration: float = 15.0
    changed: float = 0.0

    def see(self, lease: Mapping[str, Any] | None, now: float) -> None:
        spec = (lease or {}).get("spec") or {}
        mark = f"{spec.get('holderIdentity')} {spec.get('renewTime')}"
        if mark != self.mark:
            self.changed = now
        self.mark = mark
        self.holder = str(spec.get("holderIdentity") or "")
        self.duration = float(spec.get("leaseDurationSeconds") or 15)
        self.version = str((lease or {}).get("metadata", {}).get("resourceVersion", ""))

    def left(self, now: float) -> float:
        """For how long it is in force yet; not positive when it is not."""
        return self.changed + self.duration - now if self.holder else 0.0


def lease_ref(namespace: str) -> ObjectRef:
    return ObjectRef("coordination.k8s.io/v1", "Lease", LEASE, namespace)


async def holder_in_force(cluster: Cluster, namespace: str, now: float) -> str:
    """Who holds a namespace's Lease, by the times that stand in it; empty when nobody does."""
    try:
        lease = await cluster.get(lease_ref(namespace))
    except (NotFoundError, ForbiddenError):
        return ""
    spec = lease.get("spec") or {}
    if not spec.get("holderIdentity") or not spec.get("renewTime"):
        return ""
    renewed = datetime.fromisoformat(str(spec["renewTime"]).replace("Z", "+00:00"))
    until = renewed + timedelta(seconds=float(spec.get("leaseDurationSeconds") or 15))
    return str(spec["holderIdentity"]) if until.timestamp() > now else ""


class Election:
    """One candidate for the Lease of a namespace. `above` names the one that goes before it, if
    any; `changed` is called whenever it has begun or ceased to hold, or the holder is another."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        identity: str,
        changed: Callable[[], None],
        *,
        say: Callable[[str], None],
        above: str = "",
        terms: Terms = Terms(),
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._identity = identity
        self._changed = changed
        self._say = say
        self._above = above
        self._terms = terms
        self._mine = _Sighting()
        self._over = _Sighting()
        self._holding_until = 0.0
        self._wake = asyncio.Event()
        self._away = False
        self._told: tuple[bool, str] | None = None
        self.decided = False
        """Whether it is known who acts."""

    @property
    def holding(self) -> bool:
        return self._holding_until > self._now()

    @property
    def holder(self) -> str:
        """Who acts, as far as is known; empty for nobody."""
        now = self._now()
        if self._over.left(now) > 0:
            return self._over.holder
        if self.holding:
            return self._identity
        return self._mine.holder if self._mine.left(now) > 0 else ""

    async def run(self) -> None:
        """Take part until cancelled; `release` gives the Lease back afterwards.

        Raises:
            ClusterError: The Lease may not be read or written.
        """
        watches = [asyncio.create_task(self._watch(self._namespace, self._mine))]
        if self._above:
            watches.append(asyncio.create_task(self._watch(self._above, self._over)))
        try:
            while True:
                pause = await self._round()
                self._tell()
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)

    async def release(self) -> None:
        """Give the Lease back, so that nobody needs to wait until it runs out."""
        if self._holding_until and self._mine.holder == self._identity:
            self._holding_until = 0.0
            try:
                await self._put("", self._mine.version)
            except (ConflictError, NotFoundError):
                return  # it is somebody else's by now

    async def _round(self) -> float:
        """One look at how things stand. For how long nothing is to be done."""
        now = self._now()
        try:
            if self._above:
                self._over.see(await self._read(self._above), now)
            self._mine.see(await self._read(self._namespace), now)
            self.decided, self._away = True, False
            if self._over.left(now) > 0:
                await self.release()
                self._holding_until = 0.0
                return min(self._terms.renew, max(0.05, self._over.left(now)))
            if self._mine.holder not in ("", self._identity) and self._mine.left(now) > 0:
                self._holding_until = 0.0
                return min(self._terms.renew, max(0.05, self._mine.left(now)))
            due = self._holding_until - self._terms.duration + self._terms.renew - now
            if self._mine.holder == self._identity and self.holding and due > 0.01:
                return due
            await self._take(now)
            return self._terms.renew
        except (ConflictError, AlreadyExistsError):
            return 0.05  # somebody was quicker: look again
        except ClusterError as error:
            if not error.transient and not _namespace_goes(error):
                raise
            if not self._away:
                self._say(f"the Lease cannot be renewed: {error.message}")
            self._away = True
            return min(1.0, self._terms.renew)

    async def _take(self, now: float) -> None:
        live = await self._put(self._identity, self._mine.version)
        self._mine.see(live, now)
        # Others count from when they see it, which is later.
        self._holding_until = now + self._terms.duration

    async def _put(self, holder: str, version: str) -> Mapping[str, Any]:
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec: dict[str, Any] = {
            "holderIdentity": holder,
            "leaseDurationSeconds": self._terms.duration,
            "renewTime": moment,
        }
        if holder and self._mine.holder != holder:
            spec["acquireTime"] = moment
        ref = lease_ref(self._namespace)
        if not version:
            head = {"name": LEASE, "namespace": self._namespace}
            lease = {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": head}
            return await self._cluster.create({**lease, "spec": spec}, manager=OPERATOR_MANAGER)
        patch = {"metadata": {"resourceVersion": version}, "spec": spec}
        return await self._cluster.patch(ref, patch, manager=OPERATOR_MANAGER, timeout=5.0)

    async def _read(self, namespace: str) -> Mapping[str, Any] | None:
        try:
            return await self._cluster.get(lease_ref(namespace), timeout=5.0)
        except NotFoundError:
            return None
        except ForbiddenError:
            if namespace == self._above:
                return None  # who may not look there cannot be told from there either
            raise

    async def _watch(self, namespace: str, sighting: _Sighting) -> None:
        """Wakes whenever somebody else writes the Lease."""
        ref = lease_ref(namespace)
        events = self._cluster.watch(
            ref.api_version, ref.kind, namespace=namespace, fields=(("metadata.name", LEASE),)
        )
        try:
            async with aclosing(events):
                async for event in events:
                    if event.kind is EventKind.AWAY:
                        continue
                    found = event.items if event.kind is EventKind.SYNCED else (event.object,)
                    versions = [one["metadata"].get("resourceVersion") for one in found]
                    if event.kind is EventKind.DELETED or versions != [sighting.version]:
                        self._wake.set()
        except ClusterError as error:
            self._say(f"the Lease of {namespace} is asked for, not watched: {error.message}")

    def _tell(self) -> None:
        state = (self.holding, self.holder)
        if state != self._told:
            self._told = state
            self._changed()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _namespace_goes(error: ClusterError) -> bool:
    """A namespace that is deleted may be made again."""
    return isinstance(error, NotFoundError) or any(
        "being terminated" in line for line in error.details
    )
