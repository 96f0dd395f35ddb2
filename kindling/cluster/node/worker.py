"""One pod: everything that is done for it, by one task.

The worker is level-triggered. Whatever happens (the pod's object changes, a container ends, a delay
is over) only wakes it; a turn then looks at how things are and starts what is missing. Anything
that takes time is a task of its own that wakes the worker when it is done.
"""

from __future__ import annotations

import asyncio
import logging
import shutil

from kindling.cluster.model.api import Obj
from kindling.cluster.model.status import ApiError
from kindling.cluster.node.clock import parse_stamp, wait_until
from kindling.cluster.node.ending import Deadline, stop_container
from kindling.cluster.node.home import PodHome
from kindling.cluster.node.life import Life, tell
from kindling.cluster.node.references import references_of
from kindling.cluster.node.restore import slots_of
from kindling.cluster.node.site import Site
from kindling.cluster.node.slot import Role, Slot
from kindling.cluster.node.status import PodView, pod_status, will_restart
from kindling.cluster.node.writing import release, write_status

__all__ = ["PodWorker"]

_log = logging.getLogger(__name__)
_PATIENCE = 1.0  # seconds for which a start may go untold
_TRY_AGAIN = 5.0  # seconds after a write that failed
_OVER = ("Succeeded", "Failed")
_DEADLINE_TEXT = "Pod was active on the node longer than the specified deadline"


