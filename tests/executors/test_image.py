"""Images: tags by content, the ways to agree on a tag, bases of the same graph, what is kept."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from kindling.build.docker_engine import connect
from kindling.executors.image import KEPT_TAGS, ImageExecutor
from kindling.executors.processes import HostProcesses
from kindling.executors.protocol import Failed, Job, Succeeded
from kindling.graph.node import FileSet, IgnoreRule, Kind
from kindling.graph.outcome import FailureKind, Output
from kindling.graph.spec import CustomImageSpec, DockerImageSpec
from kindling.testing.containers import FakeContainers
from kindling.testing.jobs import JobWorld
from kindling.testing.processes import Call, FakeProcesses, Program


class Stage:
    """A world with an engine in memory, where the program `build` does what a test says."""

    def __init__(self, root: Path) -> None:
        self.engine = FakeContainers()
        self.programs = FakeProcesses()
        self.world = JobWorld(root, self.programs, engine=self.engine)

    def docker(
        self, dockerfile: str, inputs: dict[str, Output] | None = None, **more: object
    ) -> Job:
        self.world.write("app/Dockerfile", dockerfile)
        spec = DockerImageSpec("api", "app", "app/Dockerfile", **more)  # type: ignore[arg-type]
        rules = (IgnoreRule("app", ("*.log",)),)
        return self.world.job(
            Kind.IMAGE, spec, name="api", inputs=inputs, files=(FileSet(("app",), rules),)
        )

    def custom(self, inputs: dict[str, Output] | None = None, **more: object) -> Job:
        spec = CustomImageSpec("api", ("build",), **more)  # type: ignore[arg-type]
        return self.world.job(Kind.IMAGE, spec, name="api", inputs=inputs)

    def builds(self, effect: Callable[[Call], None], code: int = 0) -> None:
        program = Program(code, stderr=b"said\n", effect=effect)
        self.programs.answer("build", program=program)

    def makes_what_is_expected(self, content: str = "bits") -> None:
        self.builds(lambda call: self.tag(call.env["EXPECTED_REF"], content))

    def tag(self, ref: str, content: str) -> None:
        self.engine.add(ref, content)

    @property
    def told(self) -> dict[str, str]:
        """The variables that the build command was given."""
        env = self.programs.calls[-1].env
        return {k: v for k, v in env.items() if k.startswith(("EXPECTED", "REGISTRY", "TILT"))}


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


async def succeed(job: Job) -> Output:
    outcome = await ImageExecutor().run(job)
    assert isinstance(outcome, Succeeded), outcome
    return outcome.output


async def fail(job: Job) -> Failed:
    outcome = await ImageExecutor().run(job)
    assert isinstance(outcome, Failed)
    return outcome


# docker_build
# --------------------------------------------------------------------------------------


async def test_an_image_is_named_by_its_content(stage: Stage) -> None:
    """Same bits, same tag; other bits, another."""
    first = await succeed(stage.docker("FROM scratch\n"))
    digits = first.digest.removeprefix("sha256:")[:16]
    assert first.data["local"] == f"api:kindling-{digits}"
    assert stage.engine.refs[first.data["local"]] == first.digest
    assert (first.data["reference"], first.data["roll"]) == ("", "")
    assert (await succeed(stage.docker("FROM scratch\n"))).data == first.data
    assert (await succeed(stage.docker("FROM scratch\nRUN x\n"))).digest != first.digest


async def test_the_context_is_what_the_key_counts(stage: Stage) -> None:
    """The rules of the node's files hold for the build: an ignored file changes nothing."""
    stage.world.write("app/main.py", "1")
    first = await succeed(stage.docker("FROM scratch\n"))
    stage.world.write("app/debug.log", "noise")
    assert (await succeed(stage.docker("FROM scratch\n"))).digest == first.digest
    stage.world.write("app/main.py", "2")
    assert (await succeed(stage.docker("FROM scratch\n"))).digest != first.digest


