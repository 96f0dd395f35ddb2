"""Every error that a user may see, as one tree.

    KindlingError                  prints without a traceback; its text is all a user gets
      UsageError                   exit 2: wrong words on the command line
      ConfigError                  exit 2: a Kindlingfile that says something wrong
      GraphError                   exit 2: declarations that cannot be one graph (cycles, clashes)
      ContextNotAllowedError       exit 2: a cluster that nobody allowed us to touch
      WorldError                   exit 1: the user's world failed
        ExecutionError             a build, a command, a rollout or a test failed
        ClusterError               the API server refused, vanished or timed out
        ContainerError             the Docker engine or a registry refused, vanished or timed out
        HostError            this machine lacks something: a tool, disk space, a permission
        StoreError                 `.kindling` cannot be read or written
      InterruptError            exit 130: work was cut off by Ctrl-C

Anything else that reaches the top is a bug of ours and is printed with its traceback. Rooms
translate foreign exceptions into this tree in one function each and chain the original.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "ClusterError",
    "ConfigError",
    "ContainerError",
    "ContextNotAllowedError",
    "ExecutionError",
    "GraphError",
    "HostError",
    "InterruptError",
    "KindlingError",
    "StoreError",
    "UsageError",
    "WorldError",
    "nearest",
]


class KindlingError(Exception):
    """Something a user can act on.

    `message` says what is wrong, in one sentence that begins with the place where one is known
    (`Kindlingfile:12:5: ...`). `details` are further lines (an excerpt with a caret, the end of a
    log). `hint` says what to do next.
    """

    exit_code = 1

    def __init__(self, message: str, *, details: Iterable[str] = (), hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.details = tuple(details)
        self.hint = hint

    def render(self) -> str:
        """The text as a terminal shows it, without colour."""
        lines = [self.message, *(f"  {line}" for line in self.details)]
        lines += [f"  {line}" for line in self.hint.splitlines()]
        return "\n".join(lines)


class UsageError(KindlingError):
    """Wrong words on the command line."""

    exit_code = 2


class ConfigError(KindlingError):
    """A Kindlingfile that says something wrong; the message begins with file, line and column."""

    exit_code = 2


class GraphError(KindlingError):
    """Declarations that are fine one by one and impossible together, such as a cycle."""

    exit_code = 2


class ContextNotAllowedError(KindlingError):
    """A cluster that is not local and that the Kindlingfile does not allow."""

    exit_code = 2


class WorldError(KindlingError):
    """The user's world failed while kindling did what it was asked.

    `transient`: the very same attempt may work later by itself, such as after the API server came
    back.
    """

    def __init__(
        self,
        message: str,
        *,
        details: Iterable[str] = (),
        hint: str = "",
        transient: bool = False,
    ) -> None:
        super().__init__(message, details=details, hint=hint)
        self.transient = transient


class ExecutionError(WorldError):
    """A build, a command, a rollout or a test failed."""


class ClusterError(WorldError):
    """The API server refused, vanished or timed out."""


class ContainerError(WorldError):
    """The Docker engine or a registry refused, vanished or timed out."""


class HostError(WorldError):
    """This machine lacks something: a tool, disk space, a permission."""


class StoreError(WorldError):
    """`.kindling` cannot be read or written."""


class InterruptError(KindlingError):
    """Ctrl-C cut off work that was under way."""

    exit_code = 130


def nearest(word: str, known: Iterable[str]) -> str:
    """`Did you mean ...?` for the known word closest to `word`, or an empty string."""
    matches = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"Did you mean `{matches[0]}`?" if matches else ""
