"""What the way back needs, kept on disk: one file per session, whole or absent.

A record is written before anything in the cluster is touched, and removed when all is put back. It
holds a pod template, so that nobody else may read it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kindling.errors import StoreError, UsageError
from kindling.graph.spec import ObjectRef
from kindling.sync.template.restore import Recorded
from kindling.sync.workload.liveness import Holder

__all__ = ["Kept", "Record", "Records", "check_name"]

_VERSION = 1
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,198}[a-z0-9])?")
_LARGEST = 16 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """A session on a workload, and all that is needed to end it.

    `cluster` is the cluster's uid, and `context` how it was reached. `patched`: the session needs
    the pod template otherwise than it was; else it only puts files into the pods, of which
    `touched` are the uids.
    """

    recorded: Recorded
    cluster: str
    context: str
    holder: Holder
    patched: bool
    touched: tuple[str, ...] = ()
    owners: tuple[Any, ...] = ()
    """`managedFields` of the workload as they were: who owns which field comes back, too."""
    stays: bool = False
    """The session is over, and what it brought was meant to stay (`--once`). The record is what
    `kindling sync --restore` and the next session need to put that back, too."""

    @property
    def session(self) -> str:
        """The session's name."""
        return self.recorded.session.name

    @property
    def ref(self) -> ObjectRef:
        kept = self.recorded
        return ObjectRef("apps/v1", kept.kind, kept.name, kept.namespace)

    def to_json(self) -> str:
        told = {
            "version": _VERSION,
            "recorded": json.loads(self.recorded.to_json()),
            "cluster": self.cluster,
            "context": self.context,
            "holder": asdict(self.holder),
            "patched": self.patched,
            "touched": self.touched,
            "owners": self.owners,
            **({"stays": True} if self.stays else {}),
        }
        return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Raises ValueError when the text is no record."""
        try:
            told = json.loads(text)
            if told["version"] != _VERSION:
                raise ValueError(f"it is of version {told['version']}, and this is {_VERSION}")
            record = cls(
                Recorded.from_json(json.dumps(told["recorded"])),
                str(told["cluster"]),
                str(told["context"]),
                Holder(**told["holder"]),
                bool(told["patched"]),
                tuple(map(str, told["touched"])),
                tuple(told["owners"]),
                bool(told.get("stays", False)),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("it is no record of a session") from error
        if not _NAME.fullmatch(record.session):
            raise ValueError("its session has a name that none has")
        return record


@dataclass(frozen=True, slots=True)
class Kept:
    """What lies in a folder: `records`, and in words what is none (`problems`)."""

    records: tuple[Record, ...]
    problems: tuple[str, ...] = ()


class Records:
    """The records of one project, or of one user, in `folder`. Every write is on disk when the
    call returns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, record: Record) -> None:
        """Write a record, in the place of the session's older one.

        Raises:
            StoreError: The disk refuses.
        """
        check_name(record.session)
        path = self._path(record.session)
        scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(file, "wb") as target:
                    target.write(record.to_json().encode())
                    target.flush()
                    os.fsync(target.fileno())
                scratch.replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    scratch.unlink()
                raise
            self._settle()
        except OSError as error:
            raise StoreError(
                f"The record of a sync session cannot be written to {path}: {error.strerror}",
                hint="Make the folder writable, or free space on its disk. Nothing was changed.",
            ) from error

    def get(self, session: str) -> Record | None:
        """The record of a session; None when there is none that can be read."""
        if not _NAME.fullmatch(session):
            return None
        record, _ = self._read(self._path(session))
        return record

    def all(self) -> Kept:
        """Every record, the oldest session first. What cannot be read is told of and left alone.

        Raises:
            StoreError: The folder cannot be read.
        """
        try:
            paths = sorted(self.folder.glob("[!.]*.json"))
        except OSError as error:
            raise StoreError(f"{self.folder} cannot be read: {error.strerror}") from error
        found: list[Record] = []
        problems: list[str] = []
        for path in paths:
            record, problem = self._read(path)
            if record is not None:
                found.append(record)
            elif problem:
                problems.append(problem)
        found.sort(key=lambda one: one.recorded.session.when)
        return Kept(tuple(found), tuple(problems))

    def forget(self, session: str) -> None:
        """The session is over, and all is put back. It need not have a record.

        Raises:
            StoreError: The disk refuses.
        """
        check_name(session)
        try:
            self._path(session).unlink(missing_ok=True)
            if self.folder.is_dir():
                self._settle()
        except OSError as error:
            raise StoreError(
                f"The record {self._path(session)} cannot be removed: {error.strerror}",
                hint="Remove it by hand: what it tells of is put back already.",
            ) from error

    def _path(self, session: str) -> Path:
        return self.folder / f"{session}.json"

    def _read(self, path: Path) -> tuple[Record | None, str]:
        """The record, or in words why there is none; neither where nothing lies there."""
        try:
            if path.stat().st_size > _LARGEST:
                return None, f"{path} is no record of a session: it is too large"
            record = Record.from_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None, ""
        except OSError as error:
            return None, f"{path} cannot be read: {error.strerror}"
        except ValueError as error:
            return None, f"{path} is no record of a session: {error}"
        if f"{record.session}.json" != path.name:
            return None, f"{path} is the record of another session, `{record.session}`"
        return record, ""

    def _settle(self) -> None:
        """Let the folder's entries be on disk, too."""
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def check_name(session: str) -> None:
    """Refuse a session's name that could not be a part of a file's and of a ConfigMap's.

    Raises:
        UsageError: It is none.
    """
    if not _NAME.fullmatch(session):
        raise UsageError(
            f"`{session}` cannot be the name of a session",
            hint="It has lower-case letters, digits and `-` alone.",
        )
