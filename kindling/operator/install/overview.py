"""Who acts in a cluster, and what of the operator is installed there: what `status` shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from kindling.graph.spec import ObjectRef
from kindling.kube.errors import ForbiddenError, NotFoundError
from kindling.kube.protocol import Cluster, Object
from kindling.operator.controller.definitions import definitions
from kindling.operator.controller.run import holder
from kindling.operator.definitions.environment import KIND
from kindling.operator.install.applying import belonging, reference
from kindling.operator.install.manifests import INSTALLATION_LABEL, ONLY_ANNOTATION, SYSTEM
from kindling.operator.install.removal import declared
from kindling.operator.install.rights import LEASE
from kindling.operator.parts import Part, deployment_part

__all__ = ["Acting", "Installed", "Overview", "look"]


@dataclass(frozen=True, slots=True)
class Installed:
    """An operator that was installed into a namespace, for the namespaces `only` or for all."""

    namespace: str
    image: str
    only: tuple[str, ...]
    part: Part


@dataclass(frozen=True, slots=True)
class Acting:
    """What is declared in a namespace, and who sees to it; nobody where `actor` is empty."""

    namespace: str
    environments: int
    pools: int
    actor: str


@dataclass(frozen=True, slots=True)
class Overview:
    """`everywhere` is who acts in all namespaces, empty when nobody does."""

    missing: tuple[str, ...]
    """Kinds that the cluster does not know."""
    installed: tuple[Installed, ...]
    everywhere: str
    namespaces: tuple[Acting, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "missing_kinds": list(self.missing),
            "installed": [
                {
                    "namespace": one.namespace,
                    "image": one.image,
                    "only": list(one.only),
                    "ready": one.part.ready,
                    "reason": one.part.reason,
                    "message": one.part.message,
                }
                for one in self.installed
            ],
            "acts_everywhere": self.everywhere or None,
            "namespaces": [
                {
                    "namespace": one.namespace,
                    "environments": one.environments,
                    "pools": one.pools,
                    "actor": one.actor or None,
                }
                for one in self.namespaces
            ],
        }


async def look(cluster: Cluster) -> Overview:
    """Read it all once.

    Raises:
        ClusterError: The cluster cannot be read.
    """
    everywhere = await holder(cluster, SYSTEM)
    counts = Counter((ref.namespace, ref.kind == KIND) for ref in await declared(cluster))
    names = {namespace for namespace, _ in counts} | await _leased(cluster)
    namespaces = [
        Acting(
            name,
            counts[name, True],
            counts[name, False],
            everywhere or await holder(cluster, name),
        )
        for name in sorted(names)
    ]
    installed = [
        await _installed(cluster, item)
        for item in await belonging(cluster)
        if item["kind"] == "Deployment"
    ]
    return Overview(
        missing=tuple([kind for kind, ref in _kinds() if not await _there(cluster, ref)]),
        installed=tuple(installed),
        everywhere=everywhere,
        namespaces=tuple(one for one in namespaces if one.actor or one.environments or one.pools),
    )


def _kinds() -> list[tuple[str, ObjectRef]]:
    return [(one["spec"]["names"]["kind"], reference(one)) for one in definitions()]


async def _there(cluster: Cluster, ref: ObjectRef) -> bool:
    try:
        await cluster.get(ref)
    except NotFoundError:
        return False
    except ForbiddenError:
        return True  # whoever may not look has it from somebody who may
    return True


async def _leased(cluster: Cluster) -> set[str]:
    """Namespaces with a Lease of their own."""
    fields = (("metadata.name", LEASE),)
    try:
        listing = await cluster.list("coordination.k8s.io/v1", "Lease", fields=fields)
    except ForbiddenError:
        return set()
    return {item["metadata"]["namespace"] for item in listing.items} - {SYSTEM}


async def _installed(cluster: Cluster, item: Object) -> Installed:
    head, spec = item["metadata"], item["spec"]
    labels = tuple(sorted(spec["selector"]["matchLabels"].items()))
    pods = await cluster.list("v1", "Pod", namespace=head["namespace"], labels=labels)
    only = (head.get("annotations") or {}).get(ONLY_ANNOTATION) or ""
    return Installed(
        head["labels"][INSTALLATION_LABEL],
        spec["template"]["spec"]["containers"][0]["image"],
        tuple(part for part in only.split(",") if part),
        deployment_part(item, pods.items),
    )
