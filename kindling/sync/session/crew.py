"""A session at work: the workload in its hands, its replicas, and what is done for each change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from kindling.errors import ClusterError, ExecutionError
from kindling.lang.declared import FallBackOn, RunStep
from kindling.objects.identity import display_name
from kindling.sync.notices import Acted, Reached, Remark, Tell
from kindling.sync.protocol import CannotCarryError, Clock
from kindling.sync.rules.decision import Carry, decide
from kindling.sync.rules.failures import Action
from kindling.sync.runtimes.plan import Strategy
from kindling.sync.runtimes.runtime import Check, Mode
from kindling.sync.session.acting import Deed, How, signals
from kindling.sync.session.beginning import Beginning
from kindling.sync.session.fleet import Fleet, Member, patiently
from kindling.sync.session.order import Order, Outcome
from kindling.sync.session.replica import Wanted
from kindling.sync.session.retrying import patiently_begun
from kindling.sync.session.serving import Served, Service
from kindling.sync.session.sourced import Sourced
from kindling.sync.session.task import Task, carried_of, outcome_of, slowest, unsteady_of
from kindling.sync.session.watching import Deaths
from kindling.sync.session.workshop import ASIDE, Workshop
from kindling.sync.trees.manifest import Kind
from kindling.sync.workload.hold import Hold

__all__ = ["Crew", "Take"]

Take = Callable[[Strategy], Awaitable[Hold]]
"""Takes the workload as a strategy needs it."""

_SETTLED = 30.0
"""How long a container that is still to come is waited for at the start, once others are there."""
_PATIENCE = 180.0
_TICK = 0.05


class Crew:
    """What `SyncSession` works with. Nothing is touched before `engage`."""

    def __init__(
        self,
        order: Order,
        beginning: Beginning,
        source: Sourced,
        service: Service,
        fleet: Fleet,
        take: Take,
        workshop: Workshop | None,
        clock: Clock,
        tell: Tell,
    ) -> None:
        self.order = order
        self.hold: Hold | None = None
        self._returned: Hold | None = None
        """What is to be given back before the workload is taken anew."""
        self.fleet = fleet
        self.service = service
        self.deaths = Deaths(service, tell, clock)
        self.touched: set[str] = set()
        """Places that changed during the session (`Order.everything` False)."""
        self.owed: tuple[RunStep, ...] = ()
        """Commands that failed, and run again with the next change."""
        self.engaged = asyncio.Event()
        self._closed = False
        """It was told that files may not be put into a destination."""
        self._unsteady = False
        """A file was left out that did not stop changing."""
        self._argv = beginning.argv
        self._source = source
        self._take = take
        self._workshop = workshop
        self._clock = clock
        self._tell = tell
        self._over = False
        """The session ends: nobody takes the workload any more."""
        self._useless: Deed | None = None
        """A signal that was sent in vain."""
        self._fatal: frozenset[str] = frozenset()
        """The source's files as they were when they ended a program that nothing supervises."""
        service.wanted = self.wanted

    @property
    def strategy(self) -> Strategy:
        return self.service.strategy

    @property
    def settled(self) -> bool:
        """Does every container hold all of what is wanted, by its own word?"""
        held = self.hold is not None and self.hold.complete
        there = len(self.fleet) > 0 and len(self.fleet.equal) == len(self.fleet)
        return held and there and not self.owed and not self._unsteady

    @property
    def builds(self) -> bool:
        return self._workshop is not None

    def wanted(self) -> Wanted:
        made = self._workshop.artefact if self._workshop is not None else None
        return self._source if made is None else made

    # Beginning ------------------------------------------------------------------------------------

    async def engage(self) -> None:
        """Take the workload, and bring all to every container that there is."""
        await patiently_begun(self._engage, self._clock, self._tell)
        self.engaged.set()

    async def _engage(self) -> None:
        async with self.fleet.attended:
            self._check()
            # An engagement that failed has taken it already: what it is now is no way back.
            await self.held()
            await self.reach(first=True)
        await self.settle_signal()

    async def held(self) -> Hold:
        """The workload as the strategy needs it, taken where it is not yet (again). For whoever has
        `fleet.attended`."""
        self._check()
        if self._returned is not None:
            await self._returned.release(fresh=False)
            self._returned = None
        if self.hold is None:
            self.hold = await self._take(self.strategy)
        return self.hold

    @property
    def last(self) -> Hold | None:
        """What the session has to give back at its end."""
        return self.hold or self._returned

    async def reach(self, *, first: bool = False) -> None:
        """Wait until the containers that are to come are there, and hold what they should. Those
        that cannot be reached do not keep the others: whoever follows goes on with them."""
        hold = self._held()
        containers = hold.containers()
        coming = asyncio.ensure_future(anext(containers))
        last = self._clock.monotonic()
        try:
            while True:
                if coming.done():
                    await self.fleet.meet(coming.result(), first=first)
                    coming = asyncio.ensure_future(anext(containers))
                    await asyncio.gather(*(self.mend(one) for one in self.fleet.behind))
                    last = self._clock.monotonic()
                    continue
                self._check()
                self._give_up(last)
                if self.fleet.equal:
                    waited = self._clock.monotonic() - last
                    stuck = any(trouble.hopeless for trouble in hold.troubles)
                    all_there = not self.fleet.behind and (hold.complete or stuck)
                    if all_there or waited > _SETTLED:
                        return
                if self.fleet.behind:
                    await asyncio.gather(*(self.mend(one) for one in self.fleet.behind))
                tick = asyncio.ensure_future(self._clock.sleep(_TICK))
                await asyncio.wait({coming, tick}, return_when=asyncio.FIRST_COMPLETED)
                tick.cancel()
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
            await containers.aclose()

    def _give_up(self, last: float) -> None:
        """Raise when waiting longer does not help."""
        hold = self._held()
        hopeless = [one for one in self.fleet if one.hopeless or one.full]
        if hopeless and len(hopeless) == len(self.fleet):
            error = hopeless[0].error
            raise error or ExecutionError(f"{hopeless[0].container}: {hopeless[0].problem}")
        stuck = [one for one in hold.troubles if one.hopeless]
        waited = self._clock.monotonic() - last
        if not self.fleet.equal and (stuck or waited > _PATIENCE):
            reasons = [*(one.summary for one in stuck), *hold.waiting]
            reasons += [f"{one.container}: {one.problem}" for one in self.fleet.behind]
            raise ExecutionError(
                f"No container of {display_name(hold.ref)} can be reached",
                details=tuple(dict.fromkeys(reasons)),
            )

    # Catching up ----------------------------------------------------------------------------------

    async def mend(self, member: Member) -> bool:
        """Catch a container up: its files, its commands, its program. Whether it is equal now."""
        lands = None if self._workshop is None else self._workshop.lands
        if await self._mend(member):
            return True
        problem = member.error
        if not member.hopeless or not await self._aside(member, lands):
            return False
        if await self._mend(member):
            return True
        if member.hopeless:
            # The user knows the program's own place.
            member.error, member.problem = problem, "" if problem is None else problem.message
        return False

    async def _aside(self, member: Member, lands: str | None) -> bool:
        """What was built could not be put in its place, which was `lands` before it was tried: has
        it another one since?"""
        if self._workshop is None or not member.container.supervised:
            return False
        before = await self._workshop.aside()
        if before is not None:
            text = f"`/{before}` cannot be replaced in the container"
            hint = (
                "A program that looks for files beside its executable (`/proc/self/exe`) finds them"
            )
            self._tell(
                Remark(
                    f"{text}: what is built runs from `{ASIDE}`, by the same command",
                    hint=f"{hint} once its folder in the image is its user's (`COPY --chown`).",
                )
            )
            for other in self.fleet.equal:
                self.fleet.leave_behind(other, "")
        return self._workshop.lands != lands

    async def _mend(self, member: Member) -> bool:
        began = self._clock.monotonic()
        served, why = Served(member), member.why
        lean = self._lean
        places = tuple(sorted(self.touched)) if lean else None
        try:
            if self._workshop is not None:
                await self._workshop.settle_place(await member.replica.linked())
        except ClusterError as problem:
            member.problem, member.error = problem.message, problem
            member.tries += 1
            return False
        if not await self.service.bring(served, places, least=lean):
            member.tries += 1
            if served.brought and self.engaged.is_set():
                # What does not fit keeps the rest from no effect.
                await self.service.act(served)
            return False
        if not served.fresh:
            # Somebody else has done it meanwhile.
            return True
        if not (served.brought or self.engaged.is_set() or lean or await self._open(member)):
            return False
        if member.behind:
            # What was built has another place since.
            return False
        link = member.replica.link
        size, files = served.brought.size, self._files() if places is None else len(places)
        seconds = self._clock.monotonic() - began
        way = link.way if link is not None else ""
        self._tell(Reached(str(member.container), way, files, size, seconds, why))
        for notice in unsteady_of([served]):
            self._unsteady = True
            self._tell(notice)
        member.why = ""
        if served.brought:
            commands = self._commands_of_start()
            if not await self.service.run(served, commands):
                self.owed = tuple(dict.fromkeys((*self.owed, *commands)))
                return True
            if self._state() == self._fatal:
                text = f"{member.container}: what was last saved ended its program, so that it is"
                self._tell(Remark(f"{text} left with the image's until the next save"))
                return True
            await self.service.act(served)
            await self._consider([served])
        return True

    async def _open(self, member: Member) -> bool:
        """Could what is saved later be brought? Where nothing differs at the beginning, nobody has
        seen that by then."""
        try:
            async with member.replica.lock:
                await member.replica.try_out(self.wanted())
        except CannotCarryError as problem:
            if self.builds:
                # All that will ever be brought goes to that one place.
                member.hopeless = member.behind = True
                member.problem, member.error = problem.message, problem
                return False
            if not self._closed:
                self._closed = True
                self._tell(Remark(problem.message, warning=True, hint=problem.hint))
        except ClusterError as problem:
            member.behind = True
            member.problem, member.error = problem.message, problem
            member.tries += 1
            return False
        return True

    @property
    def _lean(self) -> bool:
        """Only what changed is brought, and nothing else is looked at."""
        return not self.order.everything and not self.builds

    def _files(self) -> int:
        return sum(one.kind is not Kind.DIR for one in self.wanted().tree.entries.values())

    def _commands_of_start(self) -> tuple[RunStep, ...]:
        """What a container needs that just got its files."""
        source = self._source.source
        paths = source.entries if self.order.everything else self.changed_paths()
        # The image is what it is: it runs, and holds what cannot be carried.
        steps = [one for one in self.order.steps if not isinstance(one, FallBackOn)]
        if not any(isinstance(one, RunStep) for one in steps):
            # To ask where each of thousands of files lands takes as long as to bring them.
            return ()
        found = decide(paths, steps, source.context, source.entries)
        return found.commands if isinstance(found, Carry) else ()

    def changed_paths(self) -> set[str]:
        """The source's paths of all places that changed during the session."""
        syncs = self._source.source.syncs
        paths = (sync.source("/" + place) for place in self.touched for sync in syncs)
        return {path for path in paths if path is not None}

    # A change -------------------------------------------------------------------------------------

    async def bring(self, task: Task) -> Outcome:
        """Bring a change to all, then let them act."""
        self.fleet.busy = self._clock.monotonic()
        if task.rescan:
            for member in self.fleet:
                if not member.hopeless:
                    self.fleet.leave_behind(member, "drift")
        for member in self.fleet.behind:
            member.missed.update(task.places)
        # Where there was no room, this change may be the one that makes some.
        short = [one for one in self.fleet if one.full]
        members = [*self.fleet] if task.rescan else [*self.fleet.equal, *short]
        all_served = [Served(one) for one in members if not one.hopeless]
        places = tuple(sorted(self.touched)) if task.rescan and self._lean else task.places
        for served in all_served:
            served.member.why = ""
        if len(all_served) == 1:
            await self._bring(all_served[0], places)
        elif all_served:
            jobs = [self._bring(one, places) for one in all_served]
            for at in await patiently(jobs, self._clock):
                self.fleet.leave_behind(all_served[at].member, "connection lost")
        there = [one for one in all_served if one.went_well]
        carried = carried_of(task, there, self._source.source.entries, self._clock.monotonic())
        for notice in (carried, *unsteady_of(there)):
            if notice is not None:
                self._tell(notice)
        needed = self._commands_of_start() if short else ()
        for served in there:
            served.commands = task.commands
            if served.member in short:
                # Whoever catches it up may have been quicker, and has run them then.
                late = task.commands if served.brought else ()
                served.commands = needed if served.fresh else late
        # What does not fit keeps the rest from no effect.
        partly = [one for one in all_served if one.member.full and one.brought]
        await asyncio.gather(*map(self._rest, there), *map(self.service.act, partly))
        await self._consider([*there, *partly])
        await self.settle_signal()
        for one in self.fleet.behind:
            self.fleet.leave_behind(one, "connection lost", one.problem)
        outcome, owes = outcome_of(all_served, self.fleet.behind)
        self.owed = task.commands if owes else ()
        lost = next((one for one in self.fleet if one.hopeless), None)
        if self.order.also and outcome.action is Action.DONE and lost is not None:
            # Others that can be reached are no reason to leave a container as it is for good.
            problem = lost.error.message if lost.error is not None else lost.problem
            return replace(outcome, action=Action.REBUILD, why=f"{lost.container}: {problem}")
        return outcome

    async def _bring(self, served: Served, places: Sequence[str]) -> None:
        await self.service.bring(served, places, least=self._lean)

    async def _rest(self, served: Served) -> None:
        if not served.brought and not served.commands:
            return
        if await self.service.run(served, served.commands):
            await self.service.act(served)

    # The program ----------------------------------------------------------------------------------

    async def _consider(self, all_served: Sequence[Served]) -> None:
        """Tell what was done to the programs, and what came of it."""
        deeds = [(one, one.deed) for one in all_served if one.deed is not None]
        done = slowest([deed for _, deed in deeds])
        if done is not None:
            count = sum(deed.how is How.DONE for _, deed in deeds)
            self._tell(Acted(done.what, done.seconds, count))
        for served, deed in deeds:
            if deed.status is not None:
                self.deaths.started(served.member, deed.status)
            elif deed.how is How.ENDED:
                self._fatal = self._state()
                text = f"{served.member.container}: the program ended at {deed.what}"
                self._tell(Remark(f"{text}; its container starts anew", warning=True))
        idle = [deed for _, deed in deeds if deed.how in (How.NO_EFFECT, How.NO_TARGET)]
        if idle and signals(self.strategy):
            self._useless = idle[0]

    async def settle_signal(self) -> None:
        """Where a signal was of no use: supervise, where that is the way out. Not to be called
        while the containers of the workload are read."""
        useless, self._useless = self._useless, None
        if useless is None or self._over:
            return
        strategy, what = self.strategy, useless.what
        why = f"{what} had no effect within {max(1, strategy.settle)} s"
        if useless.how is How.NO_TARGET:
            why = f"no process of {strategy.runtime.label} was found to send {what} to"
        if strategy.fallback is not Mode.SUPERVISE or not self._argv:
            self._tell(Remark(f"{why}: the files are there, and may not be in use", warning=True))
            return
        if await self._paused():
            text = f"{why}, and {self._called} is paused, so that nothing can supervise the program"
            hint = (
                "The files are there, and may not be in use. After a `kubectl rollout resume` the"
            )
            self._tell(Remark(text, warning=True, hint=f"{hint} next save tries again."))
            return
        rolls = f"for which {self._called} is rolled out once, with the agent in it"
        self._tell(Remark(f"{why}: from now on the program is supervised, {rolls}"))
        self.service.strategy = replace(
            strategy,
            mode=Mode.SUPERVISE,
            signal="",
            check=Check.NEW_PROCESS,
            fallback=None,
            says=f"supervise and restart ({why})",
        )
        self.fleet.renewed.set()
        async with self.fleet.attended:
            self._check()
            await self.fleet.close()
            # A hold that was given back is followed no more, also where no other can be had.
            self._returned, self.hold = self._held(), None
            await self.held()
            await self.reach()

    async def _paused(self) -> bool:
        """Would no pod with the supervisor come?"""
        try:
            live = await self.service.cluster.get(self.order.workload)
        except ClusterError:
            # Whoever takes it finds out what is the matter.
            return False
        return bool((live.get("spec") or {}).get("paused"))

    @property
    def _called(self) -> str:
        return display_name(self.order.workload)

    def _state(self) -> frozenset[str]:
        entries = self.wanted().tree.entries.items()
        return frozenset(f"{path}:{one.digest}{one.target}" for path, one in entries)

    # Builds ---------------------------------------------------------------------------------------

    async def build_and_bring(self, task: Task) -> Outcome:
        """Build, and bring what came of it. A build that fails changes nothing over there."""
        assert self._workshop is not None
        built, places = await self._workshop.make()
        self._tell(built)
        if not built.ok:
            return Outcome(Action.REPORT, "the build failed", built=False)
        if self._over:
            return Outcome(Action.DONE, "the session has ended", built=True)
        if not self.engaged.is_set():
            await self.engage()
            return Outcome(Action.DONE, places=len(places), built=True)
        outcome = await self.bring(replace(task, places=places))
        return replace(outcome, built=True)

    # ----------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """End all links. Whoever takes the workload just now is waited for, so that it can be given
        back; nobody takes it afterwards."""
        self._over = True
        await self.fleet.close()
        async with self.fleet.attended:
            await self.fleet.close()

    def _check(self) -> None:
        if self._over:
            raise ExecutionError("The sync session has ended")

    def _held(self) -> Hold:
        if self.hold is None:
            raise ExecutionError("The sync session has not taken its workload")
        return self.hold
