"""The probes of one run of a container: when they are made, and what follows from them.

Rules of the kubelet (`pkg/kubelet/prober`): a startup probe holds the others back; liveness begins
as alive and readiness as not ready; so many results in a row turn the verdict. Without a readiness
probe a container is ready once its run has settled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from kindling.cluster.model.api import Obj
from kindling.cluster.node.clock import sleep
from kindling.cluster.node.handlers import Outcome, run_probe
from kindling.cluster.node.site import Site
from kindling.cluster.node.slot import Run, Slot

__all__ = ["Prober"]


class Prober:
    """`changed` is called when readiness or startedness did; `condemn` when the container is to be
    stopped and started anew, with the probe that says so and why."""

    def __init__(
        self,
        site: Site,
        slot: Slot,
        run: Run,
        about: Obj,
        address: str,
        changed: Callable[[], None],
        condemn: Callable[[Obj, str], None],
    ) -> None:
        self._site = site
        self._slot = slot
        self._run = run
        self._about = about
        self._address = address
        self._changed = changed
        self._condemn = condemn
        self._begun = site.clock.monotonic()

    async def run(self) -> None:
        """All probes, until cancelled or nothing is left to do."""
        spec, slot = self._slot.spec, self._slot
        if (probe := spec.get("startupProbe")) and not await self._first(probe):
            return
        slot.started = True
        probe = spec.get("readinessProbe")
        wait = 0.0 if probe else self._run.settled_at - self._site.clock.monotonic()
        slot.ready = not probe and wait <= 0
        self._run.started.set()
        self._changed()
        async with asyncio.TaskGroup() as group:
            if probe:
                group.create_task(self._readiness(probe), name="readiness")
            elif wait > 0:
                group.create_task(self._settle(wait), name="settle")
            if probe := spec.get("livenessProbe"):
                group.create_task(self._liveness(probe), name="liveness")

    async def _settle(self, wait: float) -> None:
        """Ready without a probe, unless it is being stopped by then."""
        await sleep(self._site.clock, wait)
        if not self._run.stopping:
            self._slot.ready = True
            self._changed()

    async def _first(self, probe: Obj) -> bool:
        """The startup probe; whether it succeeded."""
        return await self._until_turned("Startup", probe, wanted=True)

    async def _liveness(self, probe: Obj) -> None:
        await self._until_turned("Liveness", probe, wanted=False)

    async def _until_turned(self, kind: str, probe: Obj, *, wanted: bool) -> bool:
        good = bad = 0
        await self._initial_delay(probe)
        while True:
            if await self._probe(kind, probe):
                good, bad = good + 1, 0
                if wanted and good >= (probe.get("successThreshold") or 1):
                    return True
            else:
                good, bad = 0, bad + 1
                if bad >= (probe.get("failureThreshold") or 3):
                    name = self._slot.name
                    text = f"Container {name} failed {kind.lower()} probe, will be restarted"
                    self._condemn(probe, text)
                    return False
            await self._period(probe)

    async def _readiness(self, probe: Obj) -> None:
        good = bad = 0
        await self._initial_delay(probe)
        while True:
            if await self._probe("Readiness", probe):
                good, bad = good + 1, 0
                ready = good >= (probe.get("successThreshold") or 1) or self._slot.ready
            else:
                good, bad = 0, bad + 1
                ready = self._slot.ready and bad < (probe.get("failureThreshold") or 3)
            if ready != self._slot.ready:
                self._slot.ready = ready
                self._changed()
            await self._period(probe)

    async def _initial_delay(self, probe: Obj) -> None:
        if delay := probe.get("initialDelaySeconds"):
            gone = self._site.clock.monotonic() - self._begun
            await sleep(self._site.clock, float(delay) - gone)

    async def _period(self, probe: Obj) -> None:
        await sleep(self._site.clock, float(probe.get("periodSeconds") or 10))

    async def _probe(self, kind: str, probe: Obj) -> bool:
        site = self._site
        verdict = await run_probe(
            probe, self._slot.spec, self._run.container, self._address, site.runtime, site.clock
        )
        match verdict.outcome:
            case Outcome.SUCCESS:
                return True
            case Outcome.WARNING:
                text = f"{kind} probe warning: {verdict.message}"
                site.events.warning(self._about, "ProbeWarning", text)
                return True
            case Outcome.FAILURE:
                text = f"{kind} probe failed: {verdict.message}"
            case Outcome.ERROR:
                text = f"{kind} probe errored and resulted in failure state: {verdict.message}"
        if not self._run.stopping:
            site.events.warning(self._about, "Unhealthy", text)
        return False
