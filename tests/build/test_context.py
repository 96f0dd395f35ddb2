"""Build contexts: which files a build sees, and the stream it sees them by."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from kindling.build import context as module
from kindling.build.context import list_context, stage_context, tar_context
from kindling.build.protocol import BuildContext
from kindling.errors import HostError
from kindling.graph.node import IgnoreRule


def tree(root: Path, files: Iterable[str]) -> None:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}", "utf-8")


def names(context: BuildContext) -> list[str]:
    return [file.name for file in list_context(context)]


def unpack(data: bytes) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(data))


def packed(context: BuildContext) -> bytes:
    return b"".join(tar_context(list_context(context)))


def test_everything_is_sent_in_the_order_of_names(tmp_path: Path) -> None:
    tree(tmp_path, ["b/2", "b/1", "a", "c/d/e", ".hidden", ".git/HEAD"])
    (tmp_path / "empty").mkdir()
    assert names(BuildContext(tmp_path, tmp_path)) == [
        ".git", ".git/HEAD", ".hidden", "a", "b", "b/1", "b/2", "c", "c/d", "c/d/e", "empty",
    ]  # fmt: skip


def test_our_own_state_is_never_sent(tmp_path: Path) -> None:
    """It changes with every run, and would make every image another."""
    tree(tmp_path, ["a", ".kindling/state", "sub/.kindling/state"])
    assert names(BuildContext(tmp_path, tmp_path)) == ["a", "sub"]


def test_ignored_files_are_left_out_and_exceptions_come_back(tmp_path: Path) -> None:
    tree(tmp_path, ["app/main.go", "app/x.log", "node_modules/a/b", "node_modules/keep/c"])
    rules = (IgnoreRule(".", ("**/*.log", "node_modules", "!node_modules/keep")),)
    assert names(BuildContext(tmp_path, tmp_path, rules)) == [
        "app",
        "app/main.go",
        "node_modules/keep",
        "node_modules/keep/c",
    ]


def test_rules_have_a_base_of_their_own(tmp_path: Path) -> None:
    """A context in a subfolder; rules relative to it, and to the graph's root."""
    tree(tmp_path, ["svc/a", "svc/b", "svc/vendor/c", "other/d"])
    rules = (IgnoreRule("svc", ("vendor",)), IgnoreRule(".", ("svc/b",)))
    assert names(BuildContext(tmp_path, tmp_path / "svc", rules)) == ["a"]


def test_only_keeps_just_its_paths(tmp_path: Path) -> None:
    tree(tmp_path, ["svc/a/1", "svc/a/2", "svc/ab", "svc/b/c/d", "svc/e"])
    context = BuildContext(tmp_path, tmp_path / "svc", only=("svc/a", "svc/b/c"))
    assert names(context) == ["a", "a/1", "a/2", "b/c", "b/c/d"]


def test_a_context_above_the_root(tmp_path: Path) -> None:
    tree(tmp_path, ["app/Kindlingfile", "lib/x"])
    rules = (IgnoreRule("..", ("app",)),)
    assert names(BuildContext(tmp_path / "app", tmp_path, rules)) == ["lib", "lib/x"]


def test_modes_links_and_times_are_carried_and_owners_are_not(tmp_path: Path) -> None:
    tree(tmp_path, ["run", "dir/a"])
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "dir").chmod(0o750)
    (tmp_path / "link").symlink_to("dir/a")
    (tmp_path / "dangling").symlink_to("/nowhere")
    os.utime(tmp_path / "run", (1_000_000_000.7, 1_000_000_000.7))
    with unpack(packed(BuildContext(tmp_path, tmp_path))) as tar:
        run = tar.getmember("run")
        assert (run.mode, run.mtime, run.uid, run.gid) == (0o755, 1_000_000_000, 0, 0)
        assert (run.uname, run.gname) == ("", "")
        assert tar.getmember("dir").mode == 0o750
        assert tar.getmember("link").linkname == "dir/a"
        assert tar.getmember("dangling").linkname == "/nowhere"


def test_the_same_tree_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, order in (("one", ["a", "b", "c/d"]), ("two", ["c/d", "b", "a"])):
        tree(tmp_path / name, order)
        for folder, _, files in os.walk(tmp_path / name):
            for path in [folder, *(os.path.join(folder, file) for file in files)]:
                os.utime(path, (1e9, 1e9))
    one, two = (packed(BuildContext(tmp_path, tmp_path / name)) for name in ("one", "two"))
    assert one == two


