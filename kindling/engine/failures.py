"""Errors become failures: what a node shows when an exception ended it."""

from __future__ import annotations

import traceback

from kindling.errors import (
    ClusterError,
    ContainerError,
    ContextNotAllowedError,
    ExecutionError,
    HostError,
    KindlingError,
    WorldError,
)
from kindling.graph.outcome import Failure, FailureKind

__all__ = ["failure_of"]

_KINDS: tuple[tuple[type[KindlingError], FailureKind], ...] = (
    (ClusterError, FailureKind.CLUSTER),
    (ContainerError, FailureKind.CONTAINER),
    (HostError, FailureKind.HOST),
    (ExecutionError, FailureKind.COMMAND),
    (ContextNotAllowedError, FailureKind.REFUSED),
)


def failure_of(error: Exception) -> Failure:
    """What a user reads when `error` ended a node. Any but a `KindlingError` is a bug of ours."""
    if isinstance(error, KindlingError):
        kind = next((kind for type_, kind in _KINDS if isinstance(error, type_)), FailureKind.HOST)
        return Failure(
            kind=kind,
            summary=error.message,
            details=error.details,
            hint=error.hint,
            transient=isinstance(error, WorldError) and error.transient,
        )
    return Failure(
        kind=FailureKind.BUG,
        summary=f"this is a bug in kindling: {type(error).__name__}: {error}",
        details=tuple("".join(traceback.format_exception(error)).splitlines()),
        hint="Please report it with the journal of this session (`.kindling/journal`).",
    )
