"""The signal files, as names: what a folder's entries ask for.

    written by the job (the trigger last)    written by the agent, in this order
    N.tar.gz N.dest [N.dockerfile] N.request   N.log N.exitcode N.done
    N.yaml N.apply                             N.apply-log N.apply-exitcode N.apply-done
    N.sh N.kubectl                             N.kubectl-log N.kubectl-exitcode N.kubectl-done

A trigger that was taken is called `N.request.processing` until its answer is there. Whoever removes
that file takes the request back; a new trigger of the same name takes its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

__all__ = ["PROCESSING", "Kind", "Request", "Survey", "survey", "wrong_name"]

PROCESSING = ".processing"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_MAX_NAME = 200
"""So that every file's name has at most 255 bytes."""


class Kind(Enum):
    """What may be asked for; the value is the ending of the trigger."""

    BUILD = ".request"
    APPLY = ".apply"
    SCRIPT = ".kubectl"

    @property
    def required(self) -> tuple[str, ...]:
        """Endings of the files without which a request is nothing."""
        return _REQUIRED[self]

    @property
    def optional(self) -> tuple[str, ...]:
        return (".dockerfile",) if self is Kind.BUILD else ()

    @property
    def answers(self) -> tuple[str, str, str]:
        """Endings of log, exit code and completion, in the order in which they appear."""
        head = "." if self is Kind.BUILD else f"{self.value}-"
        return f"{head}log", f"{head}exitcode", f"{head}done"


_REQUIRED = {
    Kind.BUILD: (".tar.gz", ".dest"),
    Kind.APPLY: (".yaml",),
    Kind.SCRIPT: (".sh",),
}


@dataclass(frozen=True, slots=True)
class Request:
    """One thing asked for. There is at most one of a kind and a name at any time."""

    kind: Kind
    name: str

    @property
    def trigger(self) -> str:
        return self.name + self.kind.value

    @property
    def processing(self) -> str:
        return self.trigger + PROCESSING

    @property
    def log(self) -> str:
        return self.name + self.kind.answers[0]

    @property
    def exitcode(self) -> str:
        return self.name + self.kind.answers[1]

    @property
    def done(self) -> str:
        return self.name + self.kind.answers[2]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The files that may come with it."""
        return tuple(self.name + end for end in (*self.kind.required, *self.kind.optional))

    def __str__(self) -> str:
        return ascii(self.trigger)[1:-1]


@dataclass(frozen=True, slots=True)
class Survey:
    """What the entries of the folder mean. `stale`: answers to earlier requests, for whose names
    something newer has come since."""

    triggers: tuple[Request, ...]
    taken: frozenset[Request]
    stale: tuple[Request, ...]


def survey(entries: Mapping[str, int]) -> Survey:
    """Read the folder: names of its files with the times when they were written."""
    triggers: list[Request] = []
    taken: set[Request] = set()
    stale: list[Request] = []
    for entry in sorted(entries):
        for kind in Kind:
            if entry.endswith(kind.value):
                triggers.append(Request(kind, entry.removesuffix(kind.value)))
            elif entry.endswith(kind.value + PROCESSING):
                taken.add(Request(kind, entry.removesuffix(kind.value + PROCESSING)))
            elif entry.endswith(kind.answers[2]):
                request = Request(kind, entry.removesuffix(kind.answers[2]))
                if any(entries.get(one, 0) > entries[entry] for one in request.inputs):
                    stale.append(request)
    order = list(Kind)
    triggers.sort(key=lambda one: (order.index(one.kind), one.name))
    return Survey(tuple(triggers), frozenset(taken), tuple(stale))


def wrong_name(name: str) -> str:
    """Why a request may not be called that; empty when it may."""
    if not name:
        return "a name is missing before the ending"
    if len(name) > _MAX_NAME:
        return f"a name has at most {_MAX_NAME} characters"
    if ".." in name:
        return "`..` may not be part of a name"
    if not _NAME.match(name):
        return "a name has letters, digits, `.`, `_` and `-` only, and begins with one of the first"
    return ""
