"""The story of a session as lines: what is worth saying, once, when it is worth saying.

Used by the plain face as its whole output and by the live view for what scrolls by above it.
Starts and holds are said only when they last, so that a run in which nothing happens is a handful
of lines. Time passes by `beat`, so that a test owns it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from kindling.engine.notices import (
    ChangesSeen,
    KindlingfileFailed,
    KindlingfileLoaded,
    Level,
    LogLine,
    Message,
    NodeChanged,
    NodeStatus,
    NodeView,
    Notice,
    SessionEnded,
    SessionStarted,
)
from kindling.graph.event import HoldReason
from kindling.graph.node import Kind, NodeId
from kindling.graph.outcome import Failure, Verdict
from kindling.report import words
from kindling.report.record import Record
from kindling.report.safetext import coloured, plain

__all__ = ["Line", "Narrator", "Tone", "failure_block", "log_prefix", "summary_lines"]

_START_AFTER = 1.0
_HOLD_AFTER = 5.0
_STILL_AFTER = 30.0
_TAIL_LINES = 12
_SILENT_WHEN_SETTLED_QUICKLY = frozenset({Kind.CLUSTER, Kind.REGISTRY, Kind.ROLLBACK})
_IN_THE_CLUSTER = frozenset({Kind.APPLY, Kind.SECRET, Kind.OPERATOR})
_QUOTING = frozenset({Kind.ROLLOUT, Kind.OPERATOR})


class Tone(Enum):
    """How a line is meant; a face decides whether and how that shows."""

    NORMAL = "normal"
    GOOD = "good"
    BAD = "bad"
    WARN = "warn"
    DIM = "dim"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `head` is the node's id or its log prefix, empty for lines that belong to no
    node.
    """

    text: str
    tone: Tone = Tone.NORMAL
    head: str = ""

    def __str__(self) -> str:
        return self.head + self.text


