"""Looks at a cluster for `kindling status`: everything at once, and what may not be read is a
note."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from kindling.engine.environments import overview as shape
from kindling.engine.environments.overview import Operator, Overview, Sick
from kindling.engine.environments.reach import Wanted, find_target, reach
from kindling.errors import ClusterError, KindlingError
from kindling.executors.podlogs import last_lines
from kindling.kube.contexts import Target
from kindling.kube.errors import ForbiddenError, UnknownKindError
from kindling.kube.protocol import Cluster, Object
from kindling.operator.controller.run import holder
from kindling.operator.definitions.core import GROUP, VERSION
from kindling.operator.definitions.environment import KIND
from kindling.operator.definitions.pool import POOL_KINDS
from kindling.operator.install.manifests import INSTALLATION_LABEL, SYSTEM

__all__ = ["Holder", "look", "look_at"]

Holder = Callable[[Cluster, str], Awaitable[str]]

ANSWER_LIMIT = 3.0
"""Seconds that a cluster may take to answer at all."""

_ASK_LIMIT = 10.0
_LOG_LINES = 15
_LOGS_OF = 12
"""Of how many pods logs are read: where everything ails, the first ones say why."""


async def look(
    wanted: Wanted, environment: Mapping[str, str], *, namespace: str = "", everywhere: bool = False
) -> Overview:
    """What stands in the cluster that is wanted. Never raises `KindlingError`: why nothing can be
    told is in `problem`."""
    target: Target | None = None
    try:
        target = await find_target(wanted, environment)
        async with reach(target, environment, start=False, limit=ANSWER_LIMIT) as reached:
            looked_in = namespace
            if not looked_in and not everywhere and not target.context.local:
                looked_in = reached.namespace
            return await look_at(reached.cluster, target, looked_in)
    except KindlingError as error:
        name, why = (target.context.name, target.reason) if target else ("", "")
        return Overview(name, why, problem=error.message.splitlines()[0], hint=error.hint)


async def look_at(
    cluster: Cluster, target: Target, namespace: str = "", *, holder: Holder = holder
) -> Overview:
    """What stands in a cluster that answers, in one namespace or in all.

    Raises:
        ClusterError: It has stopped answering.
    """
    notes: list[str] = []

    async def every(api_version: str, kind: str, *, wide: bool = False) -> tuple[Object, ...]:
        try:
            place = "" if wide else namespace
            found = await cluster.list(api_version, kind, namespace=place, timeout=_ASK_LIMIT)
        except UnknownKindError:
            return ()
        except ForbiddenError as error:
            notes.append(error.message)
            return ()
        return tuple({"apiVersion": api_version, "kind": kind, **one} for one in found.items)

    group = f"{GROUP}/{VERSION}"
    facts = asyncio.create_task(cluster.facts(timeout=_ASK_LIMIT))
    lists = await asyncio.gather(
        every("v1", "Node", wide=True),
        every("networking.k8s.io/v1", "IngressClass", wide=True),
        every("networking.k8s.io/v1", "Ingress"),
        every("apps/v1", "Deployment"),
        every("apps/v1", "StatefulSet"),
        every("v1", "Pod"),
        every(group, KIND),
        *(every(group, kind) for kind in POOL_KINDS),
        return_exceptions=True,
    )
    gone = next((one for one in lists if isinstance(one, BaseException)), None)
    if gone is not None:
        facts.cancel()
        await asyncio.gather(facts, return_exceptions=True)
        raise gone
    nodes, classes, ingresses, deployments, sets, pods, environments, *pools = (
        one for one in lists if not isinstance(one, BaseException)
    )
    known = await facts
    workloads = (*deployments, *sets)
    routes = shape.routes_of(ingresses)
    places = sorted({one["metadata"]["namespace"] for one in environments})
    return Overview(
        context=target.context.name,
        chosen=target.reason,
        server=known.server,
        version=known.version,
        product=known.product,
        namespace=namespace,
        registry=known.registry.host if known.registry else "",
        nodes=shape.nodes_of(nodes),
        operators=await _operators(cluster, places or [namespace or cluster.namespace], holder),
        installed_operators=shape.deployed_of(
            one
            for one in deployments
            if INSTALLATION_LABEL in (one["metadata"].get("labels") or {})
        ),
        ingress_controllers=shape.controllers_of(classes),
        runner_pools=shape.pools_of(one for some in pools for one in some),
        environments=shape.staged_of(environments, routes),
        sync_sessions=shape.sessions_of(workloads),
        deployments=shape.deployed_of(one for one in workloads if _told(one, namespace)),
        unhealthy_pods=await _with_logs(cluster, pods, shape.sick_of(pods, datetime.now(UTC))),
        routes=routes,
        notes=tuple(notes),
    )


def _told(workload: Object, namespace: str) -> bool:
    place = workload["metadata"]["namespace"]
    return place == namespace or place not in shape.SYSTEM_NAMESPACES


async def _operators(
    cluster: Cluster, namespaces: Iterable[str], holder: Holder
) -> tuple[Operator, ...]:
    async def ask(namespace: str) -> str:
        try:
            return await holder(cluster, namespace)
        except ForbiddenError:
            return ""

    if everywhere := await ask(SYSTEM):
        return (Operator("", everywhere),)
    places = list(namespaces)
    found = await asyncio.gather(*map(ask, places))
    return tuple(Operator(place, who) for place, who in zip(places, found, strict=True))


async def _with_logs(
    cluster: Cluster, pods: Iterable[Object], sick: tuple[Sick, ...]
) -> tuple[Sick, ...]:
    """The same, the first of them with the ends of their logs."""
    by_name = {(one["metadata"]["namespace"], one["metadata"]["name"]): one for one in pods}

    async def read(one: Sick) -> Sick:
        if not one.container:
            return one
        pod = by_name[one.namespace, one.pod]
        try:
            lines = await last_lines(
                cluster, pod, one.container, crashed=one.crashed, count=_LOG_LINES
            )
        except ClusterError:
            return one  # it went while we looked
        return replace(one, log=lines)

    first = await asyncio.gather(*map(read, sick[:_LOGS_OF]))
    return (*first, *sick[_LOGS_OF:])
