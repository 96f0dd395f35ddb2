"""Bursts of saves by the real kernel, and by editors' patterns. Tests wait for events, with a
limit, never for time."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kindling.engine.clock import SystemClock
from kindling.files import inotify
from kindling.files.inotify import InotifyBackend
from kindling.files.watching import Watcher
from kindling.graph.node import FileSet, IgnoreRule
from kindling.lang.declared import LiveUpdateStep, SyncStep
from kindling.sync.rules.landing import Context
from kindling.sync.source.gather import Saved, follow
from kindling.sync.source.tree import Looked, SourceTree
from kindling.sync.trees.manifest import Kind
from kindling.testing.clock import FakeClock
from tests.sync.source.people import nobody

LIMIT = 60.0
STEPS = (SyncStep(".", "/app"),)


class Session:
    """A source that is kept up to date by its watcher."""

    def __init__(self, watcher: Watcher, source: SourceTree, saves: AsyncIterator[Saved]) -> None:
        self.watcher = watcher
        self.source = source
        self.saved: list[Saved] = []
        self.looked: list[Looked] = []
        self._saves = saves

    async def next(self) -> Looked:
        saved = await asyncio.wait_for(anext(self._saves), LIMIT)
        self.saved.append(saved)
        looked = await self.source.look(None if saved.rescan else saved.paths)
        self.looked.append(looked)
        return looked

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():
                await self.next()

    async def agrees(self) -> None:
        """Take what comes until the tree is what a fresh read finds, which must come by itself."""
        fresh = await SourceTree.open(self.source.context, STEPS)
        await self.until(lambda: self.source.entries == fresh.entries)
        assert self.source.tree == fresh.tree


@asynccontextmanager
async def session(
    root: Path, steps: Sequence[LiveUpdateStep] = STEPS, files: tuple[FileSet, ...] = ()
) -> AsyncIterator[Session]:
    clock = SystemClock()
    context = Context("", root, files or (FileSet((".",)),))
    async with Watcher(clock) as watcher:
        source = await SourceTree.open(context, steps)
        await watcher.watch(source.roots())
        await source.look(None)
        async with follow(watcher, clock, known=source.knows) as saves:
            yield Session(watcher, source, saves)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "shop"
    root.mkdir()
    (root / "main.py").write_text("old")
    return root


async def test_a_lone_save_is_one_burst_with_one_place(root: Path) -> None:
    async with session(root) as sync:
        (root / "main.py").write_text("new")
        looked = await sync.next()
    assert looked.changed == ("main.py",)
    assert looked.places == ("app/main.py",)
    assert sync.saved[0].since > 0


def vim(file: Path) -> None:
    probe, backup = file.with_name("4913"), file.with_name(file.name + "~")
    probe.touch()
    probe.unlink()
    file.rename(backup)
    file.write_text("new")
    backup.unlink()


def emacs(file: Path) -> None:
    lock = file.with_name(f".#{file.name}")
    lock.symlink_to("ada@desk.1234")
    auto = file.with_name(f"#{file.name}#")
    auto.write_text("ne")
    file.rename(file.with_name(file.name + "~"))
    file.write_text("new")
    auto.unlink()
    lock.unlink()


def jetbrains(file: Path) -> None:
    tmp, old = (file.with_name(file.name + end) for end in ("___jb_tmp___", "___jb_old___"))
    tmp.write_text("new")
    file.rename(old)
    tmp.rename(file)
    old.unlink()


def sed(file: Path) -> None:
    tmp = file.with_name("sedA1b2C3")
    tmp.write_text("new")
    tmp.rename(file)


def node(file: Path) -> None:
    tmp = file.with_name(file.name + ".tmp.1234.5678")
    tmp.write_text("new")
    tmp.rename(file)


def deleted_and_written(file: Path) -> None:
    file.unlink()
    file.write_text("new")


@pytest.mark.parametrize("save", [vim, emacs, jetbrains, sed, node, deleted_and_written])
async def test_an_editors_save_ends_in_the_one_new_file(
    root: Path, save: Callable[[Path], None]
) -> None:
    async with session(root) as sync:
        save(root / "main.py")
        await sync.agrees()
        assert (root / "main.py").read_text() == "new"
        # A machine that pauses for longer than the grace shows more than one step of a save.
        assert all(not place.endswith(("~", "___", "4913", "#")) for place in sync.source.tree)


async def test_a_branch_switch_of_two_thousand_files_ends_in_the_new_branchs_tree(
    root: Path,
) -> None:
    def git(*argv: str) -> None:
        who = ("-c", "user.name=ada", "-c", "user.email=ada@example.com")
        subprocess.run(["git", *who, *argv], cwd=root, check=True, capture_output=True)

    def write(text: str, start: int) -> None:
        for number in range(start, start + 2000):
            folder = root / f"pkg{number // 50}"
            folder.mkdir(exist_ok=True)
            (folder / f"m{number}.py").write_text(f"{text} {number}")

    git("init", "-q", "-b", "one")
    write("one", 0)
    git("add", ".")
    git("commit", "-q", "-m", "one")
    git("checkout", "-q", "-b", "two")
    git("rm", "-q", "-r", ".")
    write("two", 1000)
    git("add", "-A")
    git("commit", "-q", "-m", "two")
    async with session(root) as sync:
        git("checkout", "-q", "one")
        await sync.agrees()
        assert len(sync.source.entries) == 2000 + 40 + 2, "files, folders, main.py and the root"
        git("checkout", "-q", "two")
        await sync.agrees()
    assert all(not place.startswith("app/.git") for place in sync.source.tree)


async def test_a_storm_that_overflows_the_kernels_queue_ends_in_the_right_tree(root: Path) -> None:
    if (most := queued_most()) > 1 << 17:
        pytest.skip(f"this kernel queues {most} events")
    (root / "other.py").touch()
    async with session(root) as sync:
        backend = sync.watcher._backend
        assert isinstance(backend, InotifyBackend)
        # While the reader is held up, the kernel's queue is all there is. Events of one file after
        # another; equal ones would be merged.
        with backend._lock:
            for number in range(most + 2000):
                os.utime(root / ("main.py" if number % 2 else "other.py"))
            (root / "main.py").unlink()
            (root / "new" / "deep").mkdir(parents=True)
            (root / "new" / "deep" / "x").write_text("x")
        await sync.agrees()
        assert any(saved.rescan for saved in sync.saved), "it was no overflow"
        # Folders are watched whose events were lost.
        (root / "new" / "deep" / "x").write_text("y")
        await sync.agrees()


def queued_most() -> int:
    return int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


async def test_where_no_watch_can_be_had_the_tree_is_right_and_it_is_said(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "inotify watch limit reached")

    monkeypatch.setattr(inotify._Reader, "add", refuse)
    monkeypatch.setattr(inotify, "_POLL", 0.01)
    async with session(root) as sync:
        (root / "new").mkdir()
        (root / "new" / "x").write_text("x")
        (root / "main.py").unlink()
        await sync.agrees()
        assert "max_user_watches" in sync.watcher.warnings[0]


async def test_a_folder_that_becomes_readable_is_watched(root: Path) -> None:
    closed = root / "closed"
    closed.mkdir()
    (closed / "x").write_text("x")
    for one in (root, closed, closed / "x"):
        os.chown(one, *((65534, 65534) if os.geteuid() == 0 else (-1, -1)))
    closed.chmod(0)
    with nobody(root):
        async with session(root) as sync:
            assert sync.source.entries["closed"].startswith("unreadable")
            closed.chmod(0o755)
            await sync.until(lambda: "closed/x" in sync.source.entries)
            (closed / "y").write_text("y")
            await sync.until(lambda: "closed/y" in sync.source.entries)


async def test_folders_that_come_go_and_change_places_are_followed(root: Path) -> None:
    outside = root.parent / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep" / "x").write_text("x")
    (root / "lib").mkdir()
    (root / "lib" / "a").write_text("a")
    async with session(root) as sync:
        outside.rename(root / "in")
        await sync.agrees()
        assert "in/deep/x" in sync.source.entries
        (root / "in" / "deep" / "y").write_text("y")
        await sync.agrees()
        (root / "in" / "deep").rename(root.parent / "away")
        (root.parent / "away" / "x").unlink()
        await sync.agrees()
        (root.parent / "away").rename(root / "in" / "deep")
        await sync.agrees()
        assert sync.source.entries.keys() >= {"in/deep/y"}
        assert "in/deep/x" not in sync.source.entries
        (root / "lib").rename(root / "old")
        (root / "lib").symlink_to("old")
        await sync.agrees()
        assert sync.source.tree.entries["app/lib"].kind is Kind.LINK


async def test_a_root_that_is_deleted_and_made_anew_ends_in_what_it_holds(root: Path) -> None:
    async with session(root) as sync:
        shutil.rmtree(root)
        await sync.until(lambda: any(one.gone for one in sync.looked))
        os.mkdir(root)
        (root / "other.py").write_text("other")
        await sync.agrees()
        assert "other.py" in sync.source.entries
        (root / "other.py").write_text("and again")
        await sync.agrees()


async def test_a_root_behind_a_link_is_followed(root: Path) -> None:
    link = root.parent / "link"
    link.symlink_to("shop")
    async with session(link) as sync:
        (root / "main.py").write_text("new")
        looked = await sync.next()
        assert looked.places == ("app/main.py",)
        assert sync.source.file("app/main.py").read_text() == "new"


async def test_what_is_ignored_is_neither_walked_nor_watched(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("node_modules", "kept", ".git"):
        (root / name / "deep").mkdir(parents=True)
        (root / name / "deep" / "x").write_text("x")
    walked: list[str] = []
    scandir = os.scandir

    def counting(path: str) -> object:
        walked.append(os.path.relpath(path, root))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counting)
    files = (FileSet((".",), (IgnoreRule(".", ("node_modules",)),)),)
    async with session(root, files=files) as sync:
        assert set(walked) == {".", "kept", "kept/deep"}
        (root / "node_modules" / "deep" / "x").write_text("y")
        (root / "kept" / "deep" / "x").write_text("y")
        looked = await sync.next()
        assert looked.changed == ("kept/deep/x",)
        assert not [p for saved in sync.saved for p in saved.paths if "node_modules" in p]


async def test_two_sources_of_one_root_share_its_watches(root: Path) -> None:
    for number in range(20):
        (root / f"d{number}").mkdir()
    async with Watcher(SystemClock()) as watcher:
        one = await SourceTree.open(Context(root=root), STEPS)
        other = await SourceTree.open(Context(root=root), (SyncStep(".", "/srv"),))
        await watcher.watch(one.roots())
        before = kernel_watches()
        await watcher.watch((*one.roots(), *other.roots()))
        assert before >= 21
        assert kernel_watches() == before


def kernel_watches() -> int:
    """Watches of this process, as the kernel counts them."""
    total = 0
    for file in Path("/proc/self/fdinfo").iterdir():
        try:
            total += file.read_text().count("inotify wd:")
        except OSError:
            continue
    return total


async def test_a_fixed_debounce_waits_so_long_after_the_last_event(root: Path) -> None:
    clock = FakeClock()
    async with Watcher(clock) as watcher:
        source = await SourceTree.open(Context(root=root), STEPS)
        await watcher.watch(source.roots())
        async with follow(watcher, clock, known=source.knows, debounce=2.0) as saves:
            coming = asyncio.ensure_future(anext(saves))
            # One event alone, so that none comes while time goes on.
            (root / "main.py").chmod(0o600)
            async with asyncio.timeout(LIMIT):
                while not clock.sleepers:  # noqa: ASYNC110 (the clock tells nobody)
                    await asyncio.sleep(0.001)
            await clock.advance(1.9)
            assert not coming.done()
            await clock.advance(0.2)
            saved = await asyncio.wait_for(coming, LIMIT)
    assert saved.paths == (str(root / "main.py"),)
