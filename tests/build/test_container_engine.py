"""The contract of a container engine: the one in memory and the real one keep it alike."""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kindling.build.docker_engine import DockerEngine, connect
from kindling.build.protocol import BuildContext, BuildRequest, ContainerEngine, ImageInfo
from kindling.errors import ContainerError, ExecutionError
from kindling.executors.processes import HostProcesses
from kindling.testing.containers import FakeContainers
from kindling.testing.jobs import Lines


@dataclass
class Shop:
    """An engine, a folder to build from, and names that no other test uses."""

    engine: ContainerEngine
    folder: Path
    name: str = field(default_factory=lambda: f"kindling-test-{uuid.uuid4().hex[:8]}")
    lines: Lines = field(default_factory=Lines)

    def request(self, dockerfile: str, *tags: str, **more: object) -> BuildRequest:
        return BuildRequest(
            context=BuildContext(self.folder, self.folder / "context"),
            dockerfile=dockerfile,
            scratch=self.folder / "scratch",
            name=self.name,
            tags=tags,
            **more,  # type: ignore[arg-type]
        )

    async def build(self, dockerfile: str, *tags: str, **more: object) -> ImageInfo:
        return await self.engine.build(self.request(dockerfile, *tags, **more), self.lines)

    def write(self, path: str, text: str) -> None:
        target = self.folder / "context" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")


@pytest.fixture(params=["memory", pytest.param("docker", marks=pytest.mark.docker)])
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shop]:
    (tmp_path / "context").mkdir()
    if request.param == "memory":
        yield Shop(FakeContainers(), tmp_path)
        return
    host = HostProcesses()
    engine = await connect(host, dict(os.environ), tmp_path)
    made = Shop(engine, tmp_path)
    made.write("salt", made.name)  # or a test would find the images of an earlier one
    yield made
    for image in await engine.tags(made.name):
        for tag in image.tags:
            await engine.remove(tag)
    await engine.close()
    await host.close()


DOCKERFILE = "FROM scratch\nCOPY . /app\n"


async def test_an_engine_says_who_it_is(shop: Shop) -> None:
    version = await shop.engine.version()
    assert version.version
    assert version.platform == "linux/amd64"


async def test_an_image_is_found_by_id_and_by_tag(shop: Shop) -> None:
    made = await shop.build(DOCKERFILE, f"{shop.name}:1")
    assert made.id.startswith("sha256:")
    by_id = await shop.engine.inspect(made.id)
    by_tag = await shop.engine.inspect(f"{shop.name}:1")
    assert by_id is not None
    assert by_tag is not None
    assert by_id.id == by_tag.id == made.id
    assert by_tag.tags == (f"{shop.name}:1",)
    assert await shop.engine.inspect(f"{shop.name}:2") is None
    assert await shop.engine.inspect("sha256:" + "0" * 64) is None


async def test_the_same_bits_are_the_same_image(shop: Shop) -> None:
    """Also when every time of modification is another."""
    shop.write("main.py", "one")
    first = await shop.build(DOCKERFILE, f"{shop.name}:1")
    os.utime(shop.folder / "context/main.py", (1e9, 1e9))
    assert (await shop.build(DOCKERFILE, f"{shop.name}:1")).id == first.id
    shop.write("main.py", "two")
    assert (await shop.build(DOCKERFILE, f"{shop.name}:2")).id != first.id


async def test_the_steps_of_a_build_are_told(shop: Shop) -> None:
    await shop.build(DOCKERFILE, f"{shop.name}:1")
    assert "Step 1/2 : FROM scratch" in shop.lines.of("stdout")
    assert "Step 2/2 : COPY . /app" in shop.lines.of("stdout")


async def test_an_image_may_have_many_names(shop: Shop) -> None:
    made = await shop.build(DOCKERFILE, f"{shop.name}:1")
    await shop.engine.tag(made.id, f"{shop.name}:2")
    await shop.engine.tag(f"{shop.name}:2", f"{shop.name}:3")
    (found,) = await shop.engine.tags(shop.name)
    assert found.id == made.id
    assert sorted(found.tags) == [f"{shop.name}:{n}" for n in (1, 2, 3)]
    assert await shop.engine.remove(f"{shop.name}:2")
    assert not await shop.engine.remove(f"{shop.name}:2")
    assert await shop.engine.inspect(f"{shop.name}:2") is None
    assert await shop.engine.inspect(f"{shop.name}:1") is not None


async def test_only_tags_of_the_very_name_are_listed(shop: Shop) -> None:
    made = await shop.build(DOCKERFILE, f"{shop.name}:1")
    await shop.engine.tag(made.id, f"{shop.name}-other:1")
    (found,) = await shop.engine.tags(shop.name)
    assert found.tags == (f"{shop.name}:1",)
    await shop.engine.remove(f"{shop.name}-other:1")


async def test_what_is_not_there_cannot_be_tagged_or_pushed(shop: Shop) -> None:
    with pytest.raises(ContainerError, match=f"cannot tag `{shop.name}:9`"):
        await shop.engine.tag(f"{shop.name}:9", f"{shop.name}:10")
    with pytest.raises(ContainerError, match="cannot push"):
        await shop.engine.push(f"localhost:5000/{shop.name}:9", shop.lines)


