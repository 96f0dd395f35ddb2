"""No path leads out of the root, and any name that Linux has is a name."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from kindling.sync.agent.frames import (
    Chmod,
    Delete,
    Entry,
    Frame,
    Kind,
    Mkdir,
    Refused,
    Rename,
    Rmtree,
    Sums,
    Symlink,
    Tree,
)
from kindling.sync.agent.protocol import TEMPORARY
from tests.sync.agent.talk import Talk

BAD = [
    b"",
    b"/",
    b"/etc/passwd",
    b"..",
    b"../out",
    b"a/../../out",
    b"a/..",
    b".",
    b"./a",
    b"a/./b",
    b"a//b",
    b"a/",
    b"a\0b",
    TEMPORARY + b"x",
    b"a/" + TEMPORARY,
]
TOO_LONG = [b"n" * 256, b"a/" * 2048 + b"a", b"x" * 100_000]
ODD = [b"new\nline", b" ", b"\xff\xfe\x80", b"-rf", b"...", b"..a", b"\x1b[31m", b"n" * 255, b"*"]


def _everywhere(path: bytes) -> list[Frame]:
    return [
        Delete(1, path),
        Rmtree(2, path),
        Mkdir(3, path, 0o755),
        Chmod(4, path, 0o777),
        Symlink(5, path, b"x"),
        Rename(6, path, b"fine"),
        Rename(7, b"inside", path),
    ]


@pytest.mark.parametrize("path", [*BAD, *TOO_LONG], ids=lambda path: repr(path[:20]))
def test_what_is_no_path_of_a_tree_is_refused(agent: Talk, root: Path, path: bytes) -> None:
    (root / "inside").write_text("x")
    (root / "a").mkdir()
    wanted = errno.ENAMETOOLONG if path in TOO_LONG else errno.EINVAL
    frames = _everywhere(path)
    agent.send(*frames)
    agent.put(path, b"x")
    agent.send(Sums(20, path, 1024))
    while not (agent.seen and agent.seen[-1].id == 20):
        agent.frame()
    done, _ = agent.commit(lenient=True)
    refused = [frame for frame in agent.seen if isinstance(frame, Refused)]
    assert (done.done, done.failed) == (0, len(frames) + 1)
    assert {r.errno for r in refused} == {wanted}
    assert sorted(os.listdir(root)) == ["a", "inside"]
    assert sorted(os.listdir(root.parent)) == ["root"]


@pytest.mark.parametrize("name", ODD, ids=repr)
def test_any_other_bytes_are_a_name(agent: Talk, root: Path, name: bytes) -> None:
    agent.send(Mkdir(1, name, 0o755))
    agent.put(name + b"/" + name, b"x")
    assert agent.commit()[1] == []
    assert set(agent.tree()) == {name, name + b"/" + name}
    assert agent.apply(Rename(2, name + b"/" + name, b"moved"), Delete(3, b"moved")) == []
    assert agent.apply(Rmtree(4, name)) == []
    assert os.listdir(root) == []


@pytest.mark.parametrize("target", ["..", "/", "../outside", "a"])
def test_a_link_on_the_way_is_refused(agent: Talk, root: Path, target: str) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "f").write_text("kept")
    (root / "a").mkdir()
    (root / "a/f").write_text("kept")
    (root / "link").symlink_to(target)
    agent.send(*_everywhere(b"link/f"))
    agent.put(b"link/f", b"x")
    done, _ = agent.commit(lenient=True)
    refused = [frame for frame in agent.seen if isinstance(frame, Refused)]
    # One of the eight takes away `inside`, which is not there.
    assert (done.done, done.failed) == (0, 8)
    assert {r.errno for r in refused} <= {errno.ELOOP, errno.ENOENT}
    assert [r.id for r in refused if r.errno == errno.ENOENT] in ([], [7])
    assert (outside / "f").read_text() == "kept"
    assert (root / "a/f").read_text() == "kept"
    assert agent.tree(b"link/f")[b"link/f"].error == errno.ELOOP


def test_a_basis_beyond_a_link_is_refused(agent: Talk, root: Path) -> None:
    (root.parent / "secret").write_text("s" * 5000)
    (root / "link").symlink_to("../secret")
    agent.send(Sums(1, b"link", 1024))
    assert agent.until(Refused).errno == errno.ELOOP


def test_a_pipe_is_neither_waited_for_nor_read(agent: Talk, root: Path) -> None:
    os.mkfifo(root / "pipe")
    found = agent.tree()
    assert found[b"pipe"].kind is Kind.OTHER
    agent.send(Sums(1, b"pipe", 1024))
    assert agent.until(Refused).errno == errno.EINVAL


def test_a_tree_tells_each_thing_as_it_is(agent: Talk, root: Path) -> None:
    (root / "d/empty").mkdir(parents=True)
    (root / "d/f").write_bytes(b"content")
    (root / "d/f").chmod(0o640)
    os.utime(root / "d/f", ns=(5, 1_600_000_000_000_000_007))
    (root / "l").symlink_to("/nowhere\nat all")
    found = agent.tree()
    assert set(found) == {b"d", b"d/empty", b"d/f", b"l"}
    assert found[b"d/f"] == Entry(
        Kind.FILE,
        0,
        0o640,
        7,
        1_600_000_000_000_000_007,
        bytes.fromhex("ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"),
        b"d/f",
    )
    assert found[b"l"].kind is Kind.LINK
    assert found[b"l"].target == b"/nowhere\nat all"
    assert found[b"d/empty"].kind is Kind.FOLDER


def test_a_tree_can_be_limited(agent: Talk, root: Path) -> None:
    for path in ("a/x", "a/node_modules/y", "b/z"):
        (root / path).mkdir(parents=True)
        (root / path / "f").write_text("f")
    assert set(agent.tree(b"a", skip=(b"node_modules",))) == {b"a", b"a/x", b"a/x/f"}
    assert set(agent.tree(b"b/z/f", b"a/x")) == {b"b/z/f", b"a/x", b"a/x/f"}
    assert set(agent.tree(one_level=True)) == {b"a", b"b"}
    assert agent.tree(b"b/z/f", digests=False)[b"b/z/f"].digest == bytes(32)
    assert agent.tree(b"none")[b"none"].error == errno.ENOENT


def test_a_tree_of_many_entries_comes_whole(agent: Talk, root: Path) -> None:
    names = {f"{at:05}-{'n' * 180}".encode() for at in range(3000)}
    for name in names:
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).touch()
    assert set(agent.tree()) == names
    agent.send(Tree(9, (b"",), (), True, False))


def test_a_tree_that_is_too_deep_is_told(agent: Talk, root: Path) -> None:
    deep = b"/".join([b"d"] * 250)
    assert agent.apply(Mkdir(1, deep, 0o755, parents=True)) == []
    found = agent.tree()
    assert {entry.error for entry in found.values()} == {0, errno.ENAMETOOLONG}
    # Taking it away goes from the inside.
    half = b"/".join([b"d"] * 120)
    assert agent.apply(Rmtree(2, half), Rmtree(3, b"d")) == []
    assert os.listdir(root) == []
