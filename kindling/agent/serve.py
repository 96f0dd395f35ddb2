"""The agent as a program: the cluster it acts in, the folder it watches, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kindling.agent.agent import BuildAgent, Clock, Limits, Task, Worker
from kindling.agent.applying import apply_manifests
from kindling.agent.folder import Folder
from kindling.agent.kaniko import KanikoBuilder
from kindling.agent.orders import BuildOrder, read_dockerfile, read_reference
from kindling.agent.pods import BuildSettings
from kindling.agent.scripts import run_script
from kindling.agent.signals import Kind
from kindling.errors import ClusterError, UsageError, nearest
from kindling.graph.spec import ObjectRef
from kindling.kube.incluster import IN_CLUSTER

if TYPE_CHECKING:
    from kindling.kube.protocol import Cluster, Object

__all__ = ["Options", "serve", "workers"]

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """How an agent serves. `context`: a context of the kubeconfig; empty for the pod's own
    cluster. `settings.namespace` may be empty: that of the context."""

    builds: Path
    settings: BuildSettings
    limits: Limits = field(default_factory=Limits)
    scripts: float = 900.0
    """Seconds a script may take."""
    context: str = ""


async def serve(options: Options, environment: Mapping[str, str], clock: Clock, say: Say) -> None:
    """Serve until SIGTERM or SIGINT; what is under way then is ended and answered.

    Raises:
        UsageError: It is not clear in which cluster.
        ClusterError: That cluster cannot be reached, or lets us do nothing.
        HostError: The folder cannot be served.
    """
    folder = Folder(options.builds)
    folder.open()
    try:
        async with _connected(options, environment) as cluster:
            namespace = options.settings.namespace or cluster.namespace
            agent, owner = await _identity(cluster, namespace, environment)
            settings = replace(options.settings, namespace=namespace, agent=agent, owner=owner)
            builder = KanikoBuilder(cluster, settings, clock)
            if left := await builder.sweep():
                say(f"deleted {left} pods of builds that an earlier agent left")
            served = BuildAgent(
                folder,
                workers(builder, cluster, options, environment),
                clock,
                say,
                options.limits,
            )
            say(f"serving {options.builds} in the namespace {namespace}")
            async with _stop_signal() as stop, _watching(options.builds, clock, served, say):
                await served.run(stop)
    finally:
        folder.close()


def workers(
    builder: KanikoBuilder, cluster: Cluster, options: Options, environment: Mapping[str, str]
) -> dict[Kind, Worker]:
    """Who carries out each kind of request."""

    async def build(task: Task) -> int:
        dockerfile = read_dockerfile(task.text(".dockerfile"))
        order = BuildOrder(task.request.name, read_reference(task.text(".dest")), dockerfile)
        wanted = dockerfile or "Dockerfile"
        if wanted not in task.contents.files:
            known = [name for name in task.contents.files if "ockerfile" in name]
            told = f"kindling: the context has no `{wanted}`. {nearest(wanted, known)}"
            task.say(told.rstrip())
        return await builder.build(order, task.open_context, task.say)

    async def apply(task: Task) -> int:
        return await apply_manifests(task.text(".yaml"), cluster, task.say)

    async def script(task: Task) -> int:
        return await run_script(
            task.text(".sh"),
            task.say,
            folder=options.builds,
            environment=environment,
            limit=options.scripts,
        )

    return {Kind.BUILD: build, Kind.APPLY: apply, Kind.SCRIPT: script}


@asynccontextmanager
async def _connected(options: Options, environment: Mapping[str, str]) -> AsyncIterator[Cluster]:
    from kindling.kube.client import connect
    from kindling.kube.contexts import read_kubeconfig

    kubeconfig = read_kubeconfig(environment)
    if options.context:
        context = kubeconfig.find(options.context)
    elif kubeconfig.current is not None and kubeconfig.current.name == IN_CLUSTER:
        context = kubeconfig.current
    else:
        raise UsageError(
            "`kindling build-agent` serves the cluster of its own pod, and this is none",
            hint="`kindling build-agent --context NAME` serves one of your kubeconfig",
        )
    if options.settings.namespace:
        context = replace(context, namespace=options.settings.namespace)
    cluster = await connect(context, environment)
    try:
        yield cluster
    finally:
        await cluster.close()


async def _identity(
    cluster: Cluster, namespace: str, environment: Mapping[str, str]
) -> tuple[str, Object | None]:
    """The agent's name in labels, and the pod it runs in, with which its builds are to go."""
    name = environment.get("HOSTNAME") or os.uname().nodename
    label = name
    if len(name) > 63:
        label = f"{name[:50].rstrip('-.')}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    if cluster.context != IN_CLUSTER:
        return label, None
    try:
        pod = await cluster.get(ObjectRef("v1", "Pod", name, namespace))
    except ClusterError:
        return label, None  # a pod that builds in another namespace, or on the host's network
    uid = pod["metadata"]["uid"]
    return label, {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}


@asynccontextmanager
async def _stop_signal() -> AsyncIterator[asyncio.Event]:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for one in signals:
        loop.add_signal_handler(one, stop.set)
    try:
        yield stop
    finally:
        for one in signals:
            loop.remove_signal_handler(one)


@asynccontextmanager
async def _watching(builds: Path, clock: Clock, agent: BuildAgent, say: Say) -> AsyncIterator[None]:
    """Tell the agent of changes in its folder; folders below it are the jobs' own."""
    from kindling.files.ignore import Ignore
    from kindling.files.watching import Watcher, WatchRoot
    from kindling.graph.node import IgnoreRule

    path = await asyncio.to_thread(builds.resolve)
    root = WatchRoot(os.fspath(path), Ignore(path, (IgnoreRule(".", ("*/**",)),)))

    async def pass_on(watcher: Watcher) -> None:
        async for _ in watcher.batches():
            agent.look()

    async with Watcher(clock) as watcher:
        await watcher.watch([root])
        for warning in watcher.warnings:
            say(warning)
        passing = asyncio.create_task(pass_on(watcher), name="build folder")
        try:
            yield
        finally:
            passing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await passing
