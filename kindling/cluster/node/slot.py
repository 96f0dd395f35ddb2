"""One container of a pod as the node sees it: its runs so far, and the one there is now."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from kindling.cluster.images.protocol import Image
from kindling.cluster.model.api import Obj
from kindling.cluster.node.backoff import Backoff
from kindling.cluster.node.clock import stamp
from kindling.cluster.node.logfile import LogFile
from kindling.cluster.node.output import Output
from kindling.cluster.runtime.protocol import Container

__all__ = ["PREFIX", "Role", "Run", "Slot", "unknown_end"]

PREFIX = "kindling://"


class Role(StrEnum):
    INIT = "init"
    SIDECAR = "sidecar"
    """An init container that stays (`restartPolicy: Always`)."""
    MAIN = "main"
    EPHEMERAL = "ephemeral"


@dataclass(slots=True, eq=False)
class Run:
    """A container that runs."""

    container: Container
    image: Image
    log: LogFile
    output: Output
    termination: Path
    """The file behind `terminationMessagePath`."""
    settled_at: float
    """From when on the monotonic clock it may be ready without a readiness probe."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    """The postStart hook and the startup probe have succeeded."""
    stopping: bool = False


@dataclass(slots=True, eq=False)
class Slot:
    """A container of the pod's spec. Only the pod's own worker changes it."""

    spec: Obj
    role: Role
    attempts: int = 0
    """How many runs have begun; one less is the restart count."""
    run: Run | None = None
    waiting: tuple[str, str] | None = None
    """Reason and message of a wait that is not just the beginning."""
    terminated: Obj | None = None
    """How the newest run ended, as long as no other follows."""
    last: Obj | None = None
    """How the run before that ended."""
    life: asyncio.Task[None] | None = None
    """Starts, tends and ends a run."""
    backoff: Backoff = field(default_factory=Backoff)
    failed_at: float = 0.0
    """When the newest run ended or could not begin, on the monotonic clock."""
    retry_at: float = 0.0
    """No start before this."""
    beginning: bool = False
    """A start is under way that takes no time to speak of: not a pull."""
    config_failed: bool = False
    """The start failed for something that a change of other objects may mend."""
    ready: bool = False
    started: bool = False
    image: str = ""
    image_id: str = ""
    container_id: str = ""

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def restarts(self) -> int:
        return max(0, self.attempts - 1)

    @property
    def succeeded(self) -> bool:
        return self.terminated is not None and self.terminated.get("exitCode") == 0

    @property
    def _told_ready(self) -> bool:
        if self.role is Role.INIT:
            return self.succeeded
        return self.ready and self.role is not Role.EPHEMERAL

    def state(self, initial: str) -> tuple[Obj, Obj]:
        """`state` and `lastState`; `initial` is the reason of the wait before the first start."""
        previous = {"terminated": self.last} if self.last else {}
        if self.run is not None:
            started = stamp(self.run.container.started_at)
            return {"running": {"startedAt": started}}, previous
        if self.waiting is not None:
            reason, message = self.waiting
            waiting = {"reason": reason} | ({"message": message} if message else {})
            newest = self.terminated or self.last
            return {"waiting": waiting}, {"terminated": newest} if newest else {}
        if self.terminated is not None:
            return {"terminated": self.terminated}, previous
        return {"waiting": {"reason": initial}}, previous

    def status(self, initial: str) -> Obj:
        """The entry of `containerStatuses`."""
        state, last = self.state(initial)
        status: Obj = {
            "name": self.name,
            "state": state,
            "lastState": last,
            "ready": self._told_ready,
            "restartCount": self.restarts,
            "image": self.image or self.spec.get("image", ""),
            "imageID": self.image_id,
        }
        if self.container_id:
            status["containerID"] = self.container_id
        if self.role is not Role.EPHEMERAL:
            status["started"] = self.started
        if mounts := self.spec.get("volumeMounts"):
            status["volumeMounts"] = [
                {"name": mount["name"], "mountPath": mount["mountPath"]}
                | (
                    {"readOnly": True, "recursiveReadOnly": "Disabled"}
                    if mount.get("readOnly")
                    else {}
                )
                for mount in mounts
            ]
        return status


def unknown_end(started: str, at: float) -> Obj:
    """The end of a run that nobody saw, because the node itself was gone."""
    end: Obj = {
        "exitCode": 137,
        "reason": "ContainerStatusUnknown",
        "message": "The container could not be located when the pod was terminated",
        "startedAt": started or None,
        "finishedAt": stamp(at),
    }
    return end
