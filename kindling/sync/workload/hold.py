"""A workload that a session has: its pods as they come and go, and the end of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from kindling.errors import ClusterError, StoreError, UsageError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import NotFoundError
from kindling.kube.podwatch import PodWatch
from kindling.kube.protocol import Cluster, Object
from kindling.objects.identity import display_name
from kindling.objects.pods import Trouble, is_deleting
from kindling.sync.notices import Released, Remark, Tell
from kindling.sync.protocol import Clock, Container
from kindling.sync.template.patch import carries
from kindling.sync.template.session import Session
from kindling.sync.workload.agents import (
    MANAGER,
    RENEWED_ANNOTATION,
    moment,
    session_config_map,
)
from kindling.sync.workload.choosing import Chosen, Wanted, choose, has_patch, still
from kindling.sync.workload.liveness import begin_life, end_life
from kindling.sync.workload.records import Record, Records
from kindling.sync.workload.renewing import renew
from kindling.sync.workload.replacing import changed_within, next_to_delete
from kindling.sync.workload.restoring import Choice, Decide, restore

__all__ = ["RENEW_EVERY", "Hold", "WorkloadGoneError"]

RENEW_EVERY = 60.0
"""Seconds between two signs of life for other machines."""
_ANSWER = 10.0
"""How many seconds the API server may take to show that it is there."""
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 8.0
"""Between two looks whether it is back."""
_AGAIN_MOST, _AGAIN_WITHIN = 5, 300.0
"""How often, within how many seconds, a session takes a workload again that others roll out."""


class WorkloadGoneError(NotFoundError):
    """Somebody deleted the workload of a session, and nobody made it anew."""


class Hold:
    """What `take` gives. `record` is what the way back needs; it is on disk already."""

    def __init__(
        self,
        cluster: Cluster,
        record: Record,
        records: Records,
        *,
        clock: Clock,
        tell: Tell,
        agent: bytes = b"",
        project: str = "",
    ) -> None:
        self.record = record
        self.cluster = cluster
        self.records = records
        self.clock = clock
        self.tell = tell
        self.agent = agent
        self.project = project
        self._chosen = Chosen()
        self._said: set[tuple[str, ...]] = set()
        self._lost = False
        self._renewed = clock.monotonic()
        self._taken_again: list[float] = []
        self.gone_after: float | None = None
        """How many seconds the workload may be gone, as it is while somebody replaces it, before
        `containers` ends. None: it is waited for."""
        self._gone_since: float | None = None
        self.cut_off = False
        """The API server does not answer, which was told; so will be that it is back."""
        self.back: Callable[[], None] | None = None
        """Called when it is."""
        self._looks = 0
        begin_life(record.session)

    @property
    def ref(self) -> ObjectRef:
        return self.record.ref

    @property
    def template(self) -> Mapping[str, Any]:
        """The pod template while the session has it."""
        return self.record.recorded.patched

    @property
    def whole(self) -> Session | None:
        """The session as a template carries it that lost no part of it. None: without a patch, or
        where the cluster itself made something else of it (a webhook), so that its annotation must
        do."""
        kept = self.record.recorded
        whole = self.record.patched and carries(kept.patched, kept.session)
        return kept.session if whole else None

    @property
    def container(self) -> str:
        """The name of the container that the session works in."""
        return self.record.recorded.session.container

    @property
    def waiting(self) -> tuple[str, ...]:
        """For each pod that is still to come, why it does not, in a few words."""
        return self._chosen.waiting

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """What keeps pods from coming. Where one is `hopeless`, waiting longer will not help."""
        return self._chosen.troubles

    @property
    def complete(self) -> bool:
        """Every pod that the workload wants runs, and was in the set that `containers` gave
        last."""
        return self._chosen.complete

    @property
    def lost(self) -> bool:
        """The workload is gone, or someone rolled it out without the session's part. `containers`
        takes it again by itself, unless another session has it, or somebody rolls it out again and
        again."""
        return self._chosen.lost

    async def containers(self) -> AsyncGenerator[tuple[Container, ...], None]:
        """The session's containers, whenever another set of them runs, or the set has become
        `complete` or `lost`; the first time at once, and perhaps none.

        They are the chosen container of every pod of the newest template that runs and is not on
        its way out; a container that was restarted is another one. Why others do not come is told,
        each reason once. Read it for as long as the session lasts, and close it before `release`:
        it also gives the sign of life for other machines, deletes the pods of a StatefulSet that
        updates on delete, and takes the workload again when someone rolled it out anew.

        Raises:
            WorkloadGoneError: The workload is gone (`gone_after`).
            ClusterError: What trying again does not mend, such as a permission.
        """
        last: Chosen | None = None
        watch = PodWatch(self.cluster, (self.ref,), ())
        try:
            await watch.start()
            while True:
                watch.changed.clear()
                if watch.error is not None:
                    raise watch.error
                if watch.away or self.cut_off:
                    await self._look_whether_cut_off()
                if watch.complete:
                    pods = watch.pods(self.ref)
                    chosen = self._chosen = self._choose(watch, pods)
                    self._say(chosen)
                    self._end_if_gone(chosen)
                    await self._replace_old(watch.workloads.get(self.ref), pods)
                    await self._take_again(watch.workloads.get(self.ref))
                    if not still(last, chosen):
                        last = chosen
                        await self._remember(chosen.containers)
                        yield chosen.containers
                        continue
                await changed_within(watch.changed, self.clock, self._patience())
                if not self._chosen.gone:
                    await self._give_sign()
        finally:
            await watch.close()

    async def release(self, *, decide: Decide = Choice.KEEP, fresh: bool = True) -> Released:
        """End the session: the template as it was, fresh pods where files were put into them,
        nothing of ours left. Without `fresh`, such pods stay as they are.

        Raises:
            ClusterError: The cluster refused or did not answer; the record is kept, and the next
                start or `kindling sync --restore` tries again.
        """
        try:
            return await restore(
                self.cluster,
                self.record,
                records=self.records,
                clock=self.clock,
                decide=decide,
                tell=self.tell,
                fresh=fresh,
            )
        finally:
            end_life(self.record.session)

    async def leave(self) -> None:
        """End the session, and let all stay as it is. The record stays, too, and says that this
        was meant; where the disk refuses that, it says what it said before.
        """
        self.record = replace(self.record, stays=True)
        try:
            await asyncio.to_thread(self.records.save, self.record)
        except StoreError as error:
            self.tell(Remark(error.message, warning=True))
        else:
            await self._write({"data": {"record": self.record.to_json()}})
        finally:
            end_life(self.record.session)

    def _choose(self, watch: PodWatch, pods: list[Object]) -> Chosen:
        session, patched = self.record.recorded.session, self.record.patched
        wanted = Wanted(
            session.name,
            session.container,
            patched,
            bool(patched and session.argv),
            self.whole,
            session.also,
        )
        return choose(
            watch.workloads.get(self.ref),
            watch.replica_sets(),
            pods,
            wanted,
            datetime.fromtimestamp(self.clock.time(), UTC),
            {str(pod["metadata"]["uid"]): watch.warnings(pod) for pod in pods},
        )

    def _say(self, chosen: Chosen) -> None:
        for trouble in chosen.troubles:
            key = (trouble.pod, trouble.container, trouble.reason)
            if key not in self._said:
                self._said.add(key)
                details = (trouble.message,) if trouble.message else ()
                self.tell(Remark(trouble.summary, warning=True, details=details))
        called = display_name(self.ref)
        if chosen.failed and ("failed", chosen.failed) not in self._said:
            self._said.add(("failed", chosen.failed))
            self.tell(Remark(f"{called}: {chosen.failed}", warning=True))
        if chosen.lost and not self._lost and chosen.gone:
            self.tell(Remark(f"{called} is gone", warning=True))
        self._lost = chosen.lost

    def _end_if_gone(self, chosen: Chosen) -> None:
        now = self.clock.monotonic()
        if not chosen.gone:
            self._gone_since = None
        elif self._gone_since is None:
            self._gone_since = now
        elif self.gone_after is not None and now - self._gone_since >= self.gone_after:
            raise WorkloadGoneError(
                f"{display_name(self.ref)} is gone, so that the session ends",
                hint="Start it again once it is deployed.",
            )

    def _patience(self) -> float:
        """How long the next look may wait."""
        if self.cut_off:
            return min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(self._looks, 10))
        if self._gone_since is None or self.gone_after is None:
            return RENEW_EVERY
        return max(0.0, self._gone_since + self.gone_after - self.clock.monotonic())

    async def _look_whether_cut_off(self) -> None:
        """A watch that broke says little: whether the API server answers does."""
        try:
            async with asyncio.timeout(_ANSWER):
                await self.cluster.get(self.ref)
        except (ClusterError, TimeoutError) as error:
            if isinstance(error, TimeoutError) or error.transient:
                self._looks += 1
                if not self.cut_off:
                    self.cut_off = True
                    why = str(error) or f"no answer within {_ANSWER:.0f} s"
                    lost = "The connection to the cluster is lost"
                    text = f"{lost}; what is saved goes over when it is back"
                    self.tell(Remark(text, warning=True, details=(why,)))
                return
            # It answers, and whoever needs what it refuses says so.
        self._looks = 0
        if self.cut_off:
            self.cut_off = False
            self.tell(Remark("The connection to the cluster is back"))
            if self.back is not None:
                self.back()

    async def _take_again(self, workload: Object | None) -> None:
        """Someone rolled the workload out anew: the session has it again, a few times."""
        if not self._chosen.lost or workload is None:
            return
        called, now = display_name(self.ref), self.clock.monotonic()
        self._taken_again = [one for one in self._taken_again if now - one < _AGAIN_WITHIN]
        if len(self._taken_again) >= _AGAIN_MOST:
            if ("again", called) not in self._said:
                self._said.add(("again", called))
                self.tell(
                    Remark(
                        f"{called} is rolled out again and again without the session's part, and "
                        "is left so now",
                        warning=True,
                        hint="Let whoever does that (such as a GitOps controller) pause, then "
                        "start the session again.",
                    )
                )
            return
        try:
            done = await renew(self)
        except (UsageError, NotFoundError) as error:
            key = ("lost", error.message)
            if key not in self._said:
                self._said.add(key)
                self.tell(Remark(error.message, warning=True, hint=error.hint))
            return
        if done:
            self._taken_again.append(now)
            self.tell(
                Remark(
                    f"Someone rolled {called} out anew. The session has it again, and at its end "
                    "what was rolled out comes back"
                )
            )

    async def _replace_old(self, workload: Object | None, pods: list[Object]) -> None:
        """A StatefulSet that updates on delete: its next pod without the session's part goes, once
        all others run."""
        if not self.record.patched or workload is None or self._chosen.lost:
            return
        strategy = workload["spec"].get("updateStrategy") or {}
        if workload.get("kind") != "StatefulSet" or strategy.get("type") != "OnDelete":
            return
        seen = int((workload.get("status") or {}).get("observedGeneration") or 0)
        if seen < int(workload["metadata"].get("generation") or 0):
            return
        replicas = workload["spec"].get("replicas")
        present = [pod for pod in pods if not is_deleting(pod)]
        old = [pod for pod in present if not has_patch(pod, self.record.session)]
        if len(pods) < (1 if replicas is None else int(replicas)) or len(present) < len(pods):
            return
        for pod in next_to_delete(present, old, len(present))[:1]:
            metadata = pod["metadata"]
            ref = ObjectRef("v1", "Pod", str(metadata["name"]), str(metadata["namespace"]))
            await self.cluster.delete(ref, uid=str(metadata["uid"]))

    async def _remember(self, containers: tuple[Container, ...]) -> None:
        """Before files are put into pods that nothing else makes fresh: which ones those are."""
        new = {one.pod_uid for one in containers} - set(self.record.touched)
        if self.record.patched or not new:
            return
        self.record = replace(self.record, touched=(*self.record.touched, *sorted(new)))
        await asyncio.to_thread(self.records.save, self.record)
        await self._write({"data": {"record": self.record.to_json()}})

    async def _give_sign(self) -> None:
        now = self.clock.monotonic()
        if now - self._renewed >= RENEW_EVERY:
            self._renewed = now
            text = moment(self.clock.time())
            await self._write({"metadata": {"annotations": {RENEWED_ANNOTATION: text}}})

    async def _write(self, change: Mapping[str, Any]) -> None:
        """Change the session's ConfigMap, for other machines' sake. That this fails is no reason to
        end a session; the record on disk says the same."""
        ref = session_config_map(self.record.session, self.ref.namespace)
        try:
            await self.cluster.patch(ref, change, manager=MANAGER)
        except ClusterError as error:
            key = ("copy", type(error).__name__)
            if not error.transient and key not in self._said:
                self._said.add(key)
                self.tell(
                    Remark(
                        "Other machines cannot see that this session lives",
                        details=(error.message,),
                    )
                )
