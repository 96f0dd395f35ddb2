"""A plan as text: what each node would do, what happens to which object, how long it takes."""

from __future__ import annotations

from collections.abc import Iterator

from kindling.graph.plan import Action, Plan, PlanStep
from kindling.report import words
from kindling.report.ink import Ink, wrapped
from kindling.report.narrator import Tone

__all__ = ["plan_text"]

_TONES = {
    Action.RUN: Tone.NORMAL,
    Action.MAYBE: Tone.WARN,
    Action.RESTORE: Tone.GOOD,
    Action.SKIP: Tone.DIM,
}
_WORDS = {Action.RUN: "run", Action.MAYBE: "maybe", Action.RESTORE: "restore", Action.SKIP: "skip"}
_MOST_REASONS = 3


def plan_text(
    plan: Plan, *, target: str = "", skipped: bool = False, ink: Ink | None = None
) -> str:
    """The whole plan. Nodes that would be skipped are counted, and listed only with `skipped`."""
    pen = ink or Ink()
    shown = [step for step in plan.steps if skipped or step.action is not Action.SKIP]
    lines = [pen(target, Tone.DIM)] if target else []
    lines += _table(shown, pen)
    changes = [(step, line) for step in plan.steps for line in step.objects]
    if changes:
        lines += ["", pen.bold("cluster objects")]
        for step, line in changes:
            lines += [f"  {part}" for part in wrapped(line, pen.width - 2)]
            if len(lines[-1]) + len(step.id) + 2 <= pen.width:
                lines[-1] += f"  {pen(step.id, Tone.DIM)}"
    if len(plan.critical_path) > 1:
        lines += ["", pen.bold("critical path"), *_path(plan, pen)]
    if shown:
        lines.append("")
    lines += _totals(plan, pen)
    return "\n".join(lines) + "\n"


def _table(steps: list[PlanStep], ink: Ink) -> Iterator[str]:
    times = {step.id: _time(step) for step in steps}
    name = max((len(step.id) for step in steps), default=0)
    time = max(map(len, times.values()), default=0)
    for step in steps:
        word = f"{_WORDS[step.action]:<8}"
        left = f"{step.id:<{name}}  {times[step.id]:>{time}}"
        reasons = _why(step)
        room = ink.width - len(word) - len(left) - 2
        if room >= 24:
            first, *rest = wrapped(reasons, room)
            indent = " " * (len(word) + len(left) + 2)
        else:
            first, rest = "", list(wrapped(reasons, ink.width - 10)) if reasons else []
            indent = " " * 10
        yield f"{ink(word, _TONES[step.action])}{left}  {first}".rstrip()
        yield from (f"{indent}{line}" for line in rest)


def _time(step: PlanStep) -> str:
    if step.action not in (Action.RUN, Action.MAYBE):
        return ""
    return "?" if step.seconds is None else f"~{words.duration(step.seconds)}"


def _why(step: PlanStep) -> str:
    shown = step.reasons[:_MOST_REASONS]
    more = len(step.reasons) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _path(plan: Plan, ink: Ink) -> Iterator[str]:
    known = {step.id: step.seconds for step in plan.steps}
    parts = []
    for id_ in plan.critical_path:
        seconds = known.get(id_)
        parts.append(id_ if seconds is None else f"{id_} ({words.duration(seconds)})")
    for line in wrapped(" -> ".join(parts), ink.width - 2):
        yield f"  {line}"


def _totals(plan: Plan, ink: Ink) -> Iterator[str]:
    counts = plan.counts
    if plan.is_empty:
        yield ink(words.nothing_to_run(counts[Action.SKIP]), Tone.GOOD)
        return
    parts = [
        f"{counts[action]:,} {word}"
        for action, word in (
            (Action.RUN, "to run"),
            (Action.MAYBE, "perhaps"),
            (Action.RESTORE, "from the cache"),
            (Action.SKIP, "up to date"),
        )
        if counts[action]
    ]
    yield from (ink.bold(line) for line in wrapped(", ".join(parts), ink.width))
    least, most = words.duration(plan.seconds), words.duration(plan.seconds_at_most)
    at_most = f", at most {most}" if most != least else ""
    unknown = len(plan.without_history)
    never = f"; {words.counted(unknown, 'node')} never timed (?)" if unknown else ""
    if unknown == counts[Action.RUN] + counts[Action.MAYBE]:
        never = "no time can be predicted: none of these has run here before"
        yield from wrapped(never, ink.width)
        return
    yield from wrapped(f"about {least}{at_most}{never}", ink.width)
