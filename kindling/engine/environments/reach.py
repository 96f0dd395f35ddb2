"""The cluster that a command without a session talks to: chosen by the rule of `up`, named in a
sentence, reached once."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from kindling.engine.embedded import reached, with_embedded
from kindling.engine.options import SessionOptions
from kindling.errors import ClusterError
from kindling.kube.contexts import KubeContext, Target, choose_target, read_kubeconfig
from kindling.kube.protocol import Cluster

__all__ = ["Reached", "Wanted", "connected", "find_target", "reach"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which cluster a command line asks for. `file` is a Kindlingfile that need not exist; `reads`
    says that nothing will be changed there, so that a context which was named needs no further
    leave."""

    file: Path
    context: str = ""
    reads: bool = False


@dataclass(frozen=True, slots=True)
class Reached:
    """A cluster that has answered, and the way there for whoever opens another one."""

    cluster: Cluster
    target: Target
    context: KubeContext
    environment: Mapping[str, str]

    @property
    def namespace(self) -> str:
        """Where things are whose namespace nobody says."""
        return self.target.context.namespace


async def find_target(wanted: Wanted, environment: Mapping[str, str]) -> Target:
    """The cluster: of the context that was named, else of the Kindlingfile, else as `auto`.

    Raises:
        KindlingError: None can be chosen, it is not allowed, or the file is wrong.
    """
    environment = with_embedded(environment)
    if wanted.reads and wanted.context:
        kubeconfig = await asyncio.to_thread(read_kubeconfig, environment)
        return Target(kubeconfig.find(wanted.context), "it was asked for by name")
    if not wanted.file.is_file():
        kubeconfig = await asyncio.to_thread(read_kubeconfig, environment)
        provider = "context" if wanted.context else "auto"
        target = choose_target(kubeconfig, provider, wanted.context)
    else:
        # The language and the graph, which a folder without a Kindlingfile has no use for.
        from kindling.engine.run import open_tools

        options = SessionOptions(file=wanted.file, command="up", context=wanted.context)
        opened = open_tools(
            options, environment=environment, say=lambda _where, _line: None, need_target=False
        )
        async with opened as tools:
            target = await tools.project.choose()
    if wanted.context:
        return Target(target.context, "it was asked for by name")
    return target


@asynccontextmanager
async def reach(
    target: Target, environment: Mapping[str, str], *, start: bool, limit: float | None = None
) -> AsyncIterator[Reached]:
    """The cluster of `target`, for as long as the context is open. An embedded one is started only
    where `start` says so; `limit` is how many seconds its answer may take.

    Raises:
        ClusterError: It is stopped, cannot be reached, or does not answer in time.
    """
    environment = with_embedded(environment)
    # What it takes to load the client is no part of the time that the cluster takes.
    await asyncio.to_thread(importlib.import_module, "kindling.kube.client")
    try:
        async with asyncio.timeout(limit):
            context, found = await reached(target.context, environment, start=start)
            cluster = await connected(context, found)
    except TimeoutError:
        raise ClusterError(
            f"it does not answer within {limit or 0:.0f} s", transient=True
        ) from None
    try:
        yield Reached(cluster, target, context, found)
    finally:
        await cluster.close()


async def connected(context: KubeContext, environment: Mapping[str, str]) -> Cluster:
    """A connection to the cluster of a context, once it has answered."""
    from kindling.kube.client import connect

    return await connect(context, environment)
