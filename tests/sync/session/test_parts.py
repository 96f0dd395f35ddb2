"""The pure parts of a session, each by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from kindling.errors import ExecutionError
from kindling.graph.node import FileSet
from kindling.lang.declared import SyncStep
from kindling.sync.notices import Built
from kindling.sync.protocol import Link, Process
from kindling.sync.rules.landing import Context
from kindling.sync.runtimes.detect import detect
from kindling.sync.runtimes.plan import plan
from kindling.sync.session.artefact import Artefact
from kindling.sync.session.beginning import Beginning
from kindling.sync.session.building import Builder, Job
from kindling.sync.session.known import noted, part_of, without_ways
from kindling.sync.session.latest import Latest
from kindling.sync.session.looking import look
from kindling.sync.session.routes import Routes
from kindling.sync.session.sourced import source_of_plan
from kindling.sync.session.workshop import Workshop
from kindling.sync.source.tree import SourceTree
from kindling.sync.trees.batch import Batch, Chmod, Delete, Mkdir, Move, Put, Rmdir
from kindling.sync.trees.batch import Link as LinkStep
from kindling.sync.trees.difference import difference
from kindling.sync.trees.manifest import Entry, Kind, TreeManifest

FOLDER = Entry(Kind.DIR, 0o755)


def _file(digest: str) -> Entry:
    return Entry(Kind.FILE, 0o644, digest)


async def test_a_wish_is_never_served_by_a_run_that_began_before_it() -> None:
    runs: list[int] = []
    gate = asyncio.Event()
    latest: Latest[int] = Latest()

    async def job() -> int:
        runs.append(len(runs))
        mine = len(runs)
        if mine == 1:
            await gate.wait()
        return mine

    first = asyncio.ensure_future(latest.run(job))
    await asyncio.sleep(0)
    rest = [asyncio.ensure_future(latest.run(job)) for _ in range(5)]
    await asyncio.sleep(0)
    gate.set()
    assert await first == 1
    assert await asyncio.gather(*rest) == [2] * 5
    assert len(runs) == 2


async def test_a_run_that_fails_serves_nobody_else() -> None:
    latest: Latest[int] = Latest()
    fails = [True, False]

    async def job() -> int:
        await asyncio.sleep(0)
        if fails.pop(0):
            raise ExecutionError("no")
        return 1

    one, two = await asyncio.gather(latest.run(job), latest.run(job), return_exceptions=True)
    assert isinstance(one, ExecutionError)
    assert two == 1


def test_a_destination_that_is_a_link_is_gone_to_and_come_back_from() -> None:
    routes = Routes.of({"app": "srv/shop", "app/static": "data/static"})
    assert routes.real("app/main.py") == "srv/shop/main.py"
    assert routes.real("app/static/a.css") == "data/static/a.css"
    assert routes.landed("data/static/a.css") == "app/static/a.css"
    assert routes.landed("srv/shop") == "app"
    assert routes.real("application") == "application"
    found = TreeManifest(
        {
            "data": FOLDER,
            "data/static": FOLDER,
            "data/static/a.css": _file("1"),
            "srv": FOLDER,
            "srv/shop": FOLDER,
            "srv/shop/static": Entry(Kind.LINK, target="/data/static"),
        }
    )
    tree = routes.tree(found, ("app", "app/static"))
    assert tree.entries["app/static"] == FOLDER
    assert tree.entries["app/static/a.css"] == _file("1")


def test_destinations_where_they_seem_to_be_need_no_routes() -> None:
    routes = Routes.of({"app": "app", "etc/x": "etc/x"})
    assert routes == Routes()
    batch = Batch((Delete("app/x"),))
    assert routes.batch(batch) is batch


def test_what_leads_to_a_missing_destination_is_unknown_only_in_doubt() -> None:
    empty = TreeManifest({})
    assert set(Routes().tree(empty, ("data/new/app",)).entries) == {"data", "data/new"}
    assert not Routes().tree(empty, ("data/new/app",), doubt=True).entries


def test_folders_on_the_way_are_made_with_the_one_below_them() -> None:
    want = TreeManifest({"data": Entry(Kind.DIR), "data/app": FOLDER, "data/app/x": _file("1")})
    batch = without_ways(difference(want, TreeManifest({})), want)
    assert [one.path for one in batch] == ["data/app", "data/app/x"]


def test_what_was_applied_is_what_is_known() -> None:
    known = {"a": FOLDER, "a/x": _file("1"), "a/y": _file("2"), "b": FOLDER}
    noted(
        known,
        (
            Mkdir("c", 0o700),
            Put("c/new", 0o600, "3", 7),
            Move("a/x", "c/x", 0o755, "1"),
            LinkStep("l", "a/y"),
            Chmod("a/y", 0o600),
            Delete("nowhere"),
            Rmdir("b"),
        ),
    )
    assert known == {
        "a": FOLDER,
        "a/y": Entry(Kind.FILE, 0o600, "2"),
        "c": Entry(Kind.DIR, 0o700),
        "c/new": Entry(Kind.FILE, 0o600, "3"),
        "c/x": Entry(Kind.FILE, 0o755, "1"),
        "l": Entry(Kind.LINK, target="a/y"),
    }


def test_a_folder_that_gives_way_is_known_with_all_in_it() -> None:
    known = {"a": FOLDER, "a/b": FOLDER, "a/b/c": _file("1"), "d": _file("2")}
    want = TreeManifest({"a": _file("9")})
    assert set(part_of(known, ["a"], want).entries) == {"a", "a/b", "a/b/c"}
    assert set(part_of(known, ["a/b/c"]).entries) == {"a", "a/b", "a/b/c"}
    # Of a folder that is gone here one path alone was told so far.
    known["a/x"] = _file("3")
    assert set(part_of(known, ["a/b"], TreeManifest({})).entries) == {"a", "a/b", "a/b/c", "a/x"}


async def test_what_an_older_build_made_and_a_newer_one_did_not_goes(tmp_path: Path) -> None:
    out = tmp_path / "dist"
    out.mkdir()
    (out / "index-1.js").write_text("1")
    made = Artefact("www", folder=True)
    assert await made.read(out) == ("www", "www/index-1.js")
    (out / "index-1.js").rename(out / "index-2.js")
    assert await made.read(out) == ("www/index-1.js", "www/index-2.js")
    there = TreeManifest({"www": FOLDER, "www/index-1.js": _file("x"), "www/50x": _file("y")})
    batch = difference(made.part(["www/index-1.js"]), there, had=made.had)
    assert list(batch) == [Delete("www/index-1.js")]


async def test_a_program_can_be_run_where_it_lands(tmp_path: Path) -> None:
    (tmp_path / "server").write_text("elf")
    made = Artefact("usr/bin/app", folder=False)
    await made.read(tmp_path / "server")
    assert made.tree.entries["usr/bin/app"].mode == 0o755
    assert made.file("usr/bin/app") == tmp_path / "server"
    with pytest.raises(ExecutionError, match="is no file"):
        await made.read(tmp_path)


async def test_what_one_container_finds_of_a_build_is_owed_to_the_others(tmp_path: Path) -> None:
    out = tmp_path / "server"
    out.write_text("one")
    made = Artefact("srv/server", folder=False)
    await made.read(out)
    out.write_text("another")
    await made.again("srv/server")
    assert made.tree.entries["srv/server"].size == 7
    assert await made.read(out) == ("srv/server",)
    assert await made.read(out) == ()
    out.unlink()
    await made.again("srv/server")
    out.write_text("another")
    assert await made.read(out) == ("srv/server",)


async def test_what_a_build_is_just_making_is_looked_at_when_it_is_made(tmp_path: Path) -> None:
    out, making = tmp_path / "server", asyncio.Lock()
    out.write_text("one")
    made = Artefact("srv/server", folder=False, making=making)
    await made.read(out)
    async with making:
        out.write_text("ha")
        looking = asyncio.ensure_future(made.again("srv/server"))
        done, _ = await asyncio.wait({looking}, timeout=0.05)
        assert not done
        out.write_text("whole")
    await looking
    assert made.tree.entries["srv/server"].size == 5


async def test_a_place_that_one_container_tells_is_never_seen_without_what_lands_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one comes while it is read there."""

    async def place(*found: object) -> str:
        del found
        return "www"

    class Maker:
        job, output = Job((), (), True), tmp_path

        async def build(self) -> Built:
            return Built("make", 0.0)

    (tmp_path / "index.js").write_text("js")
    source = SimpleNamespace(syncs=())
    found = SimpleNamespace(source=source, place=None, detection=None, strategy=None, seen=None)
    monkeypatch.setattr("kindling.sync.session.workshop.landing_place", place)
    workshop = Workshop(cast(Builder, Maker()), cast(Beginning, found))
    await workshop.make()
    reading, on = asyncio.Event(), asyncio.Event()
    read = Artefact.read

    async def held(self: Artefact, output: Path) -> tuple[str, ...]:
        reading.set()
        await on.wait()
        return await read(self, output)

    async def settled() -> None:
        await workshop.settle_place(cast(Link, None))
        assert workshop.artefact is not None
        assert "www/index.js" in workshop.artefact.tree.entries

    monkeypatch.setattr(Artefact, "read", held)
    first = asyncio.ensure_future(settled())
    await reading.wait()
    second = asyncio.ensure_future(settled())
    for _ in range(5):
        await asyncio.sleep(0)
    on.set()
    await asyncio.gather(first, second)


