"""What every pod of a node works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kindling.cluster.events import EventRecorder
from kindling.cluster.images.protocol import Images
from kindling.cluster.model.api import Api
from kindling.cluster.node.clock import Clock
from kindling.cluster.node.names import Resolver
from kindling.cluster.node.pulling import Puller
from kindling.cluster.node.volumes import TokenIssuer
from kindling.cluster.runtime.protocol import Runtime

__all__ = ["Site"]


@dataclass(frozen=True, slots=True)
class Site:
    """The node's doors and figures. `folder` holds a folder for each pod, by UID."""

    name: str
    folder: Path
    api: Api
    runtime: Runtime
    images: Images
    puller: Puller
    tokens: TokenIssuer | None
    clock: Clock
    events: EventRecorder
    resolver: Resolver
    dns_address: str
    allocatable: Mapping[str, str]
