"""Letting a container's program take up what was brought: a signal, or a new start.

What was done is looked for: workers started since, a process that executed itself anew, a child of
another id that lives. A signal without effect is answered `NO_EFFECT`, and whoever asked decides
what else to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from kindling.errors import ClusterError
from kindling.kube.protocol import Cluster
from kindling.sync.agent.frames import Status
from kindling.sync.protocol import Clock, Container, Link
from kindling.sync.runtimes.plan import Strategy
from kindling.sync.runtimes.runtime import Mode
from kindling.sync.session.effects import effect, target

__all__ = ["GRACE", "Deed", "How", "acts", "last_words", "restart", "signal", "signals"]

_FIRST_LOOK = 0.02
_LONGEST_LOOK = 0.25
_LOG_LINES = 12
GRACE = 10.0
"""How long a program may take to end at SIGTERM before it is killed."""


class How(Enum):
    """What came of it."""

    DONE = "done"
    NO_EFFECT = "no effect"
    """The process got the signal and goes on as before."""
    ENDED = "ended"
    """The process is no more."""
    NO_TARGET = "no target"


@dataclass(frozen=True, slots=True)
class Deed:
    """What was done to one container's program, in words, and what came of it."""

    how: How
    what: str = ""
    seconds: float = 0.0
    status: Status | None = None


async def signal(link: Link, strategy: Strategy, clock: Clock) -> Deed:
    """Send the runtime's signal to its process, and look for the effect until `settle`."""
    began = clock.monotonic()
    what = f"SIG{strategy.signal}"
    aim = target(strategy.to, await link.processes())
    if aim is None:
        return Deed(How.NO_TARGET, what)
    await link.signal(aim.process.pid, strategy.signal)
    until = began + max(1, strategy.settle)
    pause = _FIRST_LOOK
    while True:
        found = effect(strategy.check, aim, await link.processes())
        if found.gone:
            return Deed(How.ENDED, what, clock.monotonic() - began)
        if found.seen:
            return Deed(How.DONE, what, clock.monotonic() - began)
        if clock.monotonic() >= until:
            return Deed(How.NO_EFFECT, what, clock.monotonic() - began)
        await clock.sleep(pause)
        pause = min(pause * 2, _LONGEST_LOOK)


async def restart(link: Link, clock: Clock, grace: float = GRACE) -> Deed:
    """Let the supervisor end the program and start it again."""
    began = clock.monotonic()
    status = await link.restart("TERM", grace)
    how = How.DONE if status.running and status.pid else How.ENDED
    return Deed(how, "restart", clock.monotonic() - began, status)


async def last_words(cluster: Cluster, container: Container, lived: float) -> tuple[str, ...]:
    """The last lines of the container's log, of those since its program was started."""
    lines: list[str] = []
    try:
        async for line in cluster.logs(
            container.namespace, container.pod, container.name, tail=_LOG_LINES, since=lived + 1
        ):
            lines.append(line)
    except ClusterError as problem:
        lines.append(f"(its log cannot be read: {problem.message})")
    return tuple(lines)


def acts(strategy: Strategy) -> bool:
    """Whether anything is done to the program after files went over."""
    if not strategy.restarts:
        return False
    return strategy.mode in (Mode.SIGNAL, Mode.SUPERVISE, Mode.BUILD) or _on_demand(strategy)


def signals(strategy: Strategy) -> bool:
    """Whether it is told by a signal, and not by a new start."""
    return strategy.mode is Mode.SIGNAL or _on_demand(strategy)


def _on_demand(strategy: Strategy) -> bool:
    """Sees changed files by itself as a rule, and has a signal for when it does not (php-fpm with
    an opcache that does not look)."""
    return strategy.mode in (Mode.AUTO, Mode.STATIC) and bool(strategy.signal)
