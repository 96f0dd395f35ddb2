"""The pods of a StatefulSet: their names, claims and revisions. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from kindling.cluster.controllers.history import REVISION_LABEL
from kindling.cluster.controllers.kinds import STATEFUL_SETS
from kindling.cluster.controllers.meta import (
    condition,
    int_or,
    labels,
    name_of,
    namespace_of,
    terminating,
)
from kindling.cluster.controllers.pods import phase, pod_of_template
from kindling.cluster.model.api import Obj

__all__ = [
    "claims_for",
    "first_ordinal",
    "healthy",
    "ordinal_of",
    "partition_of",
    "revision_of",
    "running_and_ready",
    "stateful_pod",
]

_POD_NAME = "statefulset.kubernetes.io/pod-name"
_POD_INDEX = "apps.kubernetes.io/pod-index"
_TAIL = re.compile(r"(.*)-([0-9]+)")


def first_ordinal(owner: Obj) -> int:
    return int_or((owner["spec"].get("ordinals") or {}).get("start"), 0)


def ordinal_of(owner: Obj, pod: Obj) -> int | None:
    """The number in a pod's name; None for one that is not of this set's making."""
    found = _TAIL.fullmatch(name_of(pod))
    if found is None or found[1] != name_of(owner):
        return None
    return int(found[2])


def partition_of(owner: Obj) -> int:
    """The ordinals below this stay at the revision they have."""
    rolling = (owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    return int_or(rolling.get("partition"), 0)


def revision_of(pod: Obj) -> str:
    return labels(pod).get(REVISION_LABEL, "")


def running_and_ready(pod: Obj) -> bool:
    found = condition(pod.get("status"), "Ready")
    return phase(pod) == "Running" and found is not None and found.get("status") == "True"


def healthy(pod: Obj) -> bool:
    return running_and_ready(pod) and not terminating(pod)


def claims_for(owner: Obj, ordinal: int) -> dict[str, Obj]:
    """The claims of one pod, by the name of the volume."""
    found: dict[str, Obj] = {}
    selected = (owner["spec"].get("selector") or {}).get("matchLabels") or {}
    for template in owner["spec"].get("volumeClaimTemplates") or ():
        meta = deepcopy(template.get("metadata") or {})
        volume = meta["name"]
        meta = {key: meta[key] for key in ("labels", "annotations") if meta.get(key)}
        meta["name"] = f"{volume}-{name_of(owner)}-{ordinal}"
        meta["namespace"] = namespace_of(owner)
        meta["labels"] = {**meta.get("labels", {}), **selected}
        found[volume] = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": meta,
            "spec": deepcopy(template["spec"]),
        }
    return found


def stateful_pod(owner: Obj, template: Obj, revision: str, ordinal: int) -> Obj:
    """The pod of an ordinal, with a stable name and its own claims."""
    name = f"{name_of(owner)}-{ordinal}"
    pod = pod_of_template(template, STATEFUL_SETS, owner, name=name)
    pod["metadata"].setdefault("labels", {}).update(
        {_POD_NAME: name, _POD_INDEX: str(ordinal), REVISION_LABEL: revision}
    )
    spec = pod["spec"]
    spec["hostname"] = name
    spec["subdomain"] = owner["spec"].get("serviceName") or ""
    claims = claims_for(owner, ordinal)
    volumes: Sequence[dict[str, Any]] = spec.get("volumes") or ()
    kept = [volume for volume in volumes if volume.get("name") not in claims]
    mounted = [
        {"name": volume, "persistentVolumeClaim": {"claimName": name_of(claim)}}
        for volume, claim in claims.items()
    ]
    if kept or mounted:
        spec["volumes"] = [*mounted, *kept]
    return pod
