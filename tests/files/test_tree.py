"""Manifests: what counts, that nothing is missed, that the stat cache never changes the answer."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kindling.errors import HostError
from kindling.files import contents, statcache
from kindling.files.ignore import DEFAULT_PATTERNS, Ignore
from kindling.files.statcache import StatCache
from kindling.files.tree import FileManifest, TreeReader
from kindling.graph.node import FileSet, IgnoreRule
from kindling.store.database import Store


def sha(text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def read(
    root: Path, *paths: str, ignore: tuple[str, ...] = (), only: tuple[str, ...] = ()
) -> FileManifest:
    rules = (IgnoreRule(".", ignore),) if ignore else ()
    return TreeReader(root, StatCache()).read(FileSet(paths or (".",), rules, only))


def test_every_kind_of_thing_is_an_entry(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "run").write_text("#!")
    (tmp_path / "run").chmod(0o750)
    (tmp_path / "empty").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("run")
    (tmp_path / "dangling").symlink_to("../nowhere")
    (tmp_path / "loop").symlink_to(".")
    os.mkfifo(tmp_path / "fifo", 0o600)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        (tmp_path / "s").chmod(0o755)
        assert dict(read(tmp_path).entries) == {
            ".": "dir:755",
            "dangling": "link:../nowhere",
            "empty": "dir:700",
            "fifo": "fifo:600",
            "link": "link:run",
            "loop": "link:.",
            "run": f"file:750:{sha('#!')}",
            "s": "socket:755",
        }


def test_a_missing_path_is_absent_and_counts(tmp_path: Path) -> None:
    before = read(tmp_path, "src/main.py")
    assert dict(before.entries) == {"src/main.py": "absent"}
    (tmp_path / "src").mkdir()
    assert read(tmp_path, "src/main.py") == before
    (tmp_path / "src" / "main.py").touch()
    assert read(tmp_path, "src/main.py").digest != before.digest


def test_a_path_through_a_file_is_absent(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert dict(read(tmp_path, "a/b").entries) == {"a/b": "absent"}


@pytest.mark.parametrize(
    "edit",
    [
        lambda root: (root / "a" / "file").write_text("other"),
        lambda root: (root / "a" / "file").chmod(0o755),
        lambda root: (root / "a").chmod(0o700),
        lambda root: (root / "a" / "more").touch(),
        lambda root: (root / "a" / "file").unlink(),
        lambda root: (root / "a" / "file").rename(root / "a" / "file2"),
        lambda root: (root / "new").mkdir(),
        lambda root: ((root / "link").unlink(), (root / "link").symlink_to("elsewhere")),
        lambda root: ((root / "a" / "file").unlink(), (root / "a" / "file").mkdir()),
    ],
)
def test_any_real_change_changes_the_digest(tmp_path: Path, edit: Callable[[Path], object]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("text!")
    (tmp_path / "link").symlink_to("a")
    reader = TreeReader(tmp_path, StatCache())
    before = reader.read(FileSet((".",)))
    edit(tmp_path)
    assert reader.read(FileSet((".",))).digest != before.digest


def test_touching_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    before = read(tmp_path)
    os.utime(tmp_path / "file", (1, 1))
    assert read(tmp_path) == before


def test_ignored_files_are_no_entries(tmp_path: Path) -> None:
    for name in (
        "src/a.py",
        "src/a.pyc",
        "node_modules/x/y",
        "build/keep.txt",
        "build/no",
        ".git/x",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = read(tmp_path, ignore=("**/*.pyc", "node_modules", "build", "!build/keep.txt"))
    assert list(found.entries) == [".", "build/keep.txt", "src", "src/a.py"]


def test_a_root_that_is_ignored_is_no_entry(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert read(tmp_path, "out", "missing", ignore=("out", "missing")).entries == {}


def test_a_thing_of_git_counts_when_it_is_asked_for_by_name(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref")
    assert list(read(tmp_path, ".", ".git/HEAD").entries) == [".", ".git/HEAD"]


def test_only_keeps_just_these_paths(tmp_path: Path) -> None:
    for name in ("a/x/1", "a/y/2", "a/z/3", "b/4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = read(tmp_path, "a", only=("a/x", "a/y/2", "a/missing", "b"))
    assert list(found.entries) == ["a/missing", "a/x", "a/x/1", "a/y/2"]


def test_paths_outside_the_root(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "lib").write_text("x")
    (tmp_path / "app").mkdir()
    found = read(tmp_path / "app", "../shared", "./x/../y")
    assert list(found.entries) == ["../shared", "../shared/lib", "y"]


def test_a_root_reached_by_a_link_is_read(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").touch()
    (tmp_path / "link").symlink_to("real")
    assert list(read(tmp_path / "link").entries) == [".", "file"]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path)
    os.mkdir(raw + b"/d\xff")
    with open(raw + b"/d\xff/f\xfe", "wb") as file:
        file.write(b"x")
    os.utime(raw + b"/d\xff/f\xfe", (1, 1))
    with Store.open(tmp_path / ".kindling") as store:
        cache = StatCache(store)
        found = TreeReader(tmp_path, cache).read(FileSet((".",)))
        cache.save()
    assert [os.fsencode(path) for path in found.entries] == [b".", b"d\xff", b"d\xff/f\xfe"]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become someone who may not read")
@pytest.mark.parametrize("name", ["secret", "folder"])
def test_what_cannot_be_read_is_named(open_folder: Path, name: str) -> None:
    (open_folder / "folder").mkdir()
    (open_folder / "secret").write_text("x")
    (open_folder / name).chmod(0)
    script = (
        "import os, sys; from pathlib import Path\n"
        "from kindling.files.tree import TreeReader\n"
        "from kindling.files.statcache import StatCache\n"
        "from kindling.graph.node import FileSet; from kindling.errors import HostError\n"
        "os.setuid(65534)\n"
        "try: TreeReader(Path(sys.argv[1]), StatCache()).read(FileSet(('.',)))\n"
        "except HostError as error: print(error.render())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(open_folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"`{open_folder / name}` cannot be read: Permission denied" in ran.stdout


def test_what_cannot_be_read_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("x")

    def refuse(*_: object) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(contents, "_content", refuse)
    with pytest.raises(HostError, match=r"a` cannot be read: Input/output error"):
        read(tmp_path)


def test_a_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a"
    file.write_text("first")
    real = contents._content
    reads: list[str] = []

    def slowly(opened: int, size: int) -> str:
        content = real(opened, size)
        if not reads:
            file.write_text("second")
        reads.append(content)
        return content

    monkeypatch.setattr(contents, "_content", slowly)
    assert read(tmp_path, "a").entries["a"].endswith(sha("second"))
    assert len(reads) == 2


def test_a_file_that_never_stands_still_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "log"
    file.write_text("")
    os.utime(file, (1, 1))
    real = contents._content

    def growing(opened: int, size: int) -> str:
        content = real(opened, size)
        with file.open("a") as log:
            log.write("line\n")
        return content

    monkeypatch.setattr(contents, "_content", growing)
    cache = StatCache()
    TreeReader(tmp_path, cache).read(FileSet(("log",)))
    assert cache.folder(".") == {}


# The stat cache ----------------------------------------------------------------------------------


def old(path: Path) -> None:
    """Let the cache take this file for one that was changed long ago."""
    for item in (path, *path.rglob("*")):
        os.utime(item, (1, 1), follow_symlinks=False)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The change time of a file cannot be set, so the cache's clock goes ahead instead."""
    real = StatCache.now
    monkeypatch.setattr(StatCache, "now", lambda self: real(self) + 3_600_000_000_000)


