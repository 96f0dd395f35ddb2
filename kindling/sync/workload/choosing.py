"""Which containers are a session's, and what is waited for. Pure.

A session reaches the chosen container in every pod of the workload's newest revision that runs
and is not on its way out. Being ready is not asked for: what crashes at the user's last save is
mended by the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kindling.graph.spec import Readiness
from kindling.objects.identity import Manifest
from kindling.objects.pods import (
    Patience,
    Trouble,
    container_statuses,
    is_deleting,
    pod_name,
    troubles,
)
from kindling.objects.revision import Progress, assess
from kindling.sync.protocol import Container
from kindling.sync.template.patch import carries
from kindling.sync.template.session import Session, held

__all__ = ["Chosen", "Wanted", "choose", "has_patch", "still"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which containers are wanted: those called `name`, and as one of `also`, of pods that carry
    the patch of `session` where it has one. Without a session, of all pods of the newest revision.

    `patch` is the session as it was sent, by which a template is known that lost a part of it.
    """

    session: str
    name: str
    patched: bool = False
    supervised: bool = False
    patch: Session | None = None
    also: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.also)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a session has now. `waiting` says for each pod that is still to come why it does not;
    `failed` is what keeps the whole roll-out from going on."""

    containers: tuple[Container, ...] = ()
    waiting: tuple[str, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    failed: str = ""
    complete: bool = False
    """Every pod that the workload wants is among them."""
    unseen: bool = False
    """The workload was changed, and its controller does not know yet: which pods are of its newest
    template cannot be told for now."""
    lost: bool = False
    """The workload is gone, or its template no longer has the session's patch."""
    gone: bool = False


def choose(
    workload: Manifest | None,
    replica_sets: Sequence[Manifest],
    pods: Sequence[Manifest],
    wanted: Wanted,
    now: datetime,
    warnings: Mapping[str, Sequence[Manifest]] | None = None,
) -> Chosen:
    """What of `workload` the session has; of one that it has lost, nothing. `warnings` are events
    by the uid of their pod."""
    if workload is None:
        return Chosen(waiting=("the workload is gone",), lost=True, gone=True)
    lost = _is_lost(workload, wanted)

    def runs(pod: Manifest) -> bool:
        return all(_running(pod, wanted, name) is not None for name in wanted.names)

    standing = assess(workload, replica_sets, pods, Readiness.WAIT, runs)
    ours = [] if lost else list(standing.pods)
    if wanted.patched:
        ours = [pod for pod in ours if has_patch(pod, wanted.session)]
    running = (_running(pod, wanted, name) for pod in ours for name in wanted.names)
    found = [container for container in running if container is not None]
    waiting: list[str] = []
    ailing: list[Trouble] = []
    for pod in ours:
        if is_deleting(pod) or runs(pod):
            continue
        events = (warnings or {}).get(str(pod["metadata"]["uid"]), ())
        ail = troubles(pod, now, Patience(), events)
        ailing += ail
        waiting.append(ail[0].summary if ail else f"pod {pod_name(pod)}: {_phase(pod, wanted)}")
    if not waiting and standing.progress is Progress.WAITING:
        waiting.append(standing.text)
    return Chosen(
        tuple(sorted(found, key=lambda one: (one.pod, wanted.names.index(one.name)))),
        tuple(waiting),
        tuple(ailing),
        standing.text if standing.progress is Progress.FAILED else "",
        standing.progress is Progress.READY
        and len(found) >= _replicas(workload) * len(wanted.names),
        _unseen(workload),
        lost,
    )


def still(last: Chosen | None, now: Chosen) -> bool:
    """Whether a session has what it had `last`. A change of the workload that its controller has
    not seen yet, such as of the number of replicas, takes no container away."""
    if last is None:
        return False
    if now.unseen and not now.lost:
        return True
    return (now.containers, now.complete, now.lost) == (last.containers, last.complete, last.lost)


def _unseen(workload: Manifest) -> bool:
    seen = int((workload.get("status") or {}).get("observedGeneration") or 0)
    return seen < int(workload["metadata"].get("generation") or 0)


def _is_lost(workload: Manifest, wanted: Wanted) -> bool:
    if not wanted.session:
        return False
    if wanted.patch is not None:
        return not carries(workload["spec"]["template"], wanted.patch)
    other = held(workload)
    return other is None or other.name != wanted.session


def has_patch(pod: Manifest, session: str) -> bool:
    """Whether a pod was made from the template as `session` patched it."""
    inside = held({"metadata": pod["metadata"]})
    return inside is not None and inside.name == session


def _running(pod: Manifest, wanted: Wanted, name: str) -> Container | None:
    if is_deleting(pod):
        return None
    status = next((s for s in container_statuses(pod) if s.get("name") == name), None)
    if status is None or not (status.get("state") or {}).get("running"):
        return None
    metadata = pod["metadata"]
    return Container(
        namespace=str(metadata.get("namespace", "")),
        pod=str(metadata["name"]),
        name=name,
        pod_uid=str(metadata["uid"]),
        id=str(status.get("containerID") or ""),
        node=str(pod["spec"].get("nodeName") or ""),
        supervised=wanted.supervised and name == wanted.name,
        mounted=wanted.patched,
    )


def _phase(pod: Manifest, wanted: Wanted) -> str:
    for status in container_statuses(pod):
        waiting = (status.get("state") or {}).get("waiting") or {}
        if status.get("name") in wanted.names and waiting.get("reason"):
            return str(waiting["reason"])
    return str((pod.get("status") or {}).get("phase") or "Pending").lower()


def _replicas(workload: Manifest) -> int:
    spec = workload["spec"]
    replicas = 1 if spec.get("replicas") is None else int(spec["replicas"])
    strategy = spec.get("updateStrategy") or {}
    kept = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    return max(0, replicas - kept)
