"""One run of a container, from its image to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from functools import partial
from pathlib import Path
from typing import Protocol

from kindling.cluster.images.protocol import Image
from kindling.cluster.model.api import Obj
from kindling.cluster.node.clock import stamp
from kindling.cluster.node.environment import ConfigError
from kindling.cluster.node.handlers import run_hook
from kindling.cluster.node.home import PodHome
from kindling.cluster.node.launch import container_spec
from kindling.cluster.node.logfile import LogFile
from kindling.cluster.node.logread import last_text
from kindling.cluster.node.output import Output
from kindling.cluster.node.prober import Prober
from kindling.cluster.node.pulling import ImageError
from kindling.cluster.node.site import Site
from kindling.cluster.node.slot import PREFIX, Role, Run, Slot
from kindling.cluster.node.status import will_restart
from kindling.cluster.runtime.protocol import ContainerExit, StartError

__all__ = ["Life", "Owner", "log_path", "tell"]

_log = logging.getLogger(__name__)
_ASK_AGAIN = 10.0  # seconds between tries of a container that cannot be configured
_MOST_WORDS = 4096  # bytes of a termination message,
_MOST_LOG_WORDS = 2048  # and of one taken from the log, of at most
_MOST_LOG_LINES = 80
_SETTLED = 0.5  # seconds; see `_settling`
_EPOCH = "1970-01-01T00:00:00Z"


class Owner(Protocol):
    """What a life needs of its pod's worker."""

    @property
    def pod(self) -> Obj: ...

    def changed(self) -> None:
        """Something is to be shown in the status, or decided anew."""
        ...

    def stop(self, slot: Slot, probe: Obj, why: str) -> None:
        """Begin to stop a container that is to be started anew."""
        ...


def log_path(folder: Path, container: str, attempt: int) -> Path:
    """The log of a container's run; attempts count from 0. `folder` is the pod's."""
    return folder / "logs" / container / f"{attempt}.log"


def tell(pod: Obj, slot: Slot) -> Obj:
    """The reference to a container for its events."""
    field = {
        Role.INIT: "initContainers",
        Role.SIDECAR: "initContainers",
        Role.MAIN: "containers",
        Role.EPHEMERAL: "ephemeralContainers",
    }[slot.role]
    metadata = pod["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "resourceVersion": metadata.get("resourceVersion", ""),
        "fieldPath": f"spec.{field}{{{slot.name}}}",
    }


