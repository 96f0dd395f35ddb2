"""An operator that runs: where it acts, who it is, and how it is started and stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from kindling.kube.contexts import KubeContext
from kindling.kube.protocol import Cluster
from kindling.operator.controller.reconcile import BUILD_IMAGE

__all__ = ["BUILD_IMAGE", "Operation", "Phase", "Scope", "Standing", "holder", "start"]


@dataclass(frozen=True, slots=True)
class Scope:
    """Where an operator acts: in some namespaces, or with none named in all of them."""

    namespaces: tuple[str, ...] = ()


class Phase(Enum):
    """What an operator does just now."""

    STARTING = "starting"
    STANDING_BY = "standing by"
    """Another one holds the Lease."""
    ACTING = "acting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Standing:
    """A phase, and who holds the Lease."""

    phase: Phase
    holder: str = ""


class Operation(Protocol):
    """An operator that was started. It runs in a thread and an event loop of its own."""

    @property
    def standing(self) -> Standing: ...

    async def settled(self) -> Standing:
        """Return once it acts or stands by.

        Raises:
            ClusterError: It cannot act: rights or definitions are missing.
        """
        ...

    async def extend(self, namespace: str) -> None:
        """Act in one more namespace; nothing to do where it acts everywhere."""
        ...

    async def stop(self) -> None:
        """Finish what is being written, give the Lease back, close all connections."""
        ...


async def start(
    context: KubeContext,
    environment: dict[str, str],
    scope: Scope,
    *,
    identity: str,
    image: str = BUILD_IMAGE,
    say: Callable[[str], None],
    pools: bool = True,
) -> Operation:
    """Start an operator in this process. `identity` names it in the Lease; `image` is that of build
    agents; `say` takes lines for people, from any thread; `pools`: runner pools too."""
    raise NotImplementedError


async def holder(cluster: Cluster, namespace: str) -> str:
    """Who acts in a namespace: the identity in the Lease in force, empty when nobody does."""
    raise NotImplementedError
