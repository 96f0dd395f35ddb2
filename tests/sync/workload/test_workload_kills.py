"""`kill -9` between any two steps of a session: the next start puts everything back exactly."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from kindling.objects.identity import canonical
from kindling.sync.workload.records import Records
from kindling.sync.workload.restoring import restore_all
from kindling.sync.workload.taking import take
from kindling.testing.clock import FakeClock
from kindling.testing.cluster import FakeCluster
from tests.sync.workload.playing import (
    Fate,
    Killed,
    MortalRecords,
    agents,
    controlled,
    deployment,
    mortal,
    ref_of,
    session,
    silent,
    stateful_set,
)

ON_DELETE: dict[str, Any] = {"updateStrategy": {"type": "OnDelete"}}


def state(cluster: FakeCluster, manifest: dict[str, Any]) -> str:
    """All of a workload that could tell that a session was there."""
    (live,) = cluster.objects(manifest["kind"])
    annotations = {
        key: value
        for key, value in (live["metadata"].get("annotations") or {}).items()
        if not key.startswith("deployment.kubernetes.io/")
    }
    kept = {"spec": live["spec"], "annotations": annotations}
    return canonical(
        {**kept, "maps": [c["metadata"]["name"] for c in cluster.objects("ConfigMap")]}
    )


def pods(cluster: FakeCluster) -> set[str]:
    return {pod["metadata"]["uid"] for pod in cluster.objects("Pod")}


async def one_life(
    folder: Path, manifest: dict[str, Any], fate: Fate, *, patch: bool
) -> tuple[FakeCluster, str, set[str], bool]:
    """A session from its beginning to its end, or to its death; then the next start."""
    cluster = FakeCluster()
    cluster.put(manifest)
    async with controlled(cluster):
        before = state(cluster, manifest)
        used: set[str] = set()
        died = False
        try:
            hold = await take(
                mortal(cluster, fate),
                ref_of(manifest),
                session(),
                MortalRecords(folder, fate),
                patch=patch,
                agents=agents,
                clock=FakeClock(),
                tell=silent,
            )
            async with aclosing(hold.containers()) as sets:
                async for containers in sets:
                    used |= {one.pod_uid for one in containers}
                    if hold.complete:
                        break
            await hold.release()
        except Killed:
            died = True
        records = Records(folder)
        for attempt in await restore_all(cluster, records, clock=FakeClock(), living=True):
            assert attempt.error is None, attempt.error
            assert attempt.released is not None
            assert attempt.released.exact
        assert not records.all().records
        assert await restore_all(cluster, records, clock=FakeClock(), living=True) == ()
        return cluster, before, used, died


@pytest.mark.parametrize("patch", [True, False], ids=["patched", "files"])
@pytest.mark.parametrize("done", [True, False], ids=["after", "before"])
@pytest.mark.parametrize(
    "manifest",
    [deployment(replicas=2), stateful_set(), stateful_set(**ON_DELETE)],
    ids=["deployment", "stateful", "on-delete"],
)
async def test_a_death_at_any_step_leaves_nothing_that_the_next_start_does_not_put_back(
    tmp_path: Path, manifest: dict[str, Any], done: bool, patch: bool
) -> None:
    deaths = 0
    for at in range(1, 100):
        fate = Fate(at, done=done)
        cluster, before, used, died = await one_life(
            tmp_path / str(at), manifest, fate, patch=patch
        )
        assert state(cluster, manifest) == before, f"step {at}"
        assert not pods(cluster) & used, f"step {at}: a pod that files were put into lives on"
        if not died:
            break
        deaths += 1
    else:
        raise AssertionError("the session never ends")
    assert deaths >= 8