class Life:
    """Runs `slot` once. Whatever goes wrong is written into the slot; only cancellation passes."""

    def __init__(self, site: Site, owner: Owner, home: PodHome, slot: Slot) -> None:
        self._site = site
        self._owner = owner
        self._home = home
        self._slot = slot

    async def run(self) -> None:
        slot, site = self._slot, self._site
        about = tell(self._owner.pod, slot)
        slot.config_failed = False
        slot.beginning = True
        try:
            image = await site.puller.ensure(self._owner.pod, slot.spec, about, self._slow)
            slot.beginning = True
            run = await self._begin(image, about)
        except ImageError as problem:
            slot.waiting = (problem.reason, problem.message)
            slot.retry_at = problem.retry_at
        except ConfigError as error:
            self._cannot("CreateContainerConfigError", str(error), about)
        except StartError as error:
            if error.reason == "RunContainerError":
                self._not_started(str(error), about)
            else:
                self._cannot(error.reason, str(error), about)
        except OSError as error:
            self._cannot("CreateContainerError", str(error), about)
        else:
            try:
                with site.images.lease(image.id):
                    await self._tend(run, about)
            finally:
                if run.container.stdin is not None:
                    run.container.stdin.close()
            # Not when cancelled: a node that lets go of its pods leaves them running.
            with contextlib.suppress(OSError, StartError):
                await run.container.remove()
        finally:
            slot.beginning = False
            slot.life = None
            self._owner.changed()

    def _slow(self) -> None:
        self._slot.beginning = False
        self._owner.changed()

    def _cannot(self, reason: str, message: str, about: Obj) -> None:
        slot, site = self._slot, self._site
        if slot.waiting != (reason, message):
            site.events.warning(about, "Failed", f"Error: {message}")
        slot.waiting = (reason, message)
        slot.config_failed = True
        slot.retry_at = site.clock.monotonic() + _ASK_AGAIN

    def _not_started(self, message: str, about: Obj) -> None:
        slot, site = self._slot, self._site
        site.events.warning(about, "Failed", f"Error: {message}")
        self._over(
            {
                "exitCode": 128,
                "reason": "StartError",
                "message": message,
                "startedAt": _EPOCH,
                "finishedAt": stamp(site.clock.time()),
                "containerID": slot.container_id,
            }
        )
        if will_restart(self._owner.pod, slot):
            slot.waiting = ("RunContainerError", message)

    def _over(self, end: Obj) -> None:
        slot = self._slot
        slot.terminated = end
        slot.run = None
        slot.waiting = None
        slot.ready = slot.started = False
        slot.failed_at = self._site.clock.monotonic()

    async def _begin(self, image: Image, about: Obj) -> Run:
        slot, site, home = self._slot, self._site, self._home
        place = home.place(slot)
        spec = container_spec(site.api, self._owner.pod, slot.spec, image, place, home.facts())
        attempt = slot.attempts
        before = slot.attempts, slot.terminated, slot.last
        if stale := [one for one in _siblings(place.folder) if one != place.folder]:
            # Of runs whose end nobody saw; the others were cleared by the runtime.
            await asyncio.to_thread(_remove, stale)
        place.folder.mkdir(parents=True, exist_ok=True)
        place.termination.parent.mkdir(parents=True, exist_ok=True)
        place.termination.write_bytes(b"")
        place.termination.chmod(0o666)
        slot.attempts += 1
        slot.image = image.names[0] if image.names else slot.spec.get("image", "")
        slot.image_id = image.digests[0] if image.digests else image.id
        slot.container_id = PREFIX + spec.id
        for old in (home.folder / "logs" / slot.name).glob("*.log*"):
            number = old.name.partition(".")[0]
            if number.isdigit() and int(number) < attempt - 1:
                old.unlink(missing_ok=True)
        site.events.normal(about, "Created", f"Created container: {slot.name}")
        if slot.terminated is not None:
            slot.last, slot.terminated = slot.terminated, None
        try:
            container = await site.runtime.run(spec)
        except StartError as error:
            if error.reason != "RunContainerError":
                # It was not even made: that is no run, and the one before is still the newest.
                slot.attempts, slot.terminated, slot.last = before
            raise
        log = LogFile(log_path(home.folder, slot.name, attempt), site.clock)
        site.events.normal(about, "Started", f"Started container {slot.name}")
        settled_at = site.clock.monotonic() + _settling(self._owner.pod)
        run = Run(container, image, log, Output(container, log), place.termination, settled_at)
        slot.run = run
        slot.waiting = None
        slot.beginning = False
        return run

    async def _tend(self, run: Run, about: Obj) -> None:
        slot = self._slot
        async with asyncio.TaskGroup() as group:
            output = group.create_task(run.output.run(), name=f"output-{slot.name}")
            tending = group.create_task(self._accompany(run, about), name=f"tend-{slot.name}")
            self._owner.changed()
            end = await run.container.wait()
            run.ended.set()
            tending.cancel()
            await output
        self._over(self._end(run, end))
        self._owner.changed()

    async def _accompany(self, run: Run, about: Obj) -> None:
        """The postStart hook, then the probes."""
        slot, site, home = self._slot, self._site, self._home
        address = home.facts().pod_ip
        if hook := (slot.spec.get("lifecycle") or {}).get("postStart"):
            failure = await run_hook(
                hook, slot.spec, run.container, address, site.runtime, site.clock
            )
            if failure:
                _log.info("postStart hook of %s: %s", slot.name, failure)
                site.events.warning(about, "FailedPostStartHook", "PostStartHook failed")
                self._owner.stop(slot, {}, "FailedPostStartHook")
                return
        condemn = partial(self._owner.stop, slot)
        await Prober(site, slot, run, about, address, self._owner.changed, condemn).run()

    def _end(self, run: Run, end: ContainerExit) -> Obj:
        """The container's `terminated` state."""
        reason = "OOMKilled" if end.out_of_memory else "Error" if end.code else "Completed"
        state: Obj = {
            "exitCode": end.code,
            "reason": reason,
            "startedAt": stamp(run.container.started_at),
            "finishedAt": stamp(end.at),
            "containerID": PREFIX + run.container.id,
        }
        if words := self._last_words(run, end):
            state["message"] = words
        return state

    def _last_words(self, run: Run, end: ContainerExit) -> str:
        try:
            with run.termination.open("rb") as file:
                words = file.read(_MOST_WORDS).decode(errors="replace")
        except OSError:
            words = ""
        policy = self._slot.spec.get("terminationMessagePolicy")
        if not words and end.code != 0 and policy == "FallbackToLogsOnError":
            words = last_text(run.log.path, _MOST_LOG_LINES, _MOST_LOG_WORDS)
        return words


def _settling(pod: Obj) -> float:
    """Seconds that a container is to be up before it may be ready without a probe.

    One that ends at once must not be ready before its end is seen: for that moment a Deployment
    would take pods away that serve. The kubelet has no such rule, but looks at its containers once
    a second, and mostly sees the end first. Pods that run to an end take nobody's place, and
    `kubectl run --attach` waits until they are ready.
    """
    return _SETTLED if (pod["spec"].get("restartPolicy") or "Always") == "Always" else 0.0


def _siblings(folder: Path) -> list[Path]:
    return list(folder.parent.iterdir()) if folder.parent.is_dir() else []


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
