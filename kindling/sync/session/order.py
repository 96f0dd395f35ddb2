"""What is asked of a session, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from kindling.graph.spec import ObjectRef
from kindling.lang.declared import LiveUpdateStep
from kindling.sync.rules.failures import Action
from kindling.sync.rules.landing import Context
from kindling.sync.runtimes.plan import Overrides

__all__ = ["Order", "Outcome", "Report", "Standing"]


@dataclass(frozen=True, slots=True)
class Order:
    """A session as someone wants it.

    `steps` and `context` say what lands where (`kindling.sync.rules.landing`). Whether anything is
    done beyond carrying files is `overrides.restart`.
    """

    workload: ObjectRef
    """A Deployment or StatefulSet, with its namespace."""
    steps: tuple[LiveUpdateStep, ...]
    context: Context
    container: str = ""
    """Empty: the default one of the pod template."""
    also: tuple[str, ...] = ()
    """Others that run the same image, and get the same files. Not where anything is restarted:
    what runs in them may be another thing."""
    overrides: Overrides = field(default_factory=Overrides)
    mirror: bool = False
    """What the container has of its own below the destinations goes, too."""
    everything: bool = True
    """At its start a container gets all that the steps cover. False: what `SyncSession.changed`
    has named since the session began, and nothing else."""
    exclude: tuple[str, ...] = ()
    """Patterns as in `.dockerignore`, relative to the context's root."""
    gone_after: float | None = None
    """How many seconds the workload may be gone before the session ends. None: it is waited for,
    however long that takes."""
    name: str = ""
    """The session's name, of the letters a Kubernetes name may have; empty: made from the
    workload's."""
    who: str = ""
    """For the annotation; empty: this user on this machine."""
    what: str = ""
    """The folder or resource as the user knows it."""
    source: str = "."
    """How messages call the source, and the destination."""
    destination: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a change came to in all containers together (`kindling.sync.rules.failures`).

    `REBUILD`: carrying cannot make the containers equal, or a step says so; `why` says which.
    `RETRY` and `WAIT`: what is missing is caught up by `SyncSession.follow`, nothing is lost.
    """

    action: Action
    why: str = ""
    kind: str = ""
    """The letter of the failure, empty where all went well."""
    places: int = 0
    """How many paths were brought over or taken away."""
    size: int = 0
    """Bytes on the wire to one container."""
    containers: int = 0
    acted: str = ""
    """What was done to the program, in words; empty: nothing."""
    built: bool | None = None
    """Whether the local build went well; None: there was none."""

    @property
    def ok(self) -> bool:
        return self.action is Action.DONE and self.built is not False


@dataclass(frozen=True, slots=True)
class Standing:
    """How the containers stand, as often as it changes."""

    containers: int
    """How many there are."""
    equal: int
    """How many of them are linked and hold what they should."""
    waiting: str = ""
    """What is waited for, in words; empty: nothing."""
    down: int = 0
    """In how many of them the program has ended, and is not yet started again."""

    @property
    def ready(self) -> bool:
        return self.containers > 0 and self.equal == self.containers and not self.down


Report = Callable[[Standing], None]
