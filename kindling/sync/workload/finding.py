"""The workload that a word on the command line means: NAME or KIND/NAME, in one namespace."""

from __future__ import annotations

from kindling.errors import UsageError, nearest
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import ForbiddenError, NotFoundError
from kindling.kube.protocol import Cluster, Object

__all__ = ["find"]

_KINDS = ("Deployment", "StatefulSet")
_SPELLINGS = {
    spelling: kind
    for kind, spellings in {
        "Deployment": ("deployment", "deployments", "deploy"),
        "StatefulSet": ("statefulset", "statefulsets", "sts"),
        "ReplicaSet": ("replicaset", "replicasets", "rs"),
        "DaemonSet": ("daemonset", "daemonsets", "ds"),
        "Pod": ("pod", "pods", "po"),
        "Job": ("job", "jobs"),
        "CronJob": ("cronjob", "cronjobs", "cj"),
    }.items()
    for spelling in spellings
}
_GROUPS = {
    "": "v1",
    "apps": "apps/v1",
    "batch": "batch/v1",
}
_HOMES = {"Pod": "v1", "Job": "batch/v1", "CronJob": "batch/v1"}
_DEPTH = 4


async def find(cluster: Cluster, wanted: str, namespace: str = "") -> ObjectRef:
    """The Deployment or StatefulSet that `wanted` names, as kubectl would have it (`web`,
    `deploy/web`, `deployment.apps/web`, `sts/db`), in `namespace` (the context's when empty).

    Raises:
        UsageError: There is none, or two; or it names something else that makes pods. The message
            says what to write instead.
        ClusterError: The cluster cannot be asked.
    """
    namespace = namespace or cluster.namespace or "default"
    word, slash, name = wanted.strip().partition("/")
    if not slash:
        return await _by_name(cluster, word, namespace)
    kind = _kind(word, wanted)
    if not name or "/" in name:
        raise UsageError(
            f"`{wanted}` names no workload",
            hint="Write NAME or KIND/NAME, such as `deployment/web`.",
        )
    ref = ObjectRef(_HOMES.get(kind, "apps/v1"), kind, name, namespace)
    if kind not in _KINDS:
        raise await _refused(cluster, ref)
    try:
        await cluster.get(ref)
    except NotFoundError:
        raise await _missing(cluster, ref.name, namespace, kind) from None
    return ref


async def _by_name(cluster: Cluster, name: str, namespace: str) -> ObjectRef:
    if not name:
        raise UsageError("No workload is named", hint="Write NAME or KIND/NAME.")
    found = [ref for ref in await _known(cluster, namespace) if ref.name == name]
    if len(found) > 1:
        both = " and ".join(f"`{_spoken(ref)}`" for ref in found)
        raise UsageError(
            f"`{name}` means two workloads in namespace `{namespace}`: {both}",
            hint=f"Name the kind as well, as in `{_spoken(found[0])}`.",
        )
    if found:
        return found[0]
    for kind in ("DaemonSet", "Pod", "ReplicaSet", "Job", "CronJob"):
        ref = ObjectRef(_HOMES.get(kind, "apps/v1"), kind, name, namespace)
        try:
            await cluster.get(ref)
        except (NotFoundError, ForbiddenError):
            continue
        raise await _refused(cluster, ref)
    raise await _missing(cluster, name, namespace)


def _kind(word: str, wanted: str) -> str:
    plain, _, group = word.lower().partition(".")
    kind = _SPELLINGS.get(plain)
    group = group.removeprefix("v1.") if group.startswith("v1.") else group
    if kind is None or (group and _GROUPS.get(group) != _HOMES.get(kind, "apps/v1")):
        near = nearest(plain, _SPELLINGS)
        raise UsageError(
            f"`{wanted}` names no workload: there is no kind `{word}` that can be synced",
            hint=near or "It is `deployment/NAME` or `statefulset/NAME`.",
        )
    return kind


async def _known(cluster: Cluster, namespace: str) -> list[ObjectRef]:
    """All that can be synced. A kind that may not be listed is left out, unless it is so with
    all."""
    found: list[ObjectRef] = []
    refused: list[ForbiddenError] = []
    for kind in _KINDS:
        try:
            listing = await cluster.list("apps/v1", kind, namespace=namespace)
        except ForbiddenError as error:
            refused.append(error)
            continue
        found += [
            ObjectRef("apps/v1", kind, str(item["metadata"]["name"]), namespace)
            for item in listing.items
        ]
    if len(refused) == len(_KINDS):
        raise refused[0]
    return found


async def _missing(cluster: Cluster, name: str, namespace: str, kind: str = "") -> UsageError:
    known = await _known(cluster, namespace)
    what = f"`{kind.lower()}/{name}`" if kind else f"Deployment or StatefulSet `{name}`"
    same = [ref for ref in known if ref.name == name]
    names = sorted({ref.name for ref in known})
    near = nearest(name, names)
    if same:
        hint = f"Did you mean `{_spoken(same[0])}`?"
    elif near:
        hint = near
    elif names:
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        hint = f"There are: {', '.join(names[:8])}{more}."
    else:
        hint = "There is none at all. Another namespace is chosen with `-n`."
    if not same and not near and (there := await _elsewhere(cluster, name, namespace)):
        hint = f"There is one in namespace `{there}`: `-n {there}`."
    return UsageError(f"There is no {what} in namespace `{namespace}`", hint=hint)


async def _elsewhere(cluster: Cluster, name: str, namespace: str) -> str:
    """A namespace that has a workload of this name, where it may be asked; else nothing."""
    for kind in _KINDS:
        try:
            listing = await cluster.list("apps/v1", kind)
        except ForbiddenError:
            continue
        places = sorted(
            str(item["metadata"]["namespace"])
            for item in listing.items
            if item["metadata"]["name"] == name
        )
        if places and namespace not in places:
            return places[0]
    return ""


async def _refused(cluster: Cluster, ref: ObjectRef) -> UsageError:
    """Something that makes pods and cannot be synced; with what owns it, where that can."""
    try:
        item: Object | None = await cluster.get(ref)
    except (NotFoundError, ForbiddenError):
        item = None
    owner = await _owner(cluster, item, ref.namespace) if item is not None else None
    if item is None and ref.kind != "CronJob":
        hint = "Write which one, as in `deployment/NAME` or `statefulset/NAME`."
    elif owner is not None and owner.kind in _KINDS:
        hint = f"It belongs to `{_spoken(owner)}`: write that."
    elif owner is not None:
        hint = f"It belongs to `{_spoken(owner)}`, which is none."
    else:
        hint = "For development, put its pod template into a Deployment, and sync that."
    return UsageError(
        f"`{_spoken(ref)}` cannot be synced: a session needs a Deployment or a StatefulSet",
        hint=hint,
    )


async def _owner(cluster: Cluster, item: Object, namespace: str) -> ObjectRef | None:
    """What stands at the top of the owners, or as far as they may be read."""
    found: ObjectRef | None = None
    current: Object | None = item
    for _ in range(_DEPTH):
        if current is None:
            break
        references = current["metadata"].get("ownerReferences") or ()
        owner = next((one for one in references if one.get("controller")), None)
        if owner is None:
            break
        found = ObjectRef(owner["apiVersion"], owner["kind"], owner["name"], namespace)
        try:
            current = await cluster.get(found)
        except (NotFoundError, ForbiddenError):
            current = None
    return found


def _spoken(ref: ObjectRef) -> str:
    return f"{ref.kind.lower()}/{ref.name}"
