"""The picture of a session: what the live view shows at one moment, as rows of text.

A pure function of the record, the time and the size. Small sessions are shown node by node; the
more there is, the more is folded together, and what matters (failed, not ready, running, held)
goes last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from kindling.engine.notices import NodeStatus, NodeView
from kindling.graph.node import Kind
from kindling.graph.outcome import Verdict
from kindling.report import words
from kindling.report.record import Record
from kindling.report.safetext import plain
from kindling.report.terminal import UNICODE, Signs

__all__ = ["fit", "frame", "is_lively"]

_STYLES = {
    NodeStatus.FAILED: "bold red",
    NodeStatus.UNREADY: "yellow",
    NodeStatus.RUNNING: "cyan",
    NodeStatus.HELD: "dim",
    NodeStatus.DONE: "green",
    NodeStatus.IDLE: "dim",
}
_SPIN = {"typographic": "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "ascii": "|/-\\"}
_WORST_FIRST = (
    NodeStatus.FAILED,
    NodeStatus.UNREADY,
    NodeStatus.RUNNING,
    NodeStatus.HELD,
    NodeStatus.DONE,
    NodeStatus.IDLE,
)
_UNDER_WAY = frozenset({NodeStatus.RUNNING, NodeStatus.HELD})
_SETTLED = frozenset({NodeStatus.DONE, NodeStatus.IDLE})


@dataclass(frozen=True, slots=True)
class _Detail:
    """How much is shown of each kind of node."""

    settled_nodes: bool
    settled_groups: bool
    each_held: bool
    failed_lines: int
    running_lines: int


_LEVELS = (
    _Detail(True, True, True, 4, 2),
    _Detail(False, True, True, 4, 1),
    _Detail(False, True, False, 3, 1),
    _Detail(False, True, False, 2, 0),
    _Detail(False, False, False, 2, 0),
    _Detail(False, False, False, 1, 0),
)


@dataclass(frozen=True, slots=True)
class _Row:
    """One row before it is laid out. `extra` are lines of log or detail below it."""

    status: NodeStatus
    label: str
    kind: str
    word: str
    time: str
    detail: str
    extra: tuple[str, ...] = ()
    nodes: int = 1


def is_lively(record: Record) -> bool:
    """Something runs, so that the picture changes by itself."""
    return record.ended is None and any(v.status is NodeStatus.RUNNING for v in record.views)


def fit(text: str, width: int, signs: Signs = UNICODE) -> str:
    """`text` cut to `width` cells, with dots where something is missing."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return text
    room = width - len(signs.dots)
    if room <= 0:
        return set_cell_size(text, width)
    return set_cell_size(text, room).rstrip() + signs.dots


def frame(record: Record, now: float, width: int, height: int, signs: Signs) -> list[Text]:
    """The rows to show, at most `height`, each narrower than `width`."""
    if height < 1 or width < 4:
        return []
    head = _head(record, now, width, signs, lines=1 if height < 8 else 2)
    room = height - len(head)
    if room < 1:
        return head[:height]
    if not record.views:
        waiting = Text(fit(_before_the_graph(record), width - 1, signs), style="dim")
        return [*head, waiting] if record.ended is None else head
    groups = _grouped(record.views)
    for level in _LEVELS:
        rows: list[_Row] = []
        lines = 0
        for row in _rows(groups, level, record, now):
            rows.append(row)
            lines += 1 + len(row.extra)
            if lines > room:
                break
        if lines > room:
            continue
        body = _laid_out(rows, now, width, signs)
        shown = sum(row.nodes for row in rows)
        rest = len(record.views) - shown
        if len(body) + (1 if rest else 0) <= room:
            footer = [_more(record.views, rows, width, signs)] if rest else []
            return [*head, *body, *footer]
    return [*head, *_what_matters(record, groups, now, width, room, signs)]


def _before_the_graph(record: Record) -> str:
    if record.error:
        return "waiting for an edit"
    return f"reading {record.kindlingfile or 'the Kindlingfile'}"


