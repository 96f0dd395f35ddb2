"""ControllerRevisions: the history of StatefulSets and DaemonSets, for `kubectl rollout`."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from kindling.cluster.controllers.controller import OPTIONS
from kindling.cluster.controllers.kinds import CONTROLLER_REVISIONS
from kindling.cluster.controllers.meta import (
    int_or,
    labels,
    name_of,
    namespace_of,
    notes_of,
    owner_reference,
    uid_of,
)
from kindling.cluster.controllers.ownership import claim
from kindling.cluster.controllers.revisions import safe_hash
from kindling.cluster.model.api import Api, DeleteOptions, Obj
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import ApiError

__all__ = ["REVISION_LABEL", "current_revision", "revisions_of", "template_of", "trim"]

REVISION_LABEL = "controller-revision-hash"
_NOT_COPIED = ("kubectl.kubernetes.io/last-applied-configuration", "deprecated.daemonset.template")


async def revisions_of(api: Api, owner: Obj, resource: ResourceType) -> list[Obj]:
    """The owner's revisions, oldest first."""
    found = await claim(api, CONTROLLER_REVISIONS, owner, resource, owner["spec"].get("selector"))
    return sorted(found, key=lambda one: (int_or(one.get("revision"), 0), name_of(one)))


async def current_revision(
    api: Api,
    owner: Obj,
    resource: ResourceType,
    known: Sequence[Obj],
    *,
    hash_label: bool,
) -> tuple[Obj, int]:
    """The revision of the owner's template, made or brought to the front if need be, and the number
    of collisions of names there have been."""
    data = _data(owner)
    highest = max((int_or(one.get("revision"), 0) for one in known), default=0)
    equal = [one for one in known if one.get("data") == data]
    collisions = int_or((owner.get("status") or {}).get("collisionCount"), 0)
    if equal:
        newest = equal[-1]
        if int_or(newest.get("revision"), 0) < highest:
            newest = await api.update(
                CONTROLLER_REVISIONS, {**newest, "revision": highest + 1}, options=OPTIONS
            )
        return newest, collisions
    while True:
        digest = safe_hash(data, collisions)
        wanted = _revision(owner, resource, data, digest, highest + 1, hash_label)
        try:
            made = await api.create(CONTROLLER_REVISIONS, wanted, namespace_of(owner), OPTIONS)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            there = api.get(CONTROLLER_REVISIONS, name_of(wanted), namespace_of(owner))
            if there is not None and there.get("data") == data:
                return there, collisions
            collisions += 1
        else:
            return made, collisions


def template_of(revision: Obj) -> Obj:
    """The pod template that a revision recorded."""
    found = deepcopy(revision["data"]["spec"]["template"])
    found.pop("$patch", None)
    result: Obj = found
    return result


async def trim(api: Api, known: Sequence[Obj], in_use: set[str], limit: int) -> None:
    """Delete the oldest revisions that nothing uses, beyond the limit."""
    spare = [one for one in known if name_of(one) not in in_use]
    for one in spare[: max(len(spare) - limit, 0)]:
        try:
            await api.delete(
                CONTROLLER_REVISIONS,
                name_of(one),
                namespace_of(one),
                DeleteOptions(uid=uid_of(one)),
            )
        except ApiError as error:
            if error.code != 404:
                raise


def _data(owner: Obj) -> dict[str, Any]:
    """A strategic merge patch that puts the template back, as `kubectl rollout undo` sends it."""
    template = {**deepcopy(owner["spec"]["template"]), "$patch": "replace"}
    return {"spec": {"template": template}}


def _revision(
    owner: Obj,
    resource: ResourceType,
    data: dict[str, Any],
    digest: str,
    number: int,
    hash_label: bool,
) -> Obj:
    template_labels = (owner["spec"]["template"].get("metadata") or {}).get("labels") or {}
    # As upstream: a StatefulSet's revisions carry the labels that its selector names as well.
    found = {**template_labels, **(labels(owner) if not template_labels else {})}
    found[REVISION_LABEL if hash_label else "controller.kubernetes.io/hash"] = digest
    notes = {key: value for key, value in notes_of(owner).items() if key not in _NOT_COPIED}
    meta: dict[str, Any] = {
        "name": f"{name_of(owner)[:223]}-{digest}",
        "namespace": namespace_of(owner),
        "labels": found,
        "ownerReferences": [owner_reference(resource, owner)],
    }
    if notes:
        meta["annotations"] = notes
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": meta,
        "data": data,
        "revision": number,
    }