class _Kernel:
    """What a look reads of a container."""

    def __init__(self, files: dict[str, bytes], processes: tuple[Process, ...] = ()) -> None:
        self.files = files
        self.running = processes

    async def read(self, path: str, most: int = 1 << 20) -> bytes | None:
        found = self.files.get(path)
        return None if found is None else found[:most]

    async def resolve(self, place: str) -> str:
        return "srv/app" if place == "proc/1/cwd" else place

    async def processes(self) -> tuple[Process, ...]:
        return self.running


async def test_an_entry_point_is_looked_into() -> None:
    kernel = _Kernel(
        {
            "/proc/1/cmdline": b"/bin/sh\0./start.sh\0--port\0",
            "/proc/1/environ": b"PATH=/usr/bin\0SECRET=x\0WEB_CONCURRENCY=4\0",
            "/srv/app/start.sh": b"#!/bin/sh\nexec docker-entrypoint.sh\n",
            "/usr/bin/docker-entrypoint.sh": b'#!/bin/sh\nexec uvicorn app:app "$@"\n',
        }
    )
    seen = await look(cast("Link", kernel))
    assert seen.folder == "/srv/app"
    assert seen.environ == {"PATH": "/usr/bin", "WEB_CONCURRENCY": "4"}
    assert seen.detected().runtime.key == "uvicorn"


