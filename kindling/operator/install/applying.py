"""Bringing an operator into a cluster, and finding what of it is there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from kindling.errors import ClusterError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import ForbiddenError, NotFoundError
from kindling.kube.protocol import Cluster, Object
from kindling.operator.controller.comparing import differences
from kindling.operator.install.manifests import (
    HASH_ANNOTATION,
    INSTALLATION_LABEL,
    KINDS,
    NAME,
    TEMPLATE_ANNOTATION,
    Installation,
    operator_objects,
)

__all__ = ["Done", "Verb", "apply_objects", "belonging", "reference"]


_LABELS = (("app.kubernetes.io/managed-by", "kindling"), ("app.kubernetes.io/name", NAME))


class Verb(Enum):
    """What became of an object; the value is for people."""

    CREATED = "created"
    CHANGED = "changed"
    DELETED = "deleted"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Done:
    """One object and what became of it; `fields` are those that changed, `why` explains."""

    verb: Verb
    ref: ObjectRef
    fields: tuple[str, ...] = ()
    why: str = ""


def reference(item: Object) -> ObjectRef:
    head = item["metadata"]
    return ObjectRef(item["apiVersion"], item["kind"], head["name"], head.get("namespace", ""))


async def apply_objects(
    cluster: Cluster, told: Installation, *, dry_run: bool = False
) -> tuple[Done, ...]:
    """Make the cluster have the objects of an installation, and no others of it.

    What is as it should be is not written. A namespace that is there already is left as it is.

    Raises:
        ClusterError: It refuses, or an object of that name is there and is not ours.
    """
    done: list[Done] = []
    wanted = operator_objects(told)
    for manifest in wanted:
        done.append(await _apply(cluster, manifest, dry_run))
    refs = {reference(manifest) for manifest in wanted}
    for item in await belonging(cluster, told.namespace):
        ref = reference(item)
        if ref not in refs and ref.kind != "Namespace":
            if not dry_run:
                await cluster.delete(ref, uid=item["metadata"]["uid"])
            done.append(Done(Verb.DELETED, ref))
    return tuple(done)


async def _apply(cluster: Cluster, manifest: Object, dry_run: bool) -> Done:
    ref = reference(manifest)
    try:
        live = await cluster.get(ref)
    except NotFoundError:
        if not dry_run:
            await cluster.apply(manifest)
        return Done(Verb.CREATED, ref)
    if ref.kind == "Namespace":
        return Done(Verb.KEPT, ref)
    label = manifest["metadata"]["labels"][INSTALLATION_LABEL]
    if (live["metadata"].get("labels") or {}).get(INSTALLATION_LABEL) != label:
        raise ClusterError(
            f"There is already {ref}, and `kindling operator install` did not make it",
            hint="Delete or rename it, or install into another namespace with `--namespace`.",
        )
    changed = differences(manifest, live)
    if not changed:
        return Done(Verb.KEPT, ref)
    if not dry_run:
        # Our own object, changed by whom it may be: this command says how it is to be.
        await cluster.apply(manifest, force=True)
    told = tuple(
        path for path in changed if not path.endswith((HASH_ANNOTATION, TEMPLATE_ANNOTATION))
    )
    return Done(Verb.CHANGED, ref, told or changed)


async def belonging(cluster: Cluster, namespace: str = "") -> list[dict[str, Any]]:
    """Objects of the installation that runs in a namespace, or of all, in the order of `KINDS`.
    Kinds that may not be listed have none that we could remove."""
    found: list[dict[str, Any]] = []
    labels = ((INSTALLATION_LABEL, namespace),) if namespace else _LABELS
    for api_version, kind in KINDS:
        try:
            listing = await cluster.list(api_version, kind, labels=labels)
        except ForbiddenError:
            continue
        for item in listing.items:
            if INSTALLATION_LABEL in item["metadata"]["labels"]:
                found.append({**item, "apiVersion": api_version, "kind": kind})
    return found
