"""Images that Docker made, registries that others wrote, commands in real containers."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from kindling.cluster.images.build_run import BuildFailedError
from kindling.cluster.images.build_steps import BuildOptions
from kindling.cluster.images.builder import build_image
from kindling.cluster.images.distribution import Distribution
from kindling.cluster.images.push import push_image
from kindling.cluster.images.reference import parse_reference
from kindling.cluster.images.store import ImageStore
from kindling.cluster.runtime.launcher import LauncherRuntime
from kindling.cluster.runtime.protocol import StartError
from tests.cluster.images.conftest import Serve

BUSYBOX, PYTHON = "busybox:1.36", "python:3.12-slim"
REGISTRY = "localhost:5000"
"""The registry of the real cluster."""


async def docker(*words: str, accept: bool = True) -> str:
    program = shutil.which("docker")
    assert program is not None
    process = await asyncio.create_subprocess_exec(
        program, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(120):
        out, _ = await process.communicate()
    assert process.returncode == 0 or not accept, out.decode()
    return out.decode()


@pytest.fixture
async def saved(tmp_path: Path) -> Path:
    """Busybox, as this machine's Docker saves it."""
    if "Error" in await docker("image", "inspect", BUSYBOX, accept=False):
        pytest.skip(f"Docker has no {BUSYBOX} here")
    path = tmp_path / "busybox.tar"
    await docker("save", BUSYBOX, "-o", str(path))
    return path


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[LauncherRuntime]:
    made = LauncherRuntime(tmp_path / "run")
    try:
        await made.start()
    except StartError as error:
        pytest.skip(f"no isolation here: {error}")
    yield made
    await made.close()