async def test_a_supervised_program_is_seen_as_itself() -> None:
    line = b"/.kindling-sync/agent\0supervise\0--hold\0--\0gunicorn\0app:app\0"
    kernel = _Kernel(
        {"/proc/1/cmdline": line},
        (
            Process(1, 0, 1, "1", (), "/.kindling-sync/agent"),
            Process(9, 1, 2, "1", ("gunicorn", "app:app"), "/usr/bin/python3.12"),
        ),
    )
    seen = await look(cast("Link", kernel))
    assert (seen.argv, seen.exe) == (("gunicorn", "app:app"), "/usr/bin/python3.12")
    assert seen.detected().runtime.key == "gunicorn"


async def test_what_may_not_be_read_is_left_out() -> None:
    seen = await look(cast("Link", _Kernel({})))
    assert seen.argv == ()
    assert not seen.detected().known


async def test_a_plan_knows_of_lock_files_that_are_not_synced(tmp_path: Path) -> None:
    """What installs packages minds them all the same, those of a folder above, too."""
    shop = tmp_path / "packages/shop"
    shop.mkdir(parents=True)
    (tmp_path / "package-lock.json").write_text("{}")
    (shop / "package.json").write_text("{}")
    (shop / "yarn.lock").write_text("# locked")
    steps = (SyncStep(".", "/srv"),)
    context = Context(root=shop, files=(FileSet((".",)),))
    source = await SourceTree.open(context, steps, exclude=("yarn.lock",))
    assert "yarn.lock" not in source.entries
    files = (await source_of_plan(source)).files
    assert {**files, ".": ""} == {
        ".": "",
        "package.json": "{}",
        "yarn.lock": "",
        "../package-lock.json": "",
    }


@pytest.mark.parametrize(
    ("runs", "files", "says"),
    [
        (
            "/app/web",
            {"Cargo.toml": '[package]\nname = "web"\n', "src/main.rs": "fn main() {}"},
            "cargo build --bin web",
        ),
        (
            "/app/two",
            {"Cargo.toml": '[package]\nname = "web"\n', "src/bin/two.rs": "fn main() {}"},
            "cargo build --bin two",
        ),
        (
            "java -jar /app/web.jar",
            {
                "build.sbt": 'name := "web"',
                "project/plugins.sbt": 'addSbtPlugin("com.eed3si9n" % "sbt-assembly" % "2.1.1")',
            },
            "sbt assembly, web.jar",
        ),
        (
            "java -jar /app/web-3.jar",
            {
                "build.gradle": "plugins { id 'java' }",
                "settings.gradle": "rootProject.name = 'web'",
                "gradle.properties": "version=3",
            },
            "build/libs/web-3.jar",
        ),
        (
            "/app/web",
            {
                "dune-project": "(lang dune 2.9)",
                "bin/dune": "(executable (public_name web) (name main))",
            },
            "dune build bin/main.exe",
        ),
    ],
)
async def test_what_lies_below_the_source_folder_tells_what_is_built(
    tmp_path: Path, runs: str, files: dict[str, str], says: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    source = await SourceTree.open(
        Context(root=tmp_path, files=(FileSet((".",)),)), (SyncStep(".", "/app"),)
    )
    known = await source_of_plan(source)
    strategy = plan(detect(runs.split(), project=known.files), source=known)
    assert strategy.build is not None, strategy.warnings
    assert says in strategy.says
