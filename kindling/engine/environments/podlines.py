"""What pods say, for `kindling logs` outside a session: of environments, of what they depend on, of
other workloads, and of an operator that is installed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass

from kindling.errors import ClusterError, UsageError, nearest
from kindling.executors.podlogs import PodLogs
from kindling.executors.protocol import Clock, LogSink
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import NotFoundError, UnknownKindError
from kindling.kube.podwatch import PodWatch
from kindling.kube.protocol import Cluster, Object, PodSource
from kindling.objects.pods import container_statuses, pod_name
from kindling.operator.controller.run import holder
from kindling.operator.definitions.core import GROUP, VERSION
from kindling.operator.definitions.environment import KIND
from kindling.operator.install.manifests import INSTALLATION_LABEL, SYSTEM
from kindling.operator.model import Environment, read_environment

__all__ = ["Line", "Source", "find_operator", "find_sources", "follow", "read"]

_API = f"{GROUP}/{VERSION}"
_UPSTREAM = ("control-plane", "controller-manager")
_GONE = re.compile(
    r"rpc error: code = NotFound desc = an error occurred when try to find container "
    r'"[0-9a-f]{64}": not found'
)
"""What a kubelet (of Kubernetes 1.20) writes into the log of a container that is removed while
somebody reads: nothing that its program has said, and nothing is wrong."""
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


@dataclass(frozen=True, slots=True)
class Source:
    """A workload whose pods are read, under the name it was asked for. `container` is the one that
    matters; empty for all of them."""

    name: str
    ref: ObjectRef
    container: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `stream` is `pod/NAME/CONTAINER`."""

    name: str
    stream: str
    text: str


async def find_sources(
    cluster: Cluster, namespace: str, names: Iterable[str], others: Iterable[str] = ()
) -> tuple[Source, ...]:
    """The workloads of names: `orders` is an environment's app (or a Deployment or StatefulSet),
    `orders/postgres` a dependency of it. `others` are names that mean something elsewhere.

    Raises:
        UsageError: Nothing is called so.
    """
    known: dict[str, ObjectRef] = {}
    for kind in ("StatefulSet", "Deployment"):
        listing = await cluster.list("apps/v1", kind, namespace=namespace)
        for one in listing.items:
            name = one["metadata"]["name"]
            known[name] = ObjectRef("apps/v1", kind, name, one["metadata"]["namespace"])
    try:
        environments = (await cluster.list(_API, KIND, namespace=namespace)).items
    except UnknownKindError:
        environments = ()
    for item in environments:
        environment = read_environment(item)
        if isinstance(environment, Environment):
            known.update(_parts(environment))
    found: list[Source] = []
    for name in names:
        if name not in known:
            raise UsageError(
                f"nothing is called `{name}`, neither in the log of this project nor in the "
                f"namespace `{namespace}`",
                hint=nearest(name, sorted({*known, *others})),
            )
        found.append(Source(name, known[name]))
    return tuple(found)


def _parts(environment: Environment) -> dict[str, ObjectRef]:
    place = environment.namespace
    parts = {environment.name: ObjectRef("apps/v1", "Deployment", environment.base, place)}
    for one in environment.dependencies:
        child = ObjectRef("apps/v1", "Deployment", environment.child(one), place)
        parts[f"{environment.name}/{one.name}"] = child
    return parts


async def find_operator(cluster: Cluster, *, every: bool) -> tuple[Source, ...]:
    """The operators that are installed in a cluster, ours and upstream's; with `every`, all of
    their containers.

    Raises:
        ClusterError: None is installed; the hint says who acts nevertheless.
    """
    listing = await cluster.list("apps/v1", "Deployment")
    found: list[Source] = []
    for one in listing.items:
        metadata = one["metadata"]
        labels = metadata.get("labels") or {}
        ours = INSTALLATION_LABEL in labels
        theirs = metadata["namespace"] == SYSTEM and _UPSTREAM in labels.items()
        if ours or theirs:
            ref = ObjectRef("apps/v1", "Deployment", metadata["name"], metadata["namespace"])
            found.append(Source("operator", ref, "" if every else _main_container(one)))
    if not found:
        who = await holder(cluster, SYSTEM) or await holder(cluster, cluster.namespace)
        acts = f"`{who}` acts, and says what it does where it runs. " if who else ""
        raise ClusterError(
            "no operator is installed in this cluster",
            hint=f"{acts}`kindling operator install` installs one.",
        )
    return tuple(found)


def _main_container(deployment: Object) -> str:
    template = deployment["spec"]["template"]
    names = [str(one["name"]) for one in template["spec"]["containers"]]
    said = ((template.get("metadata") or {}).get("annotations") or {}).get(_DEFAULT_CONTAINER)
    if said in names:
        return str(said)
    return "manager" if "manager" in names else names[0]


async def read(
    cluster: Cluster,
    sources: Sequence[Source],
    *,
    since: float | None = None,
    tail: int | None = None,
) -> AsyncGenerator[Line, None]:
    """What there is, pod by pod and container by container; `tail` lines of each at most."""
    for source in sources:
        try:
            pods = await cluster.pods_of(PodSource((source.ref,)))
        except NotFoundError:
            continue
        for pod in pods:
            for container in _started(pod, source):
                lines = cluster.logs(
                    source.ref.namespace, pod_name(pod), container, tail=tail, since=since
                )
                async with aclosing(lines) as received:
                    try:
                        async for line in received:
                            yield Line(source.name, f"pod/{pod_name(pod)}/{container}", line)
                    except NotFoundError:
                        break  # the pod went while we read


def _started(pod: Object, source: Source) -> list[str]:
    """The containers that have said anything, or could have."""
    return [
        str(status["name"])
        for status in container_statuses(pod)
        if source.container in ("", status["name"])
        and (set(status.get("state") or {}) & {"running", "terminated"} or status.get("lastState"))
    ]


async def follow(
    cluster: Cluster,
    sources: Sequence[Source],
    sink: Callable[[Line], None],
    clock: Clock,
    *,
    since: float | None = None,
    tail: int | None = None,
) -> None:
    """What there is and what comes, of pods that come as well, until the task is cancelled.

    Raises:
        ClusterError: The pods cannot be watched.
    """
    begin = clock.time() - since if since is not None else 0.0
    async with AsyncExitStack() as stack:
        work = []
        for source in sources:
            logs = PodLogs(cluster, _sink(source, sink), clock, begin, tail=tail)
            stack.push_async_callback(logs.close)
            watch = PodWatch(cluster, (source.ref,), ())
            stack.push_async_callback(watch.close)
            work.append(_follow(source, watch, logs))
        await asyncio.gather(*work)


async def _follow(source: Source, watch: PodWatch, logs: PodLogs) -> None:
    await watch.start()
    while True:
        watch.changed.clear()
        if watch.error is not None:
            raise watch.error
        if watch.complete:
            logs.update(watch.pods(source.ref))
        await watch.changed.wait()


def _sink(source: Source, sink: Callable[[Line], None]) -> LogSink:
    def take(line: str, stream: str = "") -> None:
        if source.container in ("", stream.rpartition("/")[2]) and not _GONE.fullmatch(line):
            sink(Line(source.name, stream, line))

    return take
