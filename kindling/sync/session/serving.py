"""Serving one container: files, then commands, then the program; and what it answered.

A container that cannot be reached is no error here but an answer (`kindling.sync.rules.failures`),
so that what it means is decided when all have answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kindling.errors import ClusterError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import NotFoundError
from kindling.kube.protocol import Cluster
from kindling.lang.declared import RunStep
from kindling.sync.notices import Remark, Tell
from kindling.sync.protocol import (
    CannotCarryError,
    Clock,
    Container,
    LinkLostError,
    NoRoomError,
)
from kindling.sync.rules.failures import TRIES, Answer, Outcome
from kindling.sync.runtimes.plan import Strategy
from kindling.sync.session import acting
from kindling.sync.session.acting import Deed
from kindling.sync.session.fleet import Member
from kindling.sync.session.replica import Brought, Wanted

__all__ = ["Served", "Service"]

_LINES = 20
_COMMAND_LIMIT = 1800.0


@dataclass(slots=True)
class Served:
    """What one container got and answered."""

    member: Member
    answer: Answer | None = None
    """None: it was left behind before it answered."""
    brought: Brought = field(default_factory=Brought)
    deed: Deed | None = None
    commands: Sequence[RunStep] = ()
    """What is to be run once it has its files."""
    fresh: bool = False
    """It was behind, and is caught up by this."""

    @property
    def went_well(self) -> bool:
        return self.answer is not None and self.answer.outcome is Outcome.DONE


@dataclass(slots=True)
class Service:
    """Serves containers by the strategy of the session, which may change during it."""

    cluster: Cluster
    clock: Clock
    tell: Tell
    wanted: Callable[[], Wanted]
    strategy: Strategy
    log: Callable[[str], None] | None = None

    async def bring(
        self, served: Served, places: Sequence[str] | None, *, least: bool = False
    ) -> bool:
        """Bring files: these places by what is known; where `places` is None, or the member is
        behind, what differs by the container's own word. False: `served.answer` says why not."""
        member = served.member
        replica = member.replica
        member.missed.update(places or ())
        try:
            async with replica.lock:
                while member.behind or member.missed:
                    missed = sorted(member.missed)
                    member.missed.clear()
                    wanted, asked = self.wanted(), member.asked
                    try:
                        if member.behind or replica.known is None:
                            wish = missed if least else None
                            got = await replica.catch_up(wanted, wish, least=least)
                            served.fresh = True
                        else:
                            got = await replica.bring(wanted, missed)
                    except CannotCarryError:
                        if self.wanted() is wanted:
                            raise
                        # It was refused where nothing is to be put any more.
                        member.behind = True
                        continue
                    # What was built may land elsewhere by now, and somebody may have asked anew.
                    member.behind = self.wanted() is not wanted or member.asked != asked
                    if member.behind:
                        member.missed.update(missed)
                    served.brought = served.brought + got
        except NoRoomError as problem:
            member.behind = True
            served.brought = served.brought + replica.partly
            member.error = problem
            member.why = member.why or "disk full"
            served.answer = self._answer(member, Outcome.NO_ROOM, problem)
            return False
        except CannotCarryError as problem:
            member.hopeless = member.behind = True
            member.error = problem
            served.answer = self._answer(member, Outcome.CANNOT, problem)
            return False
        except ClusterError as problem:
            member.behind = True
            member.error = problem
            outcome, tries = await self._fate(member.container)
            served.answer = self._answer(member, outcome, problem, tries)
            return False
        except BaseException:
            # Cut off midway: what arrived is not known.
            member.behind = True
            replica.doubtful = True
            raise
        member.tries, member.problem, member.error, member.hopeless = 0, "", None, False
        served.answer = self._answer(member, Outcome.DONE)
        return True

    async def run(self, served: Served, commands: Sequence[RunStep]) -> bool:
        """Run the commands in their order; False: one failed, and the rest was left out."""
        member = served.member
        for step in commands:
            last: deque[str] = deque(maxlen=_LINES)

            def line(text: str, last: deque[str] = last) -> None:
                last.append(text)
                if self.log is not None:
                    self.log(text)

            said = " ".join(step.argv) if not step.echo_off else step.argv[0]
            try:
                link = await member.replica.linked()
                code = await link.run(step.argv, folder="/", log=line, timeout=_COMMAND_LIMIT)
            except LinkLostError as problem:
                member.behind = True
                outcome, tries = await self._fate(member.container)
                served.answer = self._answer(member, outcome, problem, tries)
                return False
            except ClusterError as problem:
                why = problem.message.replace(" ".join(step.argv), said)
                text = f"`{said}` cannot be run: {why}"
                self._failed(served, text, (*last,), problem.hint)
                return False
            if code != 0:
                self._failed(served, f"`{said}` ended with exit code {code}", (*last,))
                return False
        return True

    async def act(self, served: Served) -> None:
        """Let the program take up what is there: once for all who ask meanwhile."""
        member = served.member
        if not acting.acts(self.strategy):
            return
        try:
            served.deed = await member.acting.run(lambda: self._act(member))
        except ClusterError as problem:
            member.behind = member.behind or isinstance(problem, LinkLostError)
            outcome, tries = await self._fate(member.container)
            served.answer = self._answer(member, outcome, problem, tries)

    async def _act(self, member: Member) -> Deed:
        link = await member.replica.linked()
        if acting.signals(self.strategy):
            return await acting.signal(link, self.strategy, self.clock)
        return await acting.restart(link, self.clock)

    async def _fate(self, container: Container) -> tuple[Outcome, int]:
        """What became of a container that could not be served, and what that counts for: an API
        server that is away says nothing about the container."""
        ref = ObjectRef("v1", "Pod", container.pod, container.namespace)
        try:
            pod = await self.cluster.get(ref)
        except NotFoundError:
            return Outcome.ENDED, 1
        except ClusterError:
            return Outcome.CUT_OFF, 1
        metadata = pod["metadata"]
        if metadata.get("deletionTimestamp") or (
            container.pod_uid and metadata.get("uid") != container.pod_uid
        ):
            return Outcome.ENDED, 1
        for status in (pod.get("status") or {}).get("containerStatuses") or ():
            if status.get("name") != container.name:
                continue
            state = status.get("state") or {}
            waiting = state.get("waiting") or {}
            if waiting.get("reason") == "CrashLoopBackOff":
                return Outcome.CRASHING, 1
            if "running" not in state or status.get("containerID") != container.id:
                return Outcome.ENDED, 1
        return Outcome.CUT_OFF, TRIES

    def _failed(
        self, served: Served, text: str, details: tuple[str, ...] = (), hint: str = ""
    ) -> None:
        self.tell(Remark(f"{served.member.container}: {text}", True, details, hint))
        served.answer = self._answer(served.member, Outcome.COMMAND_FAILED, text)

    def _answer(
        self, member: Member, outcome: Outcome, problem: ClusterError | str = "", tries: int = 1
    ) -> Answer:
        text = problem if isinstance(problem, str) else problem.message
        if not isinstance(problem, str):
            member.problem = text
        one = member.container
        return Answer(one.pod, one.name, outcome, text, tries, one.supervised)
