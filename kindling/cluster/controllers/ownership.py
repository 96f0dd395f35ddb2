"""Adoption and release: which objects a controller may call its own.

An object belongs to the controller named in its `ownerReferences`. Orphans that match its selector
are adopted, its own that no longer match are let go; the rules are those of
`pkg/controller/controller_ref_manager.go`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kindling.cluster.controllers.controller import OPTIONS
from kindling.cluster.controllers.meta import (
    controlled_by,
    controller_of,
    labels,
    matches,
    name_of,
    namespace_of,
    owner_reference,
    selects_nothing,
    terminating,
    uid_of,
)
from kindling.cluster.model.api import Api, Obj, PatchType, Selection
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import ApiError

__all__ = ["claim", "orphans_concern", "owned"]


def owned(api: Api, resource: ResourceType, owner: Obj) -> list[Obj]:
    """The objects of a resource that `owner` controls."""
    return [
        obj
        for kind, obj in api.by_owner(uid_of(owner))
        if kind.key == resource.key and controlled_by(obj, owner)
    ]


async def claim(
    api: Api,
    resource: ResourceType,
    owner: Obj,
    owner_resource: ResourceType,
    selector: dict[str, Any] | None,
    *,
    finalizers: Sequence[str] = (),
) -> list[Obj]:
    """What `owner` controls after adopting matching orphans and releasing what no longer matches.

    `finalizers` are put on what is adopted and taken off what is released. An owner that is being
    deleted adopts nothing.
    """
    result: list[Obj] = []
    for obj in owned(api, resource, owner):
        if matches(selector, labels(obj)) or terminating(owner):
            result.append(obj)
        else:
            await _release(api, resource, owner, obj, finalizers)
    if terminating(owner) or selects_nothing(selector):
        return result
    for obj in api.select(resource, Selection(namespace_of(owner))):
        if controller_of(obj) is None and not terminating(obj) and matches(selector, labels(obj)):
            adopted = await _adopt(api, resource, owner, owner_resource, obj, finalizers)
            if adopted is not None:
                result.append(adopted)
    return result


async def _adopt(
    api: Api,
    resource: ResourceType,
    owner: Obj,
    owner_resource: ResourceType,
    obj: Obj,
    finalizers: Sequence[str],
) -> Obj | None:
    # The owner may have been deleted, and another made under its name, while we were writing.
    now = api.get(owner_resource, name_of(owner), namespace_of(owner))
    if now is None or uid_of(now) != uid_of(owner) or terminating(now):
        return None
    meta = obj["metadata"]
    references = [*(meta.get("ownerReferences") or ()), owner_reference(owner_resource, owner)]
    new = {**meta, "ownerReferences": references}
    if finalizers:
        kept = [name for name in meta.get("finalizers") or () if name not in finalizers]
        new["finalizers"] = [*kept, *finalizers]
    try:
        return await api.update(resource, {**obj, "metadata": new}, options=OPTIONS)
    except ApiError as error:
        if error.code == 404:
            return None
        raise


async def _release(
    api: Api, resource: ResourceType, owner: Obj, obj: Obj, finalizers: Sequence[str]
) -> None:
    uid = uid_of(owner)
    meta = obj["metadata"]
    change: dict[str, Any] = {
        "uid": uid_of(obj),
        "ownerReferences": [
            reference
            for reference in meta.get("ownerReferences") or ()
            if reference.get("uid") != uid
        ]
        or None,
    }
    if finalizers:
        kept = [name for name in meta.get("finalizers") or () if name not in finalizers]
        change["finalizers"] = kept or None
    try:
        await api.patch(
            resource,
            name_of(obj),
            {"metadata": change},
            namespace_of(obj),
            patch_type=PatchType.MERGE,
            options=OPTIONS,
        )
    except ApiError as error:
        if error.code not in (404, 422):  # gone, or another of that name: not ours in any case
            raise


def orphans_concern(
    api: Api, owner_resource: ResourceType, obj: Obj, selector_of: str = "selector"
) -> list[tuple[str, str]]:
    """The owners of a kind that might adopt an object without controller."""
    if controller_of(obj) is not None:
        return []
    found = []
    for owner in api.select(owner_resource, Selection(namespace_of(obj))):
        selector = owner["spec"].get(selector_of)
        if owner_resource.kind == "ReplicationController":
            selector = {"matchLabels": selector or {}}
        if not selects_nothing(selector) and matches(selector, labels(obj)):
            found.append((namespace_of(owner), name_of(owner)))
    return found
