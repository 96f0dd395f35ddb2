"""When a rollout is ready, when it has failed and what it says, with a test playing the
controllers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kindling.executors.protocol import Failed, Job, Outcome, ReadinessReport, Succeeded
from kindling.executors.rollout import RolloutExecutor
from kindling.graph.node import Kind
from kindling.graph.outcome import FailureKind, Output
from kindling.graph.spec import ObjectRef, Readiness, RolloutSpec
from kindling.kube.protocol import Object
from kindling.testing.clock import FakeClock
from kindling.testing.cluster import FakeCluster
from kindling.testing.jobs import JobWorld

REF = ObjectRef("apps/v1", "Deployment", "web", "default")
LABELS = {"app": "web"}


class Stage:
    """A deployment whose controllers a test plays."""

    def __init__(self, world: JobWorld, fake: FakeCluster) -> None:
        self.world = world
        self.fake = fake
        self.reports: list[ReadinessReport] = []

    @property
    def clock(self) -> FakeClock:
        assert isinstance(self.world.clock, FakeClock)
        return self.world.clock

    def deploy(self, revision: int = 1, replicas: int = 1) -> Object:
        """The deployment as its controller leaves it: seen, with a replica set of this revision."""
        made = self.fake.put(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {
                    "name": "web",
                    "namespace": "default",
                    "annotations": {"deployment.kubernetes.io/revision": str(revision)},
                },
                "spec": {
                    "replicas": replicas,
                    "selector": {"matchLabels": LABELS},
                    "template": {"metadata": {"labels": {**LABELS, "v": str(revision)}}},
                },
            }
        )
        self.fake.put(
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "metadata": {
                    "name": f"web-{revision}",
                    "namespace": "default",
                    "labels": {**LABELS, "pod-template-hash": f"hash{revision}"},
                    "annotations": {"deployment.kubernetes.io/revision": str(revision)},
                    "ownerReferences": [_owner(made)],
                },
                "spec": {},
            }
        )
        return self.fake.set_status(REF, {"observedGeneration": made["metadata"]["generation"]})

    def pod(
        self,
        name: str,
        revision: int = 1,
        *,
        ready: bool = False,
        state: dict[str, Any] | None = None,
        last: dict[str, Any] | None = None,
        restarts: int = 0,
        probed: bool = True,
        conditions: tuple[dict[str, str], ...] = (),
    ) -> None:
        """A pod of a revision, in this state."""
        owner = next(
            item for item in self.fake.objects("ReplicaSet") if _name(item) == f"web-{revision}"
        )
        probe = {"readinessProbe": {"tcpSocket": {"port": 80}}} if probed else {}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": "default",
                "labels": LABELS,
                "ownerReferences": [_owner(owner)],
            },
            "spec": {"containers": [{"name": "main", **probe}]},
            "status": {
                "phase": "Running",
                "conditions": [
                    {"type": "Ready", "status": "True" if ready else "False"},
                    *conditions,
                ],
                "containerStatuses": [
                    {
                        "name": "main",
                        "restartCount": restarts,
                        "state": state or {"running": {}},
                        "lastState": {"terminated": last} if last else {},
                    }
                ],
            },
        }
        self.fake.put(body)

    def job(self, readiness: Readiness = Readiness.WAIT, *, once: bool = True) -> Job:
        spec = RolloutSpec("apply:web", (REF,), readiness=readiness)
        return self.world.job(Kind.ROLLOUT, spec, once=once)

    @asynccontextmanager
    async def running(self, job: Job | None = None) -> AsyncIterator[asyncio.Task[Outcome]]:
        """A run under way; whatever it leaves behind is closed at the end."""
        task = asyncio.create_task(RolloutExecutor().run(job or self.job()))
        await self.clock.settle(60)
        try:
            yield task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
            elif (live := task.result().live) is not None:
                await live.close()

    async def settle(self) -> None:
        await self.clock.settle(80)


def _owner(item: Object) -> dict[str, Any]:
    return {
        "apiVersion": item["apiVersion"],
        "kind": item["kind"],
        "name": _name(item),
        "uid": item["metadata"]["uid"],
        "controller": True,
    }


def _name(item: Object) -> str:
    return str(item["metadata"]["name"])


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    fake = FakeCluster()
    # Pods of the fake are made in 2024: with a clock of that day, they are young.
    clock = FakeClock(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
    return Stage(JobWorld(tmp_path, clock=clock, api=fake), fake)


def done(task: asyncio.Task[Outcome]) -> Output:
    assert task.done()
    outcome = task.result()
    assert isinstance(outcome, Succeeded), outcome
    return outcome.output


def failed(task: asyncio.Task[Outcome]) -> Failed:
    assert task.done()
    outcome = task.result()
    assert isinstance(outcome, Failed), outcome
    return outcome


CRASHED = {"exitCode": 1, "reason": "Error"}
LOOPING = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}


async def test_only_pods_of_the_new_revision_count(stage: Stage) -> None:
    """An old pod that is still ready does not make the new revision ready."""
    stage.deploy(1)
    stage.pod("old", 1, ready=True)
    stage.deploy(2)
    async with stage.running() as task:
        assert not task.done()
        stage.pod("new", 2)
        await stage.settle()
        assert not task.done()
        stage.pod("new", 2, ready=True)
        await stage.settle()
        output = done(task)
    assert output.data["revision"] == "Deployment/web@hash2"
    assert output.data["pods"] == ["new"]


async def test_a_revision_the_controller_has_not_seen_is_not_ready(stage: Stage) -> None:
    stage.deploy(1)
    stage.pod("old", 1, ready=True)
    stage.fake.set_status(REF, {"observedGeneration": 0})
    async with stage.running() as task:
        assert not task.done()
        stage.fake.set_status(REF, {"observedGeneration": 1})
        await stage.settle()
        done(task)


async def test_all_replicas_must_serve(stage: Stage) -> None:
    stage.deploy(replicas=2)
    stage.pod("a", ready=True)
    async with stage.running() as task:
        assert not task.done()
        assert "1 of 2 pods ready, 1 made" in stage.world.lines.text
        stage.pod("b", ready=True)
        await stage.settle()
        done(task)


async def test_no_replicas_wanted_is_ready_at_once(stage: Stage) -> None:
    stage.deploy(replicas=0)
    async with stage.running() as task:
        done(task)


async def test_a_container_without_a_probe_must_stay_up_for_a_moment(stage: Stage) -> None:
    """Kubernetes calls it ready as soon as it was started, also when it is about to crash."""
    stage.deploy()
    async with stage.running() as task:
        stage.pod("a", ready=True, probed=False)
        await stage.settle()
        assert not task.done()
        await stage.clock.advance(2)
        done(task)


async def test_a_crash_loop_fails_with_container_code_and_log(stage: Stage) -> None:
    stage.deploy()
    stage.fake.previous_log_lines["default", "a", "main"] = [f"line {n}" for n in range(40)]
    async with stage.running() as task:
        stage.pod("a", state=LOOPING, last=CRASHED, restarts=1)
        await stage.settle()
        assert not task.done()
        stage.pod("a", state=LOOPING, last=CRASHED, restarts=2)
        await stage.settle()
        failure = failed(task).failure
    assert failure.kind is FailureKind.ROLLOUT
    assert failure.summary == (
        "pod a, container main: CrashLoopBackOff, Error, exit code 1, 2 restarts"
    )
    assert "  line 39" in failure.details
    assert sum(line.startswith("  line") for line in failure.details) == 15


async def test_a_crash_of_the_old_revision_is_nobodys_business(stage: Stage) -> None:
    stage.deploy(1)
    stage.pod("old", 1, state=LOOPING, last=CRASHED, restarts=9)
    stage.deploy(2)
    stage.pod("new", 2, ready=True)
    async with stage.running() as task:
        done(task)


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("ImagePullBackOff", "Back-off pulling image"),
        ("ErrImagePull", "manifest unknown"),
        ("ErrImageNeverPull", ""),
        ("InvalidImageName", ""),
    ],
)
async def test_an_image_that_cannot_be_had_fails_at_once(
    stage: Stage, reason: str, message: str
) -> None:
    stage.deploy()
    async with stage.running() as task:
        stage.pod("a", state={"waiting": {"reason": reason, "message": message}})
        await stage.settle()
        assert reason in failed(task).failure.summary


async def test_troubles_that_may_pass_are_given_time(stage: Stage) -> None:
    stage.deploy()
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "s" missing'}}
    async with stage.running() as task:
        stage.pod("a", state=waiting)
        await stage.settle()
        assert not task.done()
        await stage.clock.advance(60)
        failure = failed(task).failure
    assert "CreateContainerConfigError" in failure.summary
    assert 'secret "s" missing' in failure.details


async def test_a_secret_of_the_user_that_is_missing_is_told_with_the_command_that_makes_it(
    stage: Stage,
) -> None:
    stage.deploy()
    message = 'secret "kindling-secret-stripe-key" not found'
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": message}}
    async with stage.running() as task:
        stage.pod("a", state=waiting)
        await stage.settle()
        await stage.clock.advance(60)
        assert failed(task).failure.hint == "`kindling secrets set STRIPE_KEY` makes it"


async def test_a_pod_that_no_node_takes_fails_after_a_while(stage: Stage) -> None:
    stage.deploy()
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient cpu",
    }
    async with stage.running() as task:
        stage.pod("a", state={"waiting": {}}, conditions=(condition,))
        await stage.clock.advance(5)
        assert not task.done()
        await stage.clock.advance(60)
        failure = failed(task).failure
    assert "Unschedulable" in failure.summary
    assert "0/1 nodes are available: 1 Insufficient cpu" in failure.details


async def test_a_quota_that_forbids_pods_is_told(stage: Stage) -> None:
    stage.deploy()
    async with stage.running() as task:
        live = await stage.fake.get(REF)
        condition = {
            "type": "ReplicaFailure",
            "status": "True",
            "reason": "FailedCreate",
            "message": "exceeded quota",
        }
        stage.fake.set_status(REF, {**live["status"], "conditions": [condition]})
        await stage.settle()
        assert "FailedCreate: exceeded quota" in failed(task).failure.summary


async def test_what_never_comes_is_told_with_how_far_it_came(stage: Stage) -> None:
    stage.deploy(replicas=2)
    stage.pod("a", ready=True)
    async with stage.running() as task:
        await stage.clock.advance(301)
        failure = failed(task).failure
    assert failure.kind is FailureKind.TIMEOUT
    assert failure.summary == "not ready within 300 s: 1 of 2 pods ready, 1 made"


async def test_a_failure_that_heals_makes_the_node_ready(stage: Stage) -> None:
    stage.deploy()
    async with stage.running(stage.job(once=False)) as task:
        stage.pod("a", state=LOOPING, last=CRASHED, restarts=3)
        await stage.settle()
        live = failed(task).live
        assert live is not None
        reports: list[ReadinessReport] = []
        following = asyncio.create_task(live.follow(reports.append))
        await stage.settle()
        assert reports == []
        stage.pod("a", ready=True, restarts=4)
        await stage.settle()
        assert [report.ready for report in reports] == [True]
        stage.pod("a", state=LOOPING, last=CRASHED, restarts=5)
        await stage.settle()
        assert [report.ready for report in reports] == [True, False]
        assert reports[-1].failure is not None
        assert "5 restarts" in reports[-1].failure.summary
        following.cancel()
        await asyncio.wait([following])


async def test_nobody_waits_where_readiness_is_ignored(stage: Stage) -> None:
    stage.deploy()
    async with stage.running(stage.job(Readiness.IGNORE)) as task:
        done(task)


async def test_following_what_nobody_waits_for_leaves_the_loop_to_others(stage: Stage) -> None:
    """It rests until something changes: other tasks go on, and it can be cancelled."""
    stage.deploy()
    async with stage.running(stage.job(Readiness.IGNORE)) as task:
        outcome = task.result()
        assert isinstance(outcome, Succeeded)
        live = outcome.live
        assert live is not None
        following = asyncio.create_task(live.follow(stage.reports.append))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not following.done()
        following.cancel()
        await asyncio.wait([following], timeout=5)
        assert following.cancelled()


async def test_a_plain_restart_keeps_the_digest_and_a_new_template_does_not(stage: Stage) -> None:
    stage.deploy(1)
    stage.pod("a", ready=True)
    async with stage.running() as task:
        first = done(task)
    stage.fake.remove(ObjectRef("v1", "Pod", "a", "default"))
    stage.pod("b", ready=True)
    async with stage.running() as task:
        assert done(task).digest == first.digest
    seen = await RolloutExecutor().observe(stage.job(), first)
    assert seen.same
    stage.deploy(2)
    stage.pod("c", 2, ready=True)
    seen = await RolloutExecutor().observe(stage.job(), first)
    assert (seen.same, seen.difference) == (False, "its pods have another template")


async def test_observing_says_what_is_not_ready(stage: Stage) -> None:
    stage.deploy()
    stage.pod("a", ready=True)
    async with stage.running() as task:
        first = done(task)
    stage.pod("a", ready=False)
    seen = await RolloutExecutor().observe(stage.job(), first)
    assert (seen.same, seen.difference) == (False, "0 of 1 pods ready")


def job_object(**status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"job": "migrate"}}, "template": {}},
        "status": status,
    }


async def test_a_job_that_completed_stays_done_when_it_is_gone(stage: Stage) -> None:
    ref = ObjectRef("batch/v1", "Job", "migrate", "default")
    spec = RolloutSpec("apply:it", (ref,), readiness=Readiness.SUCCEEDED)
    job = stage.world.job(Kind.ROLLOUT, spec, once=True)
    stage.fake.put(job_object())
    async with stage.running(job) as task:
        assert not task.done()
        stage.fake.set_status(ref, {"conditions": [{"type": "Complete", "status": "True"}]})
        await stage.settle()
        output = done(task)
        assert task.result().live is None
    stage.fake.remove(ref)
    assert (await RolloutExecutor().observe(job, output)).same


async def test_a_job_that_gave_up_is_told_with_its_reason(stage: Stage) -> None:
    ref = ObjectRef("batch/v1", "Job", "migrate", "default")
    job = stage.world.job(Kind.ROLLOUT, RolloutSpec("apply:it", (ref,)), once=True)
    condition = {
        "type": "Failed",
        "status": "True",
        "reason": "BackoffLimitExceeded",
        "message": "Job has reached the specified backoff limit",
    }
    stage.fake.put(job_object(conditions=[condition], failed=1))
    async with stage.running(job) as task:
        assert "BackoffLimitExceeded" in failed(task).failure.summary


async def test_a_workload_that_somebody_deletes_is_told(stage: Stage) -> None:
    stage.deploy()
    async with stage.running() as task:
        stage.fake.remove(REF)
        await stage.settle()
        assert "Deployment/web in default was deleted" in failed(task).failure.summary


@pytest.mark.parametrize("condition", ["Complete", "Failed", ""])
async def test_a_job_that_went_before_anybody_looked_is_judged_by_its_last_state(
    stage: Stage, condition: str
) -> None:
    """Its last change and its removal may come in one breath, where `ttlSecondsAfterFinished` is
    0."""
    ref = ObjectRef("batch/v1", "Job", "migrate", "default")
    stage.fake.put(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "migrate", "namespace": "default"},
            "spec": {"selector": {"matchLabels": LABELS}, "template": {}},
        }
    )
    spec = RolloutSpec("apply:web", (ref,), readiness=Readiness.SUCCEEDED)
    async with stage.running(stage.world.job(Kind.ROLLOUT, spec, once=True)) as task:
        assert not task.done()
        if condition:
            stage.fake.set_status(ref, {"conditions": [{"type": condition, "status": "True"}]})
        stage.fake.remove(ref)
        await stage.settle()
        if condition == "Complete":
            done(task)
        else:
            assert "was deleted" in failed(task).failure.summary


async def test_what_a_pod_waits_for_is_said(stage: Stage) -> None:
    stage.deploy()
    stage.pod("a")
    pod = next(iter(stage.fake.objects("Pod")))
    env = [{"name": "WAIT_HOST", "value": "web-redis"}, {"name": "WAIT_PORT", "value": "6379"}]
    waits = {"name": "wait-for-redis", "env": env}
    running = {"name": "wait-for-redis", "restartCount": 0, "state": {"running": {}}}
    stage.fake.put(
        {
            **pod,
            "spec": {**pod["spec"], "initContainers": [waits]},
            "status": {**pod["status"], "initContainerStatuses": [running]},
        }
    )
    async with stage.running():
        await stage.settle()
        said = "0 of 1 pods ready (waiting for redis at web-redis:6379)"
        assert said in stage.world.lines.text
