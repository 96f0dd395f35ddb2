"""Watching real folders by the real kernel. Tests wait for events, with a limit, never for time."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kindling.engine.clock import SystemClock
from kindling.files.ignore import Ignore
from kindling.files.inotify import InotifyBackend
from kindling.files.native import NativeBackend
from kindling.files.watching import Backend, Batch, Watcher, WatchRoot
from kindling.graph.node import IgnoreRule

LIMIT = 20.0


class Desk:
    """A watcher with a reader that gathers all it hands out."""

    def __init__(self, watcher: Watcher, root: Path) -> None:
        self.watcher = watcher
        self.root = root
        self.paths: set[str] = set()
        self.rescan: set[str] = set()
        self.batches: list[Batch] = []
        self.changed = asyncio.Condition()

    async def read(self) -> None:
        async for batch in self.watcher.batches():
            async with self.changed:
                self.batches.append(batch)
                self.paths |= batch.paths
                self.rescan |= batch.rescan
                self.changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT), self.changed:
            await self.changed.wait_for(condition)

    async def sees(self, *paths: Path) -> None:
        """Wait until all these paths were told."""
        wanted = {str(path) for path in paths}
        try:
            await self.until(lambda: wanted <= self.paths)
        except TimeoutError:
            raise AssertionError(f"not seen: {sorted(wanted - self.paths)[:9]}") from None

    async def sees_below(self, root: Path) -> None:
        """Wait until this root was told to be looked at again."""
        await self.until(lambda: str(root) in self.rescan)

    async def fence(self) -> None:
        """Return once everything that happened so far must have been told: a later change was."""
        mark = self.root / f"fence-{len(self.batches)}"
        mark.touch()
        await self.sees(mark)

    def reset(self) -> None:
        self.paths.clear()
        self.rescan.clear()
        self.batches.clear()

    @property
    def folders(self) -> set[str]:
        backend = self.watcher._backend
        assert isinstance(backend, InotifyBackend)
        return set(backend.folders)


@asynccontextmanager
async def watching(
    root: Path, *patterns: str, roots: list[Path] | None = None, native: bool = False
) -> AsyncIterator[Desk]:
    rules = Ignore(root, (IgnoreRule(".", patterns),))
    make: Callable[..., Backend] | None = NativeBackend if native else None
    async with Watcher(SystemClock(), backend=make) as watcher:
        desk = Desk(watcher, root)
        await watcher.watch([WatchRoot(str(path), rules) for path in roots or [root]])
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(desk.read(), name="reader")
            try:
                yield desk
            finally:
                reader.cancel()


def kernel_watches() -> int:
    """How many inotify watches this process has, as the kernel counts them."""
    count = 0
    for name in os.listdir("/proc/self/fdinfo"):
        try:
            text = Path(f"/proc/self/fdinfo/{name}").read_text()
        except OSError:
            continue
        count += sum(line.startswith("inotify ") for line in text.splitlines())
    return count


def _found(root: Path, pattern: str) -> list[Path]:
    return sorted(root.glob(pattern))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder.resolve()


async def test_a_save_is_told(root: Path) -> None:
    (root / "a.py").write_text("1")
    async with watching(root) as desk:
        (root / "a.py").write_text("2")
        await desk.sees(root / "a.py")


async def test_what_was_there_before_is_not_told(root: Path) -> None:
    (root / "old.py").write_text("1")
    async with watching(root) as desk:
        await desk.fence()
        assert str(root / "old.py") not in desk.paths


async def test_a_thousand_writes_in_an_ignored_folder_are_no_event_and_no_watch(root: Path) -> None:
    for at in range(20):
        (root / "node_modules" / f"p{at}" / "lib").mkdir(parents=True)
    (root / "src").mkdir()
    before = kernel_watches()
    async with watching(root, "node_modules") as desk:
        # The project, src, and the project's parent, where the project would come back.
        assert kernel_watches() - before == 3
        for at in range(1000):
            (root / "node_modules" / f"p{at % 20}" / "lib" / f"f{at}").write_text("x")
        (root / "node_modules" / "fresh" / "deep").mkdir(parents=True)
        await desk.fence()
        assert not [path for path in desk.paths if "node_modules" in path]
        assert not [path for path in desk.folders if "node_modules" in path]
        assert kernel_watches() - before == 3
    assert kernel_watches() == before


async def test_a_file_that_a_pattern_brings_back_is_told_from_an_ignored_folder(root: Path) -> None:
    (root / "build" / "out").mkdir(parents=True)
    (root / "build" / "tmp").mkdir()
    async with watching(root, "build", "!build/out/app.js") as desk:
        assert str(root / "build" / "tmp") not in desk.folders
        (root / "build" / "out" / "other.js").write_text("x")
        (root / "build" / "out" / "app.js").write_text("x")
        await desk.sees(root / "build" / "out" / "app.js")
        await desk.fence()
        assert str(root / "build" / "out" / "other.js") not in desk.paths


async def test_editor_and_git_files_are_left_out(root: Path) -> None:
    (root / ".git").mkdir()
    async with watching(root) as desk:
        for name in (".git/index", "4913", "a.py~", ".a.py.swp"):
            (root / name).write_text("x")
        (root / "a.py").write_text("x")
        await desk.sees(root / "a.py")
        await desk.fence()
        assert not {
            path for path in desk.paths if not path.endswith("a.py") and "fence" not in path
        }


async def test_a_file_in_folders_made_at_once_is_told(root: Path) -> None:
    """`mkdir -p` and a file, faster than watches can be placed."""
    async with watching(root) as desk:
        deep = root / "a" / "b" / "c" / "d" / "e"
        deep.mkdir(parents=True)
        (deep / "file").write_text("x")
        await desk.sees(deep / "file")
        desk.reset()
        (deep / "file").write_text("y")
        await desk.sees(deep / "file")


async def test_both_ends_of_a_rename_are_told(root: Path) -> None:
    (root / "a").write_text("x")
    async with watching(root) as desk:
        (root / "a").rename(root / "b")
        await desk.sees(root / "a", root / "b")


async def test_a_renamed_folder_is_watched_under_its_new_name(root: Path) -> None:
    (root / "a" / "sub").mkdir(parents=True)
    (root / "a" / "sub" / "file").write_text("x")
    async with watching(root) as desk:
        (root / "a").rename(root / "b")
        await desk.sees(root / "a", root / "b", root / "b" / "sub" / "file")
        desk.reset()
        (root / "b" / "sub" / "file").write_text("y")
        await desk.sees(root / "b" / "sub" / "file")
        assert not [path for path in desk.folders if "/a" in path.removeprefix(str(root))]


async def test_a_folder_that_moves_into_an_ignored_name_loses_its_watches(root: Path) -> None:
    (root / "a" / "sub").mkdir(parents=True)
    async with watching(root, "out") as desk:
        (root / "a").rename(root / "out")
        await desk.sees(root / "a")
        await desk.fence()
        assert desk.folders == {str(root), str(root.parent)}


async def test_an_editors_save_by_rename_is_told(root: Path) -> None:
    (root / "a.py").write_text("1")
    async with watching(root, roots=[root / "a.py"]) as desk:
        for at in range(3):
            desk.reset()
            (root / "new").write_text(str(at))
            (root / "new").rename(root / "a.py")
            await desk.sees(root / "a.py")
            assert desk.paths == {str(root / "a.py")}


async def test_a_file_that_is_not_there_yet_is_awaited(root: Path) -> None:
    missing = root / "x" / "y" / "config.json"
    async with watching(root, roots=[missing]) as desk:
        missing.parent.mkdir(parents=True)
        missing.write_text("{}")
        await desk.until(lambda: str(missing) in desk.paths | desk.rescan)
        desk.reset()
        missing.write_text("{ }")
        await desk.sees(missing)


async def test_a_root_that_is_removed_and_made_anew_is_looked_at_again(root: Path) -> None:
    src = root / "src"
    (src / "sub").mkdir(parents=True)
    async with watching(root, roots=[src]) as desk:
        for _ in range(3):
            desk.reset()
            shutil.rmtree(src)
            await desk.sees_below(src)
            desk.reset()
            (src / "sub").mkdir(parents=True)
            (src / "sub" / "file").write_text("x")
            await desk.sees_below(src)
            desk.reset()
            (src / "sub" / "file").write_text("y")
            await desk.sees(src / "sub" / "file")


async def test_a_root_whose_parents_are_removed_and_made_anew(root: Path) -> None:
    src = root / "one" / "two" / "src"
    src.mkdir(parents=True)
    async with watching(root, roots=[src]) as desk:
        shutil.rmtree(root / "one")
        await desk.sees_below(src)
        desk.reset()
        src.mkdir(parents=True)
        await desk.sees_below(src)
        desk.reset()
        (src / "file").write_text("x")
        await desk.sees(src / "file")


async def test_a_root_whose_parent_is_renamed_away_and_back(root: Path) -> None:
    src = root / "one" / "src"
    src.mkdir(parents=True)
    async with watching(root, roots=[src]) as desk:
        (root / "one").rename(root / "two")
        await desk.sees_below(src)
        desk.reset()
        (root / "two").rename(root / "one")
        await desk.sees_below(src)
        desk.reset()
        (src / "file").write_text("x")
        await desk.sees(src / "file")


async def test_ten_thousand_files_saved_at_once_are_all_told(root: Path) -> None:
    """By their paths, or, where the kernel's queue ran over, by a rescan of the root."""
    for at in range(100):
        (root / f"d{at}").mkdir()
    async with watching(root) as desk:
        files = [root / f"d{at % 100}" / f"f{at}" for at in range(10_000)]
        for file in files:
            file.write_text("x")
        wanted = {str(file) for file in files}
        await desk.until(lambda: wanted <= desk.paths or str(root) in desk.rescan)
        await desk.fence()
        assert len(desk.batches) < 20


