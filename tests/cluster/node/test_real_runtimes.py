"""The node with real processes: once with namespaces, where the machine allows them, once plain.

Containers run `sh` of this machine (`kindling.dev/host`). How long a pod takes from its creation to
Running is printed (`pytest -rP`), and not judged.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kindling.cluster.images.store import ImageStore
from kindling.cluster.model.streams import ExecRequest
from kindling.cluster.node.clock import SystemClock
from kindling.cluster.runtime.launcher import LauncherRuntime
from kindling.cluster.runtime.plain import PlainRuntime
from kindling.cluster.runtime.protocol import Runtime, StartError
from tests.cluster.node.bed import Bed

HOST = "kindling.dev/host"


@pytest.fixture(params=["launcher", "plain"])
async def real(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bed]:
    folder = tmp_path / "runtime"
    runtime: Runtime
    if request.param == "launcher":
        runtime = LauncherRuntime(folder)
        try:
            await runtime.start()
        except StartError as error:
            pytest.skip(f"this machine allows no namespaces: {error}")
    else:
        runtime = PlainRuntime(folder)
    images = ImageStore(tmp_path / "images")
    bed = Bed(tmp_path, runtime, images=images, clock=SystemClock())
    await bed.open()
    try:
        yield bed
    finally:
        await bed.close()
        images.close()


async def sh(bed: Bed, script: str, name: str = "web", /, spec: Any = None, **fields: Any) -> None:
    command = ["sh", "-c", script]
    await bed.pod(
        name,
        containers=[{"image": HOST, "command": command, **fields}],
        **{"terminationGracePeriodSeconds": 1, **(spec or {})},
    )


async def test_a_pod_runs_soon_and_goes_without_a_trace(real: Bed) -> None:
    begun = time.perf_counter()
    await sh(real, "echo hello from $HOSTNAME; trap 'exit 0' TERM; while :; do sleep 0.05; done")
    await real.running()
    print(f"from creation to Running: {(time.perf_counter() - begun) * 1000:.0f} ms")  # noqa: T201

    await real.until_async(lambda: real.log(), "hello from web\n")
    process = await real.node.exec(
        "default", "web", "", ExecRequest(("sh", "-c", "echo in; exit 3"))
    )
    assert process.stdout is not None
    assert await process.stdout.read() == b"in\n"
    assert await process.wait() == 3
    await process.end()
    await real.delete()
    await real.gone()
    await real.until(lambda: list((real.folder / "pods").iterdir()) == [])


async def test_a_crash_loop(real: Bed) -> None:
    await sh(real, "echo boom >&2; exit 4")

    def looping() -> bool:
        state = real.entry().get("state", {})
        return bool(state.get("waiting", {}).get("reason") == "CrashLoopBackOff")

    await real.until(looping)
    assert real.entry()["lastState"]["terminated"]["exitCode"] == 4
    assert await real.log(previous=True) == "boom\n"


async def test_last_words_and_results(real: Bed) -> None:
    never = {"restartPolicy": "Never"}
    await sh(real, "echo bye > /dev/termination-log; exit 9", spec=never)
    await sh(real, "true", "good", spec=never)
    await real.phase("Failed")
    await real.phase("Succeeded", "good")
    assert real.entry()["state"]["terminated"]["message"] == "bye\n"


async def test_a_config_map_is_seen_to_change(real: Bed) -> None:
    from kindling.cluster.model.resource import builtin

    made = await real.create("configmaps", "cfg", data={"a": "1"})
    volumes = [{"name": "c", "configMap": {"name": "cfg"}}]
    mount = {"name": "c", "mountPath": "/cfg"}
    script = 'old=; while :; do new=$(cat /cfg/a); [ $new = "$old" ] || echo $new; old=$new; done'
    await sh(real, script, spec={"volumes": volumes}, volumeMounts=[mount])
    await real.running()
    await real.until_async(lambda: real.log(), "1\n")
    await real.api.update(builtin("configmaps"), made | {"data": {"a": "2"}})
    await real.until_async(lambda: real.log(), "1\n2\n")


async def test_a_probe_reaches_the_pod(real: Bed) -> None:
    probe = {"exec": {"command": ["sh", "-c", "test -e /tmp/ready-$POD"]}, "periodSeconds": 1}
    env = [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}]
    await sh(
        real,
        "touch /tmp/ready-$POD; trap 'rm /tmp/ready-$POD; exit' TERM; while :; do sleep 0.05; done",
        readinessProbe=probe,
        env=env,
    )
    await real.until(lambda: real.entry().get("ready"))
    await real.delete()
    await real.gone()


async def test_too_much_memory_is_an_out_of_memory_kill(real: Bed) -> None:
    if not real.runtime.isolation.memory:
        pytest.skip("no memory limits here")
    with contextlib.suppress(StartError):
        await sh(
            real,
            "exec python3 -c 'x = bytearray(300 << 20)'",
            spec={"restartPolicy": "Never"},
            resources={"limits": {"memory": "48Mi"}},
        )
    await real.phase("Failed")
    ended = real.entry()["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
