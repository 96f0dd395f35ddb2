"""Whatever happens to a tree, and however its events are told, a look ends where a fresh read
does."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kindling.files.ignore import parse_patterns
from kindling.graph.node import FileSet, IgnoreRule
from kindling.lang.declared import SyncStep
from kindling.sync.rules.landing import Context, landed_tree, landings, syncs_of
from kindling.sync.source.tree import SourceTree
from kindling.sync.trees.difference import difference
from kindling.sync.trees.manifest import EMPTY, Kind, TreeManifest, parsed
from kindling.sync.trees.memory import applied

NAMES = ("a", "b", "c.log", ".git", "keep", "n\nl", "\udcff")
TARGETS = ("a", "b/a", "../a", "..", "../../x", "/nowhere", "nowhere", ".", "b")

paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)


@dataclass(frozen=True)
class Edit:
    """Something that is done to a tree. What cannot be done changes nothing."""

    kind: str
    path: str
    other: str
    bits: int

    def do(self, root: Path) -> set[str]:
        """Do it; the paths that a watcher would tell of."""
        place, other = root / self.path, root / self.other
        told = {str(place)}
        for one in (place, other):
            over = place if self.kind == "chmod" else one.parent
            if os.path.realpath(over) != str(over):
                # Over a link, which may lead out of the folder of this test.
                return told
        try:
            match self.kind:
                case "write" | "append":
                    # Not blocking, as it may be a fifo.
                    more = os.O_TRUNC if self.kind == "write" else os.O_APPEND
                    file = os.open(
                        place, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | more
                    )
                    try:
                        os.write(file, os.fsencode(self.other))
                    finally:
                        os.close(file)
                case "create":
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.touch()
                    told |= {str(up) for up in place.parents if root in up.parents}
                case "delete":
                    place.unlink()
                case "rename":
                    place.rename(other)
                    told.add(str(other))
                case "mkdir":
                    place.mkdir()
                case "rmdir":
                    place.rmdir()
                case "rmtree":
                    # Of a fifo it would wait until somebody writes into it.
                    if place.is_dir():
                        shutil.rmtree(place)
                case "chmod":
                    place.chmod(self.bits)
                case "link":
                    place.symlink_to(self.other)
                case "fifo":
                    os.mkfifo(place)
                case _:
                    raise AssertionError(self.kind)
        except OSError:
            # Not there, there already, not empty, no folder: nothing happened, and telling of it
            # must do no harm.
            return told
        return told


KINDS = ("write", "append", "create", "delete", "rename", "mkdir", "rmdir", "rmtree", "chmod")
edits = st.one_of(
    st.builds(Edit, st.sampled_from(KINDS), paths, paths, st.sampled_from((0o755, 0o700, 0o777))),
    st.builds(Edit, st.just("link"), paths, st.sampled_from(TARGETS), st.just(0)),
    st.builds(Edit, st.just("fifo"), paths, st.just(""), st.just(0)),
)

FILES = (
    (FileSet((".",)),),
    (FileSet((".",), (IgnoreRule(".", parse_patterns("**/*.log\nkeep\n!keep/a\n")),)),),
    (
        FileSet(("a", "b"), (IgnoreRule("a", ("b",)),)),
        FileSet((".",), (IgnoreRule(".", ("*", "!b/keep")),), only=("b", "keep")),
    ),
)
STEPS = (
    (SyncStep(".", "/app"),),
    (SyncStep(".", "/"), SyncStep("a", "/b", ignore=("c.log",))),
    (SyncStep("a", "/srv/"), SyncStep("b", "/srv/a/b"), SyncStep("b/a", "/srv/a")),
    (SyncStep("a/b", "/x/y"), SyncStep("b", "/x"), SyncStep("keep", "/x/y/")),
    (SyncStep("../beside/a", "/app/beside"), SyncStep(".", "/app")),
)

grouped = st.lists(
    st.tuples(st.lists(edits, max_size=5), st.sampled_from(("all", "some", "none", "more"))),
    max_size=6,
)


def held(tree: SourceTree) -> tuple[dict[str, str], TreeManifest]:
    return dict(tree.entries), tree.tree


def _at(place: str, refused: str) -> bool:
    """Is the place what is refused, or below it, or a folder that it lies in?"""
    return f"{place}/".startswith(f"{refused}/") or refused.startswith(f"{place}/")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.data_too_large])
@given(
    start=st.lists(edits, max_size=10),
    groups=grouped,
    files=st.sampled_from(FILES),
    steps=st.sampled_from(STEPS),
)
def test_looks_end_where_a_fresh_read_does(
    start: list[Edit],
    groups: list[tuple[list[Edit], str]],
    files: tuple[FileSet, ...],
    steps: tuple[SyncStep, ...],
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="kindling-source-")).resolve()
    try:
        root = folder / "root"
        (root / "a").mkdir(parents=True)
        (folder / "beside" / "a").mkdir(parents=True)
        (folder / "beside" / "a" / "f").write_text("beside")
        asyncio.run(_story(root, start, groups, files, steps))
    finally:
        shutil.rmtree(folder)


async def _story(
    root: Path,
    start: list[Edit],
    groups: list[tuple[list[Edit], str]],
    files: tuple[FileSet, ...],
    steps: tuple[SyncStep, ...],
) -> None:
    for edit in start:
        edit.do(root)
    context = Context("web", root, (*files, FileSet(("../beside",))))
    source = await SourceTree.open(context, steps)
    there = applied(difference(source.tree, EMPTY), EMPTY)
    owed: set[str] = set()
    gone: set[str] = set()
    for number, (some, told) in enumerate([*groups, ([], "all")]):
        before = held(source)
        for edit in some:
            owed |= edit.do(root)
        if told == "none":
            continue
        lost = told == "some" or (number == len(groups) and any(t == "some" for _, t in groups))
        looked = await source.look(
            None if lost else owed | ({str(root)} if told == "more" else set())
        )
        owed.clear()
        fresh = await SourceTree.open(context, steps)
        # What the whole folder of a step held counts on until it is back.
        gone = (gone | set(looked.gone)) - set(looked.back)
        assert gone or held(source) == held(fresh)
        assert source.tree == landed_tree(
            syncs_of(steps, source.context, source.entries), source.entries
        )
        for place, entry in source.tree.entries.items():
            if entry.kind is Kind.FILE:
                path = source.file(place).relative_to(root).as_posix()
                assert parsed(source.entries[path], None) == entry
                assert "/" + place in landings(path, source.syncs)
        entries, tree = before
        assert set(looked.changed) == {
            path
            for path in entries.keys() | source.entries.keys()
            if entries.get(path) != source.entries.get(path)
        }
        assert set(looked.places) == {
            place
            for place in tree.entries.keys() | source.tree.entries.keys()
            if tree.entries.get(place) != source.tree.entries.get(place)
        }
        batch = difference(source.tree, there, had=tree.entries.keys())
        there = applied(batch, there)
        # What is wanted is there; what is refused is left, and only that stays besides.
        assert not difference(source.tree, there)
        refused = [one.path for one in source.tree.refused]
        more = [place for place in there if place not in source.tree.entries]
        assert all(any(_at(place, one) for one in refused) for place in more)
