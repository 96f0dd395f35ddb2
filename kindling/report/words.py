"""Values as phrases, shared by every face so that they say the same thing in the same words.

All functions are pure and return one line of plain text without colour.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kindling.engine.notices import NodeStatus, NodeView
from kindling.graph.event import Hold, HoldReason
from kindling.graph.node import Kind, NodeId
from kindling.graph.outcome import Verdict

__all__ = [
    "achievement",
    "activity",
    "changed_files",
    "counted",
    "duration",
    "failure_line",
    "hold_phrase",
    "hold_short",
    "listing",
    "nothing_to_run",
    "reasons_phrase",
    "status_counts",
    "status_word",
    "verdict_counts",
]

_DONE_WORDS: dict[Kind, str] = {
    Kind.CLUSTER: "connected",
    Kind.REGISTRY: "found",
    Kind.LOCAL: "done",
    Kind.SERVE: "serving",
    Kind.TEST: "passed",
    Kind.IMAGE: "built",
    Kind.PUSH: "pushed",
    Kind.LOAD: "loaded",
    Kind.SECRET: "present",
    Kind.APPLY: "applied",
    Kind.OPERATOR: "reconciled",
    Kind.ROLLOUT: "ready",
    Kind.SYNC: "in sync",
    Kind.ROLLBACK: "rolled back",
    Kind.PORTFORWARD: "forwarding",
    Kind.TUNNEL: "open",
}

_DOING_WORDS: dict[Kind, str] = {
    Kind.CLUSTER: "connecting",
    Kind.REGISTRY: "looking",
    Kind.LOCAL: "running",
    Kind.SERVE: "starting",
    Kind.TEST: "testing",
    Kind.IMAGE: "building",
    Kind.PUSH: "pushing",
    Kind.LOAD: "loading",
    Kind.SECRET: "checking",
    Kind.APPLY: "applying",
    Kind.OPERATOR: "reconciling",
    Kind.ROLLOUT: "waiting for pods",
    Kind.SYNC: "syncing",
    Kind.ROLLBACK: "rolling back",
    Kind.PORTFORWARD: "connecting",
    Kind.TUNNEL: "opening",
}

_STATUS_ORDER = (
    NodeStatus.FAILED,
    NodeStatus.UNREADY,
    NodeStatus.RUNNING,
    NodeStatus.HELD,
    NodeStatus.DONE,
    NodeStatus.IDLE,
)

_VERDICT_ORDER = (
    Verdict.RAN,
    Verdict.RESTORED,
    Verdict.UNCHANGED,
    Verdict.FAILED,
    Verdict.CANCELLED,
)


def duration(seconds: float) -> str:
    """`40 ms`, `0.4 s`, `12 s`, `2 min 5 s`, `1 h 4 min`: as exact as a reader can use."""
    seconds = max(0.0, seconds)
    if seconds < 0.0995:
        return f"{max(1, round(seconds * 1000))} ms" if seconds else "0 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 node`, `2 nodes`, `1,204 nodes`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def nothing_to_run(nodes: int) -> str:
    """What a plan says when every node is up to date."""
    return f"nothing to run: {counted(nodes, 'node')} up to date"


def listing(names: Iterable[str], most: int = 4) -> str:
    """`a, b, c and 12 more`."""
    every = list(names)
    if len(every) <= most:
        return ", ".join(every)
    shown = max(1, most - 1)
    return f"{', '.join(every[:shown])} and {len(every) - shown:,} more"


def status_word(view: NodeView) -> str:
    """The state of a node in one or two words: what it does, has become, or fails to be."""
    match view.status:
        case NodeStatus.RUNNING:
            return view.doing or _DOING_WORDS[view.kind]
        case NodeStatus.DONE if view.verdict is Verdict.UNCHANGED:
            return "unchanged"
        case NodeStatus.DONE if view.verdict is Verdict.RESTORED:
            return "restored"
        case NodeStatus.DONE:
            return _DONE_WORDS[view.kind] if view.verdict else "done"
        case NodeStatus.UNREADY:
            return "not ready"
        case _:
            return str(view.status.value)


def activity(view: NodeView) -> str:
    """What a running node does: `building`, `waiting for pods`."""
    generic = view.doing in ("", "running")
    return _DOING_WORDS[view.kind] if generic else view.doing


def achievement(view: NodeView) -> str:
    """How a node was settled, with its time: `built in 3.2 s`, `restored from the cache in 0.1
    s`.
    """
    match view.verdict:
        case Verdict.UNCHANGED:
            return "unchanged"
        case Verdict.RESTORED:
            return f"restored from the cache in {duration(view.seconds)}"
        case Verdict.CANCELLED:
            return f"cut off after {duration(view.seconds)}"
        case Verdict.FAILED:
            return f"failed after {duration(view.seconds)}"
        case _:
            return f"{_DONE_WORDS[view.kind]} in {duration(view.seconds)}"


def reasons_phrase(reasons: Sequence[str], most: int = 2) -> str:
    """`app.py changed; 3 more reasons`, or nothing."""
    if len(reasons) <= most:
        return "; ".join(reasons)
    shown = reasons[: most - 1] if most > 1 else reasons[:1]
    return f"{'; '.join(shown)}; {counted(len(reasons) - len(shown), 'more reason')}"


def hold_phrase(hold: Hold, most: int = 4) -> str:
    """Why a due node has not started, with the names it waits for in brackets."""
    names = f" [{listing(hold.waiting_for, most)}]" if hold.waiting_for else ""
    match hold.reason:
        case HoldReason.DEPENDENCY:
            noun = "dependency" if len(hold.waiting_for) < 2 else "dependencies"
            return f"waiting for {noun}{names}"
        case HoldReason.DEPENDENCY_FAILED:
            return f"held back by the failure of{names or ' a dependency'}"
        case HoldReason.LOCAL:
            return f"waiting for a command that runs alone{names}"
        case HoldReason.EXCLUSIVE:
            return f"waiting to run alone, after{names or ' what runs now'}"
        case HoldReason.SLOT:
            return f"waiting for a free slot{names}"
        case HoldReason.RELOAD:
            return "waiting for the Kindlingfile to be evaluated"
        case HoldReason.CLUSTER:
            return f"waiting for the cluster to answer{names}"
        case HoldReason.UNCATEGORIZED:
            return f"waiting for objects that belong to no resource{names}"
        case HoldReason.TRIGGER:
            return "has changes, waiting to be triggered"
        case HoldReason.EARLIER:
            return f"others go first{names}"
        case HoldReason.STOPPING:
            return "not started: the session is ending"


def hold_short(hold: Hold, most: int = 2) -> str:
    """The same for a narrow column: `waits for apply:api`."""
    names = listing(hold.waiting_for, most)
    match hold.reason:
        case HoldReason.DEPENDENCY:
            return f"waits for {names or 'a dependency'}"
        case HoldReason.DEPENDENCY_FAILED:
            return f"{names} failed" if names else "a dependency failed"
        case HoldReason.LOCAL:
            return f"{names or 'a command'} runs alone"
        case HoldReason.EXCLUSIVE:
            return f"runs alone, after {names or 'what runs now'}"
        case HoldReason.SLOT:
            return "waits for a free slot"
        case HoldReason.RELOAD:
            return "waits for the Kindlingfile"
        case HoldReason.CLUSTER:
            return "waits for the cluster"
        case HoldReason.UNCATEGORIZED:
            return f"waits for {names or 'uncategorized objects'}"
        case HoldReason.TRIGGER:
            return "changed, waits for a trigger"
        case HoldReason.EARLIER:
            return f"after {names or 'others'}"
        case HoldReason.STOPPING:
            return "the session is ending"


def failure_line(view: NodeView) -> str:
    """`failed after 2.1 s: exit code 1`."""
    after = f" after {duration(view.seconds)}" if view.seconds else ""
    summary = f": {view.failure.summary}" if view.failure else ""
    return f"failed{after}{summary}"


def status_counts(views: Iterable[NodeView]) -> str:
    """`1 failed, 2 running, 3 held, 9 done`: worst first, zeros left out."""
    tally = dict.fromkeys(_STATUS_ORDER, 0)
    for view in views:
        tally[view.status] += 1
    words = {NodeStatus.UNREADY: "not ready"}
    parts = [f"{n:,} {words.get(status, status.value)}" for status, n in tally.items() if n]
    return ", ".join(parts) or "nothing to do"


def verdict_counts(counts: Mapping[Verdict, int], held: int = 0) -> str:
    """`2 ran, 1 restored, 10 unchanged, 1 failed, 3 held`: zeros left out."""
    words = {Verdict.CANCELLED: "cut off"}
    parts = [
        f"{counts[verdict]:,} {words.get(verdict, verdict.value)}"
        for verdict in _VERDICT_ORDER
        if counts.get(verdict)
    ]
    if held:
        parts.append(f"{held:,} held")
    return ", ".join(parts) or "nothing to do"


def changed_files(paths: Sequence[str], total: int, nodes: Sequence[NodeId]) -> str:
    """`app.py and 3 more files changed: image:api`."""
    more = total - len(paths[:2])
    shown = ", ".join(paths[:2])
    what = f"{shown} and {counted(more, 'more file')}" if more > 0 and shown else shown
    what = what or counted(total, "file")
    readers = (
        listing(nodes, 4) if nodes else "no node reads this" if total == 1 else "read by no node"
    )
    return f"{what} changed: {readers}"