class PodWorker:
    """Tends the pod of one UID on one node until its object is gone."""

    def __init__(self, site: Site, pod: Obj) -> None:
        self._site = site
        self.pod = pod
        self.uid = str(pod["metadata"]["uid"])
        self.home = PodHome(site, self.uid)
        now, now_monotonic = site.clock.time(), site.clock.monotonic()
        self.slots = slots_of(pod, self.home.folder, now)
        self._tasks: asyncio.TaskGroup | None = None
        self._preparing: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._timer: float | None = None
        self._gone = False
        self._frozen = False
        self._quiet_until = now_monotonic + _PATIENCE
        self._stuck = False
        self._initialized = False
        self._failure: tuple[str, str] | None = None
        self._ending: Deadline | None = None
        self._ended = False
        self._released = False
        # A pod that was over when the node began keeps its status as it is.
        self._over = (pod.get("status") or {}).get("phase") in _OVER
        if self._over:
            self._ended = True
        self.interests = self._interests()

    # What the node tells the worker

    def update(self, pod: Obj) -> None:
        """The pod's object changed."""
        before, self.pod = self.pod, pod
        if before.get("spec") != pod.get("spec"):
            self.interests = self._interests()
            self._take_spec(pod)
        if before["metadata"].get("labels") != pod["metadata"].get("labels") or before[
            "metadata"
        ].get("annotations") != pod["metadata"].get("annotations"):
            self.home.inputs.set()
        self._wake.set()

    def vanish(self) -> None:
        """The pod's object is gone: end what runs, without ado."""
        self._gone = True
        self._wake.set()

    def freeze(self) -> None:
        """Nothing more is to be started or told: the cluster is going down."""
        self._frozen = True

    def inputs_changed(self) -> None:
        """Something that the pod refers to changed."""
        self.home.inputs.set()
        self._wake.set()

    # PodPlace, for the lives of its containers

    def changed(self) -> None:
        self._wake.set()

    def stop(self, slot: Slot, probe: Obj, why: str) -> None:
        """Stop a container that a probe or its hook condemned; it starts anew by its policy."""
        run = slot.run
        if run is None or run.stopping or self._tasks is None:
            return
        grace = probe.get("terminationGracePeriodSeconds")
        if grace is None:
            grace = self.grace
        deadline = Deadline(self._site.clock.monotonic() + float(grace))
        self._tasks.create_task(
            stop_container(self._site, self.pod, slot, self.home.facts().pod_ip, deadline, why),
            name=f"stop-{slot.name}",
        )

    # The worker itself

    async def run(self) -> None:
        """Until the pod's object is gone and nothing of the pod is left."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            while True:
                self._wake.clear()
                self._timer = None
                self._turn(tasks)
                if self._gone and self._ended:
                    break
                if self._to_be_told and not await self._write():
                    self.vanish()
                if self._ended and self._deleted and not (self._released or self._frozen):
                    await self._release()
                await wait_until(self._wake, self._site.clock, self._timer)
        self._site.puller.forget(self.uid)
        await asyncio.to_thread(shutil.rmtree, self.home.folder, ignore_errors=True)

    @property
    def _to_be_told(self) -> bool:
        """Whether the status is to be written now; that of a pod whose last container ended waits
        for its sandbox to go, so that its end is one write."""
        finishing = self._ending is not None and not any(slot.run for slot in self.slots)
        return not (
            self._over
            or self._gone
            or self._frozen
            or self._quiet()
            or (finishing and not self._ended)
        )

    def _quiet(self) -> bool:
        """Whether to wait a moment with the status, as more is to be told at once: a pod that
        starts without ado goes from its binding to running in one write."""
        if self._ending is not None or self._stuck:
            return False
        if self.home.sandbox is not None and not any(slot.beginning for slot in self.slots):
            return False
        if self._site.clock.monotonic() >= self._quiet_until:
            return False
        self._at(self._quiet_until)
        return True

    @property
    def _deleted(self) -> bool:
        return bool(self.pod["metadata"].get("deletionTimestamp"))

    def _turn(self, tasks: asyncio.TaskGroup) -> None:
        if self._ended or self._frozen:
            return
        if self._gone or self._deleted:
            grace = 1.0 if self._gone else self._deletion_grace()
            self._end(tasks, grace)
        elif self._ending is None and self._too_old():
            self._failure = ("DeadlineExceeded", _DEADLINE_TEXT)
            self._site.events.normal(self.pod, "DeadlineExceeded", _DEADLINE_TEXT)
            self._end(tasks, self.grace)
        if self._ending is not None:
            return
        if self.home.sandbox is None:
            if self._preparing is None:
                self._preparing = tasks.create_task(
                    self._prepare(tasks), name=f"prepare-{self.uid}"
                )
            return
        if (due := self.home.refresh(self.pod)) is not None:
            self._at(due)
        inputs = self.home.inputs.is_set()
        self.home.inputs.clear()
        self._tend(tasks, inputs)
        if self._is_over():
            self._end(tasks, self.grace)

    def _tend(self, tasks: asyncio.TaskGroup, inputs: bool) -> None:
        """Start what is to run now: init containers one after the other, then all the rest."""
        blocked = False
        for slot in self.slots:
            if slot.role not in (Role.INIT, Role.SIDECAR):
                continue
            if slot.role is Role.SIDECAR or not self._initialized:
                self._start_if_due(tasks, slot, inputs)
            if self._initialized:
                continue
            done = slot.started if slot.role is Role.SIDECAR else slot.succeeded
            if not done:
                blocked = True
                break
        if not blocked:
            self._initialized = True
        for slot in self.slots:
            if slot.role is Role.EPHEMERAL or (slot.role is Role.MAIN and self._initialized):
                self._start_if_due(tasks, slot, inputs)

    def _start_if_due(self, tasks: asyncio.TaskGroup, slot: Slot, inputs: bool) -> None:
        if slot.life is not None or not will_restart(self.pod, slot):
            return
        now = self._site.clock.monotonic()
        if slot.retry_at > now and not (slot.config_failed and inputs):
            self._at(slot.retry_at)
            return
        if slot.terminated is not None and not slot.retry_at:
            due = slot.backoff.until(slot.failed_at)
            if due > now:
                self._back_off(slot)
                self._at(due)
                return
            slot.backoff.step(now)
        slot.retry_at = 0.0
        slot.beginning = True
        self._quiet_until = now + _PATIENCE
        slot.life = tasks.create_task(
            Life(self._site, self, self.home, slot).run(), name=f"life-{self.uid}-{slot.name}"
        )

    def _back_off(self, slot: Slot) -> None:
        metadata = self.pod["metadata"]
        named = f"{metadata['name']}_{metadata['namespace']}({self.uid})"
        minutes, seconds = divmod(int(slot.backoff.delay), 60)
        delay = f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
        text = f"back-off {delay} restarting failed container={slot.name} pod={named}"
        if slot.waiting != ("CrashLoopBackOff", text):
            slot.waiting = ("CrashLoopBackOff", text)
            self._site.events.warning(
                tell(self.pod, slot),
                "BackOff",
                f"Back-off restarting failed container {slot.name} in pod {named}",
            )

    def _is_over(self) -> bool:
        """Whether every container that matters has ended for good."""
        mains = [slot for slot in self.slots if slot.role is Role.MAIN]
        if not self._initialized:
            return any(
                slot.role is Role.INIT
                and slot.life is None
                and slot.terminated is not None
                and not slot.succeeded
                and not will_restart(self.pod, slot)
                for slot in self.slots
            )
        return all(slot.life is None and not will_restart(self.pod, slot) for slot in mains)

    # Beginning and ending

    async def _prepare(self, tasks: asyncio.TaskGroup) -> None:
        await self.home.prepare(lambda: self.pod, tasks, self._tell_stuck)
        self._preparing = None
        self._stuck = False
        self._wake.set()

    def _tell_stuck(self) -> None:
        self._stuck = True
        self._wake.set()

    def _end(self, tasks: asyncio.TaskGroup, grace: float) -> None:
        """Begin to end the whole pod, or let an end that has begun come sooner."""
        at = self._site.clock.monotonic() + grace
        if self._ending is not None:
            self._ending.shorten(at)
            return
        self._ending = Deadline(at)
        tasks.create_task(self._bring_to_end(self._ending), name=f"end-{self.uid}")

    async def _bring_to_end(self, deadline: Deadline) -> None:
        site = self._site
        if self._preparing is not None:
            self._preparing.cancel()
            await asyncio.wait((self._preparing,))
            self._preparing = None
        for slot in self.slots:
            if slot.run is None and slot.life is not None:
                slot.life.cancel()
        address = self.home.facts().pod_ip
        # Sidecars outlive what they serve, and end in the opposite order of their start.
        first = [slot for slot in self.slots if slot.role is not Role.SIDECAR]
        stops = (stop_container(site, self.pod, slot, address, deadline) for slot in first)
        await asyncio.gather(*stops)
        for slot in reversed([one for one in self.slots if one.role is Role.SIDECAR]):
            await stop_container(site, self.pod, slot, address, deadline)
        lives = [slot.life for slot in self.slots if slot.life is not None]
        if lives:
            await asyncio.wait(lives)
        for slot in self.slots:
            slot.life = None
        await self.home.leave()
        self._ended = True
        self._wake.set()

    def _too_old(self) -> bool:
        limit = self.pod["spec"].get("activeDeadlineSeconds")
        begun = parse_stamp((self.pod.get("status") or {}).get("startTime"))
        if limit is None or not begun:
            return False
        left = begun + float(limit) - self._site.clock.time()
        if left <= 0:
            return True
        self._at(self._site.clock.monotonic() + left)
        return False

    @property
    def grace(self) -> float:
        """Seconds that the pod's containers have between the request to end and their end."""
        grace = self.pod["spec"].get("terminationGracePeriodSeconds")
        return 30.0 if grace is None else float(grace)

    def _deletion_grace(self) -> float:
        grace = self.pod["metadata"].get("deletionGracePeriodSeconds")
        return self.grace if grace is None else float(grace)

    # Status

    async def _release(self) -> None:
        metadata = self.pod["metadata"]
        try:
            await release(self._site.api, metadata["name"], metadata["namespace"], self.uid)
            self._released = True
        except ApiError as error:
            self._try_again("pod %s not deleted: %s", error)

    def _try_again(self, text: str, error: ApiError) -> None:
        """The disk may be full, or the server may be closing: what runs is not to suffer."""
        _log.warning(text, self.pod["metadata"]["name"], error)
        self._at(self._site.clock.monotonic() + _TRY_AGAIN)

    async def _write(self) -> bool:
        metadata = self.pod["metadata"]
        try:
            return await write_status(
                self._site.api, metadata["name"], metadata["namespace"], self.uid, self._status
            )
        except ApiError as error:
            self._try_again("status of pod %s not written: %s", error)
            return True

    def _status(self, pod: Obj) -> Obj:
        view = PodView(
            host_address=self._site.runtime.node_address,
            address=self.home.address,
            has_sandbox=self.home.sandbox is not None,
            initialized=self._initialized,
            ending=self._ended,
            failure=self._failure if self._ended else None,
        )
        return pod_status(pod, self.slots, view, self._site.clock.time())

    # The rest

    def _take_spec(self, pod: Obj) -> None:
        """What may change in a pod's spec: images, and ephemeral containers that come."""
        spec = pod["spec"]
        known = {slot.name: slot for slot in self.slots}
        for field in ("initContainers", "containers", "ephemeralContainers"):
            for container in spec.get(field) or ():
                slot = known.get(container["name"])
                if slot is None and field == "ephemeralContainers":
                    self.slots.append(Slot(container, Role.EPHEMERAL))
                elif slot is not None and slot.spec != container:
                    changed = slot.spec.get("image") != container.get("image")
                    slot.spec = container
                    if changed and slot.run is not None:
                        self.stop(
                            slot,
                            {},
                            f"Container {slot.name} definition changed, will be restarted",
                        )

    def _interests(self) -> frozenset[tuple[str, str, str]]:
        namespace = self.pod["metadata"]["namespace"]
        return frozenset((plural, namespace, name) for plural, name in references_of(self.pod))

    def _at(self, moment: float) -> None:
        """Wake at a moment of the monotonic clock, if nothing does so before."""
        self._timer = moment if self._timer is None else min(self._timer, moment)
