"""Which way is taken to a container, what a placed agent leaves there, and what is said where there
is no way."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from kindling.errors import UsageError
from kindling.sync.protocol import CannotCarryError, Container, LinkLostError
from kindling.sync.template.patch import AGENT_PATH
from kindling.sync.transport.connecting import connect
from kindling.sync.trees.batch import Batch
from kindling.testing.cluster import FakeCluster
from tests.sync.transport.pods import Folder

_BOX = Container("default", "box", "main")
_MOUNTED = Container("default", "box", "main", mounted=True)


class _Here(FakeCluster):
    """A cluster whose pod `box` is this machine, with an agent at its place, or without; `lacks`
    are programs that it has not."""

    def __init__(self, agent: Path | None = None, lacks: Sequence[str] = ()) -> None:
        super().__init__()
        self.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "box"}})
        self.started: list[tuple[str, ...]] = []

        def find(_: str, __: str, ___: str, argv: tuple[str, ...]) -> Sequence[str] | None:
            self.started.append(argv)
            if argv[0] == AGENT_PATH:
                return None if agent is None else (str(agent), *argv[1:])
            return None if argv[0] in lacks else argv

        self.programs = find


def _tools(folder: Path, *without: str) -> str:
    """A PATH with what an image has at the least, without some of it."""
    folder.mkdir()
    for name in ("sh", "chmod", "rm", "uname", "head", "wc"):
        found = next(
            path for path in (Path("/bin") / name, Path("/usr/bin") / name) if path.exists()
        )
        if name not in without:
            (folder / name).symlink_to(found)
    return str(folder)


def _leftovers(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.glob(".kindling-tmp-agent-*")]


async def test_an_agent_that_is_mounted_is_used(binary: Path) -> None:
    cluster = _Here(binary)
    link = await connect(cluster, _MOUNTED, lambda _: b"", places=["srv/app"])
    assert (link.way, link.machine) == ("agent", os.uname().machine)
    assert cluster.started == [(AGENT_PATH, "serve", "/", "srv/app")]
    await link.close()


async def test_an_agent_that_is_not_mounted_after_all_is_placed(binary: Path) -> None:
    cluster = _Here()
    asked: list[str] = []

    def agents(machine: str) -> bytes:
        asked.append(machine)
        return binary.read_bytes()

    link = await connect(cluster, _MOUNTED, agents)
    assert link.way == "agent"
    assert asked == [os.uname().machine]
    await link.close()


@pytest.mark.parametrize("without", [(), ("head",), ("head", "wc", "uname")])
async def test_a_placed_agent_needs_little_of_the_image_and_leaves_nothing(
    binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: tuple[str, ...]
) -> None:
    monkeypatch.setattr("kindling.sync.transport.placing.FOLDERS", ("/none", str(tmp_path)))
    path = _tools(tmp_path / "tools", *without)
    cluster = _Here()
    same = cluster.programs

    def poor(namespace: str, pod: str, container: str, argv: tuple[str, ...]) -> Sequence[str]:
        found = same(namespace, pod, container, argv)
        assert found is not None
        return ("env", "-i", f"PATH={path}", *found)

    cluster.programs = poor
    source = Folder(tmp_path / "source", str(tmp_path / "there").strip("/"))
    (tmp_path / "there").mkdir()
    link = await connect(cluster, _BOX, lambda _: binary.read_bytes())
    assert link.way == "agent"
    assert _leftovers(tmp_path) == []
    await link.apply(Batch((source.write("f", b"x"),)), source)
    assert (tmp_path / "there/f").read_bytes() == b"x"
    await link.close()


async def test_the_next_folder_is_taken_where_one_does_not_do(
    binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.setattr("kindling.sync.transport.placing.FOLDERS", ("/proc", "/sys"))
    link = await connect(
        _Here(), _BOX, lambda _: binary.read_bytes(), places=[str(here).strip("/")]
    )
    assert link.way == "agent"
    assert list(here.iterdir()) == []
    await link.close()


async def test_tar_is_taken_where_no_agent_runs(tmp_path: Path) -> None:
    def none(machine: str) -> bytes:
        raise UsageError(f"There is no sync agent for `{machine}`")

    link = await connect(_Here(), _BOX, none)
    assert (link.way, link.machine) == ("tar", "")
    with pytest.raises(CannotCarryError, match="restart"):
        await link.restart()
    broken = b"#!/bin/sh\nexit 1\n"
    assert (await connect(_Here(), _BOX, lambda _: broken)).way == "tar"
    assert _leftovers(Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")) == []
    del tmp_path


async def test_where_there_is_no_way_it_is_said_what_was_tried() -> None:
    with pytest.raises(CannotCarryError) as caught:
        await connect(_Here(lacks=("sh",)), _MOUNTED, lambda _: b"")
    text = caught.value.render()
    assert "box/main" in text
    assert AGENT_PATH in text
    assert "no shell" in text
    assert "mount" in caught.value.hint


async def test_what_is_no_agent_is_a_lost_link(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho 'this is something else altogether'\n")
    other.chmod(stat.S_IRWXU)
    with pytest.raises(LinkLostError, match="box/main"):
        await connect(_Here(other), _MOUNTED, lambda _: b"")
    other.write_text("#!/bin/sh\necho 'the wrong processor' >&2; exit 3\n")
    with pytest.raises(LinkLostError, match="code 3") as caught:
        await connect(_Here(other), _MOUNTED, lambda _: b"")
    assert caught.value.details == ("the wrong processor",)
