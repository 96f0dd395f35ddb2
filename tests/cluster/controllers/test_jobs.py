"""Jobs and CronJobs."""

from __future__ import annotations

from typing import Any

import pytest

from kindling.cluster.controllers.job_rules import format_indexes, parse_indexes
from kindling.cluster.controllers.kinds import CRON_JOBS, JOBS
from kindling.cluster.model.api import Obj
from tests.cluster.controllers.bed import Bed


def job(name: str = "work", **spec: Any) -> Obj:
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "app:1"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"template": {"spec": pod}, **spec},
    }


def told(bed: Bed, name: str = "work") -> dict[str, str]:
    """The conditions of a Job that are true, with their reasons."""
    status = bed.get(JOBS, name)["status"]
    return {
        one["type"]: one["reason"]
        for one in status.get("conditions", ())
        if one["status"] == "True"
    }


async def test_a_job_completes_when_its_pods_have_succeeded(bed: Bed) -> None:
    await bed.create(JOBS, job(completions=3, parallelism=2))
    assert len(bed.pods()) == 2
    (first, second) = bed.pods()
    assert first["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]
    assert first["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "work"
    await bed.set_pod(first["metadata"]["name"], "succeeded")
    await bed.set_pod(second["metadata"]["name"], "succeeded")
    third = next(pod for pod in bed.pods() if pod["status"]["phase"] == "Running")
    await bed.set_pod(third["metadata"]["name"], "succeeded")
    status = bed.get(JOBS, "work")["status"]
    assert status["succeeded"] == 3
    assert status["uncountedTerminatedPods"] == {}
    assert status["completionTime"]
    assert told(bed) == {
        "SuccessCriteriaMet": "CompletionsReached",
        "Complete": "CompletionsReached",
    }
    assert all(not pod["metadata"].get("finalizers") for pod in bed.pods())
    assert bed.events("Completed") == ["Job completed"]


async def test_failures_come_again_after_a_growing_pause_until_the_limit(bed: Bed) -> None:
    bed.node.verdict = lambda _: "failed"
    await bed.create(JOBS, job(backoffLimit=2))
    assert len(bed.pods()) == 1
    await bed.advance(9)
    assert len(bed.pods()) == 1
    await bed.advance(2)
    assert len(bed.pods()) == 2
    await bed.advance(18)
    assert len(bed.pods()) == 2
    await bed.advance(3)
    assert len(bed.pods()) == 3
    assert told(bed) == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
    status = bed.get(JOBS, "work")["status"]
    assert status["failed"] == 3
    assert bed.events("BackoffLimitExceeded") == ["Job has reached the specified backoff limit"]
    await bed.advance(1000)
    assert len(bed.pods()) == 3


async def test_a_deadline_ends_what_runs(bed: Bed) -> None:
    await bed.create(JOBS, job(activeDeadlineSeconds=30))
    await bed.advance(31)
    assert bed.pods() == []
    assert told(bed)["Failed"] == "DeadlineExceeded"


async def test_a_suspended_job_has_no_pods_until_it_is_resumed(bed: Bed) -> None:
    await bed.create(JOBS, job(suspend=True))
    assert bed.pods() == []
    assert told(bed) == {"Suspended": "JobSuspended"}
    await bed.patch(JOBS, "work", {"spec": {"suspend": False}})
    assert len(bed.pods()) == 1
    assert bed.get(JOBS, "work")["status"]["startTime"]
    await bed.patch(JOBS, "work", {"spec": {"suspend": True}})
    assert bed.pods() == []
    assert "failed" not in bed.get(JOBS, "work")["status"]


async def test_an_indexed_job_gives_every_index_to_one_pod(bed: Bed) -> None:
    await bed.create(JOBS, job(completionMode="Indexed", completions=3, parallelism=3))
    pods = {
        pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]: pod
        for pod in bed.pods()
    }
    assert sorted(pods) == ["0", "1", "2"]
    assert pods["1"]["metadata"]["name"].startswith("work-1-")
    assert pods["1"]["spec"]["hostname"] == "work-1"
    (env,) = pods["1"]["spec"]["containers"][0]["env"]
    assert env["name"] == "JOB_COMPLETION_INDEX"
    await bed.set_pod(pods["0"]["metadata"]["name"], "succeeded")
    await bed.set_pod(pods["2"]["metadata"]["name"], "succeeded")
    assert bed.get(JOBS, "work")["status"]["completedIndexes"] == "0,2"
    await bed.set_pod(pods["1"]["metadata"]["name"], "failed")
    await bed.advance(11)
    again = next(pod for pod in bed.pods() if pod["status"]["phase"] == "Running")
    assert again["metadata"]["name"].startswith("work-1-")
    await bed.set_pod(again["metadata"]["name"], "succeeded")
    assert bed.get(JOBS, "work")["status"]["completedIndexes"] == "0-2"
    assert "Complete" in told(bed)


async def test_a_rule_on_exit_codes_fails_the_job_at_once(bed: Bed) -> None:
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}
    await bed.create(JOBS, job(podFailurePolicy={"rules": [rule]}))
    (pod,) = bed.pods()
    name = pod["metadata"]["name"]
    await bed.set_pod(name, "failed")
    assert told(bed)["Failed"] == "PodFailurePolicy"
    (message,) = bed.events("PodFailurePolicy")
    assert message == (
        f"Container main for pod default/{name} failed with exit code 1 matching FailJob rule at"
        " index 0"
    )