class Narrator:
    """Turns notices into lines.

    `waits`: say also what starts and what is held for long (the live view shows that by itself).
    `colours`: log lines keep their own colours.
    """

    def __init__(self, record: Record, *, waits: bool = True, colours: bool = False) -> None:
        self._record = record
        self._waits = waits
        self._clean = coloured if colours else plain
        self._status: dict[NodeId, NodeStatus] = {}
        self._unannounced: dict[NodeId, NodeView] = {}
        self._announced: set[NodeId] = set()
        self._running: dict[NodeId, tuple[NodeView, float]] = {}
        """Running nodes, and when to say next that they still run."""
        self._held: dict[NodeId, NodeView] = {}
        self._held_said: dict[NodeId, set[HoldReason]] = {}
        """What was said about nodes that have not run since."""
        self._failure_said: dict[NodeId, tuple[int, Failure | None]] = {}
        self.quiet_until = math.inf
        """Before this moment `beat` has nothing to say. Kept so that a notice costs no walk over
        all nodes; it may be too early, never too late."""

    def take(self, notice: Notice) -> list[Line]:
        """The lines that this notice is worth. The record must have taken it already."""
        match notice:
            case LogLine():
                return [*self._announce(notice.node), self._log(notice)]
            case NodeChanged(view=view):
                return self._changed(view)
            case SessionStarted():
                target = notice.target and f" on {notice.target[:1].lower()}{notice.target[1:]}"
                return [Line(f"kindling {notice.command}: {notice.kindlingfile}{target}")]
            case KindlingfileLoaded():
                return self._loaded(notice)
            case KindlingfileFailed(text=text, first=first):
                lines = [Line(line, Tone.BAD) for line in text.splitlines()]
                kept = (
                    [] if first else [Line("what runs stays as it was before this edit", Tone.WARN)]
                )
                return [*lines, *kept]
            case ChangesSeen():
                said = words.changed_files(notice.paths, notice.total, notice.nodes)
                return [Line(said)] if notice.nodes else []
            case Message(level=level, text=text):
                tones = {Level.ERROR: Tone.BAD, Level.WARNING: Tone.WARN, Level.INFO: Tone.NORMAL}
                prefix = {Level.ERROR: "error: ", Level.WARNING: "warning: ", Level.INFO: ""}[level]
                first_line, *rest = text.splitlines() or [""]
                return [
                    Line(prefix + plain(first_line), tones[level]),
                    *(Line(plain(line), tones[level]) for line in rest),
                ]
            case SessionEnded():
                return summary_lines(self._record, notice)

    def next_beat(self) -> float | None:
        """When `beat` has something to say at the earliest; None while it has not."""
        if not self._waits:
            return None
        moments = [view.since + _START_AFTER for view in self._unannounced.values()]
        moments += [due for view, due in self._running.values() if view.id not in self._unannounced]
        moments += [
            view.since + _HOLD_AFTER for view in self._held.values() if not self._is_said(view)
        ]
        return min(moments, default=None)

    def beat(self, now: float) -> list[Line]:
        """Time has passed: starts, runs and holds that have lasted long enough to be said."""
        if not self._waits or now < self.quiet_until:
            return []
        lines: list[Line] = []
        for id_, view in list(self._unannounced.items()):
            if now - view.since >= _START_AFTER:
                lines += self._announce(id_)
        for id_, (view, due) in list(self._running.items()):
            if now >= due:
                lasted = now - view.since
                self._running[id_] = (view, now + max(_STILL_AFTER, lasted))
                text = f"  still {words.activity(view)} after {words.duration(lasted)}"
                lines.append(Line(text, Tone.DIM, id_))
        lines += self._say_holds(now)
        next_beat = self.next_beat()
        self.quiet_until = math.inf if next_beat is None else next_beat
        return lines

    def _say_holds(self, now: float) -> list[Line]:
        due = {
            id_: view
            for id_, view in self._held.items()
            if not self._is_said(view) and now - view.since >= _HOLD_AFTER
        }
        alike: dict[str, list[NodeId]] = {}
        for id_, view in due.items():
            if view.hold is None:
                continue
            self._held_said.setdefault(id_, set()).add(view.hold.reason)
            if self._waits_for_the_held(view):
                continue
            alike.setdefault(words.hold_phrase(view.hold), []).append(id_)
        return [
            Line(f"  {phrase}", Tone.DIM, ids[0])
            if len(ids) == 1
            else Line(f"{words.listing(ids)}: {phrase}", Tone.DIM)
            for phrase, ids in alike.items()
        ]

    def _is_said(self, view: NodeView) -> bool:
        return view.hold is None or view.hold.reason in self._held_said.get(view.id, ())

    def _waits_for_the_held(self, view: NodeView) -> bool:
        """It only waits for nodes that wait too: the head of a queue is said, not its tail."""
        hold = view.hold
        if hold is None or hold.reason not in (HoldReason.DEPENDENCY, HoldReason.DEPENDENCY_FAILED):
            return False
        return bool(hold.waiting_for) and all(
            self._status.get(id_) is NodeStatus.HELD for id_ in hold.waiting_for
        )

    def _loaded(self, notice: KindlingfileLoaded) -> list[Line]:
        ids = {view.id for view in notice.nodes}
        first = not self._status
        for gone in set(self._status) - ids:
            for table in (self._status, self._unannounced, self._running, self._held):
                table.pop(gone, None)
        for view in notice.nodes:
            self._follow(view)
        took = words.duration(notice.seconds)
        if first:
            resources = len({view.resource for view in notice.nodes if view.resource})
            size = words.counted(len(notice.nodes), "node")
            of = f" of {words.counted(resources, 'resource')}" if resources else ""
            return [Line(f"{size}{of} ({self._record.kindlingfile} read in {took})")]
        parts = [
            f"{what} {words.listing(nodes)}"
            for what, nodes in (
                ("added", notice.added),
                ("changed", notice.changed),
                ("removed", notice.removed),
            )
            if nodes
        ]
        return [
            Line(f"{self._record.kindlingfile} read in {took}: {'; '.join(parts) or 'no change'}")
        ]

    def _announce(self, node: NodeId) -> list[Line]:
        view = self._unannounced.pop(node, None)
        if view is None:
            return []
        self._announced.add(node)
        reasons = words.reasons_phrase(view.reasons)
        text = f"  {words.activity(view)}{f' ({reasons})' if reasons else ''}"
        return [Line(text, Tone.DIM, view.id)]

    def _log(self, notice: LogLine) -> Line:
        return Line(self._clean(notice.text), Tone.LOG, log_prefix(notice))

    def _changed(self, view: NodeView) -> list[Line]:
        before = self._status.get(view.id)
        announced = view.id in self._announced
        self._follow(view)
        if view.status is before and view.status is not NodeStatus.FAILED:
            return []
        match view.status:
            case NodeStatus.DONE if before is NodeStatus.UNREADY:
                # What an environment needs is never up at once.
                word = "ready" if view.kind is Kind.OPERATOR else "ready again"
                return [Line(f"  {word}", Tone.GOOD, view.id)]
            case NodeStatus.DONE if view.verdict is None:
                # Undone by `down`. Most kinds have nothing to undo; that is not worth a line.
                gone = before is NodeStatus.RUNNING and view.kind in _IN_THE_CLUSTER
                return [Line("  undone", Tone.GOOD, view.id)] if gone else []
            case NodeStatus.DONE:
                self._failure_said.pop(view.id, None)
                return self._settled(view, announced)
            case NodeStatus.FAILED:
                return self._failed(view)
            case NodeStatus.UNREADY:
                why = f": {view.failure.summary}" if view.failure else ""
                return [Line(f"  not ready{why}", Tone.WARN, view.id)]
            case _:
                return []

    def _follow(self, view: NodeView) -> None:
        """Keep the books of what runs and what is held."""
        id_ = view.id
        before = self._status.get(id_)
        self._status[id_] = view.status
        if view.status is NodeStatus.RUNNING:
            known, due = self._running.get(id_, (view, view.since + _STILL_AFTER))
            if before is not NodeStatus.RUNNING or known.attempt != view.attempt:
                self._announced.discard(id_)
                due = view.since + _STILL_AFTER
            self._running[id_] = (view, due)
            if id_ not in self._announced and view.doing != "checking":
                self._unannounced[id_] = view
                due = view.since + _START_AFTER
            self.quiet_until = min(self.quiet_until, due)
        else:
            self._running.pop(id_, None)
            self._unannounced.pop(id_, None)
        if view.status is NodeStatus.HELD and view.hold is not None:
            self._held[id_] = view
            self.quiet_until = min(self.quiet_until, view.since + _HOLD_AFTER)
        else:
            self._held.pop(id_, None)
            self._held_said.pop(id_, None)

    def _settled(self, view: NodeView, announced: bool) -> list[Line]:
        if view.verdict is Verdict.UNCHANGED:
            return []
        if view.kind in _SILENT_WHEN_SETTLED_QUICKLY and view.seconds < _START_AFTER:
            return []
        reasons = "" if announced else words.reasons_phrase(view.reasons)
        where = f" -> {words.listing(view.endpoints)}" if view.endpoints else ""
        because = f" ({reasons})" if reasons else ""
        return [Line(f"  {words.achievement(view)}{because}{where}", Tone.GOOD, view.id)]

    def _failed(self, view: NodeView) -> list[Line]:
        attempt, failure = self._failure_said.get(view.id, (-1, None))
        if (attempt, failure) == (view.attempt, view.failure):
            return []
        self._failure_said[view.id] = (view.attempt, view.failure)
        if failure is not None and failure == view.failure:
            return [Line(f"  failed again: {failure.summary}", Tone.BAD, view.id)]
        if view.verdict is Verdict.CANCELLED:
            return [Line(f"  {words.achievement(view)}", Tone.WARN, view.id)]
        return failure_block(view, self._record.tail(view.id, _TAIL_LINES))