def test_a_file_changed_within_the_same_tick_is_not_trusted(tmp_path: Path) -> None:
    """Same size, and times put back: only an entry that is never kept can tell."""
    file = tmp_path / "a"
    file.write_text("one")
    cache = StatCache()
    reader = TreeReader(tmp_path, cache)
    reader.read(FileSet(("a",)))
    assert cache.folder(".") == {}


@pytest.mark.usefixtures("later")
def test_an_old_file_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_text("one")
    with Store.open(tmp_path / ".kindling") as store:
        cache = StatCache(store)
        first = TreeReader(tmp_path, cache).read(FileSet((".",)))
        cache.save()
    monkeypatch.setattr(contents, "_content", None)
    with Store.open(tmp_path / ".kindling") as store:
        assert TreeReader(tmp_path, StatCache(store)).read(FileSet((".",))) == first
        assert TreeReader(tmp_path, StatCache(store)).read(FileSet(("d/a",))).entries


@pytest.mark.usefixtures("later")
def test_same_size_and_time_but_another_file_is_read(tmp_path: Path) -> None:
    """What `cp -p`, `mv` and tar do: modification time and size say nothing."""
    file = tmp_path / "a"
    file.write_text("one")
    os.utime(file, (1, 1))
    reader = TreeReader(tmp_path, StatCache())
    before = reader.read(FileSet(("a",)))
    (tmp_path / "b").write_text("two")
    os.utime(tmp_path / "b", (1, 1))
    (tmp_path / "b").rename(file)
    assert reader.read(FileSet(("a",))) != before


