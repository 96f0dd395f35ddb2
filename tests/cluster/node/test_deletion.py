"""How a pod is brought to its end when it is deleted."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from typing import Any

from kindling.cluster.images.protocol import ImageConfig
from kindling.cluster.runtime.fake import FakeProcess
from tests.cluster.node.bed import Bed


async def test_a_deleted_pod_is_asked_first(bed: Bed) -> None:
    """SIGTERM, and when it has ended the object goes; its folder too."""
    await bed.pod()
    await bed.running()
    process = bed.process()
    folder = bed.folder / "pods" / bed.get()["metadata"]["uid"]
    await bed.delete()
    await bed.gone()
    assert process.signals == [signal.SIGTERM]
    await bed.told("Killing", "Stopping container main")
    await bed.until(lambda: not folder.exists())
    assert not bed.fake.sandboxes


async def test_who_does_not_listen_is_killed_after_the_grace(bed: Bed) -> None:
    await bed.pod(terminationGracePeriodSeconds=20)
    await bed.running()
    process = bed.process()
    process.traps.add(signal.SIGTERM)
    await bed.delete()
    await bed.clock.advance(19)
    assert process.signals == [signal.SIGTERM]
    await bed.clock.advance(2)
    await bed.gone()
    assert process.signals == [signal.SIGTERM, signal.SIGKILL]


async def test_a_forced_deletion_does_not_wait(bed: Bed) -> None:
    await bed.pod(terminationGracePeriodSeconds=600)
    await bed.running()
    process = bed.process()
    process.traps.add(signal.SIGTERM)
    await bed.delete(grace=0)
    await bed.gone()
    await bed.clock.advance(3)
    assert process.signals[-1] == signal.SIGKILL


async def test_a_second_deletion_shortens_the_grace(bed: Bed) -> None:
    await bed.pod(terminationGracePeriodSeconds=600)
    await bed.running()
    process = bed.process()
    process.traps.add(signal.SIGTERM)
    await bed.delete()
    await bed.clock.advance(5)
    await bed.delete(grace=10)
    await bed.clock.advance(11)
    await bed.gone()
    assert process.signals == [signal.SIGTERM, signal.SIGKILL]


async def test_the_pre_stop_hook_comes_before_the_signal(bed: Bed) -> None:
    order: list[str] = []

    async def hook(_process: FakeProcess) -> int:
        order.append(f"hook {len(bed.process(0).signals)}")
        return 0

    bed.fake.programs["bye"] = hook
    await bed.pod(containers=[{"lifecycle": {"preStop": {"exec": {"command": ["bye"]}}}}])
    await bed.running()
    process = bed.process()
    await bed.delete()
    await bed.gone()
    assert order == ["hook 0"]
    assert process.signals == [signal.SIGTERM]


async def test_a_hook_that_never_ends_uses_up_the_grace(bed: Bed) -> None:
    bed.fake.programs["bye"] = _forever
    await bed.pod(containers=[{"lifecycle": {"preStop": {"exec": {"command": ["bye"]}}}}])
    await bed.running()
    process = bed.process()
    process.traps.add(signal.SIGTERM)
    await bed.delete()
    await bed.clock.advance(31)
    assert process.signals == [signal.SIGTERM]
    await bed.clock.advance(3)
    await bed.gone()
    await bed.told("FailedPreStopHook")


async def test_a_sleep_hook_sleeps(bed: Bed) -> None:
    await bed.pod(containers=[{"lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}])
    await bed.running()
    process = bed.process()
    await bed.delete()
    await bed.clock.advance(4)
    assert not process.signals
    await bed.clock.advance(2)
    await bed.gone()


async def test_the_stop_signal_of_the_image_is_sent(bed: Bed) -> None:
    bed.images.configs["app:1"] = ImageConfig(cmd=("run",), stop_signal="SIGQUIT")
    await bed.pod()
    await bed.running()
    process = bed.process()
    await bed.delete()
    await bed.gone()
    assert process.signals == [signal.SIGQUIT]


async def test_a_failing_post_start_hook_stops_the_container(bed: Bed) -> None:
    await bed.pod(containers=[{"lifecycle": {"postStart": {"exec": {"command": ["false"]}}}}])
    await bed.told("FailedPostStartHook", "PostStartHook failed")
    await bed.told("Killing", "FailedPostStartHook")
    await bed.until(lambda: bed.entry().get("restartCount", 0) >= 1)
    assert not bed.entry()["ready"]


async def test_a_pod_deleted_before_it_started_goes(bed: Bed) -> None:
    await bed.pod(volumes=[{"name": "c", "configMap": {"name": "nowhere"}}])
    await bed.told("FailedMount", 'configmap "nowhere" not found')
    await bed.delete()
    await bed.gone()


async def test_sidecars_end_last(bed: Bed) -> None:
    ended: list[str] = []
    await bed.pod(initContainers=[{"restartPolicy": "Always"}, {"restartPolicy": "Always"}])
    await bed.running()
    names = ("init0", "init1", "main")
    for name, process in zip(names, bed.fake.running.values(), strict=True):
        process.ended.add_done_callback(partial(_note, ended, name))
    await bed.delete()
    await bed.gone()
    assert ended == ["main", "init1", "init0"]


async def _forever(_process: FakeProcess) -> int:
    await asyncio.Event().wait()
    return 0


def _note(ended: list[str], name: str, _done: Any) -> None:
    ended.append(name)


async def test_a_deletion_overtakes_a_probe_s_slow_stop(bed: Bed) -> None:
    """A container that a probe has condemned with much grace has no more than the deletion
    grants."""
    probe = {
        "exec": {"command": ["false"]},
        "failureThreshold": 1,
        "initialDelaySeconds": 1,
        "terminationGracePeriodSeconds": 600,
    }
    await bed.pod(containers=[{"livenessProbe": probe}], terminationGracePeriodSeconds=5)
    await bed.running()
    process = bed.process()
    process.traps.add(signal.SIGTERM)
    await bed.clock.advance(2)
    assert process.signals == [signal.SIGTERM]
    await bed.delete()
    await bed.clock.advance(6)
    await bed.gone()
    assert process.signals == [signal.SIGTERM, signal.SIGKILL]