def _head(record: Record, now: float, width: int, signs: Signs, lines: int) -> list[Text]:
    title = f"kindling {record.command}".rstrip()
    cluster = record.target.partition(":")[0].removeprefix("Cluster ").replace("`", "")
    target = f" {signs.middot} {cluster}" if cluster else ""
    lively = is_lively(record)
    took = words.duration(now - record.started) if lively else ""
    counts = words.status_counts(record.views) if record.views else ""
    line = "─" if signs is UNICODE else "-"
    left = fit(f"{title}{target}", width - 6 - len(took), signs)
    rule = Text(f"{line * 2} ", style="dim")
    rule.append(left[: len(title)], style="bold")
    rule.append(left[len(title) :])
    right = f" {took} {line * 2}" if took else ""
    fill = width - 1 - rule.cell_len - 1 - cell_len(right)
    if lines == 1 and counts and fill > len(counts) + 4:
        rule.append(f" {line} {counts}")
        fill = width - 1 - rule.cell_len - 1 - cell_len(right)
    rule.append(f" {line * max(0, fill)}{right}", style="dim")
    rule.truncate(width - 1)
    head = [rule]
    if record.error:
        text = plain(record.error.splitlines()[0])
        head.append(Text(fit(f"{signs.failed} {text}", width - 1, signs), style="bold red"))
    if lines > 1 and counts:
        row = Text(" ")
        for part in counts.split(", "):
            style = next((_STYLES[s] for s in _WORST_FIRST if part.endswith(_word_of(s))), "")
            row.append(f"{'  ' if len(row) > 1 else ''}{part}", style=style)
        if record.command == "up" and not any(v.status in _UNDER_WAY for v in record.views):
            row.append("  following changes, Ctrl-C ends it", style="dim")
        row.truncate(width - 1)
        head.append(row)
    return head


def _word_of(status: NodeStatus) -> str:
    return "not ready" if status is NodeStatus.UNREADY else status.value


def _grouped(views: Iterable[NodeView]) -> list[tuple[str, list[NodeView]]]:
    groups: dict[str, list[NodeView]] = {}
    for view in views:
        groups.setdefault(view.resource or view.id.partition(":")[2], []).append(view)
    return list(groups.items())


def _rows(
    groups: Sequence[tuple[str, list[NodeView]]], level: _Detail, record: Record, now: float
) -> Iterator[_Row]:
    for label, views in groups:
        if all(view.status in _SETTLED for view in views):
            if level.settled_groups:
                yield _settled_group(label, views)
            continue
        shown = label
        for view, folded in _worth_showing(views, level):
            yield _node_row(view, shown, views, folded, level, record, now)
            shown = ""


def _worth_showing(views: Sequence[NodeView], level: _Detail) -> Iterator[tuple[NodeView, int]]:
    """The nodes of a group that get a row, and how many nodes that row stands for."""
    held = [view for view in views if view.status is NodeStatus.HELD]
    for view in views:
        if view.status is NodeStatus.HELD and not level.each_held:
            if view is held[0]:
                yield view, len(held)
        elif level.settled_nodes or view.status not in _SETTLED:
            yield view, 1


def _settled_group(label: str, views: Sequence[NodeView]) -> _Row:
    status = NodeStatus.DONE
    if all(view.status is NodeStatus.IDLE for view in views):
        status = NodeStatus.IDLE
    telling = next((v for v in views if v.kind in (Kind.ROLLOUT, Kind.SERVE)), views[-1])
    done = [view for view in views if view.status is NodeStatus.DONE]
    word = words.status_word(telling)
    if done and all(view.verdict is Verdict.UNCHANGED for view in done):
        word = "unchanged"
    ran = sum(v.seconds for v in done if v.verdict in (Verdict.RAN, Verdict.RESTORED))
    endpoints = dict.fromkeys(address for view in views for address in view.endpoints)
    kind = views[0].kind.value if len(views) == 1 else words.counted(len(views), "node")
    return _Row(
        status,
        label,
        kind,
        word,
        words.duration(ran) if ran else "",
        "  ".join(endpoints) or ("runs when triggered" if status is NodeStatus.IDLE else ""),
        nodes=len(views),
    )


def _node_row(
    view: NodeView,
    label: str,
    group: Sequence[NodeView],
    folded: int,
    level: _Detail,
    record: Record,
    now: float,
) -> _Row:
    alike = sum(other.kind is view.kind for other in group)
    kind = view.kind.value if alike == 1 else view.id
    if folded > 1:
        kind = f"{kind} +{folded - 1}"
    seconds = ""
    detail = words.reasons_phrase(view.reasons)
    extra: tuple[str, ...] = ()
    match view.status:
        case NodeStatus.RUNNING:
            seconds = words.duration(now - view.since)
            extra = record.tail(view.id, level.running_lines)
        case NodeStatus.FAILED | NodeStatus.UNREADY:
            seconds = words.duration(view.seconds) if view.status is NodeStatus.FAILED else ""
            detail = view.failure.summary if view.failure else ""
            details = view.failure.details if view.failure else ()
            lines = details[: level.failed_lines] or record.tail(view.id, level.failed_lines)
            extra = tuple(plain(line) for line in lines)
        case NodeStatus.HELD:
            detail = words.hold_short(view.hold) if view.hold else ""
        case NodeStatus.DONE:
            seconds = words.duration(view.seconds) if view.verdict is not Verdict.UNCHANGED else ""
            detail = "  ".join(view.endpoints) or detail
        case NodeStatus.IDLE:
            detail = "runs when triggered"
    word = words.status_word(view)
    return _Row(view.status, label, kind, word, seconds, plain(detail), extra, folded)


