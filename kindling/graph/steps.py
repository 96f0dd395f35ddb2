"""The steps of a live update: what is done to a running container when files change.

The language declares them, the graph carries them in the spec of a sync node, and
`kindling.sync.rules` decides by them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kindling.graph.place import Where

__all__ = [
    "LEFT_OUT",
    "FallBackOn",
    "InitialSync",
    "LiveUpdateStep",
    "RestartContainer",
    "RunStep",
    "SyncStep",
]

_NOT_IN_KEY: dict[str, Any] = {"key": False}

LEFT_OUT = (
    "**/node_modules",
    "**/vendor",
    "**/dist",
    "**/target",
    "**/.next",
    "**/.gradle",
    "**/.zig-cache",
    "**/.venv",
    "**/.tox",
    "**/.mypy_cache",
    "**/.pytest_cache",
    "**/.ruff_cache",
    "**/__pycache__",
    "**/*.pyc",
    "**/.DS_Store",
)
"""What package managers, builds and tools make for the machine they run on. Left out where a folder
goes into a container whose image is made elsewhere, relative to that folder; `!**/dist` after them
takes one in again."""


@dataclass(frozen=True, slots=True)
class InitialSync:
    """All files of every sync go over when the container starts."""

    where: Where = field(default=Where(), compare=False, metadata=_NOT_IN_KEY)


@dataclass(frozen=True, slots=True)
class FallBackOn:
    """A change of one of these paths means a full build."""

    paths: tuple[str, ...]
    where: Where = field(default=Where(), compare=False, metadata=_NOT_IN_KEY)


@dataclass(frozen=True, slots=True)
class SyncStep:
    """A local file or folder and the absolute path it has in the container.

    `remote` keeps a final `/`: a file synced to `dir/` keeps its name.
    """

    local: str
    remote: str
    ignore: tuple[str, ...] = ()
    where: Where = field(default=Where(), compare=False, metadata=_NOT_IN_KEY)


@dataclass(frozen=True, slots=True)
class RunStep:
    """A command to run in the container after files went over.

    With `triggers`, only when one of these paths changed.
    """

    argv: tuple[str, ...]
    triggers: tuple[str, ...] = ()
    echo_off: bool = False
    where: Where = field(default=Where(), compare=False, metadata=_NOT_IN_KEY)


@dataclass(frozen=True, slots=True)
class RestartContainer:
    """Restart the container's process after the other steps."""

    where: Where = field(default=Where(), compare=False, metadata=_NOT_IN_KEY)


LiveUpdateStep = InitialSync | FallBackOn | SyncStep | RunStep | RestartContainer
"""Steps come in this order: initial sync, fall back, syncs, runs, restart. That was checked."""
