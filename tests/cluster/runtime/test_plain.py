"""Plain processes: how an image's files are found without being a root file system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kindling.cluster.model.streams import ExecRequest
from kindling.cluster.runtime.protocol import ContainerSpec, Mount, RootFs, StartError
from kindling.cluster.runtime.rewriting import View, merge_layers
from tests.cluster.runtime.conftest import Bench, one_loop

on_plain = pytest.mark.parametrize("bench", ["plain"], indirect=True)


@pytest.fixture
def app(space: Path) -> Path:
    layer = space / "layer"
    (layer / "app/bin").mkdir(parents=True)
    (layer / "app/bin/hello").write_text("#!/bin/sh\necho hello from $0 in $(pwd) with $1 $CONF\n")
    (layer / "app/bin/hello").chmod(0o755)
    (layer / "app/conf").write_text("text")
    return layer


@on_plain
@one_loop
async def test_paths_of_the_image_lead_to_its_copy(bench: Bench, app: Path) -> None:
    said, ended = await bench.shell(
        "cat /app/conf; echo more >> /app/conf; /app/bin/hello x; cat $CONF",
        root=RootFs((app,), host=True),
        env=(("CONF", "/app/conf"),),
        cwd="/app",
    )
    (own,) = bench.folder.glob("c*")
    copy = own / "upper"
    assert ended.code == 0
    assert said == (
        f"texthello from {copy}/app/bin/hello in {copy}/app with x {copy}/app/conf\ntextmore\n"
    )
    assert (app / "app/conf").read_text() == "text"


@on_plain
@one_loop
async def test_programs_of_the_image_are_found_by_its_path(bench: Bench, app: Path) -> None:
    container = await bench.run(
        "hello", root=RootFs((app,)), env=(("PATH", "/app/bin:/usr/bin"),), cwd="/new/folder"
    )
    assert b"hello from" in await container.stdout.read()
    slow = await bench.run("sleep", "1000")
    process = await slow.exec(ExecRequest(("sh", "-c", "echo $0", "/app/conf")))
    assert process.stdout is not None
    assert await process.stdout.read() == b"/app/conf\n"  # of an image that has no such file


@on_plain
@one_loop
async def test_an_image_that_needs_its_own_root_is_refused(bench: Bench, app: Path) -> None:
    with pytest.raises(StartError, match="the image needs a root file system of its own"):
        await bench.run("sh", "-c", "true", root=RootFs((app,)))


@on_plain
@one_loop
async def test_volumes_are_meant_by_their_targets(bench: Bench, space: Path) -> None:
    volume = space / "volume"
    volume.mkdir()
    (volume / "key").write_text("secret")
    said, _ = await bench.shell(
        "cat /etc/conf/key; cat --number=0 2>/dev/null; echo --file=/etc/conf/key",
        mounts=(Mount("/etc/conf", volume),),
    )
    assert said == f"secret--file={volume}/key\n"


@on_plain
@one_loop
async def test_a_plain_runtime_says_what_it_cannot_do(bench: Bench) -> None:
    isolation = bench.runtime.isolation
    assert not any((isolation.pids, isolation.root, isolation.network, isolation.memory))
    assert {line.split(":")[0] for line in isolation.missing[1:]} == {
        "pids",
        "root",
        "network",
        "services",
        "builds",
        "memory",
        "users",
    }
    assert bench.runtime.node_address == bench.address == "127.0.0.1"


@on_plain
@one_loop
async def test_what_an_app_leaves_behind_ends_with_it(bench: Bench) -> None:
    said, ended = await bench.shell("setsid sleep 1000 & echo $!; exit 3")
    assert ended.code == 3
    assert not os.path.exists(f"/proc/{said.strip()}/cwd")  # noqa: ASYNC240 - one look


def test_only_whole_paths_are_rewritten(space: Path, app: Path) -> None:
    root = space / "copy"
    merge_layers((app,), root)
    spec = ContainerSpec("c", "p", space, RootFs((app,)), ("x",))
    view = View(spec, root)
    for text, want in (
        ("/app/conf", f"{root}/app/conf"),
        ("--conf=/app/conf", f"--conf={root}/app/conf"),
        ("/app/conf:/etc/passwd", f"{root}/app/conf:/etc/passwd"),
        ("x/app/conf", "x/app/conf"),
        ("https://host/app/conf", "https://host/app/conf"),
        ("/application", "/application"),
        ("/app/../app/conf", f"{root}/app/conf"),
        ("/", "/"),
        ("cd /app && cat '/app/conf'", f"cd {root}/app && cat '{root}/app/conf'"),
    ):
        assert view.text(text) == want


def test_layers_merge_as_overlays_do(space: Path) -> None:
    low, high, root = space / "low", space / "high", space / "root"
    (low / "gone").mkdir(parents=True)
    (low / "gone/x").write_text("x")
    (low / "file").write_text("low")
    (low / "kept").mkdir()
    (low / "kept/low").write_text("low")
    (low / "becomes-link").mkdir()
    (high / "kept").mkdir(parents=True)
    (high / "kept/high").write_text("high")
    (high / "file").write_text("high")
    (high / "becomes-link").symlink_to("file")
    (high / "gone").mkdir()
    try:
        os.setxattr(high / "gone", "user.overlay.opaque", b"y")
    except OSError:
        pytest.skip("needs extended attributes")
    merge_layers((low, high), root)
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*")) == [
        "becomes-link",
        "file",
        "gone",
        "kept",
        "kept/high",
        "kept/low",
    ]
    assert (root / "file").read_text() == "high"
    assert (root / "becomes-link").is_symlink()