def _laid_out(rows: Sequence[_Row], now: float, width: int, signs: Signs) -> list[Text]:
    """Rows as aligned columns. The last column takes what is left; it may be cut, never wrapped."""
    if not rows:
        return []
    wide = width - 1

    def column(texts: Iterable[str], most: int) -> int:
        return min(max((cell_len(text) for text in texts), default=0), most)

    label = column((row.label for row in rows), max(8, wide // (4 if wide >= 72 else 5)))
    kind = column((row.kind for row in rows), max(8, wide // 6))
    state = column((_state(row, wide) for row in rows), 26 if wide >= 72 else max(9, wide // 3))
    lines: list[Text] = []
    for row in rows:
        style = _STYLES[row.status]
        text = Text(_sign(row.status, now, signs), style=style)
        text.append(" ")
        text.append(_cell(row.label, label, signs), style="bold" if row.label else "")
        text.append(" " + _cell(row.kind, kind, signs))
        aligned = wide >= 60 or row.status is not NodeStatus.HELD
        what = _state(row, wide)
        text.append(" " + _cell(what, state if aligned else len(what), signs), style=style)
        rest = wide - text.cell_len - 2
        extra = row.extra
        worth_a_line = row.status is NodeStatus.FAILED or "://" in row.detail
        if worth_a_line and cell_len(row.detail) > rest:
            extra = (row.detail, *extra) if row.detail not in extra else extra
        elif rest > 3 and row.detail:
            text.append("  " + fit(row.detail, rest, signs))
        text.rstrip()
        text.truncate(wide)
        lines.append(text)
        indent = 2 if wide < 60 else 2 + label + 1
        tone = "red" if row.status is NodeStatus.FAILED else "dim"
        for line in extra:
            lines.append(
                Text(" " * indent, style=tone).append(
                    fit(f"{signs.bar} {line}", wide - indent, signs)
                )
            )
    return lines


def _state(row: _Row, width: int) -> str:
    """`building 3.2 s`. Where it is narrow, what is being done is said in one word."""
    word = row.word
    if width < 72 and row.status is NodeStatus.RUNNING:
        word = word.partition(" ")[0]
    return f"{word} {row.time}".rstrip()


def _cell(text: str, width: int, signs: Signs) -> str:
    return set_cell_size(fit(text, width, signs), width)


def _sign(status: NodeStatus, now: float, signs: Signs) -> str:
    if status is not NodeStatus.RUNNING:
        return signs.of(status)
    turns = _SPIN["typographic" if signs is UNICODE else "ascii"]
    return turns[int(now * 5) % len(turns)]


def _more(views: Sequence[NodeView], rows: Sequence[_Row], width: int, signs: Signs) -> Text:
    """`… and 31 done, 240 held`: what no row shows."""
    tally = dict.fromkeys(_WORST_FIRST, 0)
    for view in views:
        tally[view.status] += 1
    for row in rows:
        tally[row.status] -= row.nodes
    parts = [f"{n:,} {_word_of(status)}" for status, n in tally.items() if n > 0]
    text = f"{signs.dots} and {', '.join(parts)}"
    return Text(fit(text, width - 1, signs), style="dim")


def _what_matters(
    record: Record,
    groups: Sequence[tuple[str, list[NodeView]]],
    now: float,
    width: int,
    room: int,
    signs: Signs,
) -> list[Text]:
    """Not everything fits even when folded: the worst first, then a count of the rest."""
    level = _LEVELS[-1]
    found = (
        (_WORST_FIRST.index(view.status), at, label, views, view, folded)
        for at, (label, views) in enumerate(groups)
        for view, folded in _worth_showing(views, level)
    )
    worst = nsmallest(max(0, room - 1), found, key=lambda item: item[:2])
    shown = [
        _node_row(view, label, views, folded, level, record, now)
        for _, _, label, views, view, folded in worst
    ]
    body = _laid_out(shown, now, width, signs)
    while len(body) > room - 1 and shown:
        shown = shown[:-1]
        body = _laid_out(shown, now, width, signs)
    return [*body, _more(record.views, shown, width, signs)][:room]
