"""What ails a pod, read from its status. Pure.

A trouble is a fact about one container (or about the pod, when it has not got so far) with a
judgement: `hopeless` means that waiting longer will plainly not help, so that somebody has to
change something.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kindling.objects.identity import Manifest as Object

__all__ = [
    "Patience",
    "Trouble",
    "container_statuses",
    "is_deleting",
    "is_done",
    "is_probed",
    "is_ready",
    "pod_name",
    "restarts",
    "running_since",
    "troubles",
    "waits_for",
]

_AT_ONCE = frozenset({"ErrImageNeverPull", "InvalidImageName"})
_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError"})
_CREATE = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"}
)
_DEFINITE = (
    "not found",
    "does not exist",
    "denied",
    "unauthorized",
    "forbidden",
    "manifest unknown",
)
_WAIT = "wait-for-"
"""How the init containers of environments are named that wait for a dependency."""
_OTHER_FAILURES = frozenset({"Evicted", "NodeAffinity", "OutOfcpu", "OutOfmemory", "OutOfpods"})


@dataclass(frozen=True, slots=True)
class Patience:
    """How long troubles that may pass are given, in seconds since the pod was made, and how often a
    container may crash before its crashing counts as a loop."""

    crashes: int = 2
    unschedulable: float = 30.0
    creation: float = 10.0
    mounts: float = 60.0
    steady: float = 1.0
    steady_again: float = 10.0
    """How long a container without a readiness probe must have run before it counts as serving, the
    second one after it has crashed. Kubernetes calls it ready as soon as it has been started."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a container does not run. `exit_code` is None where nothing has exited."""

    pod: str
    container: str
    reason: str
    message: str = ""
    exit_code: int | None = None
    restarts: int = 0
    hopeless: bool = False
    crashed: bool = False
    """It ran and ended, so that its log may say why."""

    @property
    def summary(self) -> str:
        """One line: pod, container, reason, exit code, restarts."""
        where = f"pod {self.pod}"
        if self.container:
            where += f", container {self.container}"
        facts = [self.reason]
        if self.exit_code is not None:
            facts.append(f"exit code {self.exit_code}")
        if self.restarts:
            facts.append(f"{self.restarts} restart{'s' if self.restarts > 1 else ''}")
        return f"{where}: {', '.join(facts)}"


def pod_name(pod: Object) -> str:
    return str(pod["metadata"]["name"])


