"""What a source comes to in a container, path by path, hostile ones included."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from kindling.errors import ConfigError
from kindling.files import contents
from kindling.graph.node import FileSet, IgnoreRule
from kindling.lang.declared import LiveUpdateStep, SyncStep
from kindling.sync.protocol import SourceChangedError
from kindling.sync.rules.landing import Context
from kindling.sync.source.tree import Looked, SourceTree
from kindling.sync.trees.manifest import Kind, Reason
from tests.sync.source.people import nobody

ALL = (SyncStep(".", "/app"),)


async def opened(
    root: Path,
    *steps: LiveUpdateStep,
    files: tuple[FileSet, ...] = (FileSet((".",)),),
    exclude: tuple[str, ...] = (),
    leaves: tuple[str, ...] = (),
) -> SourceTree:
    context = Context("", root, files)
    return await SourceTree.open(context, steps or ALL, exclude=exclude, leaves=leaves)


def write(root: Path, *paths: str, text: str = "x") -> None:
    for path in paths:
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)


def reasons(source: SourceTree) -> dict[str, Reason]:
    assert source.refused == source.tree.refused
    return {one.path: one.reason for one in source.refused}


# What changed -------------------------------------------------------------------------------------


async def test_a_source_folder_that_is_gone_empties_nothing_and_says_what_differs_when_back(
    tmp_path: Path,
) -> None:
    write(tmp_path, "api/a", "api/lib/b", "api/.dockerignore", "web/w")
    source = await opened(tmp_path, SyncStep("api", "/app"), SyncStep("web", "/web"))
    before = source.tree
    (tmp_path / "api").rename(tmp_path / "away")
    for paths in ([str(tmp_path / "api"), str(tmp_path / "api/lib/b")], None):
        looked = await source.look(paths)
        assert not looked.changed
        assert not looked.places
        assert source.tree == before
    write(tmp_path, "web/w", text="new")
    assert (await source.look([str(tmp_path / "web/w")])).places == ("web/w",)
    (tmp_path / "away/a").unlink()
    (tmp_path / "away").rename(tmp_path / "api")
    looked = await source.look([str(tmp_path / "api")])
    assert looked == Looked(("api/a",), ("app/a",), back=("api",))


async def test_the_root_itself_may_be_gone_and_its_ignore_file_stays_in_force(
    tmp_path: Path,
) -> None:
    root = tmp_path / "src"
    write(root, "a", "b.log")
    (root / ".dockerignore").write_text("*.log\n")
    source = await opened(root)
    before = source.tree
    root.rename(tmp_path / "away")
    assert await source.look() == Looked(gone=(".",))
    assert await source.look() == Looked()
    assert source.tree == before
    (tmp_path / "away").rename(root)
    assert await source.look() == Looked(back=(".",))


async def test_a_step_s_folder_inside_of_another_one_s_is_deleted_like_any(tmp_path: Path) -> None:
    write(tmp_path, "api/a", "api/static/s")
    source = await opened(tmp_path, SyncStep("api", "/app"), SyncStep("api/static", "/static"))
    (tmp_path / "api/static").rename(tmp_path / "away")
    looked = await source.look([str(tmp_path / "api/static")])
    assert set(looked.places) >= {"app/static/s", "static/s"}
    assert not looked.gone


async def test_a_touch_is_no_change_and_a_mode_is_one(tmp_path: Path) -> None:
    write(tmp_path, "a")
    source = await opened(tmp_path)
    os.utime(tmp_path / "a", (1, 1))
    assert not await source.look([str(tmp_path / "a")])
    (tmp_path / "a").chmod(0o700)
    looked = await source.look([str(tmp_path / "a")])
    assert looked == Looked(("a",), ("app/a",))
    assert source.tree.entries["app/a"].mode == 0o700


async def test_a_part_holds_the_places_and_the_folders_above_them_alone(tmp_path: Path) -> None:
    write(tmp_path, "pkg/a", "pkg/b", "c")
    source = await opened(tmp_path)
    write(tmp_path, "pkg/a", text="new")
    looked = await source.look([str(tmp_path / "pkg" / "a")])
    part = source.part(looked.places)
    assert [*part] == ["app", "app/pkg", "app/pkg/a"]
    assert part.entries["app/pkg/a"].size == 3
    assert source.file("app/pkg/a") == tmp_path / "pkg" / "a"


async def test_a_file_that_is_gone_has_no_bytes_to_bring(tmp_path: Path) -> None:
    write(tmp_path, "a")
    source = await opened(tmp_path)
    (tmp_path / "a").unlink()
    looked = await source.look([str(tmp_path / "a")])
    assert looked.places == ("app/a",)
    with pytest.raises(SourceChangedError, match="app/a"):
        source.file("app/a")


async def test_a_deep_path_alone_finds_the_new_folders_around_it(tmp_path: Path) -> None:
    source = await opened(tmp_path)
    write(tmp_path, "a/b/c", "a/d")
    looked = await source.look([str(tmp_path / "a" / "b" / "c")])
    assert looked.changed == ("a", "a/b", "a/b/c", "a/d")


async def test_what_is_behind_a_link_to_a_folder_is_not_read_through_it(tmp_path: Path) -> None:
    write(tmp_path, "real/x", "other")
    source = await opened(tmp_path)
    (tmp_path / "real").rename(tmp_path / "moved")
    (tmp_path / "real").symlink_to("moved")
    await source.look([str(tmp_path / "real" / "x"), str(tmp_path / "moved")])
    assert source.tree.entries["app/real"].target == "moved"
    assert "real/x" not in source.entries
    assert "moved/x" in source.entries


async def test_where_steps_overlap_the_later_wins_and_the_earlier_comes_back(
    tmp_path: Path,
) -> None:
    write(tmp_path, "base/conf", text="base")
    write(tmp_path, "over/conf", text="over")
    source = await opened(tmp_path, SyncStep("base", "/app"), SyncStep("over", "/app"))
    assert source.file("app/conf").read_text() == "over"
    (tmp_path / "over" / "conf").unlink()
    looked = await source.look([str(tmp_path / "over" / "conf")])
    assert looked.places == ("app/conf",)
    assert source.file("app/conf").read_text() == "base"
    write(tmp_path, "base/conf", text="newer")
    looked = await source.look([str(tmp_path / "base" / "conf")])
    assert looked.places == ("app/conf",)


async def test_a_step_of_one_file_lands_under_its_name_or_another(tmp_path: Path) -> None:
    write(tmp_path, "a.conf", "b.conf")
    source = await opened(tmp_path, SyncStep("a.conf", "/etc/"), SyncStep("b.conf", "/etc/x"))
    assert [*source.tree] == ["etc", "etc/a.conf", "etc/x"]
    write(tmp_path, "b.conf", text="new")
    assert (await source.look([str(tmp_path / "b.conf")])).places == ("etc/x",)


async def test_a_step_whose_path_turns_from_file_to_folder_follows(tmp_path: Path) -> None:
    write(tmp_path, "a")
    source = await opened(tmp_path, SyncStep("a", "/app"))
    assert source.tree.entries["app"].kind is Kind.FILE
    (tmp_path / "a").unlink()
    write(tmp_path, "a/x")
    looked = await source.look([str(tmp_path / "a" / "x")])
    assert looked.places == ("app", "app/x")
    assert source.tree == (await opened(tmp_path, SyncStep("a", "/app"))).tree


async def test_a_folder_beside_the_root_is_followed(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    write(tmp_path, "shared/lib", "shop/main")
    files = (FileSet((".", "../shared")),)
    steps = (SyncStep(".", "/app"), SyncStep("../shared", "/shared"))
    source = await opened(root, *steps, files=files)
    write(tmp_path, "shared/lib", "shared/.git/HEAD", text="new")
    looked = await source.look([str(tmp_path / "shared")])
    assert looked == Looked(("../shared/lib",), ("shared/lib",))
    assert source.file("shared/lib").read_text() == "new"


# What is ignored ----------------------------------------------------------------------------------


async def test_every_kind_of_ignore_holds_for_the_first_look_and_for_each_later_one(
    tmp_path: Path,
) -> None:
    names = ("image/x", "step/x", "flag/x", "built/x", "own/x", ".git/x", "kept/x")

    async def source() -> SourceTree:
        return await opened(
            tmp_path,
            SyncStep(".", "/app", ignore=("step",)),
            files=(FileSet((".",), (IgnoreRule(".", ("image",)),)),),
            exclude=("flag",),
            leaves=("built", "own"),
        )

    empty = await source()
    write(tmp_path, *names)
    looked = await empty.look([str(tmp_path / name) for name in names])
    assert looked.changed == ("kept", "kept/x")
    assert (await source()).entries == empty.entries
    assert not await empty.look(None)
    for name in ("image", "step", "flag", "built", "own"):
        assert empty.excluded(f"app/{name}/x")
    assert not empty.excluded("app/kept/x")
    assert not empty.excluded("etc/passwd")


async def test_a_folders_dockerignore_holds_and_a_change_of_it_is_heeded(tmp_path: Path) -> None:
    write(tmp_path, "data/x", "main", "new/x")
    write(tmp_path, ".dockerignore", text="new\n")
    source = await opened(tmp_path)
    assert "new" not in source.entries
    assert str(tmp_path / ".dockerignore") in {root.path for root in source.roots()}
    write(tmp_path, ".dockerignore", text="data\n")
    looked = await source.look([str(tmp_path / ".dockerignore")])
    # What came in is carried; what is ignored from now on is left to the container.
    assert looked.places == ("app/.dockerignore", "app/new", "app/new/x")
    assert looked.left == ("app/data", "app/data/x")
    assert source.excluded("app/data/x")
    assert source.entries == (await opened(tmp_path)).entries
    (tmp_path / ".dockerignore").unlink()
    looked = await source.look(None)
    assert looked.places == ("app/.dockerignore", "app/data", "app/data/x")


async def test_the_rules_of_an_image_stand_and_its_dockerignore_is_not_read_twice(
    tmp_path: Path,
) -> None:
    write(tmp_path, "a", "b")
    write(tmp_path, ".dockerignore", text="a\n")
    source = await opened(tmp_path, files=(FileSet((".",), (IgnoreRule(".", ("b",)),)),))
    assert "a" in source.entries
    assert "b" not in source.entries


async def test_a_pattern_that_is_none_is_told_and_the_old_rules_stand(tmp_path: Path) -> None:
    write(tmp_path, "a", "b")
    write(tmp_path, ".dockerignore", text="a\n")
    source = await opened(tmp_path)
    write(tmp_path, ".dockerignore", text="[\n")
    with pytest.raises(ConfigError, match="ignore pattern"):
        await source.look([str(tmp_path / ".dockerignore")])
    assert "b" in source.entries
    write(tmp_path, ".dockerignore", text="b\n")
    looked = await source.look([str(tmp_path / ".dockerignore")])
    assert looked.left == ("app/b",)
    assert "app/a" in looked.places


# What cannot be carried ---------------------------------------------------------------------------


async def test_what_means_something_here_alone_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, "a")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(tmp_path)
        try:
            listening.bind("sock")
        finally:
            os.chdir(here)
        source = await opened(tmp_path)
    assert reasons(source) == {"app/pipe": Reason.SPECIAL, "app/sock": Reason.SPECIAL}
    assert [*source.tree] == ["app", "app/a"]
    (tmp_path / "pipe").unlink()
    write(tmp_path, "pipe")
    looked = await source.look([str(tmp_path / "pipe")])
    assert looked.places == ("app/pipe",)
    assert reasons(source) == {"app/sock": Reason.SPECIAL}


async def test_a_device_is_refused_by_name() -> None:
    source = await opened(Path("/dev"), SyncStep("null", "/app/null"))
    assert reasons(source) == {"app/null": Reason.SPECIAL}


async def test_a_link_out_of_the_folder_is_refused_as_is_one_that_leads_over_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "out").symlink_to("/etc")
    (tmp_path / "up").symlink_to("../x")
    (tmp_path / "in").symlink_to("a")
    (tmp_path / "over").symlink_to("out/passwd")
    (tmp_path / "nowhere").symlink_to("missing")
    source = await opened(tmp_path)
    outside = dict.fromkeys(("app/out", "app/over", "app/up"), Reason.OUTSIDE)
    assert reasons(source) == outside
    assert [*source.tree] == ["app", "app/in", "app/nowhere"]
    (tmp_path / "out").unlink()
    (tmp_path / "out").symlink_to("in")
    looked = await source.look([str(tmp_path / "out")])
    assert looked.places == ("app/out", "app/over")
    assert reasons(source) == {"app/up": Reason.OUTSIDE}
    (tmp_path / "in").unlink()
    (tmp_path / "in").symlink_to("/")
    looked = await source.look([str(tmp_path / "in")])
    assert {one.path for one in looked.refused} == {"app/in", "app/out", "app/over"}


@pytest.mark.parametrize(
    "name", ["a\nb", " a ", "a'\"$(x)", "..a", "...", "a" * 255, "\udcff\udcfe", "-rf", "\\", "é"]
)
async def test_a_strange_name_is_a_name(tmp_path: Path, name: str) -> None:
    write(tmp_path, f"{name}/{name}")
    source = await opened(tmp_path)
    place = f"app/{name}/{name}"
    assert place in source.tree.entries
    assert source.file(place).read_text() == "x"
    write(tmp_path, f"{name}/{name}", text="new")
    assert (await source.look([str(tmp_path / name / name)])).places == (place,)


async def test_a_name_of_the_agents_is_refused(tmp_path: Path) -> None:
    write(tmp_path, ".kindling-tmp-1", "d/.kindling-tmp-2/x")
    assert set(reasons(await opened(tmp_path)).values()) == {Reason.NAME}


async def test_an_empty_file_and_one_with_holes_are_files(tmp_path: Path) -> None:
    write(tmp_path, "empty", text="")
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(5 << 20)
    source = await opened(tmp_path)
    assert source.tree.entries["app/empty"].size == 0
    assert source.tree.entries["app/holes"].size == 5 << 20


async def test_what_may_not_be_read_is_refused_and_left_and_all_else_goes_on(
    tmp_path: Path,
) -> None:
    root = tmp_path / "shop"
    write(root, "secret", "closed/x", "open/x")
    with nobody(tmp_path):
        source = await opened(root)
    (root / "secret").chmod(0)
    (root / "closed").chmod(0)
    with nobody(tmp_path):
        looked = await source.look([str(root / "secret"), str(root / "closed")])
        fresh = await opened(root)
    assert {one.path: one.reason for one in looked.refused} == {
        "app/secret": Reason.UNREADABLE,
        "app/closed": Reason.UNREADABLE,
    }
    assert [*source.tree] == ["app", "app/open", "app/open/x"]
    assert source.tree == fresh.tree
    (root / "closed").chmod(0o755)
    (root / "secret").chmod(0o644)
    looked = await source.look([str(root / "secret"), str(root / "closed")])
    assert looked.places == ("app/closed", "app/closed/x", "app/secret")
    assert not source.refused


async def test_a_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a", text="first")
    source = await opened(tmp_path)
    real = contents._content
    times = iter(("second", "third"))

    def slowly(opened: int, size: int) -> str:
        content = real(opened, size)
        if (text := next(times, None)) is not None:
            write(tmp_path, "a", text=text * 9)
        return content

    monkeypatch.setattr(contents, "_content", slowly)
    await source.look([str(tmp_path / "a")])
    monkeypatch.undo()
    assert source.entries == (await opened(tmp_path)).entries


async def test_a_file_that_vanishes_between_the_look_and_the_read_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a", "b")
    source = await opened(tmp_path)
    write(tmp_path, "a", text="new")
    real = os.open

    def vanishing(path: str, flags: int, mode: int = 0o777) -> int:
        if str(path).endswith("/a"):
            os.unlink(path)
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", vanishing)
    looked = await source.look([str(tmp_path / "a")])
    assert looked == Looked(("a",), ("app/a",))
    assert "app/a" not in source.tree.entries


async def test_two_thousand_paths_at_once_are_looked_at_one_by_one_and_walked_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"d{number // 100}/f{number}" for number in range(2000)]
    write(tmp_path, *names)
    source = await opened(tmp_path)
    write(tmp_path, *names, text="new")

    def refuse(*_: object) -> None:
        raise AssertionError("walked")

    monkeypatch.setattr(os, "scandir", refuse)
    looked = await source.look([str(tmp_path / name) for name in names])
    monkeypatch.undo()
    assert looked.changed == tuple(sorted(names))
    assert source.entries == (await opened(tmp_path)).entries
