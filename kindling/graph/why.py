"""Why a node is dirty, or ran: the exact inputs, and the first cause up the graph.

Reads the manifests that keys are made of. For the last run of a node, hand in the manifest of that
run and of the success before it; for the present moment, the manifest as it is now and of the last
success.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kindling.graph.dag import Graph
from kindling.graph.key import Difference, Manifest, differences
from kindling.graph.node import EdgeKind, NodeId
from kindling.graph.outcome import Verdict

__all__ = ["Chain", "Evidence", "Explanation", "why"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is recorded of a node.

    `previous` is the manifest of its last success before, None when there is none; `current` that
    of the run in question or of this moment. `verdict` is how that run ended, None for this moment.
    `note` is a cause that no manifest shows: drift (`Deployment/web was deleted`), a user's force.
    """

    previous: Manifest | None
    current: Manifest | None
    verdict: Verdict | None = None
    note: str = ""

    @property
    def differences(self) -> tuple[Difference, ...]:
        if self.previous is None or self.current is None:
            return ()
        return differences(self.previous, self.current)

    @property
    def is_first(self) -> bool:
        """There is no earlier success to compare with."""
        return self.previous is None


@dataclass(frozen=True, slots=True)
class Chain:
    """One way from a node up to a first cause.

    `path` begins with the node that was asked about and ends with the node the cause belongs to.
    `cause` is one line; `difference` the input behind it, if it is one. Not `certain`: a
    predecessor is dirty and has not run yet, so that its output may turn out to be the same.
    """

    path: tuple[NodeId, ...]
    cause: str
    difference: Difference | None = None
    certain: bool = True

    @property
    def text(self) -> str:
        """`rollout:x <- apply:x <- image:x <- `app.py` changed`."""
        return " <- ".join([*self.path, self.cause])

    def to_json(self) -> dict[str, Any]:
        return {
            "path": list(self.path),
            "cause": self.cause,
            "difference": self.difference.to_json() if self.difference else None,
            "certain": self.certain,
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why one node is dirty or ran. `chains` has one for each first cause, the nearest first."""

    node: NodeId
    verdict: Verdict | None
    is_first: bool
    differences: tuple[Difference, ...]
    note: str
    chains: tuple[Chain, ...]
    held: str = ""
    """Who has what it is about, so that it is not due for as long: a sync session."""

    @property
    def is_dirty(self) -> bool:
        """Something calls for a run, for certain."""
        if self.held:
            return False
        return self.is_first or bool(self.differences) or bool(self.note)

    def lines(self) -> tuple[str, ...]:
        """The explanation as plain text."""
        lines = [f"{self.node} {self._headline()}"]
        lines += [f"  {_with_digests(difference)}" for difference in self.differences]
        if self.note and (self.differences or self.is_first):
            lines.append(f"  {self.note}")
        far = [chain for chain in self.chains if len(chain.path) > 1]
        if far:
            lines.append("first cause:" if len(far) == 1 else "first causes:")
            lines += [f"  {chain.text}" for chain in far]
        return tuple(lines)

    def _headline(self) -> str:
        ran = {
            None: "is due",
            Verdict.RAN: "ran",
            Verdict.FAILED: "ran and failed",
            Verdict.RESTORED: "came from the action cache",
            Verdict.UNCHANGED: "did not run",
            Verdict.CANCELLED: "was cut off",
        }[self.verdict]
        if self.held:
            return f"is not due: {self.held}"
        if self.differences:
            return f"{ran} because"
        if self.is_first:
            return f"{ran} because it never succeeded here before"
        if self.note:
            return f"{ran} because {self.note}"
        if any(not chain.certain for chain in self.chains):
            return "runs if the output of a predecessor changes"
        if self.verdict in (None, Verdict.UNCHANGED):
            return "is up to date: nothing it depends on changed since its last success"
        return f"{ran}, though nothing it depends on had changed"

    def to_json(self) -> dict[str, Any]:
        """`{"schema": "kindling.why/1", "node", "verdict", "dirty", "first", "note",
        "differences": [{"label", "old", "new", "text"}], "chains": [{"path", "cause",
        "difference", "certain"}]}`. `verdict` is null for the present moment."""
        return {
            "schema": "kindling.why/1",
            "node": self.node,
            "verdict": self.verdict.value if self.verdict else None,
            "dirty": self.is_dirty,
            "first": self.is_first,
            "note": self.note,
            "held": self.held,
            "differences": [difference.to_json() for difference in self.differences],
            "chains": [chain.to_json() for chain in self.chains],
        }


def why(graph: Graph, node: NodeId, records: Mapping[NodeId, Evidence]) -> Explanation:
    """Why `node` is dirty, or ran.

    `records` holds the evidence of the node and of those above it, as far as there is any. Where an
    input that changed is the output of another node, the cause is looked for there.
    """
    own = records.get(node, Evidence(None, None))
    return Explanation(
        node=node,
        verdict=own.verdict,
        is_first=own.is_first,
        differences=own.differences,
        note=own.note,
        chains=tuple(_chains(graph, node, records)),
    )


def _chains(graph: Graph, node: NodeId, records: Mapping[NodeId, Evidence]) -> list[Chain]:
    chains: list[Chain] = []
    seen = {node}
    todo: deque[tuple[tuple[NodeId, ...], bool]] = deque([((node,), True)])
    while todo:
        path, certain = todo.popleft()
        at = path[-1]
        evidence = records.get(at)
        if evidence is None or evidence.is_first:
            if certain or evidence is not None:
                cause = "it never succeeded here before" if at == node else "it is new here"
                chains.append(Chain(path, cause, certain=certain))
            continue
        if evidence.note:
            chains.append(Chain(path, evidence.note, certain=certain))
        above: list[NodeId] = []
        for difference in evidence.differences:
            source = NodeId(difference.label.removeprefix("from:"))
            if source == difference.label or source not in records:
                chains.append(Chain(path, difference.text, difference, certain))
            elif source not in seen:
                seen.add(source)
                above.append(source)
        todo.extend(((*path, source), certain) for source in above)
        if not evidence.differences and not evidence.note and at in graph:
            # Nothing of its own: it can still become dirty by what is dirty above it.
            for source, kind in graph.predecessors(at).items():
                if kind is EdgeKind.CONTENT and source not in seen and source in records:
                    seen.add(source)
                    todo.append(((*path, source), False))
    return chains


def _with_digests(difference: Difference) -> str:
    ends = [digest[:12] for digest in (difference.old, difference.new)]
    if all(ends):
        return f"{difference.text} ({ends[0]} -> {ends[1]})"
    return f"{difference.text} ({ends[0] or ends[1]})"