async def test_a_base_of_the_graph_is_used_as_it_was_just_built(stage: Stage) -> None:
    base = Output("sha256:b", {"local": "base:kindling-1", "reference": ""})
    job = stage.docker(
        "ARG B=base\nFROM $B\n", {"image:base": base}, bases=(("base", "image:base"),)
    )
    await succeed(job)
    assert stage.engine.requests[-1].dockerfile == "ARG B=base\nFROM base:kindling-1\n"


async def test_extra_tags_are_given_too(stage: Stage) -> None:
    made = await succeed(stage.docker("FROM scratch\n", extra_tags=("api:dev", "other/api:1")))
    assert stage.engine.refs["api:dev"] == stage.engine.refs["other/api:1"] == made.digest


async def test_a_failing_step_is_a_failed_build(stage: Stage) -> None:
    failure = (await fail(stage.docker("FROM scratch\nRUN exit 3\n"))).failure
    assert failure.kind is FailureKind.BUILD
    assert failure.summary == ("the build failed at step 2 of 2: RUN exit 3: exited with code 3")
    assert "Step 2/2 : RUN exit 3" in stage.world.lines.text


async def test_old_tags_of_ours_go_and_those_of_users_stay(stage: Stage) -> None:
    stage.engine.add("api:dev", "user")
    stage.engine.add("api:kindling-by-hand", "user")
    stage.engine.add("other:kindling-0123456789abcdef", "other")
    made = [
        (await succeed(stage.docker(f"FROM scratch\nRUN {n}\n"))).data["local"] for n in range(6)
    ]
    kept = set(stage.engine.refs)
    assert kept == {
        "api:dev",
        "api:kindling-by-hand",
        "other:kindling-0123456789abcdef",
        *made[-KEPT_TAGS:],
    }


# Found again
# ---------------------------------------------------------------------------------------


async def test_observe_tells_a_lost_image(stage: Stage) -> None:
    job = stage.docker("FROM scratch\n")
    made = await succeed(job)
    executor = ImageExecutor()
    assert (await executor.observe(job, made)).same
    await stage.engine.remove(made.data["local"])
    seen = await executor.observe(job, made)
    assert seen.difference == f"`{made.data['local']}` was not found in the engine"


async def test_restore_names_an_image_anew_that_is_still_there(stage: Stage) -> None:
    job = stage.docker("FROM scratch\n", extra_tags=("api:dev",))
    made = await succeed(job)
    await stage.engine.remove(made.data["local"])
    assert await ImageExecutor().restore(job, made)
    assert (await ImageExecutor().observe(job, made)).same
    for ref in list(stage.engine.refs):
        await stage.engine.remove(ref)
    assert not await ImageExecutor().restore(job, made)


# custom_build
# --------------------------------------------------------------------------------------


async def test_a_temporary_tag_becomes_one_by_content(stage: Stage) -> None:
    stage.makes_what_is_expected()
    made = await succeed(stage.custom())
    tag = stage.told["EXPECTED_TAG"]
    assert tag.startswith("kindling-build-")
    assert stage.told == {
        "EXPECTED_REF": f"api:{tag}",
        "EXPECTED_IMAGE": "api",
        "EXPECTED_TAG": tag,
        "EXPECTED_REGISTRY": "",
    }
    assert set(stage.engine.refs) == {made.data["local"]}, "the temporary tag is gone"
    assert made.data["reference"] == ""


async def test_a_default_registry_is_part_of_what_is_expected(stage: Stage) -> None:
    stage.makes_what_is_expected()
    await succeed(stage.custom(host="localhost:5000", host_from_cluster="registry:5000"))
    tag = stage.told["EXPECTED_TAG"]
    assert stage.told["EXPECTED_REF"] == f"localhost:5000/api:{tag}"
    assert stage.told["EXPECTED_IMAGE"] == "api"
    assert stage.told["EXPECTED_REGISTRY"] == stage.told["REGISTRY_HOST"] == "localhost:5000"


async def test_a_fixed_tag_carries_no_registry_and_is_tagged_by_content(stage: Stage) -> None:
    stage.makes_what_is_expected()
    made = await succeed(stage.custom(tag="dev", host="localhost:5000"))
    assert stage.told["EXPECTED_REF"] == "api:dev"
    assert set(stage.engine.refs) == {"api:dev", made.data["local"]}
    assert (made.data["reference"], made.data["roll"]) == ("", "")


