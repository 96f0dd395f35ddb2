"""A batch leaves the tree that the same changes leave when they are made one by one."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kindling.sync.agent.frames import (
    KEEP_TIME,
    Chmod,
    Delete,
    Frame,
    Mkdir,
    Put,
    Rename,
    Rmdir,
    Rmtree,
    Symlink,
)
from tests.sync.agent.talk import serving

SOURCE = Path(__file__).resolve().parents[3] / "kindling/sync/agent/source/sys.h"
NUMBERS = {
    "x86_64": (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), 1),
    "aarch64": (Path("/usr/include/asm-generic/unistd.h"), 2),
}
LONG_NAMES = {"pread": "pread64", "fork": "clone", "fstatat": "newfstatat"}

PATHS = st.sampled_from([b"a", b"b", b"a/b", b"b/a", b"a/b/c", b"b/a/c", b"a/link/x"])
MODES = st.sampled_from([0o755, 0o700, 0o777])
CHANGES = st.one_of(
    # The size says what the content is.
    st.builds(Put, st.just(0), PATHS, MODES, st.just(KEEP_TIME), st.integers(0, 9)),
    st.builds(Delete, st.just(0), PATHS),
    st.builds(Rename, st.just(0), PATHS, PATHS),
    st.builds(Mkdir, st.just(0), PATHS, MODES),
    st.builds(Rmtree, st.just(0), PATHS),
    st.builds(Rmdir, st.just(0), PATHS, st.booleans()),
    st.builds(Symlink, st.just(0), PATHS, st.sampled_from([b"a", b"../b", b"none"])),
    st.builds(Chmod, st.just(0), PATHS, MODES),
)

AGAIN = st.builds(
    # What a switch of branches does: a folder goes, or is renamed, and comes anew.
    lambda away, path, size: [
        away,
        Mkdir(0, b"a", 0o755),
        Put(0, b"a/" + path, 0o644, KEEP_TIME, size),
        Put(0, b"b/" + path, 0o644, KEEP_TIME, size),
    ],
    st.sampled_from(
        [Rmtree(0, b"a"), Delete(0, b"a"), Rename(0, b"a", b"b"), Rmdir(0, b"a", True)]
    ),
    st.sampled_from([b"b", b"link"]),
    st.integers(0, 9),
)
BATCH = st.lists(
    st.one_of(CHANGES.map(lambda change: [change]), AGAIN), min_size=1, max_size=8
).map(lambda groups: [change for group in groups for change in group])


def _make(root: Path, change: Frame) -> bool:
    """Make one change with Python's own means. False when it cannot be made."""
    assert isinstance(change, Put | Delete | Rename | Mkdir | Rmtree | Rmdir | Symlink | Chmod)
    path = root / os.fsdecode(change.path)
    ways = [change.path, change.to] if isinstance(change, Rename) else [change.path]
    for way in ways:
        parts = os.fsdecode(way).split("/")[:-1]
        for depth in range(len(parts)):
            if root.joinpath(*parts[: depth + 1]).is_symlink():
                return False
    scratch = root.parent / "scratch"
    try:
        match change:
            case Put(size=size, mode=mode):
                scratch.write_bytes(b"x" * size)
                scratch.chmod(mode)
                os.replace(scratch, path)
            case Rmdir(if_empty=False):
                path.rmdir()
            case Rmdir():
                with suppress(FileNotFoundError):
                    if path.is_symlink() or not path.is_dir() or not os.listdir(path):
                        path.rmdir()
            case Symlink(target=target):
                os.symlink(target, os.fsencode(scratch))
                os.replace(scratch, path)
            case Delete():
                os.unlink(path)
            case Rename(to=to):
                os.rename(path, root / os.fsdecode(to))
            case Mkdir(mode=mode):
                if path.is_symlink() or not path.is_dir():
                    path.mkdir()
                path.chmod(mode)
            case Rmtree():
                if path.is_symlink():
                    return False
                shutil.rmtree(path)
            case Chmod(mode=mode):
                if path.is_symlink():
                    return False
                path.chmod(mode)
    except OSError:
        scratch.unlink(missing_ok=True)
        return False
    return True


def _told(root: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(folder) / name
            mode = path.lstat().st_mode
            content = os.readlink(path) if path.is_symlink() else f"{mode:o}"
            if path.is_file() and not path.is_symlink():
                content += f" {path.read_text()}"
            found[str(path.relative_to(root))] = content
    return found


@settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(BATCH, min_size=1, max_size=3))
def test_a_batch_is_its_changes_in_their_order(
    binary: Path, tmp_path: Path, batches: list[list[Frame]]
) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        ours, theirs = Path(folder) / "ours", Path(folder) / "theirs"
        ours.mkdir()
        theirs.mkdir()
        with serving(binary, theirs) as talk:
            talk.hello()
            for batch in batches:
                made = [_make(ours, change) for change in batch]
                idents: list[int] = []
                for change in batch:
                    if isinstance(change, Put):
                        idents.append(talk.put(change.path, b"x" * change.size, change.mode))
                    else:
                        ident = talk.ident()
                        idents.append(ident)
                        talk.send(replace(change, id=ident))
                done, refused = talk.commit(lenient=True)
                failed = {refusal.id for refusal in refused}
                assert [ident not in failed for ident in idents] == made
                assert done.done == sum(made)
                assert _told(theirs) == _told(ours)


@pytest.mark.parametrize("architecture", NUMBERS)
def test_system_calls_have_the_numbers_of_the_kernels_headers(architecture: str) -> None:
    header, column = NUMBERS[architecture]
    if not header.is_file():
        pytest.skip(f"{header} is not here")
    known = dict(
        re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)$", header.read_text(), re.MULTILINE)
    )
    calls = re.findall(r"#define (\w+)\([^)]*\) sys\d\(NUMBER\((\d+), (\d+)\)", SOURCE.read_text())
    assert len(calls) > 40
    for call in calls:
        name = LONG_NAMES.get(call[0], call[0])
        if name == "newfstatat" and name not in known:
            name = "fstatat"
        if name in known:
            assert (call[0], call[column]) == (call[0], known[name])