def log_prefix(line: LogLine) -> str:
    """`image:api | `; for pods the container is named where it is called otherwise than the
    resource.
    """
    if line.stream.startswith("pod/"):
        container = line.stream.rpartition("/")[2]
        return f"{line.node} | " if container == line.resource else f"{line.node} ({container}) | "
    return f"{line.node} | "


def failure_block(view: NodeView, tail: tuple[str, ...]) -> list[Line]:
    """What failed, where it was declared, why it ran, what is known, the end of its log, what to
    do next.
    """
    lines = [Line(f"  {words.failure_line(view)}", Tone.BAD, view.id)]
    failure = view.failure
    details = [plain(line) for line in failure.details] if failure else []
    lines += [Line(f"    {line}", Tone.BAD) for line in details]
    told = {line.strip() for line in details}
    # What follows pods quotes their logs itself; what else it said was progress.
    if tail and view.kind not in _QUOTING and tail[-1].strip() not in told:
        lines.append(Line("    the end of its log:"))
        lines += [Line(f"    | {line}", Tone.LOG) for line in tail]
    if view.where:
        because = words.reasons_phrase(view.reasons)
        ran = f", ran because: {because}" if because else ""
        lines.append(Line(f"    declared at {view.where}{ran}", Tone.DIM))
    if failure and failure.hint:
        lines.append(Line(f"    {failure.hint}", Tone.WARN))
    return lines


def summary_lines(record: Record, end: SessionEnded) -> list[Line]:
    """How the session ended: counts, what failed, what was held, addresses, what was kept."""
    took = words.duration(end.seconds)
    told = bool(end.counts or end.held) or (record.command != "down" and not end.exit_code)
    counts = f": {words.verdict_counts(end.counts, len(end.held))}" if told else ""
    command = record.command or "session"
    if end.interrupted and not end.exit_code:
        first = Line(f"{command} ended after {took}{counts}")
    elif end.interrupted:
        first = Line(f"{command} interrupted after {took}{counts}", Tone.WARN)
    elif end.exit_code:
        first = Line(f"{command} failed after {took}{counts}", Tone.BAD)
    else:
        first = Line(f"{command} done in {took}{counts}", Tone.GOOD)
    lines = [first]
    for view in end.failed:
        summary = view.failure.summary if view.failure else "failed"
        where = f" ({view.where})" if view.where else ""
        lines.append(Line(f"  failed   {view.id}{where}: {summary}", Tone.BAD))
    alike: dict[str, list[NodeId]] = {}
    for view in end.held:
        alike.setdefault(words.hold_phrase(view.hold) if view.hold else "held", []).append(view.id)
    lines += [Line(f"  held     {words.listing(ids)}: {why}") for why, ids in alike.items()]
    lines += [Line(f"  open     {address}") for address in end.endpoints]
    lines += [Line(f"  kept     {kept}", Tone.DIM) for kept in end.kept]
    shown = any(
        view.id in end.error or (view.failure and view.failure.summary in end.error)
        for view in end.failed
    )
    if end.error and not shown and end.error not in record.error:
        head, *rest = end.error.splitlines()
        lines.append(Line(f"  reason   {head}", Tone.BAD))
        lines += [Line(f"           {line}", Tone.BAD) for line in rest]
    return lines