def test_names_of_any_kind_are_carried(tmp_path: Path) -> None:
    long = "d" * 120
    tree(tmp_path, [f"{long}/{long}/{long}", "näme with blank", "quote'\"\n"])
    (tmp_path / os.fsdecode(b"latin-\xe9")).write_text("x")
    with unpack(packed(BuildContext(tmp_path, tmp_path))) as tar:
        assert {*tar.getnames()} >= {f"{long}/{long}/{long}", "näme with blank", "quote'\"\n"}
        assert os.fsdecode(b"latin-\xe9") in tar.getnames()


def test_pipes_and_sockets_are_left_out(tmp_path: Path) -> None:
    tree(tmp_path, ["a"])
    os.mkfifo(tmp_path / "pipe")
    assert names(BuildContext(tmp_path, tmp_path)) == ["a"]


@pytest.mark.parametrize("whole", [True, False], ids=["small", "large"])
@pytest.mark.parametrize(("size", "arrives"), [(10, 10), (5000, 5000)], ids=["shrunk", "grown"])
def test_a_file_that_changed_since_it_was_listed_arrives_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool, size: int, arrives: int
) -> None:
    """The header is written from the open file, not from the listing."""
    monkeypatch.setattr(module, "_WHOLE", 1 << 20 if whole else 0)
    tree(tmp_path, ["a", "z"])
    files = list_context(BuildContext(tmp_path, tmp_path))
    (tmp_path / "a").write_bytes(b"x" * size)
    with unpack(b"".join(tar_context(files))) as tar:
        assert tar.getmember("a").size == arrives
        assert tar.getnames() == ["a", "z"]


def test_a_file_that_shrinks_while_it_is_read_keeps_the_stream_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is filled up, what comes after it is right, and whoever asks is told."""
    monkeypatch.setattr(module, "_WHOLE", 0)
    monkeypatch.setattr(module, "_CHUNK", 1024)
    (tmp_path / "a").write_bytes(b"x" * 10_000)
    tree(tmp_path, ["z"])
    told: list[str] = []
    stream = tar_context(list_context(BuildContext(tmp_path, tmp_path)), changed=told.append)
    data = next(stream)
    (tmp_path / "a").write_bytes(b"y" * 10)
    data += b"".join(stream)
    with unpack(data) as tar:
        assert tar.getmember("a").size == 10_000
        member = tar.extractfile("z")
        assert member is not None
        assert member.read() == b"content of z"
    assert told == ["a"]


def test_a_file_that_vanished_is_left_out(tmp_path: Path) -> None:
    tree(tmp_path, ["a", "b"])
    files = list_context(BuildContext(tmp_path, tmp_path))
    (tmp_path / "a").unlink()
    with unpack(b"".join(tar_context(files))) as tar:
        assert tar.getnames() == ["b"]


def test_extra_entries_take_the_place_of_files(tmp_path: Path) -> None:
    tree(tmp_path, ["Dockerfile", "a"])
    files = list_context(BuildContext(tmp_path, tmp_path))
    with unpack(b"".join(tar_context(files, [("Dockerfile", b"FROM x\n")]))) as tar:
        assert tar.getnames() == ["a", "Dockerfile"]
        member = tar.extractfile("Dockerfile")
        assert member is not None
        assert member.read() == b"FROM x\n"


def test_a_missing_context_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"the build context `.*gone` is not a folder"):
        list_context(BuildContext(tmp_path, tmp_path / "gone"))


def test_a_staged_context_holds_just_what_a_sent_one_does(tmp_path: Path) -> None:
    """Also the second time, when something else was there."""
    tree(tmp_path / "svc", ["a", "d/b", "skip"])
    (tmp_path / "svc/a").chmod(0o755)
    (tmp_path / "svc/l").symlink_to("a")
    (tmp_path / "svc/empty").mkdir()
    context = BuildContext(tmp_path, tmp_path / "svc", (IgnoreRule("svc", ("skip",)),))
    staged = tmp_path / "staged"
    tree(staged, ["left/over"])
    stage_context(list_context(context), staged)
    found = {str(path.relative_to(staged)) for path in staged.rglob("*")}
    assert found == {"a", "d", "d/b", "l", "empty"}
    assert os.readlink(staged / "l") == "a"
    assert stat.S_IMODE((staged / "a").stat().st_mode) == 0o755
    assert (staged / "d/b").read_text() == "content of d/b"
