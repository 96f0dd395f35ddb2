"""The agent of the other architecture is the same program: its own numbers of system calls, its own
structures. `KINDLING_TEST_AGENT=emulated` tries it with all tests of the agent."""

from __future__ import annotations

import errno
import os
import platform
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from kindling.sync.agent.binary import ARCHITECTURES, machine
from kindling.sync.agent.frames import (
    Arch,
    Chmod,
    Data,
    Exited,
    Kind,
    Mkdir,
    Output,
    ProcessEntries,
    Processes,
    ProcessesEnd,
    Put,
    PutEnd,
    Read,
    Refused,
    Rename,
    Resolve,
    Rmdir,
    Rmtree,
    Run,
    Symlink,
    Text,
)
from kindling.sync.agent.protocol import digest
from tests.sync.agent.talk import LIMIT, Talk, serving

TIME = 1_600_000_000_123_456_789


@pytest.fixture
def other(emulated: Path, root: Path) -> Iterator[Talk]:
    with serving(emulated, root) as talk:
        yield talk


def test_it_says_what_it_runs_on(other: Talk) -> None:
    wanted = Arch.AARCH64 if platform.machine() == "x86_64" else Arch.X86_64
    welcome = other.hello()
    assert (welcome.arch, welcome.alone, welcome.uid) == (wanted, True, os.getuid())


def test_files_folders_and_links_arrive_and_are_told(other: Talk, root: Path) -> None:
    other.hello()
    content = os.urandom(700_000)
    text = b"some text again and again\n" * 9000
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = deflater.compress(text) + deflater.flush()
    (root / "old").mkdir()
    other.send(Mkdir(500, b"a/b", 0o750, parents=True))
    other.put(b"a/b/file", content, 0o4751, TIME)
    other.send(
        Put(600, b"a/text", 0o644, TIME, len(text)),
        Data(600, packed, True),
        PutEnd(600, digest(text)),
        Symlink(501, b"link", b"/a/b"),
        Rename(502, b"a/text", b"text"),
        Chmod(503, b"text", 0o600),
        Rmdir(504, b"old"),
    )
    done, refused = other.commit()
    assert (done.done, refused) == (7, [])
    assert (root / "a/b/file").read_bytes() == content
    assert (root / "text").read_bytes() == text
    found = other.tree()
    assert set(found) == {b"a", b"a/b", b"a/b/file", b"link", b"text"}
    file = found[b"a/b/file"]
    assert (file.kind, file.mode, file.size, file.mtime, file.digest) == (
        Kind.FILE,
        0o4751,
        len(content),
        TIME,
        digest(content),
    )
    assert (found[b"link"].kind, found[b"link"].target) == (Kind.LINK, b"/a/b")
    assert (found[b"a/b"].mode, found[b"text"].mode) == (0o750, 0o600)
    other.send(Resolve(700, b"link/file"), Read(701, b"link/file", 100, 50))
    assert other.until(Text).payload == b"a/b/file"
    assert other.until(Text).payload == content[100:150]
    other.send(Read(702, b"link/none"))
    assert other.until(Refused).errno == errno.ENOENT
    assert other.apply(Rmtree(800, b"a")) == []
    assert sorted(os.listdir(root)) == ["link", "text"]
    assert other.end() == (0, b"")


def test_commands_run_and_processes_are_told(other: Talk, root: Path) -> None:
    other.hello()
    other.send(Run(1, (b"sh", b"-c", b"pwd; exit 7")))
    assert other.until(Output).payload == os.fsencode(os.path.realpath(root)) + b"\n"
    assert other.until(Exited).code == 7
    other.send(Processes(2))
    found = set()
    while not isinstance(frame := other.frame(), ProcessesEnd):
        assert isinstance(frame, ProcessEntries)
        found |= {entry.pid for entry in frame.entries}
    assert {os.getpid(), os.getppid()} <= found


def test_it_supervises_and_seeds(emulated: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [emulated, "supervise", "--", sys.executable, "-c", "import sys; sys.exit(9)"],
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 9
    (tmp_path / "from/deep").mkdir(parents=True)
    (tmp_path / "from/deep/file").write_text("x")
    (tmp_path / "to").mkdir()
    subprocess.run([emulated, "seed", tmp_path / "from", tmp_path / "to"], check=True)
    assert (tmp_path / "to/deep/file").read_text() == "x"


def test_there_is_one_other_architecture() -> None:
    assert len({*ARCHITECTURES} - {machine()}) == 1
