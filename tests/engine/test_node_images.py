"""The images of an embedded cluster's node beside those of a Docker engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from kindling.build.protocol import ContainerEngine
from kindling.engine.embedded import NodeImages
from kindling.errors import ContainerError
from kindling.executors.image import ImageExecutor
from kindling.executors.protocol import Succeeded
from kindling.graph.node import Kind
from kindling.graph.spec import CustomImageSpec
from kindling.testing.containers import FakeContainers
from kindling.testing.jobs import JobWorld
from kindling.testing.processes import Call, FakeProcesses, Program


async def images(node: FakeContainers, docker: FakeContainers | None) -> NodeImages:
    async def connect() -> ContainerEngine:
        if docker is None:
            raise ContainerError("no Docker engine answers")
        return docker

    return NodeImages(node, connect)


async def test_an_image_that_was_built_again_under_its_name_is_delivered_again() -> None:
    node, docker = FakeContainers(), FakeContainers()
    both = await images(node, docker)
    docker.add("app:dev", "one")
    await both.deliver("app:dev")
    assert node.refs == docker.refs
    two = docker.add("app:dev", "two")
    await both.deliver("app:dev")
    assert node.refs["app:dev"] == two


async def test_what_the_node_alone_has_is_delivered_already() -> None:
    node = FakeContainers()
    one = node.add("app:dev", "one")
    for docker in (FakeContainers(), None):
        await (await images(node, docker)).deliver("app:dev")
    assert node.refs == {"app:dev": one}


async def test_what_nobody_has_cannot_be_delivered() -> None:
    for docker in (FakeContainers(), None):
        both = await images(FakeContainers(), docker)
        with pytest.raises(ContainerError, match="neither the node nor a Docker engine has it"):
            await both.deliver("app:dev")


async def test_a_name_that_is_removed_is_removed_from_both() -> None:
    node, docker = FakeContainers(), FakeContainers()
    both = await images(node, docker)
    docker.add("app:1")
    await both.deliver("app:1")
    assert await both.remove("app:1")
    assert await both.inspect("app:1") is None
    assert not await both.remove("app:1")


async def test_what_was_pushed_to_the_nodes_own_registry_stays_when_the_name_goes() -> None:
    node, docker = FakeContainers(), FakeContainers()

    async def connect() -> ContainerEngine:
        return docker

    both = NodeImages(node, connect, ("localhost:5050",))
    for ref in ("localhost:5050/app:1", "localhost:50500/app:1"):
        node.add(ref)
        await both.remove(ref)
    assert set(node.refs) == {"localhost:5050/app:1"}


async def test_what_a_command_built_again_in_docker_is_the_image_that_the_node_gets(
    tmp_path: Path,
) -> None:
    node, docker = FakeContainers(), FakeContainers()
    programs = FakeProcesses()
    world = JobWorld(tmp_path, programs, engine=await images(node, docker))
    spec = CustomImageSpec("api", ("build",), tag="dev", disable_push=True)
    for content in ("one", "two"):

        def build(_: Call, content: str = content) -> None:
            docker.add("api:dev", content)

        programs.answer("build", program=Program(effect=build))
        outcome = await ImageExecutor().run(world.job(Kind.IMAGE, spec, name="api"))
        assert isinstance(outcome, Succeeded), outcome
        assert outcome.output.digest == docker.refs["api:dev"] == node.refs["api:dev"]
