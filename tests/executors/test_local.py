"""Commands that end: their folder, their environment, and the files they promise."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kindling.executors.local import LocalExecutor
from kindling.executors.processes import HostProcesses
from kindling.executors.protocol import Failed, Job, Succeeded
from kindling.executors.test import TestExecutor
from kindling.graph.node import Kind
from kindling.graph.outcome import FailureKind, Output
from kindling.graph.spec import CommandSpec
from kindling.testing.jobs import JobWorld


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[JobWorld]:
    runner = HostProcesses(tmp_path / ".kindling")
    yield JobWorld(tmp_path, runner)
    await runner.close()


def job(world: JobWorld, text: str, *outputs: str, **more: object) -> Job:
    spec = CommandSpec(("sh", "-c", text), outputs=outputs, **more)  # type: ignore[arg-type]
    return world.job(Kind.LOCAL, spec)


async def succeed(job: Job) -> Output:
    outcome = await LocalExecutor().run(job)
    assert isinstance(outcome, Succeeded), outcome
    return outcome.output


async def fail(job: Job) -> Failed:
    outcome = await LocalExecutor().run(job)
    assert isinstance(outcome, Failed)
    return outcome


async def test_a_command_runs_in_its_folder_with_its_environment(world: JobWorld) -> None:
    """Its own variables go over the session's."""
    (world.root / "sub").mkdir()
    world.environment = {**world.environment, "A": "session", "B": "session"}
    await succeed(job(world, 'echo "$A $B"; pwd', dir="sub", env=(("B", "own"),)))
    assert world.lines.of("stdout") == ["session own", str(world.root / "sub")]


async def test_without_outputs_the_output_is_what_it_printed(world: JobWorld) -> None:
    first = await succeed(job(world, "echo one"))
    assert (await succeed(job(world, "echo one"))).digest == first.digest
    assert (await succeed(job(world, "echo two"))).digest != first.digest


async def test_with_outputs_the_output_is_their_content(world: JobWorld) -> None:
    """Not what it printed, and not when they were written."""
    first = await succeed(job(world, "echo now $$; echo same > out", "out"))
    again = await succeed(job(world, "echo now $$; echo same > out", "out"))
    other = await succeed(job(world, "echo other > out", "out"))
    assert first.digest == again.digest != other.digest
    mode = await succeed(job(world, "echo other > out; chmod +x out", "out"))
    assert mode.digest != other.digest


async def test_a_failure_says_code_and_last_lines(world: JobWorld) -> None:
    failure = (await fail(job(world, "seq 100; echo broken >&2; exit 3"))).failure
    assert failure.kind is FailureKind.COMMAND
    assert failure.summary == "exited with code 3"
    assert "broken" in failure.details
    assert "100" in failure.details
    assert len(failure.details) == 20


async def test_a_killed_command_names_the_signal(world: JobWorld) -> None:
    failure = (await fail(job(world, "kill -9 $$"))).failure
    assert failure.summary == "was killed by SIGKILL"
    assert "memory" in failure.hint


async def test_an_unknown_command_is_explained(world: JobWorld) -> None:
    assert "not found" in (await fail(job(world, "no-such-thing"))).failure.hint


async def test_an_output_that_was_not_written_fails_the_node(world: JobWorld) -> None:
    failure = (await fail(job(world, "touch a", "a", "b", "c"))).failure
    assert failure.summary == "succeeded, but `b`, `c` were not written"


async def test_observe_tells_gone_and_changed_outputs(world: JobWorld) -> None:
    made = job(world, "mkdir -p dist; echo 1 > dist/a; echo 1 > bin", "dist", "bin")
    recorded = await succeed(made)
    executor = LocalExecutor()
    assert (await executor.observe(made, recorded)).same
    world.write("bin", "2\n")
    assert (await executor.observe(made, recorded)).difference == "its output `bin` was changed"
    world.write("bin", "1\n")
    assert (await executor.observe(made, recorded)).same
    world.remove("dist/a")
    assert (await executor.observe(made, recorded)).difference == "its output `dist/a` is gone"
    world.remove("dist")
    assert not (await executor.observe(made, recorded)).same


async def test_restore_puts_everything_back(world: JobWorld) -> None:
    """Content, mode bits, links and empty folders."""
    text = """
    mkdir -p dist/sub dist/empty; echo 1 > dist/sub/a; echo run > dist/tool; chmod 755 dist/tool
    ln -s sub/a dist/link; echo bin > bin
    """
    made = job(world, text, "dist", "bin")
    recorded = await succeed(made)
    world.remove("dist")
    world.write("bin", "other")
    assert await LocalExecutor().restore(made, recorded)
    assert (await LocalExecutor().observe(made, recorded)).same
    assert (world.root / "dist/tool").stat().st_mode & 0o777 == 0o755
    assert os.readlink(world.root / "dist/link") == "sub/a"
    assert (world.root / "dist/empty").is_dir()


async def test_restore_is_whole_or_not_at_all(world: JobWorld) -> None:
    """One content that is not kept any more, and nothing is touched."""
    made = job(world, "echo 1 > a; echo 2 > b", "a", "b")
    recorded = await succeed(made)
    world.write("a", "mine")
    world.remove("b")
    digest = recorded.data["outputs"]["b"].split(":", 2)[2]
    del world.blobs.contents[digest]
    assert not await LocalExecutor().restore(made, recorded)
    assert (world.root / "a").read_text() == "mine"
    assert not (world.root / "b").exists()


async def test_restore_never_removes_a_file_it_does_not_know(world: JobWorld) -> None:
    made = job(world, "mkdir -p dist; echo 1 > dist/a", "dist")
    recorded = await succeed(made)
    world.write("dist/mine", "precious")
    assert not await LocalExecutor().restore(made, recorded)
    assert (world.root / "dist/mine").read_text() == "precious"


async def test_a_command_without_outputs_never_comes_from_the_cache(world: JobWorld) -> None:
    """What else it did, nobody knows."""
    made = job(world, "echo side effect")
    assert not await LocalExecutor().restore(made, await succeed(made))


async def test_a_test_that_passed_comes_from_the_cache(world: JobWorld) -> None:
    made = world.job(Kind.TEST, CommandSpec(("sh", "-c", "exit 0")))
    outcome = await TestExecutor().run(made)
    assert isinstance(outcome, Succeeded)
    assert await TestExecutor().restore(made, outcome.output)


async def test_a_test_that_fails_shows_its_last_lines(world: JobWorld) -> None:
    made = world.job(Kind.TEST, CommandSpec(("sh", "-c", "echo 1 failed; exit 1")))
    outcome = await TestExecutor().run(made)
    assert isinstance(outcome, Failed)
    assert outcome.failure.summary == "the test exited with code 1"
    assert outcome.failure.details == ("1 failed",)


@pytest.mark.parametrize("kind", [LocalExecutor().kind, TestExecutor().kind])
def test_each_kind_has_its_executor(kind: Kind) -> None:
    assert kind in (Kind.LOCAL, Kind.TEST)