async def test_a_fixed_tag_that_is_not_pushed_is_used_as_it_is(stage: Stage) -> None:
    """Its digest makes the pods roll, since the name does not."""
    stage.makes_what_is_expected("one")
    job = stage.custom(tag="dev", disable_push=True)
    first = await succeed(job)
    assert (first.data["reference"], first.data["roll"]) == ("api:dev", first.digest)
    stage.makes_what_is_expected("two")
    second = await succeed(job)
    assert second.data["reference"] == "api:dev"
    assert second.data["roll"] != first.data["roll"]
    seen = await ImageExecutor().observe(job, first)
    assert "`api:dev` is another image by now" in seen.difference or not seen.same


async def test_the_command_may_write_the_reference_it_made(stage: Stage) -> None:
    """What an earlier run wrote is never taken for the word of this one."""
    stage.world.write("ref.txt", "api:stale")

    def build(_: Call) -> None:
        assert not (stage.world.root / "ref.txt").exists()
        stage.tag("api:v1", "bits")
        stage.world.write("ref.txt", "api:v1\n")

    stage.builds(build)
    made = await succeed(stage.custom(outputs_ref_to="ref.txt"))
    assert "EXPECTED_REF" not in stage.told
    assert set(stage.engine.refs) == {"api:v1", made.data["local"]}
    stage.builds(lambda _: None)
    failure = (await fail(stage.custom(outputs_ref_to="ref.txt"))).failure
    assert failure.summary == "the command succeeded, but did not write `ref.txt`"


@pytest.mark.parametrize("text", ["", "Not A Ref", "api"])
async def test_a_reference_that_is_none_is_refused(stage: Stage, text: str) -> None:
    def build(_: Call) -> None:
        stage.world.write("ref.txt", text)

    stage.builds(build)
    failure = (await fail(stage.custom(outputs_ref_to="ref.txt"))).failure
    assert "ref.txt" in failure.summary


async def test_an_image_that_is_not_in_the_engine_fails(stage: Stage) -> None:
    stage.builds(lambda _: None)
    failure = (await fail(stage.custom(tag="dev"))).failure
    assert failure.summary == "the command succeeded, but `api:dev` was not found in the engine"
    assert "skips_local_docker" in failure.hint


async def test_a_command_that_delivers_by_itself_needs_no_engine(stage: Stage) -> None:
    stage.world.engine = None
    stage.builds(lambda _: None)
    made = await succeed(
        stage.custom(skips_local_docker=True, host="localhost:5000", host_from_cluster="reg:5000")
    )
    tag = stage.told["EXPECTED_TAG"]
    assert stage.told["EXPECTED_REF"] == f"localhost:5000/api:{tag}"
    assert made.data["reference"] == f"reg:5000/api:{tag}"
    assert (await ImageExecutor().observe(stage.custom(skips_local_docker=True), made)).same


async def test_images_it_depends_on_are_told(stage: Stage) -> None:
    stage.makes_what_is_expected()
    inputs = {"image:base": Output("d", {"local": "base:kindling-1", "reference": ""})}
    await succeed(stage.custom(inputs, images=(("base", "image:base"),)))
    assert stage.told["TILT_IMAGE_0"] == "base:kindling-1"
    assert stage.told["TILT_IMAGE_MAP_0"] == "base"


async def test_a_command_that_fails_is_a_failed_build(stage: Stage) -> None:
    stage.builds(lambda _: None, code=2)
    failure = (await fail(stage.custom())).failure
    assert failure.kind is FailureKind.BUILD
    assert failure.summary == "the build command exited with code 2"
    assert failure.details == ("said",)


# With a real engine
# --------------------------------------------------------------------------------


@pytest.fixture
async def docker(tmp_path: Path) -> AsyncIterator[JobWorld]:
    host = HostProcesses(tmp_path / ".kindling")
    engine = await connect(host, dict(os.environ), tmp_path)
    yield JobWorld(tmp_path, host, engine=engine, environment=dict(os.environ))
    await engine.close()
    await host.close()


