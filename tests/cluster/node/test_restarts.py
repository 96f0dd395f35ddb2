"""What happens when containers end: restarts, back-off, and the end of a pod."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from kindling.cluster.model.api import Obj
from kindling.cluster.model.resource import builtin
from kindling.cluster.model.status import internal_error
from kindling.cluster.runtime.fake import FakeProcess
from kindling.cluster.runtime.protocol import StartError
from tests.cluster.node.bed import Bed

SECRETS = builtin("secrets")


async def test_a_crashing_container_waits_longer_each_time(bed: Bed) -> None:
    """The first restart comes at once, then after 10 s, 20 s, 40 s, with what users know from
    `kubectl get` in the state."""
    pod = await bed.pod()
    await bed.running()
    bed.process().exit(1)
    await bed.running(restarts=1)
    last = bed.entry()["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (1, "Error")
    for restarts, delay in ((2, 10), (3, 20), (4, 40)):
        bed.process().exit(1)
        await bed.until(lambda: "waiting" in bed.entry()["state"])
        waiting = bed.entry()["state"]["waiting"]
        named = f"container=main pod=web_default({pod['metadata']['uid']})"
        assert waiting == {
            "reason": "CrashLoopBackOff",
            "message": f"back-off {delay}s restarting failed {named}",
        }
        assert bed.status()["phase"] == "Running"
        assert not bed.entry()["ready"]
        await bed.clock.advance(delay - 0.5)
        assert "waiting" in bed.entry()["state"]
        await bed.clock.advance(0.6)
        await bed.running(restarts=restarts)
    await bed.told("BackOff", "Back-off restarting failed container main in pod web_default(")


async def test_the_longest_delay_is_five_minutes_and_ten_good_ones_reset_it(bed: Bed) -> None:
    await bed.pod()
    await bed.running()
    restarts = 0
    for restarts in range(1, 9):
        bed.process().exit(1)
        await bed.until(lambda: not bed.entry()["ready"] or bed.entry()["restartCount"] == 1)
        await bed.clock.advance(301)
        await bed.running(restarts=restarts)
    bed.process().exit(1)
    await bed.until(lambda: "waiting" in bed.entry()["state"])
    assert "back-off 5m0s restarting" in bed.entry()["state"]["waiting"]["message"]
    await bed.clock.advance(301)
    await bed.running(restarts=restarts + 1)
    await bed.clock.advance(601)
    bed.process().exit(1)
    await bed.running(restarts=restarts + 2)


@pytest.mark.parametrize(
    ("policy", "code", "phase", "reason"),
    [
        ("Never", 0, "Succeeded", "Completed"),
        ("Never", 3, "Failed", "Error"),
        ("OnFailure", 0, "Succeeded", "Completed"),
    ],
)
async def test_a_pod_ends_as_its_policy_says(
    bed: Bed, policy: str, code: int, phase: str, reason: str
) -> None:
    await bed.pod(restartPolicy=policy)
    await bed.running()
    bed.process().exit(code)
    await bed.phase(phase)
    ended = bed.entry()["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (code, reason)
    told = "PodCompleted" if phase == "Succeeded" else "PodFailed"
    assert bed.condition("Ready")["reason"] == told
    assert bed.condition("ContainersReady")["status"] == "False"
    assert bed.condition("PodReadyToStartContainers")["status"] == "False"
    assert bed.status()["podIP"]
    assert not bed.fake.sandboxes


async def test_on_failure_restarts_what_failed(bed: Bed) -> None:
    await bed.pod(restartPolicy="OnFailure")
    await bed.running()
    bed.process().exit(1)
    await bed.running(restarts=1)
    bed.process().exit(0)
    await bed.phase("Succeeded")
    assert bed.entry()["restartCount"] == 1


async def test_init_containers_run_one_after_the_other(bed: Bed) -> None:
    await bed.pod(initContainers=[{}, {}])
    await bed.running("init0")
    assert bed.entry("init1")["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert bed.entry()["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert bed.condition("Initialized")["message"] == (
        "containers with incomplete status: [init0 init1]"
    )
    assert bed.status()["phase"] == "Pending"
    bed.process().exit(0)
    await bed.running("init1")
    assert len(bed.fake.running) == 1
    bed.process().exit(1)
    await bed.running("init1", restarts=1)
    bed.process().exit(0)
    await bed.running()
    assert bed.condition("Initialized")["status"] == "True"
    assert bed.entry("init0")["state"]["terminated"]["reason"] == "Completed"


async def test_a_failed_init_container_of_a_pod_that_never_restarts_fails_it(bed: Bed) -> None:
    await bed.pod(initContainers=[{}], restartPolicy="Never")
    await bed.running("init0")
    bed.process().exit(7)
    await bed.phase("Failed")
    assert bed.entry()["state"] == {"waiting": {"reason": "PodInitializing"}}
    told = bed.condition("Initialized")
    assert told["reason"] == "ContainersNotInitialized"
    assert told["message"] == "containers with incomplete status: [init0]"


async def test_a_sidecar_starts_before_and_ends_after(bed: Bed) -> None:
    """It lets the next ones begin once it has started, restarts whatever the policy, and does not
    keep a finished pod alive."""
    await bed.pod(initContainers=[{"restartPolicy": "Always"}], restartPolicy="Never")
    await bed.running()
    await bed.running("init0")
    bed.process(0).exit(1)
    await bed.running("init0", restarts=1)
    bed.process(0).exit(0)
    await bed.phase("Succeeded")
    assert bed.entry("init0")["state"]["terminated"]["exitCode"] == 143


async def test_an_out_of_memory_kill_says_so(bed: Bed) -> None:
    await bed.pod(restartPolicy="Never")
    await bed.running()
    bed.process().exit(signal=9, out_of_memory=True)
    await bed.phase("Failed")
    ended = bed.entry()["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


async def test_a_program_that_is_not_there_is_a_start_error(bed: Bed) -> None:
    await bed.pod(containers=[{"command": ["nowhere"]}])
    await bed.until(
        lambda: bed.entry().get("state", {}).get("waiting", {}).get("reason") == "CrashLoopBackOff"
    )
    ended = bed.entry()["lastState"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("StartError", 128)
    assert "executable file not found in $PATH" in ended["message"]


async def test_a_start_error_ends_a_pod_that_never_restarts(bed: Bed) -> None:
    await bed.pod(containers=[{"command": ["nowhere"]}], restartPolicy="Never")
    await bed.phase("Failed")
    assert bed.entry()["state"]["terminated"]["reason"] == "StartError"
    assert bed.status()["podIP"]


async def test_a_sandbox_that_fails_is_tried_again(bed: Bed) -> None:
    bed.fake.failures.append(StartError("no more addresses"))
    await bed.pod()
    await bed.told("FailedCreatePodSandBox", "Failed to create pod sandbox: no more addresses")
    assert bed.status()["phase"] == "Pending"
    await bed.clock.advance(1)
    await bed.running()


async def test_a_missing_secret_is_named_and_mended_by_its_creation(bed: Bed) -> None:
    ref = {"secretKeyRef": {"name": "db", "key": "password"}}
    await bed.pod(containers=[{"env": [{"name": "PASSWORD", "valueFrom": ref}]}])
    await bed.until(lambda: bed.entry().get("state", {}).get("waiting", {}).get("message"))
    assert bed.entry()["state"]["waiting"] == {
        "reason": "CreateContainerConfigError",
        "message": 'secret "db" not found',
    }
    await bed.told("Failed", 'Error: secret "db" not found')
    await bed.create("secrets", "db", data={"other": "eA=="})
    text = "couldn't find key password in Secret default/db"
    await bed.until(lambda: bed.entry()["state"]["waiting"]["message"] == text)
    secret = bed.api.get(SECRETS, "db", "default")
    assert secret is not None
    await bed.api.update(SECRETS, secret | {"data": {"password": "aHVzaA=="}})
    await bed.running()
    assert bed.process().env["PASSWORD"] == "hush"


async def test_an_active_deadline_ends_the_pod(bed: Bed) -> None:
    await bed.pod(activeDeadlineSeconds=60)
    await bed.running()
    await bed.clock.advance(59)
    assert bed.status()["phase"] == "Running"
    await bed.clock.advance(2)
    await bed.phase("Failed")
    assert bed.status()["reason"] == "DeadlineExceeded"
    assert bed.entry()["state"]["terminated"]["exitCode"] == 143


async def test_the_last_words_are_kept(bed: Bed) -> None:
    """From the termination file; or, where the pod says so, from the end of the log."""
    await bed.pod(restartPolicy="Never")
    await bed.pod(
        "two",
        containers=[{"terminationMessagePolicy": "FallbackToLogsOnError"}],
        restartPolicy="Never",
    )
    await bed.running()
    await bed.running(pod="two")
    for process in list(bed.fake.running.values()):
        mount = {mount.target: mount for mount in process.spec.mounts}["/dev/termination-log"]
        assert isinstance(mount.source, Path)
        if process.env["HOSTNAME"] == "web":
            mount.source.write_text("the disk is full")
        process.write("panic: no database\n")
        process.exit(2)
    await bed.phase("Failed")
    await bed.phase("Failed", "two")
    assert bed.entry()["state"]["terminated"]["message"] == "the disk is full"
    assert bed.entry(pod="two")["state"]["terminated"]["message"] == "panic: no database\n"


async def test_what_ran_when_the_cluster_died_runs_again(bed: Bed) -> None:
    """The end that nobody saw is told honestly, and counts as a restart."""
    await bed.pod(initContainers=[{}])
    await bed.running("init0")
    bed.process().exit(0)
    await bed.running()
    uid = bed.get()["metadata"]["uid"]
    await bed.crash()
    await bed.running("init0", restarts=1)
    bed.process().exit(0)
    await bed.running(restarts=1)
    last = bed.entry()["lastState"]["terminated"]
    assert (last["reason"], last["exitCode"]) == ("ContainerStatusUnknown", 137)
    assert bed.get()["metadata"]["uid"] == uid
    assert bed.entry("init0")["restartCount"] == 1


async def test_what_never_restarts_is_not_started_after_a_crash(bed: Bed) -> None:
    await bed.pod(restartPolicy="Never")
    await bed.pod("done", restartPolicy="Never")
    await bed.running()
    await bed.running(pod="done")
    bed.process().exit(0)
    await bed.phase("Succeeded", "done")
    before = bed.status("done")
    await bed.crash()
    await bed.phase("Failed")
    assert bed.entry()["state"]["terminated"]["reason"] == "ContainerStatusUnknown"
    assert bed.status("done") == before
    assert not bed.fake.started


async def test_folders_of_unknown_pods_are_removed_at_start(bed: Bed) -> None:
    stranger = bed.folder / "pods" / "0000-1111"
    (stranger / "volumes").mkdir(parents=True)
    await bed.pod()
    await bed.running()
    mine = bed.folder / "pods" / bed.get()["metadata"]["uid"]
    await bed.crash()
    assert not stranger.exists()
    assert mine.exists()


async def test_a_clean_stop_asks_first_and_hears_the_last_words(bed: Bed) -> None:
    """Nothing is restarted or told meanwhile, and no pod holds the stop up longer than it may."""

    async def polite(process: FakeProcess) -> int:
        process.traps.add(signal.SIGTERM)
        while signal.SIGTERM not in process.signals:  # noqa: ASYNC110 a list is what there is
            await asyncio.sleep(0)
        process.write("bye\n")
        return 0

    bed.fake.programs["polite"] = polite
    await bed.pod(containers=[{"command": ["polite"]}])
    await bed.pod("deaf", terminationGracePeriodSeconds=0)
    await bed.running()
    await bed.running(pod="deaf")
    bed.process().traps.add(signal.SIGTERM)
    await bed.node.drain(60)
    assert await bed.log() == "bye\n"
    assert bed.entry()["restartCount"] == 0
    assert "running" in bed.entry()["state"]
    await bed.crash()
    await bed.running(restarts=1)


async def test_a_full_disk_stops_no_pod(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A status that cannot be written now is written later; what runs goes on."""
    await bed.pod()
    await bed.running()
    update = bed.api.update

    async def full(*_args: Any, **_options: Any) -> Obj:
        raise internal_error("the object could not be stored: disk full")

    monkeypatch.setattr(bed.api, "update", full)
    bed.process().exit(1)
    await bed.until(lambda: len(bed.fake.started) == 2)
    await bed.clock.advance(1)
    assert bed.entry()["restartCount"] == 0
    monkeypatch.setattr(bed.api, "update", update)
    await bed.clock.advance(5)
    await bed.running(restarts=1)
    assert len(bed.fake.running) == 1
