"""Real servers of ten kinds in a real cluster: a saved file is served, and afterwards everything is
as it was.

All of them are deployed, synced and stopped side by side, which takes a fraction of the time; each
test looks at one. Images are made by `tests/sync/world/images/build`.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest

from kindling.graph.spec import ObjectRef
from kindling.kube.client import connect
from kindling.kube.contexts import read_kubeconfig
from tests.images import missing, need
from tests.sync.world.runtimes import RUNTIMES, Runtime, full
from tests.sync.world.stage import Stage
from tests.sync.world.syncing import Syncing

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

_AT_ONCE = 4
"""Programs that start at the same time on two cores."""
_ROWS = {row.workload.name: row for row in RUNTIMES}


@pytest.fixture(scope="module")
def ends(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, str]:
    """How it went with each that was asked for: empty for well, else what was wrong."""
    here = [item for item in request.session.items if item.path == request.path]
    asked = {
        str(item.callspec.params["name"]) for item in here if isinstance(item, pytest.Function)
    }
    rows = [_ROWS[name] for name in sorted(asked) if not missing(_ROWS[name].workload.image)]
    need(*{row.workload.image for row in rows})
    return asyncio.run(_all(rows, tmp_path_factory.mktemp("runtimes")))


async def _all(rows: list[Runtime], folder: Path) -> Mapping[str, str]:
    context = read_kubeconfig(os.environ).current
    assert context is not None
    cluster = await connect(context, os.environ)
    stage = Stage(cluster, f"kindling-test-{secrets.token_hex(4)}")
    busy = asyncio.Semaphore(_AT_ONCE)
    try:
        await stage.open()
        ends = await asyncio.gather(*(_one(stage, row, folder, busy) for row in rows))
        return dict(zip((row.workload.name for row in rows), ends, strict=True))
    finally:
        await cluster.delete(ObjectRef("v1", "Namespace", stage.namespace))
        await cluster.close()


async def _one(stage: Stage, row: Runtime, folder: Path, busy: asyncio.Semaphore) -> str:
    try:
        async with busy:
            await _loop(stage, row, folder / row.workload.name)
    except Exception:
        return traceback.format_exc()
    return ""


async def _loop(stage: Stage, row: Runtime, folder: Path) -> None:
    workload = row.workload
    await stage.deploy(workload)
    await stage.serves(workload, "one")
    before = await stage.template(workload)
    source = row.stage_source(folder / "source")
    row.edit(source, "one", "two")
    words = ("-d", f"{workload.kind.lower()}/{workload.name}", "-n", stage.namespace)
    syncing = Syncing(
        folder, (*words, "--src", str(source), "--dest", row.destination, *row.options)
    )
    try:
        await stage.serves(workload, "two", syncing.assert_runs)
        row.edit(source, "two", "three")
        await stage.serves(workload, "three", syncing.assert_runs)
        said = await syncing.stop()
    except AssertionError as error:
        raise AssertionError(f"{error}\n--- kindling sync said:\n{syncing.said}") from error
    finally:
        await syncing.close()
    assert row.label in said, said
    assert row.strategy in said, said
    await stage.assert_restored(workload, before)
    await stage.serves(workload, "one")


@pytest.mark.parametrize("name", [row.workload.name for row in RUNTIMES if row.gate or full()])
def test_an_edit_is_served_and_a_stop_puts_back_what_was(
    name: str, ends: Mapping[str, str]
) -> None:
    """Rows 62, 64, 67 and 71: signals, Go without a shell around it, and sessions side by side."""
    if name not in ends:
        pytest.skip(missing(_ROWS[name].workload.image))
    assert not ends[name], ends[name]
