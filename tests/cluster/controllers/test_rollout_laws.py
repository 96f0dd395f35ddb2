"""Whatever happens during a rollout, its bounds hold, and it ends where it should."""

from __future__ import annotations

import asyncio
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kindling.cluster.controllers.deployment import DeploymentController
from kindling.cluster.controllers.kinds import DEPLOYMENTS, PODS, REPLICA_SETS
from kindling.cluster.controllers.meta import int_or, terminating
from kindling.cluster.controllers.pods import finished, is_active, ready
from kindling.cluster.controllers.replica_set import ReplicaSetController
from kindling.cluster.controllers.rolling import (
    Bounds,
    Group,
    bounds_of,
    new_size,
    old_sizes,
    percent,
    proportional_sizes,
)
from kindling.cluster.controllers.scheduler import Scheduler
from kindling.cluster.model.api import Change, ChangeType
from tests.cluster.controllers.bed import Bed, bed_in, deployment, on_memory_disk

CONTROLLERS = (Scheduler, DeploymentController, ReplicaSetController)


@dataclass
class Watchman:
    """Follows every write to pods, and complains when a bound is broken.

    Pods that fail by themselves count neither for nor against us: what we take away is judged, that
    is every deletion that we begin of a pod that serves.
    """

    bed: Bed
    bounds: Bounds
    complaint: str = ""

    async def run(self) -> None:
        stream = self.bed.api.watch([PODS])
        try:
            async for change in stream:
                self._judge(change)
        finally:
            await stream.aclose()

    def _judge(self, change: Change) -> None:
        active = [pod for pod in self.bed.pods() if is_active(pod)]
        if change.type is ChangeType.ADDED and len(active) > self.bounds.most:
            self.complaint = self.complaint or f"{len(active)} pods, {self.bounds}"
        before = change.before
        if before is None or terminating(before) or not ready(before) or finished(before):
            return
        if not terminating(change.object) and change.type is not ChangeType.DELETED:
            return
        serving = sum(ready(pod) for pod in active)
        if serving < self.bounds.least:
            self.complaint = self.complaint or f"only {serving} serve, {self.bounds}"


@settings(max_examples=10, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 6),
    st.sampled_from([0, 1, 3, "25%", "50%"]),
    st.sampled_from([0, 1, 2, "25%", "60%"]),
)
def test_bounds_hold_through_changes_failures_and_scalings(
    seed: int, replicas: int, surge: int | str, unavailable: int | str
) -> None:
    choice = random.Random(seed)
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    if percent(surge, 10, up=True) == 0 and percent(unavailable, 10, up=False) == 0:
        rolling["maxUnavailable"] = 1
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}

    async def scenario() -> None:
        with tempfile.TemporaryDirectory(dir=on_memory_disk()) as folder:
            async with bed_in(Path(folder), controllers=CONTROLLERS) as bed:
                await bed.create(DEPLOYMENTS, deployment(replicas=replicas, strategy=strategy))
                bounds = bounds_of(bed.get(DEPLOYMENTS, "web")["spec"])
                watchman = Watchman(bed, bounds)
                watching = asyncio.create_task(watchman.run(), name="watchman")
                # A new pod is ready at once, or later, or never.
                verdicts: dict[str, str] = {}
                bed.node.verdict = lambda pod: verdicts.setdefault(
                    pod["metadata"]["name"], choice.choice(["ready", "ready", "running"])
                )
                try:
                    for number in range(8):
                        await _step(bed, choice, number, verdicts)
                        assert not watchman.complaint, watchman.complaint
                    bed.node.verdict = lambda _: "ready"
                    await bed.node_looks_again()
                    assert not watchman.complaint, watchman.complaint
                finally:
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)
                _arrived(bed, replicas)

    asyncio.run(scenario())


async def _step(bed: Bed, choice: random.Random, number: int, verdicts: dict[str, str]) -> None:
    action = choice.choice(["template", "template", "fail", "delete", "recover", "nothing"])
    pods = [pod for pod in bed.pods() if is_active(pod)]
    if action == "template":
        container = {"name": "main", "image": f"app:{choice.randint(1, 4)}"}
        change = {"spec": {"template": {"spec": {"containers": [container]}}}}
        await bed.api.patch(DEPLOYMENTS, "web", change, "default")
    elif action == "fail" and pods:
        await bed.set_pod(choice.choice(pods)["metadata"]["name"], "failed")
    elif action == "delete" and pods and number % 2:
        pod = choice.choice(pods)
        if not ready(pod):
            await bed.delete(PODS, pod["metadata"]["name"])
    elif action == "recover":
        for name in list(verdicts):
            verdicts[name] = "ready"
        await bed.node_looks_again()
    for _ in range(choice.randint(0, 10)):
        await asyncio.sleep(0)
    await bed.settle()


def _arrived(bed: Bed, replicas: int) -> None:
    live = bed.get(DEPLOYMENTS, "web")
    image = live["spec"]["template"]["spec"]["containers"][0]["image"]
    sizes = {
        one["spec"]["template"]["spec"]["containers"][0]["image"]: one["spec"]["replicas"]
        for one in bed.all(REPLICA_SETS)
    }
    assert {name: size for name, size in sizes.items() if size} == {image: replicas}
    status = live["status"]
    for field in ("replicas", "updatedReplicas", "availableReplicas"):
        assert int_or(status.get(field), 0) == replicas


counts = st.integers(0, 20)


@given(counts, counts, counts, st.lists(st.tuples(counts, counts), max_size=4), counts, counts)
def test_one_step_never_leaves_the_bounds(
    replicas: int,
    surge: int,
    unavailable: int,
    old: list[tuple[int, int]],
    new: int,
    new_available: int,
) -> None:
    bounds = Bounds(replicas, surge, min(unavailable, replicas))
    groups = [Group(f"g{n}", size, min(ok, size)) for n, (size, ok) in enumerate(old)]
    newest = Group("new", new, min(new_available, new))
    total = sum(group.size for group in groups) + new
    grown = new_size(bounds, True, new, total)
    assert grown == new or total + grown - new <= bounds.most
    sizes = old_sizes(bounds, groups, newest)
    serving = sum(group.available for group in groups) + newest.available
    # The worst that can happen: what goes first is what served.
    left = sum(min(group.available, sizes.get(group.name, group.size)) for group in groups)
    assert left + newest.available >= min(serving, bounds.least)
    assert all(size >= 0 for size in sizes.values())


@given(
    counts,
    st.integers(0, 5),
    st.lists(st.tuples(st.integers(1, 20), counts), min_size=2, max_size=4),
)
def test_scaling_in_a_rollout_hands_out_everything_there_is(
    replicas: int, surge: int, groups: list[tuple[int, int]]
) -> None:
    bounds = Bounds(replicas, surge)
    before = sum(size for size, _ in groups)
    made = [Group(f"g{n}", size, size, f"{age:02}", before) for n, (size, age) in enumerate(groups)]
    sizes = proportional_sizes(bounds, made, before)
    assert sum(sizes.values()) == (bounds.most if replicas else 0)
    assert all(size >= 0 for size in sizes.values())
