"""How a pool stands: its status, from its Deployment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from kindling.operator.parts import Part, condition, deployment_part
from kindling.operator.rules import Problem

__all__ = ["pool_status_of"]

Object = Mapping[str, Any]

_KEPT = ("activeJob", "lastJobCompleted", "devEnvironmentRef")


def pool_status_of(
    manifest: Object,
    deployment: Object | None,
    pods: Iterable[Object],
    problems: Collection[Problem],
    now: str,
) -> dict[str, Any]:
    """The status to write; equal to the live one when nothing has changed.

    `runnerRegistered` says that a runner's pod is available, as upstream's does: only the provider
    knows whether it took it. What a runner is busy with is kept as it is.
    """
    live = (deployment or {}).get("status") or {}
    before = manifest.get("status") or {}
    ready = live.get("availableReplicas", 0)
    if deployment is None:
        part = Part(False, "DeploymentMissing", "the runners' Deployment is not there")
    else:
        part = deployment_part(deployment, pods)
    found = [one for one in problems if one.blocking]
    if found:
        told = Part(False, found[0].reason, "; ".join(map(str, found)))
    else:
        reason = "RunnerReady" if part.ready else "RunnerNotReady"
        told = Part(part.ready, part.reason if deployment is None else reason, part.message)
    kept = {key: before[key] for key in _KEPT if key in before}
    return {
        **kept,
        "replicas": live.get("replicas", 0),
        "readyRunners": ready,
        "runnerRegistered": ready > 0,
        "observedGeneration": manifest["metadata"].get("generation", 0),
        "conditions": [
            condition("Ready", told, manifest, now),
            condition("DeploymentReady", part, manifest, now),
        ],
    }
