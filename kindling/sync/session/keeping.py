"""Keeping containers equal while nobody saves: they come, restart, get lost, and drift.

pods and containers    followed by a watch; what is new is caught up
links                  asked now and then, and at once after the machine was asleep
drift                  looked for after minutes of quiet, by digests: never while one works
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing

from kindling.errors import ClusterError, KindlingError
from kindling.sync.notices import Reached, Remark, Tell
from kindling.sync.protocol import Clock, Container
from kindling.sync.session.crew import Crew
from kindling.sync.session.fleet import Member
from kindling.sync.session.order import Report, Standing
from kindling.sync.workload.replacing import changed_within

__all__ = ["Keeping"]

_ROUND = 20.0
"""How often links are asked for a sign of life."""
_ASLEEP = 15.0
"""So much more than a round means that the machine was asleep."""
_ANSWER = 10.0
_QUIET = 300.0
"""How long nothing must have been brought before drift is looked for."""
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0


class Keeping:
    """Follows the containers of a crew."""

    def __init__(self, crew: Crew, clock: Clock, tell: Tell, report: Report | None) -> None:
        self._crew = crew
        self._clock = clock
        self._tell = tell
        self._report = report
        self._mending: dict[Member, asyncio.Task[None]] = {}
        self._standing: Standing | None = None
        self._said: set[tuple[str, str]] = set()
        self._back = asyncio.Event()
        """The cluster answers again; another event each time."""
        self._tries = 0
        """How often the containers could not be followed, one time after the other."""

    async def run(self) -> None:
        """Until it is cancelled.

        Raises:
            KindlingError: What trying again does not mend.
        """
        await self._crew.engaged.wait()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._attend(), name="sync: containers")
                group.create_task(self._mend_all(group), name="sync: catching up")
                group.create_task(self._rounds(), name="sync: links")
                group.create_task(self._crew.deaths.watch(self._crew.fleet), name="sync: programs")
        except* KindlingError as problems:
            raise problems.exceptions[0] from None

    async def _attend(self) -> None:
        """Meet the containers as they come, also where the API server goes away meanwhile."""
        fleet = self._crew.fleet
        while True:
            async with fleet.attended:
                fleet.renewed.clear()
                try:
                    hold = await self._crew.held()
                    hold.back = self._hurry
                    async with aclosing(hold.containers()) as coming:
                        await self._meet(coming)
                    continue
                except ClusterError as problem:
                    if not problem.transient:
                        raise
                    if not self._tries:
                        self._tell(Remark(f"{problem.message}; it is waited for", warning=True))
            self._tries += 1
            await self._clock.sleep(_wait(self._tries))

    def _hurry(self) -> None:
        """The cluster is back: nothing waits any longer for its next try."""
        self._back.set()
        self._back = asyncio.Event()

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until the cluster is back."""
        await changed_within(self._back, self._clock, seconds)

    async def _meet(self, coming: AsyncGenerator[tuple[Container, ...], None]) -> None:
        """Meet whoever comes, until the workload is taken anew."""
        fleet = self._crew.fleet
        renewed = asyncio.ensure_future(fleet.renewed.wait())
        following = asyncio.ensure_future(anext(coming))
        try:
            while not renewed.done():
                await asyncio.wait({following, renewed}, return_when=asyncio.FIRST_COMPLETED)
                if following.done():
                    await fleet.meet(following.result())
                    if self._tries:
                        self._tries = 0
                        self._tell(Remark("The cluster answers again"))
                        self._hurry()
                    self._say()
                    following = asyncio.ensure_future(anext(coming))
        finally:
            for one in (following, renewed):
                one.cancel()
            await asyncio.gather(following, renewed, return_exceptions=True)

    async def _mend_all(self, group: asyncio.TaskGroup) -> None:
        fleet = self._crew.fleet
        while True:
            fleet.changed.clear()
            for member in fleet.behind:
                if member not in self._mending:
                    name = f"sync: {member.container}"
                    self._mending[member] = group.create_task(self._mend(member), name=name)
            self._say()
            await fleet.changed.wait()

    async def _mend(self, member: Member) -> None:
        """Catch one up, however often it takes, for as long as it is there."""
        fleet = self._crew.fleet
        try:
            while member.behind and not member.hopeless and member in fleet:
                if await self._crew.mend(member) or not member.behind:
                    await self._settle_signal()
                    break
                self._say_problem(member)
                if member.hopeless:
                    break
                await self._pause(_wait(member.tries))
        finally:
            del self._mending[member]
            fleet.changed.set()

    async def _settle_signal(self) -> None:
        try:
            await self._crew.settle_signal()
        except ClusterError as problem:
            if not problem.transient:
                raise
            # Whoever attends the containers takes the workload once that can be done.
            self._tell(Remark(f"{problem.message}; it is waited for", warning=True))

    async def _rounds(self) -> None:
        """Ask links for a sign of life, and look for drift when it is quiet."""
        crew = self._crew
        last = self._clock.monotonic(), self._clock.time()
        quiet_since = last[0]
        while True:
            await self._pause(_ROUND)
            now = self._clock.monotonic(), self._clock.time()
            # One of the two goes on while the machine sleeps, which one depends on the system.
            asleep = max(now[0] - last[0], now[1] - last[1]) > _ROUND + _ASLEEP
            last = now
            members = [one for one in crew.fleet.equal if not one.replica.lock.locked()]
            await asyncio.gather(*(self._ask(one) for one in members))
            if asleep:
                self._tell(Remark("This machine was asleep: the containers are looked at again"))
            quiet_since = max(quiet_since, crew.fleet.busy)
            if asleep or now[0] - quiet_since > _QUIET:
                quiet_since = now[0]
                await asyncio.gather(*(self._verify(one) for one in crew.fleet.equal))

    async def _ask(self, member: Member) -> None:
        link = member.replica.link
        if link is None or link.way != "agent":
            return
        try:
            async with asyncio.timeout(_ANSWER):
                await link.resolve("")
        except (ClusterError, TimeoutError):
            async with member.replica.lock:
                if member.replica.link is link:
                    await member.replica.lost()
                    self._crew.fleet.leave_behind(member, "connection lost")

    async def _verify(self, member: Member) -> None:
        began = self._clock.monotonic()
        replica = member.replica
        if not self._crew.order.everything:
            return
        try:
            async with replica.lock:
                found = await replica.catch_up(self._crew.wanted())
        except ClusterError as problem:
            self._crew.fleet.leave_behind(member, "connection lost", problem.message)
            return
        if found:
            seconds = self._clock.monotonic() - began
            way = replica.link.way if replica.link is not None else ""
            name = str(member.container)
            self._tell(Reached(name, way, found.operations, found.size, seconds, "drift"))

    def _say_problem(self, member: Member) -> None:
        """Once for each problem of a container."""
        key = (str(member.container), member.problem)
        if key in self._said or not member.problem:
            return
        hold = self._crew.hold
        if hold is not None and hold.cut_off:
            # That the whole cluster is away has been said.
            return
        self._said.add(key)
        error = member.error
        later = "; it is tried again until there is room" if member.full else "; it is tried again"
        later = "" if member.hopeless else later
        hint = error.hint if error is not None else ""
        text = f"{member.container}: {member.problem}{later}"
        self._tell(Remark(text, warning=member.hopeless or member.full, hint=hint))

    def _say(self) -> None:
        crew = self._crew
        waiting = crew.hold.waiting[0] if crew.hold is not None and crew.hold.waiting else ""
        if not waiting and crew.fleet.behind:
            first = crew.fleet.behind[0]
            waiting = f"{first.container}: {first.problem or 'catching up'}"
        down = crew.deaths.down
        if not waiting and down:
            waiting = down[0]
        standing = Standing(len(crew.fleet), len(crew.fleet.equal), waiting, len(down))
        if standing != self._standing:
            self._standing = standing
            if self._report is not None:
                self._report(standing)


def _wait(tries: int) -> float:
    """Longer each time, and not all at the same moment."""
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(tries, 10)) * random.uniform(0.5, 1.0)