async def test_a_branch_switch_is_told_whole(root: Path) -> None:
    def git(*words: str) -> None:
        base = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "gc.auto=0"]
        subprocess.run([*base, *words], cwd=root, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    for at in range(300):
        place = root / f"pkg{at % 10}" / f"m{at % 7}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"f{at}").write_text("main")
    git("add", "-A")
    git("commit", "-qm", "main")
    git("checkout", "-qb", "other")
    changed = _found(root, "pkg*/m*/f*")[::3]
    for file in changed:
        file.write_text("other")
    shutil.rmtree(root / "pkg3")
    (root / "new" / "deep").mkdir(parents=True)
    (root / "new" / "deep" / "file").write_text("other")
    git("add", "-A")
    git("commit", "-qm", "other")
    git("checkout", "-q", "main")
    async with watching(root) as desk:
        git("checkout", "-q", "other")
        survivors = [file for file in changed if "pkg3" not in file.parts]
        await desk.sees(*survivors, root / "new" / "deep" / "file", root / "pkg3")
        assert not [path for path in desk.paths if "/.git/" in path]
        git("checkout", "-q", "main")
        await desk.sees(*_found(root, "pkg3/m*/f*"), root / "new")


async def test_an_overflow_leads_to_a_rescan_and_watching_goes_on(root: Path) -> None:
    """The event is put in by hand: the real limit belongs to the whole machine."""
    from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, WatchDescriptor

    (root / "a").mkdir()
    async with watching(root) as desk:
        backend = desk.watcher._backend
        assert isinstance(backend, InotifyBackend)
        before = kernel_watches()
        overflow = InotifyEvent(WatchDescriptor(-1), InotifyConstants.IN_Q_OVERFLOW, 0, b"")
        await asyncio.to_thread(backend.handle, [overflow])
        await desk.sees_below(root)
        assert kernel_watches() == before
        desk.reset()
        (root / "a" / "file").write_text("x")
        await desk.sees(root / "a" / "file")


async def test_another_set_of_roots_keeps_what_both_share(root: Path) -> None:
    for name in "abc":
        (root / name / "sub").mkdir(parents=True)
    async with watching(root, roots=[root / "a", root / "b"]) as desk:
        await desk.watcher.watch([WatchRoot(str(root / name)) for name in "bc"])
        for name in "abc":
            (root / name / "sub" / "file").write_text("x")
        await desk.sees(root / "b" / "sub" / "file", root / "c" / "sub" / "file")
        assert not [path for path in desk.paths if "/a/" in path.removeprefix(str(root))]
        await desk.watcher.watch([])
        assert desk.folders == set()


async def test_where_no_watch_can_be_had_folders_are_polled_and_it_is_said_once(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from kindling.files import inotify

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "inotify watch limit reached")

    monkeypatch.setattr(inotify._Reader, "add", refuse)
    monkeypatch.setattr(inotify, "_POLL", 0.01)
    (root / "a").mkdir()
    (root / "a" / "old").write_text("x")
    (root / "gone").write_text("x")
    async with watching(root, "skip") as desk:
        (root / "a" / "old").write_text("changed")
        (root / "gone").unlink()
        (root / "new" / "deep").mkdir(parents=True)
        (root / "new" / "deep" / "file").write_text("x")
        (root / "skip").mkdir()
        await desk.sees(root / "a" / "old", root / "gone", root / "new" / "deep" / "file")
        assert not [path for path in desk.paths if "skip" in path]
        (warning,) = desk.watcher.warnings
        assert "fs.inotify.max_user_watches" in warning
        assert "sudo sysctl" in warning


async def test_where_no_instance_can_be_had_folders_are_polled(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from kindling.files import inotify

    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "inotify instance limit reached")

    monkeypatch.setattr(inotify._Reader, "__init__", refuse)
    monkeypatch.setattr(inotify, "_POLL", 0.01)
    async with watching(root) as desk:
        (root / "file").write_text("x")
        await desk.sees(root / "file")
        (warning,) = desk.watcher.warnings
        assert "fs.inotify.max_user_instances" in warning


async def test_the_system_watcher_of_other_systems_tells_the_same(root: Path) -> None:
    """The back end of macOS, on whatever watchdog takes for a whole-tree watch here."""
    (root / "src" / "sub").mkdir(parents=True)
    (root / "src" / "out").mkdir()
    async with watching(root, "src/out", roots=[root / "src"], native=True) as desk:
        (root / "src" / "out" / "x").write_text("x")
        (root / "src" / "a.py~").write_text("x")
        (root / "src" / "sub" / "file").write_text("x")
        await desk.sees(root / "src" / "sub" / "file")
        assert not [path for path in desk.paths if "out" in path or "~" in path]
        shutil.rmtree(root / "src")
        await desk.sees_below(root / "src")


async def test_closing_ends_threads_and_batches(root: Path) -> None:
    import threading

    descriptors, threads = len(os.listdir("/proc/self/fd")), set(threading.enumerate())
    async with Watcher(SystemClock()) as watcher:
        await watcher.watch([WatchRoot(str(root))])
    async with asyncio.timeout(LIMIT):
        assert [batch async for batch in watcher.batches()] == []
    new = set(threading.enumerate()) - threads
    assert not [thread for thread in new if thread.name.startswith("kindling-")]
    assert len(os.listdir("/proc/self/fd")) <= descriptors
