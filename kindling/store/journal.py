"""The journal: what happened in each session, line by line, and what must be undone.

Each session has one file of JSON lines, `.kindling/journal/<session>.jsonl`, for its owner's eyes
alone. Before the world is touched in a way that must be put back, an intent is written and synced;
once that is over, or was undone, it is settled. What a killed session left open is found by
`open_intents`.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from kindling.errors import StoreError
from kindling.store.folder import guarded, prepare
from kindling.store.lines import LineFile, parse_line, read_lines

__all__ = ["Entry", "Intent", "Journal", "open_intents", "read_journal", "sessions"]

_FOLDER = "journal"
_SUFFIX = ".jsonl"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")

_INTENT = "intent"
_SETTLED = "settled"
# `kind` comes first in every line, so that finding intents needs no parsing of all the others.
_STARTS = (b'{"kind":"intent"', b'{"kind":"settled"')


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: when (seconds since the epoch), what kind, and its JSON."""

    at: float
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Intent:
    """Something that is about to be done to the world, with what is needed to undo it."""

    session: str
    id: str
    at: float
    kind: str
    data: Mapping[str, Any]


class Journal:
    """The open journal of one session. Safe to use from several threads."""

    def __init__(self, session: str, path: Path, file: LineFile) -> None:
        self.session = session
        self.path = path
        self._file = file
        self._lock = threading.Lock()
        self._intents = sum(1 for line in read_lines(path) if line.startswith(_STARTS[0]))

    @classmethod
    def open(cls, state_dir: Path, session: str, *, keep: int = 20) -> Journal:
        """Begin (or go on with) the journal of `session`; drops all but the newest `keep` files.

        A file that still holds open intents is never dropped.

        Raises:
            StoreError: It cannot be written.
        """
        if not _NAME.fullmatch(session):
            raise StoreError(f"`{session}` is no name for a session")
        folder = prepare(state_dir, _FOLDER)
        path = folder / f"{session}{_SUFFIX}"
        journal = cls(session, path, LineFile(path))
        with guarded(folder):
            _sync_folder(folder)
            _drop_old(state_dir, folder, session, keep)
        return journal

    def append(self, kind: str, data: Mapping[str, Any], *, at: float) -> None:
        """Write one line, whole. Not synced: a power failure may cost the last few.

        Raises:
            StoreError: It could not be written.
        """
        if kind in {_INTENT, _SETTLED}:
            raise ValueError(kind)
        self._file.append({"kind": kind, "at": at, "data": dict(data)})

    def intend(self, kind: str, data: Mapping[str, Any], *, at: float) -> str:
        """Write down what is about to be done; returns once it is on the disk. The id settles it.

        Raises:
            StoreError: It could not be written, so it must not be done.
        """
        with self._lock:
            self._intents += 1
            id_ = f"{self.session}/{self._intents}"
        line = {"kind": _INTENT, "at": at, "id": id_, "what": kind, "data": dict(data)}
        self._file.append(line, sync=True)
        return id_

    def settle(self, id_: str, *, at: float, undone: bool = False) -> None:
        """Close an intent of this or an earlier session: nothing is left to undo for it.

        Raises:
            StoreError: It could not be written; the intent stays open.
        """
        self._file.append({"kind": _SETTLED, "at": at, "id": id_, "undone": undone}, sync=True)

    def close(self) -> None:
        """Close the file. Closing twice is fine."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def sessions(state_dir: Path) -> tuple[str, ...]:
    """The sessions that have a journal, the most recently written first."""
    return tuple(path.name.removesuffix(_SUFFIX) for path in _files(state_dir / _FOLDER))


def read_journal(state_dir: Path, session: str) -> Iterator[Entry]:
    """The lines of a session's journal, intents and their ends included. Torn lines are left out.

    Raises:
        StoreError: There is no such journal, or it cannot be read.
    """
    path = state_dir / _FOLDER / f"{session}{_SUFFIX}"
    if not _NAME.fullmatch(session) or not path.is_file():
        known = sessions(state_dir)
        raise StoreError(
            f"No journal of a session `{session}` is kept",
            details=[f"known: [{', '.join(known)}]"] if known else [],
        )
    return _entries(path)


def _entries(path: Path) -> Iterator[Entry]:
    for line in read_lines(path):
        value = parse_line(line)
        if value is None:
            continue
        kind, at = str(value.pop("kind")), float(value.pop("at"))
        data = value if kind in {_INTENT, _SETTLED} else value["data"]
        yield Entry(at, kind, data)


def open_intents(state_dir: Path) -> tuple[Intent, ...]:
    """What was begun and neither finished nor undone in any session, newest first.

    Undoing goes in this order: later things may stand on earlier ones.
    """
    found: dict[str, Intent] = {}
    settled: set[str] = set()
    for path in reversed(_files(state_dir / _FOLDER)):
        session = path.name.removesuffix(_SUFFIX)
        for line in read_lines(path):
            if not line.startswith(_STARTS) or (value := parse_line(line)) is None:
                continue
            if value["kind"] == _SETTLED:
                settled.add(value["id"])
            else:
                found[value["id"]] = Intent(
                    session, value["id"], value["at"], value["what"], value["data"]
                )
    still = [intent for id_, intent in found.items() if id_ not in settled]
    return tuple(reversed(still))


def _files(folder: Path) -> list[Path]:
    """Every journal, the most recently written first."""
    found: list[tuple[int, str, Path]] = []
    with guarded(folder):
        if folder.is_dir():
            for path in folder.glob(f"*{_SUFFIX}"):
                try:
                    found.append((path.stat().st_mtime_ns, path.name, path))
                except FileNotFoundError:
                    continue
    return [path for _, _, path in sorted(found, reverse=True)]


def _drop_old(state_dir: Path, folder: Path, session: str, keep: int) -> None:
    files = [path for path in _files(folder) if path.name != f"{session}{_SUFFIX}"]
    if len(files) < keep:
        return
    needed = {intent.session for intent in open_intents(state_dir)}
    for path in files[max(keep - 1, 0) :]:
        if path.name.removesuffix(_SUFFIX) not in needed:
            path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a new file's name last through a power failure, without which its content is lost
    too."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
