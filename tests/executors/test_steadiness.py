"""Pods that are ready for a moment before they crash are not taken for pods that serve."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from kindling.executors.steadiness import Steadiness
from kindling.objects.pods import Patience
from kindling.testing.clock import FakeClock


def pod(clock: FakeClock, *, restarts: int = 0, probed: bool = False, ready: bool = True) -> Any:
    started = datetime.fromtimestamp(clock.time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    container: dict[str, Any] = {"name": "main"}
    container |= {"readinessProbe": {"tcpSocket": {"port": 80}}} if probed else {}
    return {
        "metadata": {"name": "web-1", "uid": "u1"},
        "spec": {"containers": [container]},
        "status": {
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [
                {
                    "name": "main",
                    "restartCount": restarts,
                    "state": {"running": {"startedAt": started}},
                }
            ],
        },
    }


async def test_a_pod_that_nothing_probes_serves_once_it_has_run_for_a_second() -> None:
    clock = FakeClock()
    steady = Steadiness(clock, Patience())
    seen = pod(clock)
    assert not steady.serves(seen)
    await clock.advance(0.9)
    assert not steady.serves(seen)
    await clock.advance(0.2)
    assert steady.serves(seen)


async def test_after_a_crash_it_takes_longer_and_begins_anew() -> None:
    clock = FakeClock()
    steady = Steadiness(clock, Patience())
    assert not steady.serves(pod(clock))
    await clock.advance(5)
    again = pod(clock, restarts=1)
    assert not steady.serves(again)
    await clock.advance(9)
    assert not steady.serves(again)
    await clock.advance(1.5)
    assert steady.serves(again)


async def test_a_probe_or_an_earlier_session_vouches_for_a_pod_at_once() -> None:
    clock = FakeClock()
    steady = Steadiness(clock, Patience())
    assert steady.serves(pod(clock, probed=True))
    assert steady.serves(pod(clock), known=True)
    assert not steady.serves(pod(clock, restarts=1), known=True)
    assert not steady.serves(pod(clock, probed=True, ready=False))