async def test_ignored_failures_do_not_count(bed: Bed) -> None:
    rule = {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [1]}}
    await bed.create(JOBS, job(backoffLimit=0, podFailurePolicy={"rules": [rule]}))
    (pod,) = bed.pods()
    await bed.set_pod(pod["metadata"]["name"], "failed")
    assert "Failed" not in told(bed)
    assert sum(pod["status"]["phase"] == "Running" for pod in bed.pods()) == 1


async def test_a_job_that_is_over_lives_as_long_as_its_ttl(bed: Bed) -> None:
    bed.node.verdict = lambda _: "succeeded"
    await bed.create(JOBS, job(ttlSecondsAfterFinished=60))
    assert "Complete" in told(bed)
    await bed.advance(59)
    assert len(bed.all(JOBS)) == 1
    await bed.advance(2)
    assert bed.all(JOBS) == []
    assert bed.pods() == []


async def test_deleting_a_job_lets_go_of_its_pods(bed: Bed) -> None:
    await bed.create(JOBS, job())
    await bed.delete(JOBS, "work", propagation="Background")
    assert bed.pods() == []


def cron_job(schedule: str = "*/5 * * * *", **spec: Any) -> Obj:
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "tick", "namespace": "default"},
        "spec": {"schedule": schedule, "jobTemplate": {"spec": job()["spec"]}, **spec},
    }


async def test_a_cron_job_makes_jobs_by_the_clock_and_keeps_some(bed: Bed) -> None:
    bed.node.verdict = lambda _: "succeeded"
    await bed.create(CRON_JOBS, cron_job())
    assert bed.all(JOBS) == []
    await bed.advance(5 * 60)
    (made,) = bed.all(JOBS)
    assert made["metadata"]["name"] == "tick-28333335"  # 2023-11-14 22:15, in minutes
    assert made["metadata"]["ownerReferences"][0]["name"] == "tick"
    status = bed.get(CRON_JOBS, "tick")["status"]
    assert status["lastScheduleTime"] == "2023-11-14T22:15:00Z"
    assert status["lastSuccessfulTime"]
    assert "active" not in status
    for _ in range(5):
        await bed.advance(5 * 60)
    assert len(bed.all(JOBS)) == 3


@pytest.mark.parametrize(("policy", "count"), [("Allow", 2), ("Forbid", 1), ("Replace", 1)])
async def test_the_concurrency_policy_decides_about_a_job_that_still_runs(
    bed: Bed, policy: str, count: int
) -> None:
    await bed.create(CRON_JOBS, cron_job(concurrencyPolicy=policy))
    await bed.advance(300)
    (first,) = bed.all(JOBS)
    await bed.advance(300)
    jobs = bed.all(JOBS)
    assert len(jobs) == count
    kept = first["metadata"]["name"] in {one["metadata"]["name"] for one in jobs}
    assert kept == (policy != "Replace")
    assert len(bed.get(CRON_JOBS, "tick")["status"]["active"]) == count


async def test_a_suspended_cron_job_makes_none_and_an_old_time_is_missed(bed: Bed) -> None:
    await bed.create(CRON_JOBS, cron_job(suspend=True, startingDeadlineSeconds=10))
    await bed.advance(670)
    assert bed.all(JOBS) == []
    await bed.patch(CRON_JOBS, "tick", {"spec": {"suspend": False}})
    assert bed.all(JOBS) == []


@pytest.mark.parametrize("text", ["", "0", "0,2", "0-2", "1,3-5,7,8", "0-9"])
def test_index_lists_are_read_as_they_are_written(text: str) -> None:
    if text == "1,3-5,7,8":
        assert parse_indexes(text, 10) == {1, 3, 4, 5, 7, 8}
    assert format_indexes(parse_indexes(text, 10)) == text
