"""What every link does: one suite for the agent that a shell takes in and for `tar`, both behind
commands of this machine, and, marked `cluster`, for a real container."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from kindling.errors import ClusterError, KindlingError, UsageError
from kindling.kube.errors import TimeLimitError
from kindling.sync.protocol import CannotCarryError, Container, Link, SourceChangedError
from kindling.sync.transport.connecting import connect
from kindling.sync.transport.tar import TarLink
from kindling.sync.trees import batch as steps
from kindling.sync.trees.batch import Batch, Operation
from kindling.sync.trees.difference import difference
from kindling.sync.trees.manifest import EMPTY, Entry, Kind, TreeManifest
from kindling.testing.cluster import FakeCluster
from tests.sync.transport.pods import LIMIT, Folder, apart, connected, namespace, start


@dataclass(frozen=True, slots=True)
class Subject:
    """A link, a place for a test's files, and files to bring there."""

    link: Link
    place: str
    source: Folder

    def at(self, path: str) -> str:
        return self.source.place(path)

    async def apply(self, *operations: Operation) -> int:
        """The bytes that it took."""
        sent = await self.link.apply(Batch(operations), self.source)
        assert sent.operations == len(operations)
        return sent.size

    async def tree(self) -> dict[str, str]:
        """What the place holds: modes of folders, modes and digests of files, targets of links."""
        tree = await self.link.tree([self.place])
        found: dict[str, str] = {}
        for path, entry in tree.entries.items():
            inner = path.removeprefix(self.place).lstrip("/")
            if path.startswith(self.place) and inner:
                mode = "" if entry.mode is None else f"{entry.mode:o} "
                found[inner] = f"{entry.kind.value} {mode}{entry.digest or entry.target}".strip()
        return found


@pytest.fixture(scope="module")
def pod(binary: Path) -> Iterator[Container]:
    del binary
    with namespace() as name:

        async def make() -> Container:
            async with connected() as cluster:
                command = {"command": ["sleep", "36000"]}
                return await start(cluster, name, "box", "busybox:1.36", command)

        yield apart(make())


@pytest.fixture(params=["agent", "tar", pytest.param("cluster", marks=pytest.mark.cluster)])
async def subject(
    request: pytest.FixtureRequest, binary: Path, tmp_path: Path
) -> AsyncIterator[Subject]:
    source = tmp_path / "source"
    source.mkdir()
    if request.param == "cluster":
        container: Container = request.getfixturevalue("pod")
        place = f"data-{os.urandom(4).hex()}"
        async with connected() as cluster:
            link = await connect(cluster, container, lambda _: binary.read_bytes(), places=[place])
            assert link.way == "agent"
            subject = Subject(link, place, Folder(source, place))
            await subject.apply(steps.Mkdir(place, 0o755))
            yield subject
            await link.run(["rm", "-rf", f"/{place}"])
            await link.close()
        return
    (tmp_path / "there").mkdir(mode=0o755)
    place = str(tmp_path / "there").strip("/")
    fake = local()
    box = Container("default", "box", "main")
    if request.param == "agent":
        link = await connect(fake, box, lambda _: binary.read_bytes(), places=[place])
    else:
        tar = await TarLink.open(fake, box)
        assert tar is not None
        link = tar
    assert link.way == request.param
    yield Subject(link, place, Folder(source, place))
    await link.close()


def local() -> FakeCluster:
    """A cluster whose pod `box` is this machine."""
    fake = FakeCluster()
    fake.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "box"}})

    def same(_: str, __: str, ___: str, argv: tuple[str, ...]) -> Sequence[str]:
        return argv

    fake.programs = same
    return fake


