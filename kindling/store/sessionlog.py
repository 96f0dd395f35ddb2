"""The log lines of sessions as JSON lines, for `kindling logs`.

They lie in `.kindling/logs/` as numbered files; the highest number is being written. A full file is
never renamed but followed by a new one, so that a reader in another process needs only to count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kindling.errors import StoreError
from kindling.graph.node import NodeId
from kindling.store.folder import guarded, prepare
from kindling.store.lines import LineFile, parse_line, read_lines

__all__ = ["LogFilter", "LogRecord", "SessionLog", "follow_log", "read_log"]

_FOLDER = "logs"


class Sleeper(Protocol):
    """The part of a clock that following needs."""

    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One line of a node's output. `at` is in seconds since the epoch."""

    at: float
    node: NodeId
    resource: str
    stream: str
    text: str
    session: str = ""


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which lines: of these nodes or resources (of all when empty), of this session (of any when
    empty), from `since` on, and of those that are there already the last `tail` (None: all)."""

    names: Collection[str] = ()
    session: str = ""
    since: float = 0.0
    tail: int | None = None

    def accepts(self, line: LogRecord) -> bool:
        """Does a line match all but `tail`?"""
        if self.names and line.node not in self.names and line.resource not in self.names:
            return False
        if self.session and line.session != self.session:
            return False
        return line.at >= self.since


_ALL = LogFilter()


class SessionLog:
    """Appends log lines to `.kindling/logs/` (0600). At most `keep` files of `max_bytes` each.

    Raises:
        StoreError: The folder cannot be written.
    """

    def __init__(
        self, state_dir: Path, session: str, *, max_bytes: int = 16 * 2**20, keep: int = 4
    ) -> None:
        self._folder = prepare(state_dir, _FOLDER)
        self._session = session
        self._max_bytes = max_bytes
        self._keep = keep
        self._number = max(_numbers(self._folder), default=1)
        self._file = LineFile(_path(self._folder, self._number))
        self.failure: StoreError | None = None
        """Why the last line could not be written; None when it could."""

    def append(self, at: float, node: NodeId, resource: str, stream: str, text: str) -> None:
        """Write one line, whole. Never raises: a full disk must not end what is being logged.

        A line that cannot be written is lost, and `failure` says why until one can be again.
        """
        line = {
            "at": at,
            "session": self._session,
            "node": node,
            "resource": resource,
            "stream": stream,
            "text": text,
        }
        try:
            if self._file.size >= self._max_bytes:
                self._rotate()
            self._file.append(line)
        except StoreError as error:
            self.failure = error
        else:
            self.failure = None

    def close(self) -> None:
        """Close the file. Closing twice is fine."""
        self._file.close()

    def _rotate(self) -> None:
        following = LineFile(_path(self._folder, self._number + 1))
        self._file.close()
        self._file = following
        self._number += 1
        with guarded(self._folder):
            for number in _numbers(self._folder):
                if number <= self._number - self._keep:
                    _path(self._folder, number).unlink(missing_ok=True)


def read_log(state_dir: Path, wanted: LogFilter = _ALL) -> Iterator[LogRecord]:
    """The kept lines that match, oldest first.

    Raises:
        StoreError: They cannot be read.
    """
    matching = _matching(state_dir / _FOLDER, wanted)
    if wanted.tail is None:
        return matching
    return iter(deque(matching, maxlen=wanted.tail))


def _matching(folder: Path, wanted: LogFilter) -> Iterator[LogRecord]:
    for number in _numbers(folder):
        for text in read_lines(_path(folder, number)):
            line = _record(text)
            if line is not None and wanted.accepts(line):
                yield line


async def follow_log(
    state_dir: Path, clock: Sleeper, wanted: LogFilter = _ALL, *, every: float = 0.1
) -> AsyncIterator[LogRecord]:
    """The lines that match, then every new one as it is written, until the caller stops.

    Looks for new ones every `every` seconds. Lines of files that were dropped before they could be
    read are missing.
    """
    folder = state_dir / _FOLDER
    there: deque[LogRecord] = deque(maxlen=wanted.tail)
    reader = _Reader(folder)
    there.extend(line for line in reader.more() if wanted.accepts(line))
    for line in there:
        yield line
    while True:
        fresh = [line for line in reader.more() if wanted.accepts(line)]
        for line in fresh:
            yield line
        if not fresh:
            await clock.sleep(every)


class _Reader:
    """Reads on where it stopped, across files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = min(_numbers(folder), default=0)
        self._offset = 0

    def more(self) -> list[LogRecord]:
        found: list[LogRecord] = []
        while True:
            later = [number for number in _numbers(self._folder) if number > self._number]
            # Listed first: a file that had a successor by then gets no more lines.
            found.extend(self._rest())
            if not later:
                return found
            self._number, self._offset = min(later), 0

    def _rest(self) -> Iterator[LogRecord]:
        path = _path(self._folder, self._number)
        with guarded(path):
            try:
                with path.open("rb") as file:
                    file.seek(self._offset)
                    data = file.read()
            except FileNotFoundError:
                return
        whole = data.rfind(b"\n") + 1
        self._offset += whole
        for text in data[:whole].splitlines():
            if (line := _record(text)) is not None:
                yield line


def _record(text: bytes) -> LogRecord | None:
    value = parse_line(text)
    if value is None:
        return None
    return LogRecord(
        at=value["at"],
        node=NodeId(value["node"]),
        resource=value["resource"],
        stream=value["stream"],
        text=value["text"],
        session=value["session"],
    )


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:06}.jsonl"


def _numbers(folder: Path) -> list[int]:
    """The numbers of the files there are, in order."""
    with guarded(folder):
        if not folder.is_dir():
            return []
        return sorted(int(path.stem) for path in folder.glob("*.jsonl") if path.stem.isdecimal())
