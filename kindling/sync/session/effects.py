"""Whether what was done to a program had an effect. Pure: what ran before, and what runs now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kindling.sync.protocol import Process
from kindling.sync.runtimes.detect import process_of
from kindling.sync.runtimes.runtime import Check

__all__ = ["Effect", "Target", "effect", "ended", "target", "unsupervised"]


@dataclass(frozen=True, slots=True)
class Target:
    """Who gets a signal, and what ran when it was sent."""

    process: Process
    before: frozenset[tuple[int, int]]
    """Every process then, by id and start."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What is seen of a signal: it worked, or `gone`, the process is no more."""

    seen: bool
    gone: bool = False


def target(key: str, processes: Sequence[Process]) -> Target | None:
    """The process that a signal goes to: 1, or with a `key` the one that is the server's own;
    None: there is none."""
    number: int | None = 1
    if key:
        lines = (
            (one.pid, "\0".join(one.argv).encode(errors="surrogateescape")) for one in processes
        )
        number = process_of(key, lines)
    found = next((one for one in processes if one.pid == number), None)
    if found is None:
        return None
    return Target(found, frozenset((one.pid, one.started) for one in processes))


def effect(check: Check, aim: Target, processes: Iterable[Process]) -> Effect:
    """What `check` finds in what runs now."""
    now = {one.pid: one for one in processes}
    found = now.get(aim.process.pid)
    if found is None or found.started != aim.process.started:
        return Effect(False, gone=True)
    if check is Check.NEW_CHILDREN:
        new = (one for one in now.values() if one.parent == found.pid)
        return Effect(any((one.pid, one.started) not in aim.before for one in new))
    if check is Check.NEW_IMAGE:
        return Effect(found.image != aim.process.image)
    # A signal is no way to a new process, and nothing is to be seen of the rest.
    return Effect(check is Check.NOTHING)


def ended(code: int) -> str:
    """How a program ended, in words."""
    return f"signal {code - 128}" if 128 < code < 193 else f"exit code {code}"


def unsupervised(argv: Sequence[str]) -> tuple[str, ...]:
    """The program's own arguments, where the first process is our supervisor of it."""
    words = tuple(argv)
    if len(words) > 1 and words[1] == "supervise" and words[0].endswith("/agent") and "--" in words:
        return words[words.index("--") + 1 :]
    return words