async def test_every_kind_of_change_arrives(subject: Subject) -> None:
    at, write = subject.at, subject.source.write
    one, two = write("a/one", b"1"), write("a/two", b"2" * 5000, 0o755)
    await subject.apply(steps.Mkdir(at("a"), 0o750), one, two, steps.Link(at("l"), "a/one"))
    assert await subject.tree() == {
        "a": "dir 750",
        "a/one": f"file 644 {one.digest}",
        "a/two": f"file 755 {two.digest}",
        "l": "link a/one",
    }
    three = write("a/one", b"3")
    write("b/zwei", b"2" * 5000)
    await subject.apply(
        steps.Mkdir(at("b"), 0o755),
        three,
        steps.Move(at("a/two"), at("b/zwei"), 0o700, two.digest),
        steps.Chmod(at("a"), 0o700),
        steps.Link(at("l"), "b/zwei"),
        steps.Delete(at("gone")),
        steps.Rmdir(at("b")),
        steps.Rmdir(at("none")),
    )
    assert await subject.tree() == {
        "a": "dir 700",
        "a/one": f"file 644 {three.digest}",
        "b": "dir 755",
        "b/zwei": f"file 700 {two.digest}",
        "l": "link b/zwei",
    }
    await subject.apply(steps.Delete(at("b/zwei")), steps.Delete(at("l")), steps.Rmdir(at("b")))
    assert await subject.tree() == {"a": "dir 700", "a/one": f"file 644 {three.digest}"}


async def test_names_of_any_kind_arrive(subject: Subject) -> None:
    names = ["a b", "new\nline", "quote'\"", "-rf", "$(x)`y`", "ünïcode", "back\\slash", "*"]
    puts = [subject.source.write(name, name.encode()) for name in names]
    await subject.apply(*puts, steps.Link(subject.at("link'"), "a b"))
    assert await subject.tree() == {
        **{name: f"file 644 {put.digest}" for name, put in zip(names, puts, strict=True)},
        "link'": "link a b",
    }


async def test_a_source_that_changed_changes_nothing(subject: Subject) -> None:
    before = await subject.tree()
    good = subject.source.write("good", b"good")
    for size in (10, 700_000):
        bad = subject.source.write("bad", bytes(size))
        (subject.source.root / "bad").write_bytes(b"x" * size)
        with pytest.raises(SourceChangedError) as caught:
            await subject.apply(good, bad)
        assert caught.value.place == subject.at("bad")
        (subject.source.root / "bad").unlink()
        with pytest.raises(SourceChangedError):
            await subject.apply(good, bad)
    assert await subject.tree() == before
    await subject.apply(good)
    assert await subject.tree() == {**before, "good": f"file 644 {good.digest}"}


async def test_a_big_file_arrives_again_after_a_change_in_its_middle(subject: Subject) -> None:
    content = os.urandom(1_500_000)
    await subject.apply(subject.source.write("big", content))
    changed = subject.source.write("big", content[:700_000] + b"new" + content[700_100:])
    size = await subject.apply(changed)
    assert await subject.tree() == {"big": f"file 644 {changed.digest}"}
    if subject.link.way == "agent":
        assert size < 50_000


async def test_a_file_to_be_moved_that_is_another_by_now_is_put(subject: Subject) -> None:
    old = subject.source.write("old", b"what the container has")
    new = subject.source.write("new", b"what is wanted")
    await subject.apply(old)
    await subject.apply(steps.Move(subject.at("old"), subject.at("new"), 0o640, new.digest))
    assert await subject.tree() == {"new": f"file 640 {new.digest}"}


async def test_a_tree_tells_what_is_there_and_nothing_else(subject: Subject) -> None:
    file = subject.source.write("file", b"")
    await subject.apply(file, steps.Mkdir(subject.at("skipped"), 0o755))
    await subject.apply(subject.source.write("skipped/x", b"x"))
    whole = await subject.link.tree([subject.place], skip=["skipped"])
    assert subject.at("file") in whole
    assert not any("skipped" in path for path in whole)
    assert await subject.link.tree([subject.at("none"), subject.at("none/below")]) == EMPTY
    one = await subject.link.tree([subject.at("file")])
    assert one.entries[subject.at("file")].digest == file.digest
    if subject.link.way == "agent":
        below = await subject.link.tree([subject.at("file/below")])
        assert below.entries[subject.at("file")].kind is Kind.FILE


async def test_folders_that_are_closed_are_filled_and_closed_again(subject: Subject) -> None:
    await subject.apply(steps.Mkdir(subject.at("d"), 0o555))
    put = subject.source.write("d/file", b"content")
    there = await subject.link.tree([subject.place])
    file = Entry(Kind.FILE, put.mode, put.digest, size=put.size)
    wanted = TreeManifest({**there.entries, put.path: file})
    await subject.link.apply(difference(wanted, there), subject.source)
    assert await subject.tree() == {"d": "dir 555", "d/file": f"file 644 {put.digest}"}


