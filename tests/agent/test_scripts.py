"""Scripts run with their output passed on, little of the agent's environment, and an end."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from kindling.agent.scripts import run_script


async def run(text: str, path: Path, limit: float = 60.0, **more: str) -> tuple[int, list[str]]:
    said: list[str] = []
    environment = {"PATH": os.environ["PATH"], "GITHUB_PAT": "hidden", **more}
    code = await run_script(text, said.append, folder=path, environment=environment, limit=limit)
    return code, said


@pytest.fixture
def tools(tmp_path: Path) -> str:
    """A PATH with a kubectl that says what it was asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "kubectl").write_text('#!/bin/sh\necho "kubectl $*"\n')
    (folder / "kubectl").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


async def test_row_46_a_script_runs_kubectl(tmp_path: Path, tools: str) -> None:
    code, said = await run("kubectl rollout status deploy/api\nexit 3\n", tmp_path, PATH=tools)
    assert (code, said) == (3, ["kubectl rollout status deploy/api"])


async def test_without_kubectl_a_script_that_needs_it_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to("/bin/sh")
    path = str(tmp_path / "bin")
    code, said = await run("echo begun\nkubectl get pods\n", tmp_path, PATH=path)
    assert code == 127
    assert "no kubectl" in said[0]
    assert "begun" not in said
    code, said = await run("# kubectl is not needed\necho fine\n", tmp_path, PATH=path)
    assert (code, said) == (0, ["fine"])


async def test_output_and_errors_come_in_order_and_a_last_line_without_its_end(
    tmp_path: Path,
) -> None:
    code, said = await run("echo one; echo two >&2; printf three", tmp_path)
    assert (code, said) == (0, ["one", "two", "three"])


async def test_a_script_sees_the_shared_folder_and_no_secret_of_the_agent(tmp_path: Path) -> None:
    code, said = await run("pwd; echo ${GITHUB_PAT:-none} $KUBERNETES_SERVICE_HOST", tmp_path)
    assert (code, said) == (0, [str(tmp_path), "none"])
    _, said = await run("echo $KUBERNETES_SERVICE_HOST", tmp_path, KUBERNETES_SERVICE_HOST="::1")
    assert said == ["::1"]


async def test_a_script_that_reads_gets_nothing(tmp_path: Path) -> None:
    assert await run("read line || echo nothing", tmp_path) == (0, ["nothing"])


async def test_a_signal_is_an_exit_code_as_in_a_shell(tmp_path: Path) -> None:
    code, _ = await run("kill -KILL $$", tmp_path)
    assert code == 137


async def test_at_the_time_limit_the_whole_group_ends(tmp_path: Path) -> None:
    mark = tmp_path / "pids"
    code, said = await run(f"sleep 600 & echo $! >{mark}; wait", tmp_path, limit=1.0)
    assert code == 124
    assert "took longer than 1 s" in said[-1]
    await until_gone(int(mark.read_text()))


async def test_a_child_left_behind_does_not_hold_up_the_end(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    code, said = await run(f"sleep 600 & echo $! >{mark}; echo done", tmp_path)
    assert (code, said) == (0, ["done"])
    await until_gone(int(mark.read_text()))


async def test_cancelling_ends_the_script(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    task = asyncio.create_task(run(f"echo $$ >{mark}; exec sleep 600", tmp_path))
    async with asyncio.timeout(60):
        while not (mark.exists() and mark.read_text().strip()):  # noqa: ASYNC110 (a file's content)
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_gone(int(mark.read_text()))


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(60):
        while not gone(pid):  # noqa: ASYNC110 (it is no child of ours)
            await asyncio.sleep(0.01)


def gone(pid: int) -> bool:
    """Is the process no more, or dead and only not yet taken note of by its parent?"""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"
