"""All replicas of a workload. They come and go; each is served on its own, none delays the others.

A replica that is slow or gone when files are brought is left behind: the others are not kept
waiting, and it is caught up afterwards, by what differs then, however long that takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Iterator
from dataclasses import dataclass, field

from kindling.errors import ClusterError
from kindling.sync.protocol import Clock, Container, Link, NoRoomError
from kindling.sync.session.acting import Deed
from kindling.sync.session.latest import Latest
from kindling.sync.session.replica import Connect, Replica

__all__ = ["Fleet", "Member", "patiently"]

_PATIENCE = 3.0
"""How much longer than the quickest the others may take, in seconds, before they are left
behind; and this many times as long, where that is more."""


@dataclass(slots=True, eq=False)
class Member:
    """A replica, and what is owed to it."""

    replica: Replica
    why: str
    """Why it has to be caught up, as `kindling.sync.notices.Reached` says it."""
    behind: bool = True
    """It is not equal, and whoever follows catches it up."""
    asked: int = 0
    """How often it was left behind: what is brought meanwhile makes it no equal one."""
    missed: set[str] = field(default_factory=set)
    """Places that changed while it was caught up."""
    tries: int = 0
    problem: str = ""
    """Why it could not be reached when it was last tried."""
    error: ClusterError | None = None
    hopeless: bool = False
    """It will never work in this container as it is."""
    acting: Latest[Deed] = field(default_factory=Latest)

    @property
    def container(self) -> Container:
        return self.replica.container

    @property
    def full(self) -> bool:
        """There was no room in it when it was last tried."""
        return self.behind and isinstance(self.error, NoRoomError)


@dataclass(slots=True)
class Fleet:
    """Who belongs to the workload just now."""

    connect: Connect
    clock: Clock
    mirror: bool = False
    members: dict[tuple[str, str, str], Member] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Somebody came, or was left behind."""
    renewed: asyncio.Event = field(default_factory=asyncio.Event)
    """The workload was taken anew: its containers are to be followed from the beginning."""
    attended: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever follows the containers of the workload as it is taken."""
    ready: dict[Container, Link] = field(default_factory=dict)
    """Links that were made before their containers were met."""
    busy: float = 0.0
    """When something was last brought."""
    _known: set[tuple[str, str]] = field(default_factory=set)
    """Containers that were seen before, by the uid of the pod and by name."""

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self.members.values()))

    def __contains__(self, member: object) -> bool:
        return any(one is member for one in self.members.values())

    def __len__(self) -> int:
        return len(self.members)

    @property
    def equal(self) -> list[Member]:
        """Those that hold what they should and are linked."""
        return [one for one in self.members.values() if not one.behind]

    @property
    def behind(self) -> list[Member]:
        return [one for one in self.members.values() if one.behind and not one.hopeless]

    async def meet(self, containers: Collection[Container], *, first: bool = False) -> None:
        """These are all there are now. New ones are behind; links to others end."""
        now = {_key(one): one for one in containers}
        gone = [key for key in self.members if key not in now]
        leaving = [self.members.pop(key) for key in gone]
        for key, container in now.items():
            member = self.members.get(key)
            if member is not None:
                # What is known of it may be more by now, such as its node.
                member.replica.container = container
                continue
            why = ""
            if not first:
                why = "container restarted" if key[:2] in self._known else "new pod"
            self._known.add(key[:2])
            replica = Replica(container, self.connect, self.clock, self.mirror)
            replica.link = self.ready.pop(container, None)
            self.members[key] = Member(replica, why)
            self.changed.set()
        for member in leaving:
            await member.replica.end()

    def leave_behind(self, member: Member, why: str, problem: str = "") -> None:
        """It is caught up later."""
        member.asked += not member.behind
        member.behind = True
        member.why = member.why or why
        member.problem = problem
        self.changed.set()

    async def close(self) -> None:
        """End all links."""
        members, self.members = list(self.members.values()), {}
        for member in members:
            await member.replica.end()
        while self.ready:
            await self.ready.popitem()[1].close()


async def patiently(
    jobs: Collection[Awaitable[None]], clock: Clock, *, alone: bool = False
) -> list[int]:
    """Wait for all jobs, or until those that are left take much longer than the quickest.

    Those that are left are cancelled; which they were. `alone`: they are waited for all the same.
    """
    began = clock.monotonic()
    tasks = [asyncio.ensure_future(job) for job in jobs]
    passing: asyncio.Future[None] | None = None
    try:
        waiting = set(tasks)
        while waiting and not (passing is not None and passing.done()):
            also = () if passing is None else (passing,)
            await asyncio.wait({*waiting, *also}, return_when=asyncio.FIRST_COMPLETED)
            waiting = {one for one in waiting if not one.done()}
            if passing is None and not alone:
                most = max(_PATIENCE, _PATIENCE * (clock.monotonic() - began))
                passing = asyncio.ensure_future(clock.sleep(most))
        left = [at for at, task in enumerate(tasks) if not task.done()]
    finally:
        every = [*tasks, *([] if passing is None else [passing])]
        for one in every:
            one.cancel()
        await asyncio.gather(*every, return_exceptions=True)
    for at, task in enumerate(tasks):
        if at not in left:
            task.result()
    return left


def _key(container: Container) -> tuple[str, str, str]:
    return (container.pod_uid or container.pod, container.name, container.id)