def is_deleting(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def is_done(pod: Object) -> bool:
    """Whether all its containers ended well."""
    return bool(_status(pod).get("phase") == "Succeeded")


def is_ready(pod: Object) -> bool:
    """Whether it serves: its own readiness gates and probes say so, and nobody is deleting it."""
    conditions = _status(pod).get("conditions") or ()
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and not is_deleting(pod)


def restarts(pod: Object) -> int:
    """How often containers of it were started anew."""
    return sum(int(status.get("restartCount") or 0) for status in container_statuses(pod))


def is_probed(pod: Object) -> bool:
    """Whether every container has a readiness probe, so that being ready means something."""
    containers: Sequence[Mapping[str, Any]] = pod["spec"].get("containers") or ()
    return all(container.get("readinessProbe") for container in containers)


def running_since(pod: Object) -> float:
    """When the last of its containers started, in seconds of the epoch by the node's clock; now and
    later when one does not run."""
    moments = [
        _moment(started).timestamp() if started else float("inf")
        for status in (pod.get("status") or {}).get("containerStatuses") or ()
        for started in [((status.get("state") or {}).get("running") or {}).get("startedAt")]
    ]
    return max(moments, default=float("inf"))


def container_statuses(pod: Object) -> Iterator[Mapping[str, Any]]:
    """The statuses of all containers, init containers first."""
    status = _status(pod)
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def waits_for(pod: Object) -> str:
    """What an init container of it waits for just now, `postgres at shop-postgres:5432`; empty when
    none does."""
    specs = {str(one["name"]): one for one in pod["spec"].get("initContainers") or ()}
    for status in _status(pod).get("initContainerStatuses") or ():
        name = str(status["name"])
        if name.startswith(_WAIT) and "running" in (status.get("state") or {}):
            env = {e["name"]: e.get("value", "") for e in specs.get(name, {}).get("env") or ()}
            host, port = env.get("WAIT_HOST"), env.get("WAIT_PORT")
            where = f" at {host}:{port}" if host and port else ""
            return f"{name.removeprefix(_WAIT)}{where}"
    return ""


def troubles(
    pod: Object, now: datetime, patience: Patience, warnings: Sequence[Object] = ()
) -> tuple[Trouble, ...]:
    """What ails the pod, the worst first. `warnings` are its Warning events, the newest last."""
    if is_deleting(pod) or is_done(pod):
        return ()
    age = (now - _moment(pod["metadata"]["creationTimestamp"])).total_seconds()
    found = [*_of_containers(pod, age, patience), *_of_pod(pod, age, patience, warnings)]
    return tuple(sorted(found, key=lambda trouble: (not trouble.hopeless, not trouble.container)))


def _of_containers(pod: Object, age: float, patience: Patience) -> Iterator[Trouble]:
    name = pod_name(pod)
    never = pod["spec"].get("restartPolicy") == "Never"
    for status in container_statuses(pod):
        container, restarts = str(status["name"]), int(status.get("restartCount") or 0)
        state = status.get("state") or {}
        waiting, ended = state.get("waiting"), state.get("terminated")
        before = (status.get("lastState") or {}).get("terminated")
        if waiting:
            reason = str(waiting.get("reason") or "")
            message = _short(str(waiting.get("message") or ""))
            if reason == "CrashLoopBackOff":
                yield _crash(name, container, before or {}, restarts, restarts >= patience.crashes)
            elif reason in _AT_ONCE:
                yield Trouble(name, container, reason, message, hopeless=True)
            elif reason in _PULL:
                # The kubelet itself calls a failed pull final by backing off from it.
                definite = any(word in message.lower() for word in _DEFINITE)
                hopeless = definite or reason != "ErrImagePull"
                yield Trouble(name, container, reason, message, hopeless=hopeless)
            elif reason in _CREATE:
                hopeless = age > patience.creation
                yield Trouble(
                    name, container, reason, message, restarts=restarts, hopeless=hopeless
                )
            elif before and int(before.get("exitCode") or 0):
                yield _crash(name, container, before, restarts, hopeless=False)
        elif ended and int(ended.get("exitCode") or 0):
            hopeless = never or restarts >= patience.crashes
            yield _crash(name, container, ended, restarts, hopeless)


def _crash(
    pod: str, container: str, ended: Mapping[str, Any], restarts: int, hopeless: bool
) -> Trouble:
    code = ended.get("exitCode")
    reason = str(ended.get("reason") or "Error")
    looping = "CrashLoopBackOff" if hopeless and restarts else ""
    words = ", ".join(word for word in (looping, reason) if word)
    return Trouble(
        pod,
        container,
        words,
        _short(str(ended.get("message") or "")),
        int(code) if code is not None else None,
        restarts,
        hopeless,
        crashed=True,
    )


def _of_pod(
    pod: Object, age: float, patience: Patience, warnings: Sequence[Object]
) -> Iterator[Trouble]:
    name, status = pod_name(pod), _status(pod)
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield Trouble(
                name,
                "",
                str(condition.get("reason") or "Unschedulable"),
                _short(str(condition.get("message") or "")),
                hopeless=age > patience.unschedulable,
            )
    reason = str(status.get("reason") or "")
    if status.get("phase") == "Failed" and (
        reason in _OTHER_FAILURES or not any(container_statuses(pod))
    ):
        message = _short(str(status.get("message") or ""))
        yield Trouble(name, "", reason or "Failed", message, hopeless=True)
    for event in warnings:
        what, message = str(event.get("reason") or ""), _short(str(event.get("message") or ""))
        if what in ("FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox"):
            if not any(status.get("containerStatuses") or ()) or not is_ready(pod):
                yield Trouble(name, "", what, message, hopeless=age > patience.mounts)
        elif what == "Unhealthy" and not is_ready(pod):
            yield Trouble(name, "", what, message)


def _status(pod: Object) -> Mapping[str, Any]:
    status: Mapping[str, Any] = pod.get("status") or {}
    return status


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 300 else f"{text[:300]}..."
