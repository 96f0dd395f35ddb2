"""What the answers of the containers mean, once a batch was sent.

Seven ways to fail, and what Tilt does about each:

    (a) a command failed in every container
        Tilt: an error, no rebuild, the command forgotten. Here: an error at once, the files stay,
        and the command is owed: it runs with the next batch.
    (b) the way to the container failed (a cut connection, no permission)
        Tilt: an error; the change is used up, and the rebuild comes with the next save. Here: the
        change is kept and tried again, and rebuilt at once when that does not help or cannot.
    (c) containers differ: a command failed in one and worked in another
        Tilt: rebuild. Here too: nothing else makes them equal.
    (d) the container crashes again and again
        Tilt: rebuild. Here: only where nothing supervises the program. A supervisor outlives it,
        and the next save may be the mend.
    (e) the containers have ended
        Tilt: an error. Here: waited for what comes in their place, which is caught up.
    (f) the container has not started yet
        Tilt: waits, and holds builds back. Here too; it is brought up to date by what differs then,
        so nothing is lost however long it takes.
    (g) the container's disk is full
        Tilt: an error, as in (b). Here: said at once, and tried again with each save and between
        them until there is room; a rebuild would need yet more of it. What is there stays whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

__all__ = ["TRIES", "Action", "Answer", "Outcome", "Verdict", "settle"]

TRIES = 3
"""How often the way to a container is tried before the image is rebuilt."""


class Outcome(Enum):
    """How it went in one container."""

    DONE = "done"
    COMMAND_FAILED = "command failed"
    CUT_OFF = "cut off"
    """It could not be reached, or broke off midway: another attempt may work."""
    CANNOT = "cannot"
    """It will never work in this container, such as without permission."""
    NO_ROOM = "no room"
    """Its disk is full. The next save may be what makes room."""
    CRASHING = "crashing"
    ENDED = "ended"
    NOT_STARTED = "not started"


class Action(Enum):
    """What to do next."""

    DONE = "done"
    REPORT = "report"
    RETRY = "retry"
    WAIT = "wait"
    REBUILD = "rebuild"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one container answered. `tries` counts the attempts so far, this one included."""

    pod: str
    container: str
    outcome: Outcome
    text: str = ""
    tries: int = 1
    supervised: bool = False

    def __str__(self) -> str:
        said = f": {self.text}" if self.text else ""
        return f"`{self.container}` in pod `{self.pod}`{said}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, why, and with which containers; `kind` is the letter above.

    `owed`: the commands must run again with the next batch.
    """

    action: Action
    why: str = ""
    kind: str = ""
    pods: tuple[str, ...] = ()
    owed: bool = False


def settle(answers: Sequence[Answer]) -> Verdict:
    """What the answers mean together. No answer at all: no container has started yet."""
    by = {outcome: [one for one in answers if one.outcome is outcome] for outcome in Outcome}
    failed, done = by[Outcome.COMMAND_FAILED], by[Outcome.DONE]
    crashing = [one for one in by[Outcome.CRASHING] if not one.supervised]
    # What supervises goes on while the program crashes, so the way to it is merely cut.
    cut = [*by[Outcome.CUT_OFF], *(one for one in by[Outcome.CRASHING] if one.supervised)]
    tired = [*by[Outcome.CANNOT], *(one for one in cut if one.tries >= TRIES)]
    if crashing:
        return _verdict(Action.REBUILD, "d", "the container crashes again and again", crashing)
    if tired:
        return _verdict(Action.REBUILD, "b", "the files cannot be brought over", tired)
    if failed and done:
        return _verdict(
            Action.REBUILD, "c", "a command failed in one container and not in all", failed
        )
    if by[Outcome.NO_ROOM]:
        return _verdict(
            Action.RETRY, "g", "there is no room", by[Outcome.NO_ROOM], owed=bool(failed)
        )
    if cut:
        return _verdict(Action.RETRY, "b", "the connection was lost", cut, owed=bool(failed))
    if failed:
        return _verdict(Action.REPORT, "a", "a command failed", failed, owed=True)
    if by[Outcome.NOT_STARTED]:
        return _verdict(Action.WAIT, "f", "the container has not started", by[Outcome.NOT_STARTED])
    if done:
        return Verdict(Action.DONE)
    if answers:
        return _verdict(Action.WAIT, "e", "the container has ended", by[Outcome.ENDED])
    return Verdict(Action.WAIT, "no container has started yet", "f")


def _verdict(
    action: Action, kind: str, why: str, answers: Sequence[Answer], *, owed: bool = False
) -> Verdict:
    more = f" (and {len(answers) - 1} more)" if len(answers) > 1 else ""
    pods = tuple(one.pod for one in answers)
    return Verdict(action, f"{why}: {answers[0]}{more}", kind, pods, owed)
