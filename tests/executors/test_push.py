"""Images on their way to the cluster: pushed, loaded, or left as they are."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kindling.errors import ContainerError
from kindling.executors.image import ImageExecutor
from kindling.executors.load import LoadExecutor
from kindling.executors.processes import HostProcesses
from kindling.executors.protocol import Failed, Job, Succeeded
from kindling.executors.push import PushExecutor
from kindling.executors.registry import RegistryExecutor
from kindling.graph.node import FileSet, Kind
from kindling.graph.outcome import Output
from kindling.graph.spec import DockerImageSpec, LoadSpec, PushSpec, RegistrySpec
from kindling.kube.protocol import Cluster
from kindling.testing.containers import FakeContainers
from kindling.testing.jobs import JobWorld
from kindling.testing.processes import FakeProcesses, Program
from tests.target import connect_engine

IMAGE = "sha256:" + "0123456789abcdef" * 4
TAG = "kindling-0123456789abcdef"


@dataclass
class Registry:
    """A registry on a free port: `held` maps `name:tag` to image ids, `status` answers for all."""

    host: str = ""
    held: dict[str, str] = field(default_factory=dict)
    status: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            status, body = self._answer(path)
            head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
        writer.close()

    def _answer(self, path: str) -> tuple[int, bytes]:
        if self.status:
            return self.status, b""
        if path == "/v2/":
            return 200, b"{}"
        name, _, tag = path.removeprefix("/v2/").partition("/manifests/")
        if image := self.held.get(f"{name}:{tag}"):
            return 200, json.dumps({"config": {"digest": image}}).encode()
        return 404, b""


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    made = Registry()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.host = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield made
    listening.close()
    await listening.wait_closed()


def image(**more: str) -> Output:
    data = {"image_id": IMAGE, "local": f"api:{TAG}", "reference": "", "roll": "", **more}
    return Output(IMAGE, data)


def push_job(world: JobWorld, host: str, built: Output | None = None, **more: str) -> Job:
    names = {"push": host, "pull": "registry:5000", "single_name": "", **more}
    inputs = {"image:api": built or image(), "registry:r": Output("r", names)}
    return world.job(Kind.PUSH, PushSpec("api", "image:api", "registry:r"), inputs=inputs)


@pytest.fixture
def world(tmp_path: Path) -> JobWorld:
    engine = FakeContainers()
    engine._keep(IMAGE)
    engine._refs[f"api:{TAG}"] = IMAGE
    return JobWorld(tmp_path, FakeProcesses(), engine=engine)


def engine_of(world: JobWorld) -> FakeContainers:
    assert isinstance(world.engine, FakeContainers)
    return world.engine


async def succeed(executor: PushExecutor | LoadExecutor | RegistryExecutor, job: Job) -> Output:
    outcome = await executor.run(job)
    assert isinstance(outcome, Succeeded), outcome
    return outcome.output


async def test_what_is_pushed_is_named_as_the_cluster_pulls_it(
    world: JobWorld, registry: Registry
) -> None:
    output = await succeed(PushExecutor(), push_job(world, registry.host))
    assert engine_of(world).pushes == [f"{registry.host}/api:{TAG}"]
    assert output.digest == output.data["reference"] == f"registry:5000/api:{TAG}"
    assert output.data["roll"] == ""
    assert list(engine_of(world).refs) == [f"api:{TAG}"], "the engine keeps no second name"


async def test_what_the_registry_has_is_not_pushed(world: JobWorld, registry: Registry) -> None:
    registry.held[f"api:{TAG}"] = IMAGE
    output = await succeed(PushExecutor(), push_job(world, registry.host))
    assert engine_of(world).pushes == []
    assert output.data["reference"] == f"registry:5000/api:{TAG}"


async def test_another_image_under_the_tag_is_overwritten(
    world: JobWorld, registry: Registry
) -> None:
    registry.held[f"api:{TAG}"] = "sha256:other"
    await succeed(PushExecutor(), push_job(world, registry.host))
    assert len(engine_of(world).pushes) == 1


async def test_a_single_repository_holds_names_in_tags(world: JobWorld, registry: Registry) -> None:
    output = await succeed(PushExecutor(), push_job(world, registry.host, single_name="all"))
    assert output.data["reference"] == f"registry:5000/all:api-{TAG}"


async def test_an_image_that_needs_no_push_passes_through(world: JobWorld) -> None:
    world.engine = None
    built = image(reference="api:dev", roll=IMAGE)
    output = await succeed(PushExecutor(), push_job(world, "nowhere:1", built))
    assert (output.data["reference"], output.data["roll"]) == ("api:dev", IMAGE)
    other = await succeed(
        PushExecutor(), push_job(world, "nowhere:1", image(reference="api:dev", roll="other"))
    )
    assert other.digest != output.digest


async def test_observe_asks_the_registry(world: JobWorld, registry: Registry) -> None:
    job = push_job(world, registry.host)
    output = await succeed(PushExecutor(), job)
    seen = await PushExecutor().observe(job, output)
    assert "was not found in the registry" in seen.difference
    registry.held[f"api:{TAG}"] = IMAGE
    assert (await PushExecutor().observe(job, output)).same
    registry.status = 401
    assert (await PushExecutor().observe(job, output)).same, "it cannot be asked without a login"
    registry.status = 500
    with pytest.raises(ContainerError, match="the registry failed"):
        await PushExecutor().observe(job, output)


@pytest.mark.parametrize(("status", "means"), [(403, "refuses"), (500, "failed")])
async def test_a_registry_that_refuses_fails_the_push(
    world: JobWorld, registry: Registry, status: int, means: str
) -> None:
    registry.status = status
    with pytest.raises(ContainerError, match=f"the registry {means}"):
        await PushExecutor().run(push_job(world, registry.host))
    assert engine_of(world).pushes == []


# registry
# ------------------------------------------------------------------------------------------


def registry_job(world: JobWorld, spec: RegistrySpec, announced: object = None) -> Job:
    cluster = Output("uid", {"registry": announced})
    return world.job(Kind.REGISTRY, spec, inputs={"cluster:kind": cluster})


async def test_a_named_registry_is_used(world: JobWorld, registry: Registry) -> None:
    spec = RegistrySpec(f"{registry.host}/team", "reg:5000/team")
    output = await succeed(RegistryExecutor(), registry_job(world, spec))
    assert output.data["push"] == f"{registry.host}/team"
    assert output.data["pull"] == "reg:5000/team"


async def test_an_announced_registry_is_used(world: JobWorld, registry: Registry) -> None:
    announced = {"push": registry.host, "pull": "registry:5000"}
    job = registry_job(world, RegistrySpec(), announced)
    output = await succeed(RegistryExecutor(), job)
    assert (output.data["push"], output.data["pull"]) == (registry.host, "registry:5000")
    assert (await RegistryExecutor().observe(job, output)).same
    other = registry_job(world, RegistrySpec(), {"push": "elsewhere:1", "pull": ""})
    assert not (await RegistryExecutor().observe(other, output)).same
    registry.status = 500
    assert "failed" in (await RegistryExecutor().observe(job, output)).difference


async def test_without_a_registry_it_is_said_what_to_do(world: JobWorld) -> None:
    outcome = await RegistryExecutor().run(registry_job(world, RegistrySpec()))
    assert isinstance(outcome, Failed)
    assert "default_registry" in outcome.failure.hint


async def test_a_registry_that_is_starting_is_waited_for(
    world: JobWorld, registry: Registry
) -> None:
    registry.status = 503
    run = asyncio.create_task(
        RegistryExecutor().run(registry_job(world, RegistrySpec(registry.host)))
    )
    clock = world.clock
    async with asyncio.timeout(10):
        while not getattr(clock, "sleepers", 0):  # noqa: ASYNC110 the answer comes from a thread
            await asyncio.sleep(0)
    registry.status = 0
    await clock.advance(1)  # type: ignore[attr-defined]
    assert isinstance(await run, Succeeded)


async def test_a_registry_that_refuses_is_not_waited_for(
    world: JobWorld, registry: Registry
) -> None:
    registry.status = 403
    with pytest.raises(ContainerError, match="the registry refuses"):
        await RegistryExecutor().run(registry_job(world, RegistrySpec(registry.host)))


# load
# ----------------------------------------------------------------------------------------------


async def test_an_image_is_loaded_under_its_content_tag(world: JobWorld) -> None:
    fake = world.processes
    assert isinstance(fake, FakeProcesses)
    fake.answer("kind", "load", "docker-image")
    spec = LoadSpec("api", "image:api", "kind", "dev")
    job = world.job(Kind.LOAD, spec, inputs={"image:api": image()})
    output = await succeed(LoadExecutor(), job)
    assert fake.commands == [f"kind load docker-image api:{TAG} --name dev"]
    assert output.digest == output.data["reference"] == f"api:{TAG}"
    fake.answer("kind", program=Program(1))


async def test_an_image_that_was_delivered_is_not_loaded(world: JobWorld) -> None:
    spec = LoadSpec("api", "image:api", "k3d", "dev")
    built = image(reference="reg:5000/api:1", local="")
    job = world.job(Kind.LOAD, spec, inputs={"image:api": built})
    assert (await succeed(LoadExecutor(), job)).data["reference"] == "reg:5000/api:1"


# With the real registry of the cluster
# -------------------------------------------------------------


@pytest.mark.cluster
async def test_a_push_to_a_real_registry_is_done_once(tmp_path: Path, cluster: Cluster) -> None:
    registry = (await cluster.facts()).registry
    if registry is None:
        pytest.skip("the cluster announces no registry")
    name = f"kindling-test-{uuid.uuid4().hex[:8]}"
    host = HostProcesses(tmp_path / ".kindling")
    engine = await connect_engine(host, tmp_path)
    world = JobWorld(tmp_path, host, engine=engine)
    world.write("app/Dockerfile", "FROM scratch\nCOPY . /\n")
    world.write("app/salt", name)
    spec = DockerImageSpec(name, "app", "app/Dockerfile")
    built = await ImageExecutor().run(world.job(Kind.IMAGE, spec, files=(FileSet(("app",)),)))
    assert isinstance(built, Succeeded)
    names = Output("r", {"push": registry.host, "pull": registry.host})
    inputs = {"image:api": built.output, "registry:r": names}
    job = world.job(Kind.PUSH, PushSpec(name, "image:api", "registry:r"), inputs=inputs)
    first = await succeed(PushExecutor(), job)
    assert "digest: sha256:" in world.lines.text
    assert (await PushExecutor().observe(job, first)).same
    assert await succeed(PushExecutor(), job) == first
    assert "already" in world.lines.of("kindling")[-1]
    await engine.remove(built.output.data["local"])
    await engine.close()
    await host.close()
