"""What the operator may do, and nothing else.

Nobody may hand out rights that he has not himself, so the operator holds those that it gives to the
build agents of runner pools, in place of `bind` or `escalate`, which would give it all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kindling.operator.definitions.core import GROUP
from kindling.operator.definitions.environment import environment_definition
from kindling.operator.definitions.pool import POOL_KINDS, pool_definition
from kindling.operator.pools.rights import agent_rules

__all__ = ["LEASE", "cluster_rules", "lease_rules", "operator_rules", "seeing_lease_rules"]

LEASE = "kindling-operator"
"""The Lease that says who acts."""

Rule = dict[str, Any]

_SEE = ("get", "list", "watch")
_KEEP = (*_SEE, "create", "delete", "patch")
_RBAC = "rbac.authorization.k8s.io"


def operator_rules() -> list[Rule]:
    """In the namespaces where it acts, or in all of them."""
    kinds = _plurals()
    rights: list[tuple[str, Iterable[str], Iterable[str]]] = [
        (GROUP, kinds, _SEE),
        (GROUP, [f"{kind}/status" for kind in kinds], ("patch",)),
        # Asked of whoever makes owner references that hold up the deletion of their owner.
        (GROUP, [f"{kind}/finalizers" for kind in kinds], ("update",)),
        ("apps", ["deployments"], _KEEP),
        ("", ["secrets", "serviceaccounts", "services"], _KEEP),
        # Variables of dependencies may come from one; the URL is made of them.
        ("", ["configmaps"], ("get",)),
        # Data is never deleted by the operator: a claim goes with its owner.
        ("", ["persistentvolumeclaims"], (*_SEE, "create", "patch")),
        ("networking.k8s.io", ["ingresses"], _KEEP),
        (_RBAC, ["roles", "rolebindings"], _KEEP),
        ("", ["pods"], _SEE),
        # What it tells of an environment; the same thing twice is counted up.
        ("", ["events"], ("create", "get", "patch")),
    ]
    for rule in agent_rules():
        rights += [(group, rule["resources"], rule["verbs"]) for group in rule["apiGroups"]]
    return _merged(rights)


def cluster_rules() -> list[Rule]:
    """What belongs to no namespace: read only. Definitions are written, and seen to, by whoever
    installs the operator."""
    return _merged([("networking.k8s.io", ["ingressclasses"], _SEE)])


def lease_rules() -> list[Rule]:
    """Where its Lease is. Making one cannot be limited to a name, changing it can."""
    leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    return [
        {**leases, "verbs": ["create", "get", "list", "watch"]},
        {**leases, "resourceNames": [LEASE], "verbs": ["patch"]},
    ]


def seeing_lease_rules() -> list[Rule]:
    """Where the Lease of an operator of all namespaces would be, for one of some namespaces."""
    return _merged([("coordination.k8s.io", ["leases"], _SEE)])


def _plurals() -> list[str]:
    definitions = [environment_definition(), *map(pool_definition, POOL_KINDS)]
    return sorted(one["spec"]["names"]["plural"] for one in definitions)


def _merged(rights: Iterable[tuple[str, Iterable[str], Iterable[str]]]) -> list[Rule]:
    """One rule for all resources of a group with the same verbs, in a stable order."""
    verbs: dict[tuple[str, str], set[str]] = {}
    for group, resources, allowed in rights:
        for resource in resources:
            verbs.setdefault((group, resource), set()).update(allowed)
    rules: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (group, resource), allowed in sorted(verbs.items()):
        rules.setdefault((group, tuple(sorted(allowed))), []).append(resource)
    return [
        {"apiGroups": [group], "resources": resources, "verbs": list(allowed)}
        for (group, allowed), resources in rules.items()
    ]
