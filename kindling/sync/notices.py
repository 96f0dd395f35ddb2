"""What a sync session tells those who look on. Plain values; `kindling.cli.sync` and the executor
of sync nodes turn them into lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = [
    "Acted",
    "Built",
    "Carried",
    "Found",
    "Notice",
    "Reached",
    "Released",
    "Remark",
    "Tell",
]


@dataclass(frozen=True, slots=True)
class Found:
    """What the containers run and what will be done: `lines` are those of `runtimes.plan.lines`,
    tips and warnings apart."""

    runtime: str
    strategy: str
    watching: str
    tips: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reached:
    """A container is linked and equal to the source. `why` is empty at the start of a session, and
    says what happened later: `new pod`, `container restarted`, `connection lost`, `disk full`,
    `drift`."""

    container: str
    way: str
    files: int
    size: int
    seconds: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Carried:
    """One batch was brought over. `names` are the first few changed paths, as the user knows them,
    `count` how many there were, `deleted` how many of them went; `size` bytes on the wire to one
    container, `containers` how many got it; `seconds` from the first event of the batch until it
    was in all of them."""

    names: tuple[str, ...]
    count: int
    deleted: int
    size: int
    containers: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Acted:
    """The program was told (`SIGHUP`), or started again (`restart`): what was done, in words, and
    how long until it had effect."""

    what: str
    seconds: float
    containers: int = 1


@dataclass(frozen=True, slots=True)
class Built:
    """A local build ended. `ok` False: the pods are as they were; `output` are its last lines."""

    what: str
    seconds: float
    ok: bool = True
    output: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Remark:
    """Something the user should know: a refused file, a command that failed, a container that is
    waited for."""

    text: str
    warning: bool = False
    details: tuple[str, ...] = ()
    hint: str = ""
    logged: bool = False
    """The details are lines of the pods' logs, for who does not follow those."""


@dataclass(frozen=True, slots=True)
class Released:
    """The session let go of the workload. `text` says what was put back."""

    text: str
    exact: bool = True
    details: tuple[str, ...] = ()


Notice = Found | Reached | Carried | Acted | Built | Remark | Released
Tell = Callable[[Notice], None]
