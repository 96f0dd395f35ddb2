"""What an evaluation is given: the world as far as a Kindlingfile may see it.

Everything a file can depend on besides the disk comes in here, so that one evaluation is a function
of its inputs. What the language must know of clusters comes through `ContextSource`, which `kube`
implements.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from kindling.graph.node import Where

__all__ = [
    "CommandMemo",
    "ContextInfo",
    "ContextSource",
    "EvaluationInputs",
    "NoContext",
]


@dataclass(frozen=True, slots=True)
class ContextInfo:
    """A kubeconfig context. `allowed`: it leads to a known local cluster, so that nobody need allow
    it."""

    name: str
    namespace: str = "default"
    allowed: bool = False


class ContextSource(Protocol):
    """Which clusters this machine knows."""

    def context(self, name: str = "") -> ContextInfo | None:
        """The context of that name, or the current one; None where there is none."""
        ...


class NoContext:
    """A machine without a kubeconfig."""

    def context(self, name: str = "") -> ContextInfo | None:  # noqa: ARG002
        return None


class CommandMemo(Protocol):
    """What `local(deps=...)` printed in earlier evaluations. Keys are digests of command and
    inputs."""

    def recall(self, key: str) -> str | None: ...

    def remember(self, key: str, output: str) -> None: ...


def _silent(where: Where, line: str) -> None:
    pass


def _never() -> bool:
    return False


@contextmanager
def _unguarded() -> Iterator[Mapping[str, str]]:
    yield {}


@dataclass(frozen=True, slots=True)
class EvaluationInputs:
    """The inputs of one evaluation.

    `args` are the words after `--`, `names` those before it (they select resources, whatever the
    file says). `subcommand` is what `config.tilt_subcommand` tells the file. `time_limit` is in
    seconds and counts the file's own work, not the commands it waits for, each of which has
    `command_limit`. `output` gets every line that `print()` and noisy commands write, with its
    place. `guard` is entered around every command, and gives the variables by which the command is
    found and ended, should kindling be killed meanwhile.
    """

    args: tuple[str, ...] = ()
    subcommand: str = "up"
    names: tuple[str, ...] = ()
    contexts: ContextSource = field(default_factory=NoContext)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    time_limit: float = 60.0
    command_limit: float = 600.0
    cancelled: Callable[[], bool] = _never
    memo: CommandMemo | None = None
    output: Callable[[Where, str], None] = _silent
    guard: Callable[[], AbstractContextManager[Mapping[str, str]]] = _unguarded
