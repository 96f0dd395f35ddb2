"""Revisions of a Deployment: its ReplicaSets, their hashes and the annotations that tell history.

`kubectl rollout history` and `undo` read these annotations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import orjson

from kindling.cluster.controllers.kinds import DEPLOYMENTS
from kindling.cluster.controllers.meta import (
    int_or,
    labels,
    name_of,
    namespace_of,
    notes_of,
    owner_reference,
)
from kindling.cluster.controllers.pods import oldest_first
from kindling.cluster.controllers.rolling import Bounds
from kindling.cluster.model.api import Obj

__all__ = [
    "DESIRED",
    "HASH_LABEL",
    "HISTORY",
    "MAX_REPLICAS",
    "REVISION",
    "annotations_of_revision",
    "find_new",
    "highest_revision",
    "int_annotation",
    "new_replica_set",
    "safe_hash",
    "same_template",
    "sized_annotations",
]

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
_NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
        REVISION,
        HISTORY,
        DESIRED,
        MAX_REPLICAS,
    }
)
_SAFE = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and nothing that looks like one, so that no hash spells a word."""


def safe_hash(value: Any, collisions: int | None = None) -> str:
    """A short name for a JSON value that is the same today and tomorrow; another one for each
    number of collisions. As in Kubernetes it is a number of 32 bits, so that only ten of the
    letters occur in it."""
    data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    if collisions is not None:
        data += b"#%d" % collisions
    number = int.from_bytes(hashlib.sha256(data).digest()[:4], "big")
    return "".join(_SAFE[ord(digit) % len(_SAFE)] for digit in str(number))


def same_template(first: Obj, second: Obj) -> bool:
    """Whether two pod templates differ by nothing but the hash label."""
    return _without_hash(first) == _without_hash(second)


def _without_hash(template: Obj) -> Obj:
    meta = {
        key: value
        for key, value in (template.get("metadata") or {}).items()
        if value not in (None, {}, [])
    }
    if HASH_LABEL in meta.get("labels", {}):
        kept = {key: value for key, value in meta["labels"].items() if key != HASH_LABEL}
        meta.pop("labels")
        if kept:
            meta["labels"] = kept
    return {**template, "metadata": meta}


def find_new(deployment: Obj, replica_sets: Iterable[Obj]) -> Obj | None:
    """The ReplicaSet of the current template; the oldest, should there be several."""
    template = deployment["spec"]["template"]
    for replica_set in oldest_first(list(replica_sets)):
        if same_template(replica_set["spec"]["template"], template):
            return replica_set
    return None


def int_annotation(obj: Obj, name: str) -> int:
    """0 when it is missing or no number."""
    try:
        return int(notes_of(obj).get(name, "0"))
    except ValueError:
        return 0


def highest_revision(replica_sets: Iterable[Obj]) -> int:
    return max((int_annotation(replica_set, REVISION) for replica_set in replica_sets), default=0)


def sized_annotations(bounds: Bounds) -> dict[str, str]:
    """What a ReplicaSet remembers of the Deployment's size, for proportional scaling."""
    return {DESIRED: str(bounds.replicas), MAX_REPLICAS: str(bounds.most)}


def annotations_of_revision(deployment: Obj, replica_set: Obj | None, revision: int) -> Obj:
    """What the newest ReplicaSet is to be annotated with: the Deployment's own annotations, the
    revision, and the revisions it has been before an undo brought it back."""
    found = dict(notes_of(replica_set)) if replica_set else {}
    for key, value in notes_of(deployment).items():
        if key not in _NOT_COPIED:
            found[key] = value
    before = found.get(REVISION)
    if not before or not before.isdigit() or int(before) < revision:
        found[REVISION] = str(revision)
        if before:
            earlier = [part for part in found.get(HISTORY, "").split(",") if part]
            if before not in earlier:
                found[HISTORY] = ",".join([*earlier, before])
    return found


def new_replica_set(deployment: Obj, revision: int, size: int, bounds: Bounds) -> Obj:
    """The ReplicaSet of the current template, not yet created."""
    spec = deployment["spec"]
    collisions = (deployment.get("status") or {}).get("collisionCount")
    digest = safe_hash(spec["template"], collisions)
    template = deepcopy(spec["template"])
    meta = dict(template.get("metadata") or {})
    meta["labels"] = {**(meta.get("labels") or {}), HASH_LABEL: digest}
    template["metadata"] = meta
    selector = deepcopy(spec["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: digest}
    new_spec: Obj = {"replicas": size, "selector": selector, "template": template}
    if seconds := int_or(spec.get("minReadySeconds"), 0):
        new_spec["minReadySeconds"] = seconds
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{name_of(deployment)}-{digest}",
            "namespace": namespace_of(deployment),
            "labels": {**labels({"metadata": meta})},
            "annotations": annotations_of_revision(deployment, None, revision)
            | sized_annotations(bounds),
            "ownerReferences": [owner_reference(DEPLOYMENTS, deployment)],
        },
        "spec": new_spec,
    }
