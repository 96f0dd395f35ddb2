"""Everything that can be done to a source tree, done to one that two pods of nobody in particular
are kept equal to."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from kindling.kube.protocol import Cluster
from tests.images import need
from tests.sync.world.runtimes import full
from tests.sync.world.stage import IMAGES, Stage, Workload
from tests.sync.world.syncing import Syncing

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

_IMAGE = "kindling-test-sync-python:1"
_SERVER = Workload(
    "listed", _IMAGE, replicas=2, pod={"securityContext": {"runAsUser": 1000, "runAsGroup": 1000}}
)


async def test_whatever_is_done_to_the_source_is_done_to_every_pod(
    cluster: Cluster, ns: str, tmp_path: Path
) -> None:
    """Rows 60, 61 and 70: both pods, and what is the image's own stays."""
    need(_IMAGE)
    stage = Stage(cluster, ns)
    await stage.open()
    await stage.deploy(_SERVER)
    before = await stage.template(_SERVER)
    source = tmp_path / "source"
    shutil.copytree(IMAGES / "python/app", source)
    # Of the image, and not of the source: nothing may happen to it.
    (source / "pages.py").unlink()
    pods = await stage.pods(_SERVER)
    strangers = {
        path: text
        for path, text in (await stage.tree(pods[0]["metadata"]["name"], "/app")).items()
        if path == "pages.py"
    }
    assert strangers
    syncing = Syncing(tmp_path, ("-d", "listed", "-n", ns, "--src", str(source), "--dest", "/app"))

    async def carried(what: str) -> None:
        try:
            await stage.equal(
                _SERVER, "/app", source, strangers=strangers, meanwhile=syncing.assert_runs
            )
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}\n{syncing.said}") from error

    try:
        (source / "answer.py").write_text('ANSWER = "two"\n')
        await carried("the first copy")

        (source / "wsgi.py").unlink()
        await carried("a deleted file")

        (source / "asgi.py").rename(source / "renamed name.py")
        await carried("a renamed file")

        (source / "new" / "below").mkdir(parents=True)
        (source / "new" / "empty").mkdir()
        (source / "new" / "below" / "inner.txt").write_text("inner")
        await carried("new folders, an empty one too")

        (source / "new").rename(source / "moved")
        await carried("a renamed folder")

        (source / "server.py").chmod(0o755)
        (source / "moved" / "empty").chmod(0o700)
        await carried("mode bits of a file and of a folder")

        (source / "link").symlink_to("moved/below/inner.txt")
        (source / "linked").symlink_to("moved")
        await carried("links to a file and to a folder")

        chance = random.Random(5)
        (source / "big.bin").write_bytes(chance.randbytes(5_000_000))
        await carried("5 MB that cannot be compressed")
        with (source / "big.bin").open("r+b") as file:
            file.seek(2_500_000)
            file.write(b"changed")
        await carried("some bytes in the middle of them")

        count = 10_000 if full() else 1_000
        for number in range(count):
            path = source / "many" / f"{number % 50}" / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{number}\n")
        await carried(f"{count} new files")

        for number in range(1000):
            (source / "answer.py").write_text(f'ANSWER = "{number}"\n')
            (source / "moved" / f"storm-{number % 40}.txt").write_text(str(number))
            if number % 3 == 0:
                os.replace(source / "answer.py", source / "other.py")
        (source / "answer.py").write_text('ANSWER = "calm"\n')
        await carried("a storm of saves")

        shutil.rmtree(source / "many")
        (source / "link").unlink()
        (source / "link").mkdir()
        (source / "moved" / "empty").rmdir()
        (source / "moved" / "empty").write_text("no folder any more")
        await carried("folders, files and links in the place of each other")
        await syncing.stop()
    finally:
        await syncing.close()
    await stage.assert_restored(_SERVER, before)
    await stage.serves(_SERVER, "one")
    for pod in await stage.ready(_SERVER):
        found = await stage.tree(pod["metadata"]["name"], "/app")
        assert set(found) == {path.name for path in (IMAGES / "python/app").iterdir()}
