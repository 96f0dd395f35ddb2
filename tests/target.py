"""What tests marked `cluster` must know of the cluster that KUBECONFIG names: who builds its
images, and how they come to its node. The embedded cluster does both by itself; others have a
Docker engine for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from kindling.build.docker_engine import connect
from kindling.build.protocol import ContainerEngine
from kindling.cluster.home import ClusterHome
from kindling.engine.embedded import home_of, node_images
from kindling.executors.protocol import ProcessRunner
from kindling.kube.contexts import read_kubeconfig

__all__ = ["connect_engine", "embedded", "engine_environment", "way"]


@cache
def embedded() -> ClusterHome | None:
    """The embedded cluster that the current context leads to; None for any other cluster."""
    context = read_kubeconfig(os.environ).current
    home = home_of(context, os.environ) if context is not None else None
    return home if home is not None and home.exists else None


def engine_environment() -> Mapping[str, str]:
    """The environment in which `docker` and the SDK reach the engine that builds for the target."""
    home = embedded()
    return {
        **os.environ,
        **({"DOCKER_HOST": f"unix://{home.engine_socket}"} if home is not None else {}),
    }


async def connect_engine(programs: ProcessRunner, root: Path) -> ContainerEngine:
    """The engine that sessions against the target use."""
    home = embedded()
    if home is not None:
        return await node_images(home, programs, os.environ, root)
    return await connect(programs, os.environ, root)


def way() -> str:
    """The kind of node that brings an image to the cluster: `load`, or `push` where it has a
    registry to pull from."""
    return "load" if embedded() is not None else "push"