def test_times_with_whole_seconds_need_a_coarser_tick() -> None:
    def seen(ctime: int) -> os.stat_result:
        return os.stat_result((0o100644, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0, ctime, ctime))

    now = 1_000_000_000_000_000_000
    assert statcache.is_settled(seen(now - 60_000_001), now)
    assert not statcache.is_settled(seen(now - 40_000_000), now)
    assert not statcache.is_settled(seen(now + 1), now)
    assert not statcache.is_settled(seen(now - 1_000_000_000), now)
    assert statcache.is_settled(seen(now - 3_000_000_000), now)


@pytest.mark.usefixtures("later")
def test_files_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_text(name)
    cache = StatCache()
    reader = TreeReader(tmp_path, cache)
    reader.read(FileSet((".",)))
    (tmp_path / "b").unlink()
    reader.read(FileSet((".",)))
    assert sorted(cache.folder(".")) == ["a", "c"]


@pytest.mark.usefixtures("later")
def test_a_damaged_row_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    with Store.open(tmp_path / ".kindling") as store:
        store.save_stats({".": b"\x00not json"})
        assert (
            read(tmp_path).entries
            == TreeReader(tmp_path, StatCache(store)).read(FileSet((".",))).entries
        )


# Against a model ---------------------------------------------------------------------------------


def model(root: Path, patterns: tuple[str, ...]) -> dict[str, str]:
    """The slow way: every path by itself, no cache, no pruning."""
    rules = Ignore(root, (IgnoreRule(".", patterns),))
    defaults = Ignore(root, (IgnoreRule(".", DEFAULT_PATTERNS),))
    found = {".": f"dir:{stat.S_IMODE(root.lstat().st_mode):o}"}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if rules.matches(name) or defaults.matches(name):
            continue
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink():
            found[name] = f"link:{os.readlink(path)}"
        elif path.is_dir():
            found[name] = f"dir:{mode:o}"
        else:
            found[name] = f"file:{mode:o}:{sha(path.read_bytes())}"
    return found


NAMES = ["a", "b", "c.py", "d~", "e.o"]
places = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
edits = st.tuples(
    st.sampled_from(["write", "mkdir", "link", "remove", "chmod", "rename", "touch"]),
    places,
    places,
    st.sampled_from(["", "x", "y", "xx"]),
)


def apply(root: Path, edit: tuple[str, str, str, str]) -> None:
    verb, first, second, text = edit
    path, other = root / first, root / second
    try:
        if verb == "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif verb == "mkdir":
            path.mkdir(parents=True)
        elif verb == "link":
            path.symlink_to(second)
        elif verb == "remove":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        elif verb == "chmod":
            path.chmod(0o755 if text else 0o700)
        elif verb == "rename":
            path.rename(other)
        else:
            os.utime(path, (1, 1), follow_symlinks=False)
    except (OSError, shutil.Error):
        return


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(edits, min_size=1, max_size=12), min_size=1, max_size=4),
    st.sampled_from([(), ("**/*.o",), ("a",), ("*", "!b"), ("a", "!a/b/c.py")]),
)
def test_after_any_edits_the_manifest_is_that_of_the_slow_way(
    rounds: list[list[tuple[str, str, str, str]]], patterns: tuple[str, ...]
) -> None:
    """One cache over all rounds, loaded anew from the store between them."""
    with tempfile.TemporaryDirectory() as folder:
        root, state = Path(folder) / "root", Path(folder) / "state"
        root.mkdir()
        fileset = FileSet((".",), (IgnoreRule(".", patterns),) if patterns else ())
        for batch in rounds:
            for edit in batch:
                apply(root, edit)
            with Store.open(state) as store:
                cache = StatCache(store)
                reader = TreeReader(root, cache)
                assert dict(reader.read(fileset).entries) == model(root, patterns)
                assert dict(reader.read(fileset).entries) == model(root, patterns)
                cache.save()
