"""The real agent as a child process, spoken to in frames."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest

from kindling.sync.agent.binary import SOURCE
from kindling.sync.agent.frames import (
    KEEP_TIME,
    Commit,
    Committed,
    Data,
    Entries,
    Entry,
    Frame,
    Hello,
    Put,
    PutEnd,
    Refused,
    Tree,
    TreeEnd,
    Welcome,
)
from kindling.sync.agent.protocol import CHUNK, Decoder, digest, encode

LIMIT = 60.0
"""No answer takes so long on any machine: an agent that is silent for it hangs."""

_Frame = TypeVar("_Frame", bound=Frame)


def sanitized(folder: Path) -> Path:
    """The agent built so that it ends when it reads or writes where it must not, or does what C
    does not define. All tests of the agent run with it under `KINDLING_TEST_AGENT=checking`."""
    made = folder / "kindling-agent-sanitized"
    done = subprocess.run(
        [
            "cc",
            *("-std=gnu11", "-O1", "-g", "-DHOSTED", "-fno-strict-aliasing"),
            *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
            *("-o", str(made), "agent.c"),
        ],
        cwd=SOURCE,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"this compiler has no sanitizers: {done.stderr[-300:]}")
    return made


class Talk:
    """One agent. `send` does not wait; `until` reads."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.seen: list[Frame] = []
        self._decoder = Decoder()
        self._waiting: list[Frame] = []
        self._next = 0

    def ident(self) -> int:
        self._next += 1
        return self._next

    def raw(self, content: bytes) -> None:
        """Write, and read what comes meanwhile, or both sides might wait for each other."""
        assert self.process.stdin is not None
        descriptor = self.process.stdin.fileno()
        os.set_blocking(descriptor, False)
        view = memoryview(content)
        while view:
            out = self.output()
            readable, writable, _ = select.select([out], [descriptor], [], LIMIT)
            assert readable or writable, "the agent neither reads nor writes"
            if readable:
                self._read()
            if writable:
                with suppress(BlockingIOError):
                    view = view[os.write(descriptor, view) :]

    def output(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def send(self, *frames: Frame) -> None:
        self.raw(b"".join(map(encode, frames)))

    def _read(self) -> None:
        piece = os.read(self.output(), 1 << 16)
        assert piece, "the agent ended"
        self._waiting += self._decoder.feed(piece)

    def frame(self) -> Frame:
        """The next frame."""
        while not self._waiting:
            assert select.select([self.output()], [], [], LIMIT)[0], "the agent is silent"
            self._read()
        frame = self._waiting.pop(0)
        self.seen.append(frame)
        return frame

    def until(self, kind: type[_Frame]) -> _Frame:
        """The next frame of this kind; what comes before it is kept in `seen`."""
        while True:
            frame = self.frame()
            if isinstance(frame, kind):
                return frame

    def hello(self) -> Welcome:
        self.send(Hello(self.ident()))
        return self.until(Welcome)

    def put(self, path: bytes, content: bytes, mode: int = 0o644, mtime: int = KEEP_TIME) -> int:
        ident = self.ident()
        self.send(Put(ident, path, mode, mtime, len(content)))
        for at in range(0, len(content), CHUNK):
            self.send(Data(ident, content[at : at + CHUNK]))
        self.send(PutEnd(ident, digest(content)))
        return ident

    def commit(self, *, lenient: bool = False) -> tuple[Committed, list[Refused]]:
        """How the batch ended, and what was refused of it."""
        before = len(self.seen)
        self.send(Commit(self.ident(), lenient))
        done = self.until(Committed)
        return done, [frame for frame in self.seen[before:] if isinstance(frame, Refused)]

    def apply(self, *frames: Frame) -> list[Refused]:
        """Send a batch and commit it."""
        self.send(*frames)
        return self.commit()[1]

    def tree(
        self,
        *subtrees: bytes,
        skip: tuple[bytes, ...] = (),
        digests: bool = True,
        one_level: bool = False,
    ) -> dict[bytes, Entry]:
        self.send(Tree(self.ident(), subtrees or (b"",), skip, digests, one_level))
        found: dict[bytes, Entry] = {}
        count = 0
        while not isinstance(frame := self.frame(), TreeEnd):
            assert isinstance(frame, Entries)
            count += len(frame.entries)
            found |= {entry.path: entry for entry in frame.entries}
        assert frame.count == count
        return found

    def end(self) -> tuple[int, bytes]:
        """Close its input; its exit code and what it said on standard error."""
        process = self.process
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.close()
        said = process.stderr.read()
        return process.wait(LIMIT), said


@contextmanager
def serving(
    binary: Path, root: Path | bytes | str, *options: str, after: tuple[str, ...] = ()
) -> Iterator[Talk]:
    """An agent that serves `root`, with the words `after` behind it; it is gone afterwards."""
    process = subprocess.Popen(
        [
            os.fsencode(binary),
            b"serve",
            *map(os.fsencode, options),
            os.fsencode(root),
            *map(os.fsencode, after),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    try:
        yield Talk(process)
    finally:
        process.kill()
        process.wait(LIMIT)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
