"""Disks that are full or read-only: one clear sentence, and nothing that was finished is lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kindling.engine.notices import NodeStatus
from kindling.errors import StoreError
from kindling.graph.outcome import Verdict
from kindling.testing.workbench import Workbench

if TYPE_CHECKING:
    from collections.abc import Callable

    Mount = Callable[..., Path]

COPY = """
local_resource("one", cmd = "tr a-z A-Z < in.txt > one.txt", deps = ["in.txt"],
               outputs = ["one.txt"])
local_resource("two", cmd = "wc -c < one.txt > two.txt", deps = ["one.txt"], outputs = ["two.txt"])
"""


def fill(folder: Path) -> Path:
    """Leave no byte free on the disk of `folder`."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return filler


async def test_a_full_disk_at_the_start_is_said_and_freeing_it_is_enough(
    bench: Workbench, mount: Mount
) -> None:
    bench.write("in.txt", "words")
    bench.write("Kindlingfile", COPY)
    state = mount(bench.root / ".kindling", "size=2m")
    filler = fill(state)
    with pytest.raises(StoreError) as caught:
        await bench.run("up")
    assert "No space is left" in caught.value.message
    assert ".kindling" in caught.value.message
    filler.unlink()
    result = await bench.run("up")
    assert result.exit_code == 0, result.explain()


async def test_a_disk_that_fills_during_a_session_loses_nothing_that_was_finished(
    bench: Workbench, mount: Mount
) -> None:
    """The session goes on or ends with one clear error, and the next one does only what is left."""
    bench.write("in.txt", "words")
    bench.write("Kindlingfile", COPY)
    state = mount(bench.root / ".kindling", "size=4m")
    async with bench.up() as session:
        await session.settled("local:one", "local:two")
        filler = fill(state)
        # More than the page holds that the journal had begun.
        for number in range(40):
            mark = session.mark()
            bench.write("in.txt", f"words {number}")
            await session.until(lambda mark=mark: session.since(mark).notices)  # type: ignore[misc]
        bench.write("in.txt", "other words")
        await session.until(lambda: "No space is left" in session.result.explain())
        filler.unlink()
        result = await session.stop()
    assert "No space is left" in result.explain()
    assert "Traceback" not in result.explain()
    after = await bench.run("up")
    assert after.exit_code == 0, after.explain()
    assert bench.read("one.txt") == "OTHER WORDS"
    again = await bench.run("up")
    again.assert_only_ran()
    assert again.verdicts("local:one") == [Verdict.UNCHANGED]


async def test_a_disk_that_fills_and_is_freed_is_worked_on_again_without_a_restart(
    bench: Workbench, mount: Mount
) -> None:
    bench.write("in.txt", "words")
    bench.write("Kindlingfile", COPY)
    state = mount(bench.root / ".kindling", "size=4m")
    async with bench.up() as session:
        await session.settled("local:one", "local:two")
        filler = fill(state)
        bench.write("in.txt", "other words")
        await session.until(lambda: session.result.views["local:one"].status is NodeStatus.FAILED)
        session.result.assert_failed("local:one", "No space is left")
        filler.unlink()
        bench.write("in.txt", "third words")
        await session.until(lambda: session.result.views["local:one"].status is NodeStatus.DONE)
        assert bench.read("one.txt") == "THIRD WORDS"


async def test_outputs_that_have_no_room_fail_and_are_never_half_there(
    bench: Workbench, mount: Mount
) -> None:
    """The disk of the project itself is full."""
    project = mount(bench.root / "project", "size=4m")
    small = Workbench(project, bench.environment)
    small.write("in.txt", "words")
    small.write(
        "Kindlingfile",
        'local_resource("big", cmd = "head -c 8000000 /dev/zero > big.bin", deps = ["in.txt"],'
        ' outputs = ["big.bin"])\n',
    )
    result = await small.run("up")
    assert result.exit_code == 1
    view = result.views["local:big"]
    assert view.status is NodeStatus.FAILED
    assert "No space" in result.explain() or "No space" in "".join(result.log("local:big"))
    (project / "big.bin").unlink()
    small.write(
        "Kindlingfile",
        'local_resource("big", cmd = "echo small > big.bin", deps = ["in.txt"],'
        ' outputs = ["big.bin"])\n',
    )
    after = await small.run("up")
    assert after.exit_code == 0, after.explain()


async def test_a_read_only_project_is_one_clear_error(bench: Workbench, mount: Mount) -> None:
    project = bench.root / "project"
    Workbench(project).write("Kindlingfile", 'local_resource("a", cmd = "true")\n')
    mount(project, "remount,bind,ro", str(project))
    with pytest.raises(StoreError) as caught:
        await Workbench(project, bench.environment).run("up")
    text = caught.value.render()
    assert str(project / ".kindling") in text
    assert "read-only" in text
    assert os.listdir(project) == ["Kindlingfile"]


async def test_a_read_only_state_folder_is_one_clear_error(bench: Workbench, mount: Mount) -> None:
    """Even where it worked before."""
    bench.write("Kindlingfile", 'local_resource("a", cmd = "true")\n')
    assert (await bench.run("up")).exit_code == 0
    state = bench.root / ".kindling"
    mount(state, "remount,bind,ro", str(state))
    with pytest.raises(StoreError) as caught:
        await bench.run("up")
    assert str(state) in caught.value.render()
    assert "cannot be written" in caught.value.render()


@pytest.mark.usefixtures("permissions")
async def test_a_folder_that_belongs_to_another_user_is_one_clear_error(bench: Workbench) -> None:
    bench.write("Kindlingfile", 'local_resource("a", cmd = "true")\n')
    bench.root.chmod(0o555)
    try:
        with pytest.raises(StoreError) as caught:
            await bench.run("up")
    finally:
        bench.root.chmod(0o755)
    assert f"{bench.root}/.kindling" in caught.value.message
    assert "permission" in caught.value.message


@pytest.mark.usefixtures("permissions")
async def test_an_input_that_may_not_be_read_is_one_failure_naming_it(bench: Workbench) -> None:
    bench.write("src/secret.txt", "words", mode=0)
    bench.write("src/open.txt", "words")
    bench.write(
        "Kindlingfile",
        'local_resource("a", cmd = "true", deps = ["src"])\nlocal_resource("b", cmd = "true")\n',
    )
    result = await bench.run("up")
    assert result.exit_code == 1
    result.assert_failed("local:a", "src/secret.txt", "Permission denied")
    result.assert_ran("local:b")
    (bench.root / "src/secret.txt").chmod(0o644)
    assert (await bench.run("up")).exit_code == 0


@pytest.mark.usefixtures("permissions")
async def test_a_folder_that_may_not_be_entered_does_not_end_a_session(bench: Workbench) -> None:
    bench.write("src/in.txt", "words")
    bench.write("Kindlingfile", 'local_resource("a", cmd = "true", deps = ["src"])\n')
    async with bench.up() as session:
        await session.settled("local:a")
        (bench.root / "src").chmod(0)
        try:
            await session.until(lambda: session.result.views["local:a"].status is NodeStatus.FAILED)
            session.result.assert_failed("local:a", "src")
        finally:
            (bench.root / "src").chmod(0o755)
        await session.until(lambda: session.result.views["local:a"].status is NodeStatus.DONE)
