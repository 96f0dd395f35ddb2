"""What a controller is, and what all of them are given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from kindling.cluster.controllers.meta import (
    controller_of,
    name_of,
    namespace_of,
    stamp,
)
from kindling.cluster.controllers.work import Clock, Key
from kindling.cluster.events import EventSink
from kindling.cluster.model.api import Api, Change, Obj, WriteOptions
from kindling.cluster.model.resource import ResourceType

__all__ = ["OPTIONS", "Controller", "TokenIssuer", "World", "key_of", "owner_keys"]

OPTIONS = WriteOptions(field_manager="kube-controller-manager")
"""How controllers write: under the name that clients know from real clusters."""


class TokenIssuer(Protocol):
    """What makes service account tokens that end with a secret (`pki.tokens.Tokens`)."""

    def issue(
        self,
        namespace: str,
        service_account: str,
        *,
        uid: str,
        lifetime: float,
        secret: tuple[str, str] | None,
    ) -> str: ...


@dataclass(frozen=True, slots=True)
class World:
    """What every controller works in. `volumes` is the folder for persistent volumes; `authority`
    the PEM text of the cluster's certificate authority, for the root CA config maps; without
    `tokens` the secrets of service accounts get none."""

    api: Api
    clock: Clock
    events: EventSink
    volumes: Path | None = None
    authority: str = ""
    tokens: TokenIssuer | None = None

    @property
    def now(self) -> str:
        """This moment as the API writes it."""
        return stamp(self.clock.time())


class Controller:
    """Brings one sort of object to what its specification says.

    Level-triggered: `keys` says which objects a change concerns, `reconcile` reads the state as it
    is and does what is left to be done. Raising means: later again.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[ResourceType, ...]]
    """The resources whose changes it wants to hear of."""
    everything: ClassVar[bool] = False
    """Whether it wants to hear of all other resources too, custom ones included."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.api = world.api
        self.events = world.events.recorder(self.component)

    @property
    def component(self) -> str:
        """The source of its events."""
        return f"{self.name}-controller"

    def keys(self, change: Change) -> Iterable[Key]:
        """What is to be looked at because of a change."""
        return (key_of(change.object),)

    async def reconcile(self, key: Key) -> float | None:
        """Do what is left to be done; the seconds after which to look again, if at all."""
        raise NotImplementedError

    async def write_status(self, resource: ResourceType, obj: Obj, status: Obj) -> Obj:
        """Write a status that differs, on the condition that nobody wrote the object meanwhile."""
        if (obj.get("status") or {}) == status:
            return obj
        return await self.api.update(resource, {**obj, "status": status}, "status", OPTIONS)


def key_of(obj: Obj) -> Key:
    return (namespace_of(obj), name_of(obj))


def owner_keys(change: Change, resource: ResourceType) -> set[Key]:
    """The controlling owners of that kind which an object has or had."""
    found: set[Key] = set()
    for obj in (change.object, change.before):
        if obj is None or (owner := controller_of(obj)) is None:
            continue
        group = owner.get("apiVersion", "").rpartition("/")[0]
        if owner.get("kind") == resource.kind and group == resource.group:
            found.add((namespace_of(obj), str(owner.get("name"))))
    return found
