"""An operator in a terminal: told how it stands, and stopped by signals."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from kindling.errors import ClusterError, InterruptError
from kindling.operator.controller.post import told_of
from kindling.operator.controller.queue import Key
from kindling.operator.controller.run import Phase, Standing
from kindling.operator.foreground import run_until_told

STOPPING = "stopping: finishing what is being written, and giving the Lease back"


class Played:
    """An operation that does what a test says."""

    def __init__(self, *, ready: bool = True, problem: str = "", stuck: bool = False) -> None:
        self.standing = Standing(Phase.STANDING_BY, "kindling-system/other")
        self.stops = 0
        self._ready = ready
        self._problem = problem
        self._stuck = stuck

    async def settled(self) -> Standing:
        if self._problem:
            raise ClusterError(self._problem)
        if not self._ready:
            await asyncio.Event().wait()
        return self.standing

    async def extend(self, namespace: str) -> None:
        raise AssertionError(namespace)

    async def stop(self) -> None:
        self.stops += 1
        if self._stuck:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()


async def run(
    operation: Played,
    signals: tuple[signal.Signals, ...],
    said: list[str],
    on: str = "",
    apart: float = 60.0,
) -> None:
    """Run it, and send it signals when it has said `on`, or as soon as it is started."""

    async def start() -> Played:
        if not on:
            for one in signals:
                os.kill(os.getpid(), one)
        return operation

    def say(line: str) -> None:
        said.append(line)
        if on and line.startswith(on):
            for one in signals:
                os.kill(os.getpid(), one)

    async with asyncio.timeout(20):
        await run_until_told(start, say, apart=apart)


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_it_in_order(told: signal.Signals) -> None:
    operation, said = Played(), list[str]()
    await run(operation, (told,), said, on="standing by")
    assert operation.stops == 1
    assert said == ["standing by: kindling-system/other acts", STOPPING]


async def test_a_signal_before_it_acts_stops_it_too() -> None:
    operation = Played(ready=False)
    await run(operation, (signal.SIGTERM,), [])
    assert operation.stops == 1


async def test_one_that_cannot_act_says_why_and_is_stopped() -> None:
    operation, said = Played(problem="the kind is missing"), list[str]()
    with pytest.raises(ClusterError, match="the kind is missing"):
        await run(operation, (), said)
    assert operation.stops == 1
    assert said == []  # the error says all, and there is nothing to finish


async def test_a_second_signal_does_not_wait_for_a_stop_that_hangs() -> None:
    operation = Played(stuck=True)
    with pytest.raises(InterruptError):
        await run(operation, (signal.SIGINT,), [], on="standing by", apart=0.0)
    assert operation.stops == 1


async def test_one_signal_that_comes_twice_at_once_is_one() -> None:
    operation = Played()
    await run(operation, (signal.SIGINT, signal.SIGTERM), [], on="standing by")
    assert operation.stops == 1


async def test_signals_are_left_as_they_were() -> None:
    before = signal.getsignal(signal.SIGTERM)
    await run(Played(), (signal.SIGTERM,), [], on="standing by")
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_a_pass_wrote_is_told_in_one_line() -> None:
    key = Key("DevStagingEnvironment", "team-a", "shop")
    status = "status DevStagingEnvironment/shop in team-a"
    writes = ("create Service/shop in team-a", "create Deployment/shop in team-a", status)
    assert told_of(key, writes) == "team-a/shop: create Service/shop, create Deployment/shop"
    assert told_of(key, (status,)) == ""