async def test_an_archive_is_written_whole(shop: Shop, tmp_path: Path) -> None:
    await shop.build(DOCKERFILE, f"{shop.name}:1")
    await shop.engine.save(f"{shop.name}:1", tmp_path / "image.tar")
    assert (tmp_path / "image.tar").stat().st_size > 0
    with pytest.raises(ContainerError, match="cannot save"):
        await shop.engine.save(f"{shop.name}:9", tmp_path / "none.tar")
    assert not (tmp_path / "none.tar").exists()


async def test_a_failing_step_is_named(shop: Shop) -> None:
    with pytest.raises(ExecutionError, match="the build failed at step 2 of 2: "):
        await shop.build("FROM scratch\nRUN exit 3\n")


# What only the real engine does
# --------------------------------------------------------------------


@pytest.fixture
async def real(shop: Shop) -> Shop:
    return shop


only_real = pytest.mark.parametrize(
    "shop", [pytest.param("docker", marks=pytest.mark.docker)], indirect=True
)


@only_real
async def test_a_generated_dockerfile_leaves_no_trace_in_the_image(real: Shop) -> None:
    """An image made with the file on disk, and one made from the same text, are the same."""
    real.write("Dockerfile", DOCKERFILE)
    real.write(".dockerignore", "Dockerfile\n")
    on_disk = await real.build(
        DOCKERFILE, f"{real.name}:1", dockerfile_path=real.folder / "context/Dockerfile"
    )
    real.write("Dockerfile", "FROM something-else\n")
    from_text = await real.build(
        DOCKERFILE, f"{real.name}:2", dockerfile_path=real.folder / "context/Dockerfile"
    )
    assert on_disk.id != from_text.id, "the Dockerfile itself is a file of the context"
    again = await real.build(DOCKERFILE, f"{real.name}:3")
    assert again.id == from_text.id


@only_real
async def test_a_dockerfile_for_buildkit_is_built_with_it(real: Shop) -> None:
    real.write("main.sh", "echo hello")
    dockerfile = "FROM scratch\nCOPY --chmod=755 main.sh /main.sh\n"
    first = await real.build(dockerfile, f"{real.name}:1")
    assert "[1/1] COPY --chmod=755 main.sh /main.sh" in real.lines.text
    again = await real.build(dockerfile, f"{real.name}:1")
    assert first.id == again.id


@only_real
async def test_a_step_that_fails_in_buildkit_is_named(real: Shop) -> None:
    with pytest.raises(ExecutionError) as caught:
        await real.build("FROM scratch\nCOPY --chmod=755 gone /gone\n")
    assert "[1/1] COPY --chmod=755 gone /gone" in caught.value.message
    assert "not found" in caught.value.message


@only_real
async def test_a_dockerfile_that_is_none_is_refused(real: Shop) -> None:
    with pytest.raises(ExecutionError, match="unknown instruction: FRM"):
        await real.build("FRM scratch\n")


@only_real
async def test_a_cancelled_build_ends_at_once(real: Shop) -> None:
    """Even in the middle of a context that takes its time."""
    with (real.folder / "context/big").open("wb") as file:
        file.truncate(3 * 1024**3)
    build = asyncio.create_task(real.build(DOCKERFILE))
    await asyncio.sleep(0.2)
    build.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(build, 20)
    assert await real.engine.version()


@only_real
async def test_a_cancelled_step_is_stopped_in_the_engine(real: Shop) -> None:
    """A step that would take minutes and says nothing."""
    if await real.engine.inspect("busybox:1.36") is None:
        pytest.skip("there is no image `busybox:1.36`")
    dockerfile = f"FROM busybox:1.36\nRUN echo {real.name}; echo started; sleep 300\n"
    build = asyncio.create_task(real.build(dockerfile))
    async with asyncio.timeout(30):
        while "started" not in real.lines.of("stdout"):  # noqa: ASYNC110 lines are no event
            await asyncio.sleep(0.02)
    build.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(build, 20)


async def test_no_engine_is_said_so(tmp_path: Path) -> None:
    host = HostProcesses()
    with pytest.raises(
        ContainerError, match=r"no Docker engine answers at `unix://.*gone`"
    ) as caught:
        await connect(host, {"DOCKER_HOST": f"unix://{tmp_path}/gone"}, tmp_path)
    assert "Start Docker" in caught.value.hint
    assert caught.value.transient
    await host.close()


async def test_an_engine_that_hangs_up_is_said_so(tmp_path: Path) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    listening = await asyncio.start_unix_server(serve, tmp_path / "socket")
    host = HostProcesses()
    engine = DockerEngine(host, {}, tmp_path, f"unix://{tmp_path}/socket")
    with pytest.raises(ContainerError, match="cannot reach Docker"):
        await engine.version()
    await engine.close()
    listening.close()
    await listening.wait_closed()


async def test_the_current_docker_context_says_where_the_engine_is(tmp_path: Path) -> None:
    """As Colima, Rancher Desktop and OrbStack have it."""
    digest = hashlib.sha256(b"colima").hexdigest()
    meta = tmp_path / ".docker/contexts/meta" / digest / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(f'{{"Endpoints": {{"docker": {{"Host": "unix://{tmp_path}/colima"}}}}}}')
    (tmp_path / ".docker/config.json").write_text('{"currentContext": "colima"}')
    host = HostProcesses()
    with pytest.raises(ContainerError, match=f"unix://{tmp_path}/colima"):
        await connect(host, {"HOME": str(tmp_path)}, tmp_path)
    await host.close()
