"""Whatever trees a source goes through, after each batch the container holds the source's; and a
link that breaks off at any byte leaves old or new files, and nothing of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kindling.sync.protocol import LinkLostError
from kindling.sync.transport.link import AgentLink
from kindling.sync.trees import batch as steps
from kindling.sync.trees.batch import Batch
from kindling.sync.trees.difference import difference
from kindling.sync.trees.manifest import Entry, Kind, TreeManifest
from kindling.testing.agents import CutStream, ProcessStream, agent_link
from tests.sync.transport.pods import Folder

_NAMES = st.sampled_from(["a", "b", "c\n", "ü", "-d"])
_CONTENTS = [b"", b"x", b"same", os.urandom(3000), bytes(300_000)]
_LEAVES = st.one_of(
    st.tuples(
        st.just("file"), st.integers(0, len(_CONTENTS) - 1), st.sampled_from([0o644, 0o755, 0o400])
    ),
    st.tuples(st.just("link"), st.sampled_from(["a", "../b", "none", "/etc"]), st.just(0)),
)
_TREES = st.recursive(
    _LEAVES,
    lambda inner: st.tuples(
        st.just("dir"), st.dictionaries(_NAMES, inner, max_size=4), st.sampled_from([0o755, 0o500])
    ),
    max_leaves=10,
)
_ROOTS = st.dictionaries(_NAMES, _TREES, max_size=4)


def _manifest(root: Mapping[str, object], contents: dict[str, bytes]) -> TreeManifest:
    """The tree of a drawn root; what its files hold goes to `contents`."""
    entries: dict[str, Entry] = {}

    def walk(above: str, members: Mapping[str, object]) -> None:
        for name, drawn in members.items():
            assert isinstance(drawn, tuple)
            kind, what, mode = drawn
            path = f"{above}{name}"
            if kind == "file":
                content = contents[path] = _CONTENTS[what]
                digest = f"sha256:{sha256(content).hexdigest()}"
                entries[path] = Entry(Kind.FILE, mode, digest, size=len(content))
            elif kind == "link":
                entries[path] = Entry(Kind.LINK, target=what)
            else:
                entries[path] = Entry(Kind.DIR, mode)
                walk(f"{path}/", what)

    walk("", root)
    return TreeManifest(entries)


class _Flat:
    """Contents by place, each in a file of its own."""

    def __init__(self, folder: Path, contents: Mapping[str, bytes]) -> None:
        self._files: dict[str, Path] = {}
        for number, (place, content) in enumerate(contents.items()):
            self._files[place] = folder / str(number)
            self._files[place].write_bytes(content)

    def file(self, place: str) -> Path:
        return self._files[place]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(roots=st.lists(_ROOTS, min_size=2, max_size=4))
def test_after_each_batch_the_container_holds_what_the_source_holds(
    binary: Path, roots: list[dict[str, object]]
) -> None:
    async def follow(scratch: Path) -> None:
        (scratch / "there").mkdir()
        async with agent_link(binary, scratch / "there") as link:
            there = await link.tree([""])
            for number, root in enumerate(roots):
                contents: dict[str, bytes] = {}
                wanted = _manifest(root, contents)
                (scratch / str(number)).mkdir()
                batch = difference(wanted, there, mirror=True)
                await link.apply(batch, _Flat(scratch / str(number), contents))
                there = await link.tree([""])
                assert there.entries == wanted.entries
                assert not difference(wanted, there, mirror=True)

    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(follow(Path(scratch)))


def _batch(source: Folder) -> tuple[Batch, dict[str, tuple[bytes, ...]]]:
    """A small batch over a small tree, and what each file may hold afterwards."""
    old = {"d/b": b"old b" * 4, "gone": b"gone"}
    puts = [
        source.write("d/b", b"new b" * 5),
        source.write("n/c", b"new"),
    ]
    batch = Batch((steps.Mkdir("n", 0o755), *puts, steps.Link("l", "d"), steps.Delete("gone")))
    may: dict[str, tuple[bytes, ...]] = {
        "d/b": (old["d/b"], b"new b" * 5),
        "n/c": (b"new",),
        "gone": (old["gone"],),
    }
    return batch, may


def _old_tree(root: Path) -> None:
    (root / "d").mkdir(parents=True)
    (root / "d/b").write_bytes(b"old b" * 4)
    (root / "gone").write_bytes(b"gone")


async def _wire_size(binary: Path, scratch: Path, source: Folder) -> int:
    _old_tree(scratch / "whole")
    async with agent_link(binary, scratch / "whole") as link:
        return (await link.apply(_batch(source)[0], source)).size


async def test_a_batch_cut_at_any_byte_leaves_old_or_new_files_and_can_be_done_again(
    binary: Path, tmp_path: Path
) -> None:
    source = Folder(tmp_path / "source")
    batch, may = _batch(source)
    size = await _wire_size(binary, tmp_path, source)
    greeting = 18
    finished = 0
    for most in range(greeting, greeting + size + 1):
        root = tmp_path / f"cut-{most}"
        _old_tree(root)
        stream = await ProcessStream.start([str(binary), "serve", str(root)])
        link = await AgentLink.open(CutStream(stream, most), "box/main")
        try:
            await link.apply(batch, source)
            finished += 1
        except LinkLostError:
            pass
        await link.close()
        for file in (path for path in root.rglob("*") if path.is_file() and not path.is_symlink()):
            name = str(file.relative_to(root))
            assert file.read_bytes() in may.get(name, ()), f"{name} after {most} bytes"
        if most % 16 == 0 or most >= greeting + size - 2:
            async with agent_link(binary, root) as again:
                await again.apply(batch, source)
                assert set(await again.tree([""])) == {"d", "d/b", "n", "n/c", "l"}
    assert finished == 1


class _Killing(Folder):
    """Contents that kill the agent when the second file is asked for, once something is staged."""

    def __init__(self, source: Folder, pid: int, there: Path) -> None:
        super().__init__(source.root)
        self._pid = pid
        self._there = there

    def file(self, place: str) -> Path:
        if place == "other":
            ends = time.monotonic() + 60
            while not list(self._there.iterdir()):
                assert time.monotonic() < ends
            os.kill(self._pid, signal.SIGKILL)
            return super().file("big")
        return super().file(place)


async def test_an_agent_that_is_killed_leaves_nothing_for_long(
    binary: Path, tmp_path: Path
) -> None:
    source = Folder(tmp_path / "source")
    root = tmp_path / "root"
    root.mkdir()
    put = source.write("big", os.urandom(5 << 20))
    stream = await ProcessStream.start([str(binary), "serve", str(root)])
    link = await AgentLink.open(stream, "box/main")
    killing = _Killing(source, stream.pid, root)
    with pytest.raises(LinkLostError):
        await link.apply(Batch((put, steps.Put("other", 0o644, "", put.size))), killing)
    assert [one.name for one in root.iterdir()] != []
    with pytest.raises(LinkLostError, match="box/main"):
        await link.tree([""])
    await link.close()
    async with agent_link(binary, root) as again:
        assert list(root.iterdir()) == []
        await again.apply(Batch((put,)), source)
        assert (await again.tree([""])).entries["big"].digest == put.digest
