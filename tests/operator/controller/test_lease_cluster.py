"""Two operators of one namespace of a real cluster: exactly one acts, and the other follows it.

The namespace that stands for that of the whole cluster is one of the test's own, so that no
operator which another test installs has a say.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kindling.kube.protocol import Cluster, Object
from kindling.operator.controller.definitions import install_definitions
from kindling.operator.controller.lease import Terms, lease_ref
from kindling.operator.controller.run import Phase
from tests.operator.controller.place import LIMIT, Place, app, conditions

pytestmark = pytest.mark.cluster

_OTHER = """
import asyncio, os, sys
from kindling.kube.contexts import read_kubeconfig
from kindling.operator.controller.lease import Terms
from kindling.operator.controller.run import Scope, start

async def main():
    context = read_kubeconfig(os.environ).current
    operation = await start(
        context, dict(os.environ), Scope((sys.argv[1],)), identity="mortal", say=print,
        terms=Terms(duration=3, renew=1.0, system=sys.argv[1] + "-none"), pools=False,
    )
    print((await operation.settled()).phase.name, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
async def place(cluster: Cluster, ns: str) -> AsyncIterator[Place]:
    await install_definitions(cluster)
    await cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns}})
    made = Place(cluster, ns)
    yield made
    await made.close()


async def test_exactly_one_acts_and_the_other_follows_when_it_stops(place: Place) -> None:
    """At once, though the Lease would last much longer: it is given back."""
    terms = Terms(duration=600, renew=5.0, system=f"{place.namespace}-none")
    first = await place.operate("first", terms, pools=False)
    second = await place.operate("second", terms, pools=False)
    assert (first.standing.phase, first.standing.holder) == (Phase.ACTING, "first")
    assert (second.standing.phase, second.standing.holder) == (Phase.STANDING_BY, "first")
    await place.write(app())
    await place.until("Deployment", "shop", lambda live: live is not None)
    await first.stop()
    assert first.standing.phase is Phase.STOPPED
    await _held_by(place, "second")
    await place.write(app("next"))
    await place.until("Deployment", "next", lambda live: live is not None)


async def test_one_that_was_killed_is_followed_when_its_lease_has_run_out(
    place: Place, tmp_path: Path
) -> None:
    script = tmp_path / "other.py"
    script.write_text(_OTHER, encoding="utf-8")
    other = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        place.namespace,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    try:
        assert other.stdout is not None
        async with asyncio.timeout(LIMIT):
            while (line := (await other.stdout.readline()).decode().strip()) != "ACTING":
                assert line, "it ended by itself"
        terms = Terms(duration=3, renew=1.0, system=f"{place.namespace}-none")
        await place.operate("heir", terms, pools=False)
        await place.write(app())
        await place.until("Deployment", "shop", lambda live: live is not None)
    finally:
        other.send_signal(signal.SIGKILL)
        await other.communicate()
    await _held_by(place, "heir")
    await place.write(app("next"))
    await place.until("DevStagingEnvironment", "next", lambda live: bool(conditions(live or {})[0]))


async def _held_by(place: Place, who: str) -> Object:
    ref = lease_ref(place.namespace)
    events = place.cluster.watch(ref.api_version, ref.kind, namespace=ref.namespace)
    try:
        async with asyncio.timeout(LIMIT):
            async for event in events:
                for one in event.items or (event.object,):
                    if one.get("spec", {}).get("holderIdentity") == who:
                        return one
    finally:
        await events.aclose()
    raise AssertionError("a watch ended by itself")
