"""A change that is brought to all containers, and what it came to. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kindling.lang.declared import RunStep
from kindling.sync.notices import Carried, Remark
from kindling.sync.rules.failures import Action, settle
from kindling.sync.session.acting import Deed, How
from kindling.sync.session.fleet import Member
from kindling.sync.session.order import Outcome
from kindling.sync.session.serving import Served
from kindling.sync.trees.manifest import shown

__all__ = ["Task", "carried_of", "outcome_of", "slowest", "unsteady_of"]

_NAMES = 3


@dataclass(frozen=True, slots=True)
class Task:
    """A change to be brought to all containers."""

    places: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    """Paths of the source."""
    commands: tuple[RunStep, ...] = ()
    since: float = 0.0
    rescan: bool = False
    """Look at what the containers hold, too."""

    def joined(self, other: Task) -> Task:
        """Both in one."""
        return Task(
            tuple(dict.fromkeys((*self.places, *other.places))),
            tuple(dict.fromkeys((*self.changed, *other.changed))),
            tuple(dict.fromkeys((*self.commands, *other.commands))),
            min(self.since or other.since, other.since),
            self.rescan or other.rescan,
        )


def carried_of(
    task: Task, served: Sequence[Served], entries: Mapping[str, str], now: float
) -> Carried | None:
    """What was brought to all of them; None: they had it."""
    brought = [one.brought for one in served if one.brought]
    if not brought:
        return None
    names = task.changed or task.places
    return Carried(
        tuple(shown(name) for name in names[:_NAMES]),
        len(names) or max(one.operations for one in brought),
        sum(name not in entries for name in task.changed),
        max(one.size for one in brought),
        len(served),
        now - task.since,
    )


def unsteady_of(served: Sequence[Served]) -> Iterator[Remark]:
    """What was left out since it did not stop changing."""
    for place in dict.fromkeys(place for one in served for place in one.brought.unsteady):
        text = f"`{shown(place)}` did not stop changing while it was read"
        yield Remark(f"{text}; it is brought when it rests", warning=True)


def outcome_of(served: Sequence[Served], behind: Sequence[Member]) -> tuple[Outcome, bool]:
    """What the containers' answers mean together, and whether commands are owed."""
    answers = [one.answer for one in served if one.answer is not None]
    verdict = settle(answers)
    action, why = verdict.action, verdict.why
    if action is Action.DONE and behind:
        action, why = Action.RETRY, f"{behind[0].container} is caught up later"
    deed = slowest([one.deed for one in served if one.deed is not None])
    outcome = Outcome(
        action,
        why,
        verdict.kind,
        max((one.brought.operations for one in served), default=0),
        max((one.brought.size for one in served), default=0),
        len(answers),
        deed.what if deed is not None else "",
    )
    return outcome, verdict.owed


def slowest(deeds: Collection[Deed]) -> Deed | None:
    """What was done to all of them together: the slowest of those that had effect."""
    done = [one for one in deeds if one.how is How.DONE]
    return max(done, key=lambda one: one.seconds) if done else None