@pytest.fixture
async def name(docker: JobWorld) -> AsyncIterator[str]:
    own = f"kindling-test-{uuid.uuid4().hex[:8]}"
    yield own
    engine = await docker.containers()
    for suffix in ("", "-base"):
        for image in await engine.tags(own + suffix):
            for tag in image.tags:
                await engine.remove(tag)


@pytest.mark.docker
async def test_a_chain_of_images_is_built_upon_the_fresh_base(docker: JobWorld, name: str) -> None:
    """`FROM` another image of the graph: a change of the base is a change of what stands on it."""

    async def build_both(content: str) -> tuple[Output, Output]:
        docker.write("base/file", content)
        docker.write("base/Dockerfile", "FROM scratch\nCOPY file /file\n")
        docker.write("top/Dockerfile", f"FROM {name}-base\nCOPY Dockerfile /top\n")
        base_spec = DockerImageSpec(f"{name}-base", "base", "base/Dockerfile")
        base = await succeed(docker.job(Kind.IMAGE, base_spec, files=(FileSet(("base",)),)))
        spec = DockerImageSpec(
            name, "top", "top/Dockerfile", bases=((f"{name}-base", "image:base"),)
        )
        job = docker.job(Kind.IMAGE, spec, inputs={"image:base": base}, files=(FileSet(("top",)),))
        return base, await succeed(job)

    one = await build_both(f"{name} one")
    again = await build_both(f"{name} one")
    two = await build_both(f"{name} two")
    assert one == again
    assert one[0].digest != two[0].digest
    assert one[1].digest != two[1].digest


@pytest.mark.docker
@pytest.mark.parametrize("mode", ["none", "tag", "file"])
async def test_every_way_to_agree_on_a_tag(docker: JobWorld, name: str, mode: str) -> None:
    docker.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
    build = "DOCKER_BUILDKIT=0 docker build -q -t {} . 2>/dev/null"
    spec = {
        "none": CustomImageSpec(name, ("sh", "-c", build.format('"$EXPECTED_REF"'))),
        "tag": CustomImageSpec(name, ("sh", "-c", build.format(f"{name}:dev")), tag="dev"),
        "file": CustomImageSpec(
            name,
            ("sh", "-c", build.format(f"{name}:own") + f" && echo {name}:own > ref"),
            outputs_ref_to="ref",
        ),
    }[mode]
    made = await succeed(docker.job(Kind.IMAGE, spec))
    engine = await docker.containers()
    found = await engine.inspect(made.data["local"])
    assert found is not None
    assert found.id == made.digest
    assert made.data["local"] == f"{name}:kindling-{made.digest[7:23]}"


@pytest.mark.docker
async def test_the_base_that_a_step_sees_is_the_fresh_one(docker: JobWorld, name: str) -> None:
    """By way of a build argument, a stage and `COPY --from`, with real steps."""
    engine = await docker.containers()
    if await engine.inspect("busybox:1.36") is None:
        pytest.skip("there is no image `busybox:1.36`")

    async def build_both(content: str) -> str:
        docker.write("base/Dockerfile", f"FROM busybox:1.36\nRUN echo {content} > /file\n")
        docker.write(
            "top/Dockerfile",
            f"ARG BASE={name}-base\nFROM $BASE AS build\nRUN cp /file /copy\n"
            f"FROM busybox:1.36\nCOPY --from=build /copy /a\nCOPY --from={name}-base /file /b\n"
            "RUN cat /a /b\n",
        )
        base_spec = DockerImageSpec(f"{name}-base", "base", "base/Dockerfile")
        base = await succeed(docker.job(Kind.IMAGE, base_spec, files=(FileSet(("base",)),)))
        spec = DockerImageSpec(
            name, "top", "top/Dockerfile", bases=((f"{name}-base", "image:base"),)
        )
        files = (FileSet(("top",)),)
        await succeed(docker.job(Kind.IMAGE, spec, inputs={"image:base": base}, files=files))
        return docker.lines.text

    assert (await build_both(f"{name}-one")).count(f"\n{name}-one\n{name}-one\n") == 1
    assert (await build_both(f"{name}-two")).count(f"\n{name}-two\n{name}-two\n") == 1
