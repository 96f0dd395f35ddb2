"""Programs that end by themselves under our supervisor, which outlives them.

    soon after a save started it     it is held until the next save: the save may be what is wrong
    otherwise                        it is started again, after growing waits, as a kubelet would

Both are told once, with the last lines of the log.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from kindling.errors import ClusterError
from kindling.sync.agent.frames import Status
from kindling.sync.notices import Remark, Tell
from kindling.sync.protocol import Clock
from kindling.sync.session import acting
from kindling.sync.session.effects import ended
from kindling.sync.session.fleet import Fleet, Member
from kindling.sync.session.serving import Service

__all__ = ["Deaths"]

_EVERY = 1.0
_CLOSELY = 0.1
_LONG_ENOUGH = 30.0
"""A program that ran for so long and then ends has its waits counted from the beginning."""
_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0


@dataclass(slots=True)
class _Life:
    """What is known of one container's program."""

    generation: int = -1
    """The start that was last seen, or made by us."""
    since: float = 0.0
    by_save: bool = False
    told: int = -1
    """The start whose end was told."""
    end: str = ""
    """How that went, in words."""
    wait: float = _FIRST_WAIT
    again_at: float | None = None


@dataclass(slots=True)
class Deaths:
    """Watches the programs of supervised containers."""

    service: Service
    tell: Tell
    clock: Clock
    _lives: dict[Member, _Life] = field(default_factory=dict)
    _started: asyncio.Event = field(default_factory=asyncio.Event)

    def started(self, member: Member, status: Status, *, by_save: bool = True) -> None:
        """A program was started just now."""
        life = self._lives.setdefault(member, _Life())
        life.generation, life.since, life.by_save = (
            status.generation,
            self.clock.monotonic(),
            by_save,
        )
        life.again_at = None
        if by_save:
            life.wait = _FIRST_WAIT
        self._started.set()

    @property
    def down(self) -> tuple[str, ...]:
        """The programs that have ended and were not started again, and how they ended."""
        return tuple(
            f"{member.container}: {life.end}"
            for member, life in self._lives.items()
            if life.end and life.told == life.generation
        )

    async def watch(self, fleet: Fleet) -> None:
        """Watch for as long as it is not cancelled. What changes of `down` is a change of the
        fleet."""
        down: tuple[str, ...] = ()
        while True:
            self._started.clear()
            for gone in [one for one in self._lives if one not in fleet]:
                del self._lives[gone]
            for member in fleet.equal:
                if member.container.supervised:
                    await self._look(member)
            if (now := self.down) != down:
                down = now
                fleet.changed.set()
            tick = asyncio.ensure_future(self.clock.sleep(self._pause()))
            begun = asyncio.ensure_future(self._started.wait())
            try:
                await asyncio.wait({tick, begun}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in (tick, begun):
                    one.cancel()
                await asyncio.gather(tick, begun, return_exceptions=True)

    async def settled(self) -> None:
        """Wait until what was started by saves has settled, and tell of what has not lived."""
        while any(self._settling(life) for life in self._lives.values()):
            for member in list(self._lives):
                await self._look(member)
            await self.clock.sleep(_CLOSELY)

    def _pause(self) -> float:
        return _CLOSELY if any(map(self._settling, self._lives.values())) else _EVERY

    def _settling(self, life: _Life) -> bool:
        young = self.clock.monotonic() - life.since <= max(1, self.service.strategy.settle)
        return life.by_save and young and life.told != life.generation

    async def _look(self, member: Member) -> None:
        link = member.replica.link
        if link is None or member.behind:
            return
        try:
            status = await link.status()
        except ClusterError:
            # Whoever needs the link next finds out, and mends it.
            return
        if status is None:
            return
        life = self._lives.setdefault(member, _Life())
        now = self.clock.monotonic()
        if status.generation != life.generation:
            life.generation, life.since, life.by_save = status.generation, now, False
        if status.running:
            if now - life.since > _LONG_ENOUGH:
                life.wait = _FIRST_WAIT
            return
        if life.told != status.generation:
            life.told = status.generation
            await self._tell(member, life, status, now - life.since)
        elif life.again_at is not None and now >= life.again_at:
            life.again_at = None
            try:
                deed = await member.acting.run(lambda: acting.restart(link, self.clock))
            except ClusterError:
                return
            if deed.status is not None:
                self.started(member, deed.status, by_save=False)

    async def _tell(self, member: Member, life: _Life, status: Status, lived: float) -> None:
        settle = max(1, self.service.strategy.settle)
        life.end = f"the program ended with {ended(status.last)}"
        what = f"{member.container}: {life.end}"
        if life.by_save and lived <= settle:
            what += f" {lived:.1f} s after its start; the next save starts it again"
        else:
            what += f"; it is started again in {life.wait:g} s"
            life.again_at = self.clock.monotonic() + life.wait
            life.wait = min(2 * life.wait, _LONGEST_WAIT)
        said = await acting.last_words(self.service.cluster, member.container, lived)
        self.tell(Remark(what, warning=True, details=said, logged=True))
