"""What came of running a node, as values that never raise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

__all__ = ["Failure", "FailureKind", "Output", "Verdict"]


@dataclass(frozen=True, slots=True)
class Output:
    """What a node produced. `digest` alone decides whether dependents are dirty.

    `data` is JSON: what successors and `observe` need (an image reference, object identities). It
    never holds a secret's value.
    """

    digest: str
    data: Mapping[str, Any] = field(default_factory=dict, compare=False, hash=False)


class Verdict(Enum):
    """How a due node was settled."""

    UNCHANGED = "unchanged"
    """Same key as its last success and the world still as recorded: nothing ran."""
    RESTORED = "restored"
    """The key is in the action cache: the output was put back, nothing ran."""
    RAN = "ran"
    """The executor ran and succeeded."""
    FAILED = "failed"
    """The executor ran and failed, or could not run."""
    CANCELLED = "cancelled"
    """Cut off before it ended; it counts as never having run."""


class FailureKind(Enum):
    """What kind of thing went wrong, for reports and exit codes."""

    COMMAND = "command"
    """A program exited with a code other than 0."""
    BUILD = "build"
    ROLLOUT = "rollout"
    """Pods do not come up: crash loop, image pull, failed probe, failed job."""
    TIMEOUT = "timeout"
    CLUSTER = "cluster"
    """The API server refused, vanished or timed out."""
    CONTAINER = "container"
    """The Docker engine or a registry refused, vanished or timed out."""
    REFUSED = "refused"
    """kindling itself refuses: another owner's object, a context that is not allowed."""
    HOST = "host"
    """This machine lacks something: a tool, disk space, a permission."""
    BUG = "bug"
    """An exception that no executor foresaw. Ours to mend."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a node failed, in words a user can act on.

    `summary` is one line without the node's name. `details` are further lines: the pod, the
    container, the reason, the exit code, the end of its log. `hint` says what to do next.
    `transient`: the same run may succeed later by itself (the API server went away), so that `up`
    keeps trying.
    """

    kind: FailureKind
    summary: str
    details: tuple[str, ...] = ()
    hint: str = ""
    transient: bool = False
