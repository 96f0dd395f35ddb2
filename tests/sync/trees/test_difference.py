"""Differences of trees: any tree is brought to any other, safely at every step."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kindling.errors import ExecutionError
from kindling.files.statcache import StatCache
from kindling.files.tree import TreeReader
from kindling.graph.node import FileSet
from kindling.sync.trees.batch import Batch, Chmod, Delete, Link, Mkdir, Move, Put, Rmdir
from kindling.sync.trees.difference import covered, difference
from kindling.sync.trees.manifest import (
    EMPTY,
    Entry,
    Kind,
    Reason,
    TreeManifest,
    above,
    not_carried,
    of_container,
    of_source,
    path_bytes,
)
from kindling.sync.trees.memory import ImpossibleError, MemoryTree, applied

EMPTY_DIGEST = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def tree(**entries: str) -> TreeManifest:
    return of_source({path.replace("__", "/"): text for path, text in entries.items()})


def text_tree(entries: dict[str, str]) -> TreeManifest:
    return of_source(entries)


# Any two trees ------------------------------------------------------------------------------------

_NAMES = st.sampled_from(["a", "A", "b", "c\nd", "e f", "\udcff", "keep", "x"])
_LEAVES = st.one_of(
    st.builds(
        lambda mode, digest: Entry(Kind.FILE, mode, digest),
        st.sampled_from([0o644, 0o755, 0o600, 0o000]),
        st.sampled_from(["1", "2", "3", EMPTY_DIGEST]),
    ),
    st.builds(lambda target: Entry(Kind.LINK, target=target), st.sampled_from(["a", "b", "gone"])),
)
_MODES = st.sampled_from([0o755, 0o700, 0o555, 0o000])


@st.composite
def trees(draw: st.DrawFn, implied: bool = False, other: bool = False) -> TreeManifest:
    entries: dict[str, Entry] = {}

    def fill(prefix: str, depth: int) -> None:
        for name in draw(st.lists(_NAMES, unique=True, max_size=3)):
            path = prefix + name
            if depth and draw(st.booleans()):
                mode = None if implied and draw(st.integers(0, 4)) == 0 else draw(_MODES)
                entries[path] = Entry(Kind.DIR, mode)
                fill(path + "/", depth - 1)
            elif other and draw(st.integers(0, 5)) == 0:
                entries[path] = Entry(Kind.OTHER, 0o644)
            else:
                entries[path] = draw(_LEAVES)

    fill("", 3)
    return TreeManifest(entries)


def fulfils(result: TreeManifest, wanted: TreeManifest) -> bool:
    return all(entry.same(result.entries.get(path)) for path, entry in wanted.entries.items())


@settings(
    max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(trees(implied=True), trees(other=True))
def test_a_mirror_brings_any_tree_to_any_other(wanted: TreeManifest, there: TreeManifest) -> None:
    batch = difference(wanted, there, mirror=True)
    result = applied(batch, there)
    assert set(result) == set(wanted)
    assert fulfils(result, wanted)
    assert not batch.refused
    assert not difference(wanted, result, mirror=True)


@settings(
    max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(trees(), trees(), trees(other=True))
def test_what_the_source_had_goes_and_what_it_never_had_stays(
    wanted: TreeManifest, before: TreeManifest, there: TreeManifest
) -> None:
    batch = difference(wanted, there, had=before.entries)
    result = applied(batch, there)
    refused = {one.path for one in batch.refused}
    for path, entry in wanted.entries.items():
        assert entry.same(result.entries.get(path)) or path in refused
    for path, held in there.entries.items():
        if path not in before.entries and path not in wanted.entries:
            assert result.entries.get(path) == held
        if path in before.entries and path not in wanted.entries and held.kind is not Kind.DIR:
            assert path not in result.entries
    assert not difference(wanted, result, had=before.entries)


@settings(
    max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(trees(), trees(), st.booleans())
def test_at_every_moment_a_path_is_as_it_was_or_gone_or_as_it_shall_be(
    wanted: TreeManifest, there: TreeManifest, mirror: bool
) -> None:
    batch = difference(wanted, there, mirror=mirror, had=there.entries)
    memory = MemoryTree(there)
    for step in batch:
        memory.apply(step)
        for path in {*there.entries, *wanted.entries}:
            now, old = memory.entries.get(path), there.entries.get(path)
            new = wanted.entries.get(path)
            if now is not None and now.kind is Kind.DIR:
                assert Kind.DIR in {one.kind for one in (old, new) if one is not None}
            elif now is not None:
                assert now in (old, new)
            elif old is not None and new is not None:
                # A path that has something before and after is only ever missing where a folder
                # comes or goes.
                assert Kind.DIR in {old.kind, new.kind}
        # And the whole is a tree, or this raises.
        memory.manifest()


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(trees(), trees(), trees(), st.booleans())
def test_what_is_excluded_is_touched_on_neither_side(
    wanted: TreeManifest, there: TreeManifest, before: TreeManifest, mirror: bool
) -> None:
    def excluded(path: str) -> bool:
        return any(part in {"b", "A"} for part in path.split("/"))

    batch = difference(wanted, there, had=before.entries, mirror=mirror, excluded=excluded)
    result = applied(batch, there)
    for path in {*there.entries, *result.entries}:
        if excluded(path):
            assert result.entries.get(path) == there.entries.get(path)
    refused = {one.path for one in batch.refused}
    for path, entry in covered(wanted, excluded).entries.items():
        assert entry.same(result.entries.get(path)) or any(
            path == one or path.startswith(one + "/") for one in refused
        )
    assert not difference(wanted, result, had=before.entries, mirror=mirror, excluded=excluded)


# Which operations ---------------------------------------------------------------------------------


def test_folders_come_before_files_and_deletes_after_them() -> None:
    there = tree(old="dir:755", old__f="file:644:sha256:1")
    wanted = tree(new="dir:755", new__g="file:644:sha256:2", new__l="link:g")
    assert difference(wanted, there, had=there.entries).operations == (
        Mkdir("new", 0o755),
        Put("new/g", 0o644, "sha256:2"),
        Link("new/l", "g"),
        Delete("old/f"),
        Rmdir("old"),
    )


def test_a_renamed_file_sends_no_bytes() -> None:
    """Rows 60 and 61."""
    there = tree(a="dir:755", a__f="file:644:sha256:1", a__g="file:644:sha256:1")
    wanted = tree(b="dir:755", b__g="file:755:sha256:1")
    assert difference(wanted, there, had=there.entries).operations == (
        Mkdir("b", 0o755),
        Move("a/g", "b/g", 0o755, "sha256:1"),
        Delete("a/f"),
        Rmdir("a"),
    )


def test_a_rename_in_case_alone_is_a_rename() -> None:
    there, wanted = tree(Readme="file:644:sha256:1"), tree(README="file:644:sha256:1")
    batch = difference(wanted, there, had=there.entries)
    assert batch.operations == (Move("Readme", "README", 0o644, "sha256:1"),)


def test_a_file_that_is_the_containers_own_is_not_moved_away() -> None:
    there, wanted = tree(own="file:644:sha256:1"), tree(new="file:644:sha256:1")
    assert difference(wanted, there).operations == (Put("new", 0o644, "sha256:1"),)


def test_swapped_files_are_put() -> None:
    there = tree(a="file:644:sha256:1", b="file:644:sha256:2")
    wanted = tree(a="file:644:sha256:2", b="file:644:sha256:1")
    batch = difference(wanted, there, mirror=True)
    assert [type(step) for step in batch] == [Put, Put]


def test_empty_files_are_not_taken_for_one_another() -> None:
    there, wanted = tree(a=f"file:644:{EMPTY_DIGEST}"), tree(b=f"file:644:{EMPTY_DIGEST}")
    batch = difference(wanted, there, mirror=True)
    assert batch.operations == (Put("b", 0o644, EMPTY_DIGEST), Delete("a"))


def test_a_mode_alone_is_a_change_of_the_mode_alone() -> None:
    """Row 61: no bytes for it."""
    there = tree(d="dir:755", run="file:644:sha256:1")
    wanted = tree(d="dir:700", run="file:755:sha256:1")
    assert difference(wanted, there).operations == (Chmod("run", 0o755), Chmod("d", 0o700))


def test_set_user_id_bits_do_not_travel() -> None:
    assert tree(run="file:4755:sha256:1", d="dir:2775").entries == {
        "d": Entry(Kind.DIR, 0o775),
        "run": Entry(Kind.FILE, 0o755, "sha256:1"),
    }


def test_a_folder_becomes_a_file_and_a_folder_again() -> None:
    folder = tree(a="dir:755", a__f="file:644:sha256:1", a__s="dir:755")
    file = tree(a="file:644:sha256:1")
    there_and = difference(file, folder, had=folder.entries)
    assert there_and.operations == (
        Rmdir("a/s"),
        Delete("a/f"),
        Rmdir("a"),
        Put("a", 0o644, "sha256:1"),
    )
    back = difference(folder, applied(there_and, folder), had=file.entries)
    assert back.operations[:2] == (Delete("a"), Mkdir("a", 0o755))
    assert applied(back, file).entries == folder.entries


def test_a_folder_with_files_of_the_containers_own_does_not_give_way() -> None:
    there = tree(a="dir:755", a__own="file:644:sha256:1")
    wanted = tree(a="file:644:sha256:2", b="file:644:sha256:3")
    batch = difference(wanted, there)
    assert batch.operations == (Put("b", 0o644, "sha256:3"),)
    (refused,) = batch.refused
    assert (refused.path, refused.reason) == ("a", Reason.IN_THE_WAY)
    assert "files of its own" in str(refused)
    assert applied(difference(wanted, there, mirror=True), there).entries == wanted.entries


def test_a_link_in_the_place_of_a_folder_is_replaced_and_not_followed() -> None:
    there = of_container({"static": "link:/var/data"})
    wanted = tree(static="dir:755", static__f="file:644:sha256:1")
    assert difference(wanted, there).operations == (
        Delete("static"),
        Mkdir("static", 0o755),
        Put("static/f", 0o644, "sha256:1"),
    )


def test_a_closed_folder_is_opened_for_the_batch_alone() -> None:
    there = tree(d="dir:555", d__f="file:644:sha256:1")
    wanted = tree(d="dir:555", d__f="file:644:sha256:2")
    assert difference(wanted, there).operations == (
        Chmod("d", 0o755),
        Put("d/f", 0o644, "sha256:2"),
        Chmod("d", 0o555),
    )


def test_a_closed_folder_is_made_open_and_closed_at_the_end() -> None:
    wanted = tree(d="dir:555", d__f="file:644:sha256:1")
    assert difference(wanted, EMPTY).operations == (
        Mkdir("d", 0o755),
        Put("d/f", 0o644, "sha256:1"),
        Chmod("d", 0o555),
    )


def test_a_folder_that_only_holds_what_is_wanted_keeps_the_mode_it_has() -> None:
    wanted = text_tree({"out/keep": "file:644:sha256:1"})
    assert difference(wanted, EMPTY).operations[0] == Mkdir("out", 0o755)
    there = of_container({"out": "dir:770"})
    assert difference(wanted, there).operations == (Put("out/keep", 0o644, "sha256:1"),)


def test_a_deep_tree_goes_over() -> None:
    path = "/".join(["d"] * 1000) + "/f"
    wanted = text_tree({path: "file:644:sha256:1"})
    assert fulfils(applied(difference(wanted, EMPTY), EMPTY), wanted)
    assert applied(difference(EMPTY, wanted, had=wanted.entries), wanted) == EMPTY


def test_ten_thousand_files_are_one_batch() -> None:
    wanted = text_tree({f"d{at % 100}/f{at}": f"file:644:sha256:{at}" for at in range(10_000)})
    batch = difference(wanted, EMPTY)
    assert (len(batch.puts), len(batch)) == (10_000, 10_100)


def test_a_batch_knows_its_bytes() -> None:
    wanted = of_source({"a": "file:644:sha256:1", "b": "file:644:sha256:2"}, sizes={"a": 5})
    batch = difference(wanted, EMPTY)
    assert (batch.size, bool(batch), bool(Batch())) == (5, True, False)


# Hostile trees ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "outside"),
    [
        ("/etc/passwd", True),
        ("../../up", True),
        ("../b", False),
        ("..", False),
        ("../..", True),
        ("gone", False),
        ("l", False),
        ("./../d/./x//y", False),
        # A link on the way is followed: `top` is the root itself, above which nothing is ours.
        ("../top/../x", True),
        ("../deep/../x", False),
        ("", False),
    ],
)
def test_a_link_that_leaves_the_tree_is_refused_by_name(target: str, outside: bool) -> None:
    """Row 61: whichever way it leaves it."""
    wanted = text_tree(
        {
            "b": "file:644:sha256:1",
            "d": "dir:755",
            "d/l": f"link:{target}",
            "d/e": "dir:755",
            "deep": "link:d/e",
            "top": "link:.",
        }
    )
    refused = {one.path: one.reason for one in wanted.refused}
    assert refused == ({"d/l": Reason.OUTSIDE} if outside else {})
    assert ("d/l" in wanted.entries) is not outside


def test_what_is_refused_is_left_as_the_container_has_it() -> None:
    there = tree(l="link:b", s="dir:755", s__f="file:644:sha256:1", b="file:644:sha256:1")
    wanted = tree(l="link:/etc", s="socket:755", b="file:644:sha256:1")
    batch = difference(wanted, there, had=there.entries)
    assert not batch.operations
    assert [str(one) for one in batch.refused] == [
        "`l` is not synced: it is a link to `/etc`, which is outside the synced folder",
        "`s` is not synced: it is a socket",
    ]


@pytest.mark.parametrize("kind", ["socket", "fifo", "device", "other"])
def test_what_is_neither_file_nor_folder_nor_link_is_refused_by_its_kind(kind: str) -> None:
    (refused,) = tree(s=f"{kind}:644").refused
    assert (refused.reason, refused.text) == (Reason.SPECIAL, f"it is a {kind}")


@pytest.mark.parametrize(
    "path", ["..", "../x", "a/../b", "/etc/x", "a//b", "a/", "./a", "a\0b", "n" * 256, "a/" * 2100]
)
def test_a_name_that_no_disk_has_is_refused_and_not_trusted(path: str) -> None:
    (refused,) = text_tree({path: "file:644:sha256:1"}).refused
    assert refused.reason is Reason.NAME
    with pytest.raises(ExecutionError, match="no path"):
        of_container({path: "file:644:sha256:1"})
    with pytest.raises(ValueError, match=":"):
        TreeManifest({path: Entry(Kind.FILE, 0o644)})


def test_the_agents_unfinished_files_are_neither_carried_nor_seen() -> None:
    listing = {".kindling-tmp-1": "file:644:sha256:1", "d/.kindling-tmp-2/f": "file:644:sha256:1"}
    wanted = text_tree(listing)
    assert not wanted.entries
    assert {one.reason for one in wanted.refused} == {Reason.NAME}
    assert not of_container(listing).entries


def test_what_lies_in_something_that_is_no_folder_is_refused() -> None:
    listing = {"l": "link:d", "l/f": "file:644:sha256:1", "l/f/g": "file:644:sha256:1"}
    wanted = text_tree(listing)
    assert set(wanted) == {"l"}
    assert {one.path for one in wanted.refused} == {"l/f", "l/f/g"}
    with pytest.raises(ExecutionError, match="cannot be"):
        of_container(listing)
    with pytest.raises(ValueError, match="no folder"):
        TreeManifest({"l": Entry(Kind.LINK, target="d"), "l/f": Entry(Kind.FILE, 0o644)})


def test_names_with_newlines_and_of_no_encoding_are_carried_byte_for_byte(tmp_path: Path) -> None:
    tmp_path.joinpath("two\nlines").write_text("1")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")).write_text("2")
    found = TreeReader(tmp_path, StatCache()).read(FileSet((".",)))
    wanted = of_source(found.entries)
    assert {path_bytes(path) for path in wanted} == {b"two\nlines", b"\xff\xfe"}
    assert not wanted.refused


def test_a_hostile_name_is_shown_on_one_line() -> None:
    (refused,) = text_tree({"a\n\x1b[31m": "fifo:644"}).refused
    assert str(refused) == "`a\\n\\x1b[31m` is not synced: it is a fifo"


def test_the_trees_that_the_reader_reads_are_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "app" / "src").mkdir(parents=True)
    (tmp_path / "app" / "src" / "main.py").write_text("1")
    (tmp_path / "app" / "src" / "main.py").chmod(0o640)
    (tmp_path / "app" / "src").chmod(0o750)
    (tmp_path / "app" / "up").symlink_to("../other")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "app" / "s"))
        found = TreeReader(tmp_path, StatCache()).read(FileSet(("app", "missing")))
    wanted = of_source(found.entries, "app")
    assert {path: (entry.kind, entry.mode) for path, entry in wanted.entries.items()} == {
        "src": (Kind.DIR, 0o750),
        "src/main.py": (Kind.FILE, 0o640),
    }
    assert {one.path: one.reason for one in wanted.refused} == {
        "s": Reason.SPECIAL,
        "up": Reason.OUTSIDE,
    }


# The oracle ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "step",
    [
        Mkdir("d", 0o755),
        Mkdir("none/x", 0o755),
        Put("d", 0o644, "1"),
        Put("f/x", 0o644, "1"),
        Put("shut/x", 0o644, "1"),
        Put("shut/in/x", 0o644, "1"),
        Delete("d"),
        Rmdir("f"),
        Move("none", "x", 0o644, "1"),
        Move("f", "x", 0o644, "other"),
        Chmod("none", 0o644),
        Link("d", "f"),
    ],
)
def test_the_oracle_does_only_what_a_file_system_does(
    step: Mkdir | Put | Delete | Rmdir | Move | Chmod | Link,
) -> None:
    there = tree(d="dir:755", f="file:644:1", shut="dir:500", shut__in="dir:755")
    with pytest.raises(ImpossibleError):
        applied([step], there)


def test_a_folder_that_is_not_empty_stays() -> None:
    there = tree(d="dir:755", d__f="file:644:1")
    assert applied([Rmdir("d"), Delete("gone"), Rmdir("gone")], there) == there


_PARTS = st.sampled_from(
    [*"aabbcc", "é", "n" * 250, "n" * 256, "é" * 127, "é" * 128, "", ".", "..", "\0"]
)


@given(
    st.dictionaries(
        st.lists(_PARTS, min_size=1, max_size=4).map("/".join),
        st.sampled_from([Entry(Kind.DIR, 0o755), Entry(Kind.FILE, 0o644), Entry(Kind.OTHER)]),
        max_size=4,
    ),
    st.booleans(),
)
def test_a_tree_is_made_of_nothing_but_paths_that_lie_in_its_folders(
    entries: dict[str, Entry], whole: bool
) -> None:
    if whole:
        ways = [up for path in entries for up in above(path)]
        entries = {**entries, **dict.fromkeys(ways, Entry(Kind.DIR))}
    possible = all(
        not_carried(path, "file:644:sha256:1") is None
        and all(up in entries and entries[up].kind is Kind.DIR for up in above(path))
        for path in entries
    )
    if possible:
        assert list(TreeManifest(entries)) == sorted(entries)
    else:
        with pytest.raises(ValueError, match=r": it |lies in|: a name"):
            TreeManifest(entries)
