"""Explanations as text: the inputs that changed, and the first cause up the graph."""

from __future__ import annotations

from collections.abc import Sequence

from kindling.graph.key import Difference
from kindling.graph.why import Explanation
from kindling.report.ink import Ink
from kindling.report.narrator import Tone

__all__ = ["why_text"]


def why_text(explanations: Sequence[Explanation], *, ink: Ink | None = None) -> str:
    """One paragraph per node, in the order given."""
    pen = ink or Ink()
    paragraphs = [_paragraph(explanation, pen) for explanation in explanations]
    return "\n\n".join(paragraphs) + "\n" if paragraphs else ""


def _paragraph(explanation: Explanation, ink: Ink) -> str:
    head, *rest = explanation.lines()
    said = head.removeprefix(explanation.node)
    dirty = explanation.is_dirty or bool(explanation.chains)
    lines = [ink.bold(explanation.node) + ink(said, Tone.WARN if dirty else Tone.GOOD)]
    for difference in explanation.differences:
        digests = ink(f"({_digests(difference)})", Tone.DIM)
        lines += [f"  {difference.text} {digests}"]
    for line in rest[len(explanation.differences) :]:
        lines.append(line if line.startswith("  ") else ink(line, Tone.DIM))
    return "\n".join(lines)


def _digests(difference: Difference) -> str:
    """`3f2a90c1d4e5 -> 9bc1...`: the digests alone, without what kind of thing they are of."""
    old, new = (end.rpartition(":")[2][:12] for end in (difference.old, difference.new))
    if old and new:
        return f"{old} -> {new}"
    return f"new, {new}" if new else f"gone, was {old}"