async def test_a_command_tells_its_lines_and_its_code(subject: Subject) -> None:
    lines: list[str] = []
    code = await subject.link.run(
        ["sh", "-c", 'echo one; echo "$WORD" >&2; pwd; printf end; exit 7'],
        folder=f"/{subject.place}",
        variables={"WORD": "it's"},
        log=lines.append,
        timeout=LIMIT,
    )
    assert code == 7
    assert sorted(lines) == sorted(["one", "it's", f"/{subject.place}", "end"])


async def test_a_command_that_takes_too_long_is_an_error_and_the_next_one_runs(
    subject: Subject,
) -> None:
    with pytest.raises(TimeLimitError, match="sleep 600"):
        await subject.link.run(["sleep", "600"], timeout=0.5)
    assert await subject.link.run(["true"], timeout=LIMIT) == 0


async def test_a_process_is_found_and_gets_a_signal(subject: Subject) -> None:
    word = f"987{os.urandom(2).hex()}.5".translate(str.maketrans("abcdef", "123456"))
    running = asyncio.create_task(subject.link.run(["sleep", word], timeout=LIMIT))
    async with asyncio.timeout(LIMIT):
        while not (
            found := [one for one in await subject.link.processes() if one.argv == ("sleep", word)]
        ):
            assert not running.done()
    assert found[0].started > 0
    await subject.link.signal(found[0].pid, "TERM")
    assert await running == 143
    with pytest.raises(ClusterError, match="4194999"):
        await subject.link.signal(4194999, "SIGTERM")
    with pytest.raises(UsageError):
        await subject.link.signal(1, "NONE")


async def test_files_are_read_and_paths_resolved(subject: Subject) -> None:
    await subject.apply(
        subject.source.write("f", b"0123456789"),
        steps.Mkdir(subject.at("d"), 0o755),
        steps.Link(subject.at("l"), "d"),
    )
    path = f"/{subject.at('f')}"
    assert await subject.link.read(path) == b"0123456789"
    assert await subject.link.read(path, 4) == b"0123"
    assert await subject.link.read(f"/{subject.at('none')}") is None
    assert await subject.link.resolve(subject.at("l/new/x")) == subject.at("d/new/x")
    assert await subject.link.resolve(subject.at("none/x")) == subject.at("none/x")


async def test_nothing_is_restarted_where_nothing_supervises(subject: Subject) -> None:
    assert await subject.link.status() is None
    with pytest.raises(ClusterError, match="restart"):
        await subject.link.restart()


async def test_several_tasks_use_a_link_at_once(subject: Subject) -> None:
    puts = [subject.source.write(f"f{n}", os.urandom(20_000)) for n in range(8)]
    await asyncio.gather(
        *(subject.apply(put) for put in puts),
        *(subject.link.tree([subject.place]) for _ in range(3)),
        *(subject.link.run(["true"], timeout=LIMIT) for _ in range(2)),
    )
    assert await subject.tree() == {f"f{n}": f"file 644 {p.digest}" for n, p in enumerate(puts)}


async def test_what_cannot_be_made_says_where_and_leaves_the_rest(subject: Subject) -> None:
    await subject.apply(subject.source.write("file", b"x"))
    put = subject.source.write("inner", b"y")
    inside = steps.Put(subject.at("file/inner"), 0o644, put.digest, put.size)
    (subject.source.root / "file").unlink()
    (subject.source.root / "file").mkdir()
    (subject.source.root / "file/inner").write_bytes(b"y")
    with pytest.raises(KindlingError) as caught:
        await subject.apply(inside)
    assert not isinstance(caught.value, CannotCarryError)
    assert set(await subject.tree()) == {"file"}


async def test_a_place_is_tried_out_without_a_trace(subject: Subject) -> None:
    await subject.apply(steps.Mkdir(subject.at("d"), 0o755))
    before = await subject.tree()
    await subject.link.try_out(subject.at("d/new"))
    await subject.link.try_out(subject.at("missing/new"))
    assert await subject.tree() == before


@pytest.mark.parametrize("subject", ["agent"], indirect=True)
async def test_a_place_where_nothing_may_be_put_is_found_out(subject: Subject) -> None:
    """`tar` asks for permissions alone, which root has everywhere."""
    with pytest.raises(CannotCarryError, match="Cannot change `/sys/new`"):
        await subject.link.try_out("sys/new")