@pytest.mark.docker
async def test_a_large_image_of_docker_loads_in_seconds(
    store: ImageStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "Error" in await docker("image", "inspect", PYTHON, accept=False):
        pytest.skip(f"Docker has no {PYTHON} here")
    path = tmp_path / "python.tar"
    await docker("save", PYTHON, "-o", str(path))
    begun = time.perf_counter()
    [image] = await store.load(path)
    took = time.perf_counter() - begun
    assert image.id in await docker("image", "inspect", "-f", "{{.Id}}", PYTHON)
    with capsys.disabled():
        print(f"\n  load of {PYTHON}: {image.size / 1e6:.0f} MB in {took:.2f} s")  # noqa: T201


@pytest.mark.docker
async def test_docker_pushes_to_our_registry_and_pulls_from_it(
    store: ImageStore, serve: Serve, saved: Path
) -> None:
    [image] = await store.load(saved)
    async with serve(Distribution(store)) as host:
        store.serve_as((host,))
        name = f"{host}/from/docker:1"
        await docker("tag", BUSYBOX, name)
        try:
            pushed = await docker("push", name)
            found = store.find(name)
            assert found is not None
            assert found.id == image.id
            assert found.digests[0].partition("@")[2] in pushed
            store.tag(image.id, parse_reference(f"{host}/ours:2"))
            assert "ours" in await docker("pull", f"{host}/ours:2")
            assert image.id in await docker("image", "inspect", "-f", "{{.Id}}", f"{host}/ours:2")
        finally:
            await docker("rmi", name, f"{host}/ours:2", accept=False)


@pytest.mark.docker
async def test_docker_loads_what_we_save(store: ImageStore, saved: Path, tmp_path: Path) -> None:
    [image] = await store.load(saved)
    name = f"kindling-images-test:{uuid.uuid4().hex[:8]}"
    (tmp_path / "context").mkdir()
    made = await build_image(
        store,
        None,
        BuildOptions(
            f"FROM {BUSYBOX}\nCOPY . /here\nCMD ls /here",
            tmp_path / "context",
            tags=(parse_reference(name),),
        ),
    )
    path = tmp_path / "ours.tar"
    with path.open("wb") as file:
        async for piece in store.save((name,)):
            file.write(piece)
    try:
        assert f"Loaded image: {name}" in await docker("load", "-i", str(path))
        assert made.id in await docker("image", "inspect", "-f", "{{.Id}}", name)
        assert made.id != image.id
    finally:
        await docker("rmi", name, accept=False)


@pytest.mark.docker
async def test_another_registry_takes_and_gives_what_we_push_and_pull(
    store: ImageStore, saved: Path, tmp_path: Path
) -> None:
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://{REGISTRY}/v2/"):
            pass
    except aiohttp.ClientError:
        pytest.skip(f"no registry at {REGISTRY}")
    [image] = await store.load(saved)
    reference = parse_reference(f"{REGISTRY}/kindling-images-test:1")
    digest, _ = await push_image(store, image, reference)
    other = ImageStore(tmp_path / "other")
    try:
        pulled = await other.pull(str(reference))
        assert pulled.id == image.id
        assert pulled.digests == (f"{REGISTRY}/kindling-images-test@{digest}",)
    finally:
        other.close()


@pytest.mark.docker
async def test_commands_of_a_build_run_in_containers(
    store: ImageStore, saved: Path, runtime: LauncherRuntime, tmp_path: Path
) -> None:
    await store.load(saved)
    context = tmp_path / "context"
    context.mkdir()
    (context / "f").write_text("1")
    said: list[str] = []
    dockerfile = (
        f"FROM {BUSYBOX}\nARG WHO=you\n"
        "RUN --mount=type=bind,source=f,target=/bound --mount=type=cache,target=/cache"
        " echo $WHO $(cat /bound) $$ > /out && touch /cache/x && rm /bin/yes && rm -r /home"
        " && mkdir /home && ln /out /hard\n"
        "WORKDIR /w\nUSER nobody\nRUN id -un > /tmp/who; cat /out\nCOPY f /w/\n"
    )

    async def build() -> tuple[float, str]:
        begun = time.perf_counter()
        made = await build_image(store, runtime, BuildOptions(dockerfile, context), said.append)
        return time.perf_counter() - begun, made.id

    first, _ = await build()
    assert "you 1 1\n" in "".join(said), "it is PID 1 of its own"
    image = store.find((await build())[1])
    assert image is not None
    made = image.root.layers[1]
    assert sorted(os.listdir(made)) == ["bin", "hard", "home", "out"]
    assert (made / "hard").stat().st_nlink == 2
    assert (image.root.layers[3] / "tmp/who").read_text() == "nobody\n"
    (context / "f").write_text("2")
    said.clear()
    again, changed = await build()
    assert changed != image.id
    with pytest.raises(BuildFailedError, match="non-zero code: 3"):
        await build_image(
            store, runtime, BuildOptions(f"FROM {BUSYBOX}\nRUN exit 3", context), said.append
        )
    assert again < first * 5  # a figure; the bound only keeps it from being nonsense


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_a_build_on_the_machine_itself_leaves_the_machine_alone(
    store: ImageStore, runtime: LauncherRuntime, tmp_path: Path
) -> None:
    mark = f"kindling-{uuid.uuid4().hex}"
    (tmp_path / "app.py").write_text("1")
    dockerfile = (
        f"FROM kindling.dev/host\nRUN echo 1 > /opt/{mark} && ls /bin/sh\nCOPY app.py /app/"
    )
    image = await build_image(store, runtime, BuildOptions(dockerfile, tmp_path))
    assert image.root.host
    assert mark not in os.listdir("/opt")
    assert (image.root.layers[0] / "opt" / mark).read_text() == "1\n"
    begun = time.perf_counter()
    (tmp_path / "app.py").write_text("2")
    again = await build_image(store, runtime, BuildOptions(dockerfile, tmp_path))
    took = time.perf_counter() - begun
    assert again.root.layers[0] == image.root.layers[0]
    assert took < 5, "a changed file must not run the command again"
