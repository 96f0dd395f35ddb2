"""The pod of one build, and what its status means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from kindling.agent.orders import BuildOrder, registry_of

__all__ = [
    "AGENT_LABEL",
    "CONTAINER",
    "KANIKO_IMAGE",
    "NEVER_RAN",
    "OUT_OF_MEMORY",
    "OUT_OF_TIME",
    "BuildSettings",
    "Stage",
    "Standing",
    "build_pod",
    "standing",
]

KANIKO_IMAGE = "gcr.io/kaniko-project/executor:v1.23.2"
AGENT_LABEL = "kindling.dev/build-agent"
CONTAINER = "kaniko"

OUT_OF_TIME = 124
NEVER_RAN = 125
OUT_OF_MEMORY = 137
"""Exit codes as `timeout`, `docker run` and the kernel have them."""

Object = Mapping[str, Any]

_SLACK = 120
"""Seconds that a pod gets beyond the time limit before it ends itself, should nobody end it."""
_HOPELESS = frozenset({"InvalidImageName", "ErrImageNeverPull"})


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """How pods build. `agent` names the agent in their labels; `owner` is the pod with which they
    go, as an owner reference."""

    namespace: str
    image: str = KANIKO_IMAGE
    registry: str = "registry:5000"
    agent: str = "build-agent"
    owner: Object | None = None
    memory: str = ""
    limit: float = 1800.0
    scheduling: float = 300.0
    """Seconds a pod may wait for a node."""
    starting: float = 60.0
    """Seconds its container may fail to start, as by an image that cannot be pulled."""

    @property
    def cache(self) -> str:
        """The repository of cached layers."""
        return f"{self.registry}/cache"


def build_pod(order: BuildOrder, settings: BuildSettings, token: str) -> dict[str, Any]:
    """The pod that builds an image from what is written to its standard input. `token` tells its
    name from those of other builds."""
    insecure = ["--insecure"] if registry_of(order.destination) == settings.registry else []
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": settings.image,
        "args": [
            "--context=tar://stdin",
            f"--destination={order.destination}",
            *([f"--dockerfile={order.dockerfile}"] if order.dockerfile else []),
            *insecure,
            f"--insecure-registry={settings.registry}",
            "--cache=true",
            f"--cache-repo={settings.cache}",
            "--push-retry=3",
            "--skip-push-permission-check",
        ],
        "stdin": True,
        "stdinOnce": True,
    }
    if settings.memory:
        container["resources"] = {
            "limits": {"memory": settings.memory},
            "requests": {"memory": settings.memory},
        }
    metadata: dict[str, Any] = {
        "name": f"kaniko-{_sanitised(order.name)}-{token}",
        "namespace": settings.namespace,
        "labels": {
            "app.kubernetes.io/name": "kaniko",
            "app.kubernetes.io/component": "build",
            "app.kubernetes.io/managed-by": "kindling",
            AGENT_LABEL: settings.agent,
        },
        "annotations": {"kindling.dev/destination": order.destination},
    }
    if settings.owner:
        metadata["ownerReferences"] = [dict(settings.owner)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "activeDeadlineSeconds": int(settings.limit) + _SLACK,
            "terminationGracePeriodSeconds": 5,
            "containers": [container],
        },
    }


class Stage(Enum):
    """How far a build's pod is. The value is what a person is told while it lasts."""

    UNSCHEDULED = "waits for a node"
    STARTING = "starts"
    STUCK = "does not start"
    RUNNING = "runs"
    ENDED = "has ended"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a pod's status says. `code` is meant where the stage is `ENDED`; `hopeless`: waiting
    cannot help."""

    stage: Stage
    message: str = ""
    code: int = 0
    hopeless: bool = False


def standing(pod: Object) -> Standing:
    """Read the status of a build's pod."""
    status = pod.get("status") or {}
    state = _container_state(status)
    if ended := state.get("terminated"):
        return _ended(ended, status)
    if status.get("phase") == "Failed":
        return _failed(status)
    if "running" in state:
        return Standing(Stage.RUNNING)
    if waiting := state.get("waiting"):
        reason = str(waiting.get("reason") or "")
        if reason and reason not in ("ContainerCreating", "PodInitializing"):
            message = _joined(reason, waiting.get("message"))
            return Standing(Stage.STUCK, message, hopeless=reason in _HOPELESS)
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return Standing(
                Stage.UNSCHEDULED, _joined(condition.get("reason"), condition.get("message"))
            )
    return Standing(Stage.STARTING)


def _container_state(status: Object) -> Object:
    for one in status.get("containerStatuses") or ():
        if one.get("name") == CONTAINER:
            state: Object = one.get("state") or {}
            return state
    return {}


def _ended(ended: Object, status: Object) -> Standing:
    code, reason = int(ended.get("exitCode") or 0), str(ended.get("reason") or "")
    if reason == "OOMKilled":
        told = "the build needed more memory than it may have, and was killed (OOMKilled)"
        return Standing(Stage.ENDED, told, code or OUT_OF_MEMORY)
    if status.get("reason") == "DeadlineExceeded":
        return _failed(status)
    if reason in ("ContainerCannotRun", "StartError"):
        told = _joined("the build's image cannot be run", ended.get("message"))
        return Standing(Stage.ENDED, told, NEVER_RAN)
    if status.get("phase") == "Failed" and status.get("reason"):
        return Standing(Stage.ENDED, _joined(status["reason"], status.get("message")), code or 1)
    return Standing(Stage.ENDED, "", code)


def _failed(status: Object) -> Standing:
    """It failed as a whole: evicted, its node lost, or its own deadline passed."""
    reason = str(status.get("reason") or "")
    code = OUT_OF_TIME if reason == "DeadlineExceeded" else NEVER_RAN
    told = _joined(reason or "the pod failed", status.get("message"))
    return Standing(Stage.ENDED, told, code)


def _joined(reason: object, message: object) -> str:
    return ": ".join(" ".join(str(part).split()) for part in (reason, message) if part)


def _sanitised(name: str) -> str:
    text = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-")
    return text or "build"
