"""What the operator has been told of a cluster by its watches, and what it has written since.

A pass reads here and asks the server nothing, so that looking at an environment that is as it
should be costs no request at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kindling.graph.spec import ObjectRef
from kindling.kube.errors import NotFoundError
from kindling.kube.protocol import Cluster
from kindling.operator.controller.planning import owned_by, reference
from kindling.operator.controller.queue import Key
from kindling.operator.controller.reading import CLASSES, PODS, SORTS, Sort, belongs, owner_name

__all__ = ["Seen", "keys_of"]

Object = Mapping[str, Any]

_SECRET = ("v1", "Secret")

_DEAD = 10_000


class Seen:
    """A `Reader` that is told by whoever watches. Kinds that nobody watches are asked for.

    Secrets of others are kept by name alone: their contents are read when they are needed.
    """

    def __init__(self, cluster: Cluster, watched: Iterable[tuple[str, str]]) -> None:
        self._cluster = cluster
        self._watched = frozenset(watched)
        self._objects: dict[tuple[str, str], dict[tuple[str, str], Object]] = {}
        self._owned: dict[str, dict[ObjectRef, Object]] = {}
        self._pods: dict[tuple[str, str, str], dict[str, Object]] = {}
        self._dead: dict[str, None] = {}

    # Told by watches -------------------------------------------------------------------------

    def tell(self, live: Object) -> bool:
        """An object is so now. Whether that is news."""
        kind, place = _kind(live), _place(live)
        if live["metadata"].get("uid") in self._dead:
            return False  # the answer to a write can come after word of the object's end
        known = self._objects.get(kind, {}).get(place)
        if known is not None and not _newer(live, known):
            return False
        self._keep(kind, place, live)
        return True

    def gone(self, live: Object) -> None:
        """An object is there no more."""
        kind, place = _kind(live), _place(live)
        self._bury(live)
        known = self._objects.get(kind, {}).get(place)
        if known is not None and known["metadata"].get("uid") == live["metadata"].get("uid"):
            self._forget(kind, place)

    def listed(
        self, kind: tuple[str, str], items: Iterable[Object], version: str = ""
    ) -> tuple[Object, ...]:
        """These are all objects of a kind. Those that are news, and those that are gone."""
        now = {_place(one): one for one in items}
        left = [
            (place, one)
            for place, one in self._objects.get(kind, {}).items()
            if place not in now and not _later(one, version)
        ]
        news = [one for one in now.values() if self.tell(one)]
        for place, one in left:
            self._bury(one)
            self._forget(kind, place)
        return (*news, *(one for _, one in left))

    def owners(self, namespace: str = "") -> tuple[Object, ...]:
        """All environments and pools, or those of a namespace."""
        return tuple(
            one
            for sort in SORTS.values()
            for one in self._objects.get((sort.api_version, sort.kind), {}).values()
            if not namespace or one["metadata"]["namespace"] == namespace
        )

    # A Reader --------------------------------------------------------------------------------

    async def find(self, ref: ObjectRef) -> Object | None:
        kind = (ref.api_version, ref.kind)
        if kind in self._watched:
            known = self._objects.get(kind, {}).get((ref.namespace, ref.name))
            if known is None or kind != _SECRET or "data" in known:
                return known
        try:
            return await self._cluster.get(ref)
        except NotFoundError:
            return None

    async def owned(self, sort: Sort, namespace: str, uid: str) -> tuple[Object, ...]:
        del sort, namespace
        return tuple(self._owned.get(uid, {}).values())

    async def pods(self, sort: Sort, namespace: str, name: str) -> tuple[Object, ...]:
        return tuple(self._pods.get((namespace, sort.manager, name), {}).values())

    async def classes(self) -> tuple[Object, ...]:
        return tuple(self._objects.get(CLASSES, {}).values())

    def wrote(self, live: Object) -> None:
        self.tell(live)

    def deleted(self, ref: ObjectRef, uid: str) -> None:
        kind, place = (ref.api_version, ref.kind), (ref.namespace, ref.name)
        known = self._objects.get(kind, {}).get(place)
        if known is not None and (not uid or known["metadata"].get("uid") == uid):
            self._forget(kind, place)

    # Inside ----------------------------------------------------------------------------------

    def _keep(self, kind: tuple[str, str], place: tuple[str, str], live: Object) -> None:
        self._forget(kind, place)
        head = {key: one for key, one in live["metadata"].items() if key != "managedFields"}
        kept: Object = {**live, "metadata": head}
        owner = _owner_uid(kept)
        if kind == _SECRET and not owner:
            kept = {key: one for key, one in kept.items() if key != "data"}
        if kind == PODS:
            if not belongs(kept):
                return
            pods = self._pods.setdefault((place[0], belongs(kept), owner_name(kept)), {})
            pods[place[1]] = kept
        if owner:
            self._owned.setdefault(owner, {})[reference(kept)] = kept
        self._objects.setdefault(kind, {})[place] = kept

    def _bury(self, live: Object) -> None:
        """No uid comes back; the latest of those that are gone are remembered."""
        self._dead[live["metadata"].get("uid", "")] = None
        if len(self._dead) > _DEAD:
            del self._dead[next(iter(self._dead))]

    def _forget(self, kind: tuple[str, str], place: tuple[str, str]) -> None:
        known = self._objects.get(kind, {}).pop(place, None)
        if known is None:
            return
        owner = _owner_uid(known)
        if owner in self._owned:
            self._owned[owner].pop(reference(known), None)
            if not self._owned[owner]:
                del self._owned[owner]
        if kind == PODS:
            key = (place[0], belongs(known), owner_name(known))
            self._pods.get(key, {}).pop(place[1], None)
            if not self._pods.get(key):
                self._pods.pop(key, None)


def keys_of(live: Object) -> tuple[Key, ...]:
    """The environments or pools that a child, or a pod of a child, belongs to."""
    head = live["metadata"]
    namespace = head.get("namespace", "")
    if live["kind"] in SORTS:
        return (Key(live["kind"], namespace, head["name"]),)
    if live["kind"] == "Pod":
        name, manager = owner_name(live), belongs(live)
        return tuple(
            Key(sort.kind, namespace, name) for sort in SORTS.values() if sort.manager == manager
        )
    return tuple(
        Key(one["kind"], namespace, one["name"])
        for one in head.get("ownerReferences") or ()
        if one.get("controller") and one.get("kind") in SORTS
    )


def _owner_uid(live: Object) -> str:
    """The uid of the environment or pool that an object belongs to."""
    for one in live["metadata"].get("ownerReferences") or ():
        if one.get("controller") and one.get("kind") in SORTS and owned_by(live, one["uid"]):
            return str(one["uid"])
    return ""


def _kind(live: Object) -> tuple[str, str]:
    return live["apiVersion"], live["kind"]


def _place(live: Object) -> tuple[str, str]:
    return live["metadata"].get("namespace", ""), live["metadata"]["name"]


def _newer(live: Object, known: Object) -> bool:
    """Whether an object as told is later than the one known. Servers count versions up."""
    mine, other = live["metadata"].get("resourceVersion"), known["metadata"].get("resourceVersion")
    if mine == other:
        return False
    return _later(live, str(other))


def _later(live: Object, version: str) -> bool:
    mine = str(live["metadata"].get("resourceVersion", ""))
    if mine.isdigit() and version.isdigit():
        return int(mine) > int(version)
    return bool(version)
