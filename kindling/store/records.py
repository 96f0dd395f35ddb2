"""What is remembered of a node, as values."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from kindling.graph.node import NodeId
from kindling.graph.outcome import Failure, Output, Verdict

__all__ = ["Entries", "FailureRecord", "Record"]


class Entries:
    """The lines of a manifest (input name to digest), kept compressed until someone reads them.

    Deciding that nothing changed needs the key alone; only `why` and a changed node read these, so
    loading 10,000 records must not decode 10,000 manifests. Two are equal when their lines are.
    """

    __slots__ = ("_lines", "_packed")

    def __init__(self, lines: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._lines: Mapping[str, str] | None = MappingProxyType(dict(lines))
        self._packed: bytes | None = None

    @classmethod
    def unpack(cls, packed: bytes) -> Entries:
        """Entries of what `pack` gave. Decoded when first read."""
        entries = cls.__new__(cls)
        entries._lines = None
        entries._packed = packed
        return entries

    def pack(self) -> bytes:
        """A compact form: empty for no lines, else compressed JSON."""
        if self._packed is None:
            lines = dict(self.lines)
            text = json.dumps(lines, ensure_ascii=False, separators=(",", ":"))
            self._packed = zlib.compress(text.encode("utf-8", "surrogatepass"), 1) if lines else b""
        return self._packed

    @property
    def lines(self) -> Mapping[str, str]:
        """Input name to digest."""
        if self._lines is None:
            packed = self._packed or b""
            text = zlib.decompress(packed).decode("utf-8", "surrogatepass") if packed else "{}"
            self._lines = MappingProxyType(json.loads(text))
        return self._lines

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entries) and self.lines == other.lines

    def __hash__(self) -> int:
        return hash(frozenset(self.lines.items()))

    def __repr__(self) -> str:
        return f"Entries({dict(self.lines)!r})"


@dataclass(frozen=True, slots=True)
class Record:
    """The last success of a node. A failure never becomes one.

    `target` is the identity of the cluster it acted upon, empty for none. `manifest` holds the
    inputs as they were before the run, `previous` those of the success before, so that `why` can
    explain a run after it happened. `seconds` is how long the run took, 0 where nothing ran.
    `finished_at` is in seconds since the epoch.
    """

    node: NodeId
    key: str
    output: Output
    target: str = ""
    manifest: Entries = field(default_factory=Entries)
    previous: Entries = field(default_factory=Entries)
    verdict: Verdict = Verdict.RAN
    seconds: float = 0.0
    finished_at: float = 0.0
    session: str = ""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FailureRecord:
    """The last failure of a node since its last success."""

    node: NodeId
    failure: Failure
    at: float = 0.0
    seconds: float = 0.0
    session: str = ""
