"""What stands in a cluster, in the shape in which `kindling status` tells it. Pure: from objects as
the server lists them to values; docs/json.md has the fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from kindling.kube.protocol import Object
from kindling.objects.pods import (
    Patience,
    Trouble,
    container_statuses,
    is_deleting,
    is_done,
    is_ready,
    pod_name,
    troubles,
)

__all__ = [
    "SESSION_ANNOTATION",
    "SYSTEM_NAMESPACES",
    "Controller",
    "Deployed",
    "Node",
    "Operator",
    "Overview",
    "Pool",
    "Route",
    "Session",
    "Sick",
    "Staged",
    "condition_of",
    "controllers_of",
    "deployed_of",
    "nodes_of",
    "pools_of",
    "routes_of",
    "selected",
    "sessions_of",
    "sick_of",
    "staged_of",
]

SESSION_ANNOTATION = "kindling.dev/session"
"""On workloads that a running sync session has patched: the session's name."""

SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease"})
"""Namespaces that are the cluster's own: their workloads are told of only when they ail."""

_DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
_NOT_READY_AFTER = 30.0
_PENDING_AFTER = 60.0


@dataclass(frozen=True, slots=True)
class Node:
    """`problem` is the message of the condition that keeps it from being ready."""

    name: str
    ready: bool
    version: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Operator:
    """Who acts on the environments of a namespace; `holder` is empty where nobody does. Of an
    operator for all namespaces, `namespace` is empty."""

    namespace: str
    holder: str


@dataclass(frozen=True, slots=True)
class Controller:
    """An IngressClass: its name, the controller that serves it, and whether it is the default."""

    name: str
    controller: str
    default: bool


@dataclass(frozen=True, slots=True)
class Pool:
    """A runner pool."""

    kind: str
    namespace: str
    name: str
    user: str
    repository: str
    replicas: int
    ready_runners: int
    ready: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Staged:
    """A DevStagingEnvironment. `url` is where it is reached from this machine, empty when nowhere;
    `reason` and `message` are those of its condition `Ready`."""

    namespace: str
    name: str
    image: str
    replicas: int
    available: int
    ready: bool
    reason: str
    message: str
    url: str
    dependencies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Session:
    """A workload that a running sync session holds."""

    namespace: str
    kind: str
    name: str
    session: str


@dataclass(frozen=True, slots=True)
class Deployed:
    """A Deployment or StatefulSet. `environment` is the DevStagingEnvironment it belongs to."""

    namespace: str
    kind: str
    name: str
    replicas: int
    ready: int
    images: tuple[str, ...]
    environment: str


@dataclass(frozen=True, slots=True)
class Sick:
    """A pod that does not do what it should, and the end of its log."""

    namespace: str
    pod: str
    container: str
    reason: str
    message: str
    exit_code: int | None
    restarts: int
    crashed: bool
    log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """One path of an Ingress, as an address to open, and the Service behind it."""

    namespace: str
    ingress: str
    url: str
    service: str
    port: int | str


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything about one cluster. When `problem` is not empty, it did not answer and nothing else
    is known, and `hint` says what may be done. `notes` say what could not be read."""

    context: str
    chosen: str
    problem: str = ""
    hint: str = ""
    server: str = ""
    version: str = ""
    product: str = ""
    namespace: str = ""
    """The one that was looked at; empty for all of them."""
    registry: str = ""
    nodes: tuple[Node, ...] = ()
    operators: tuple[Operator, ...] = ()
    installed_operators: tuple[Deployed, ...] = ()
    ingress_controllers: tuple[Controller, ...] = ()
    runner_pools: tuple[Pool, ...] = ()
    environments: tuple[Staged, ...] = ()
    sync_sessions: tuple[Session, ...] = ()
    deployments: tuple[Deployed, ...] = ()
    unhealthy_pods: tuple[Sick, ...] = ()
    routes: tuple[Route, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """As docs/json.md has it."""
        return {**asdict(self), "answers": not self.problem}

    @property
    def names(self) -> frozenset[str]:
        """What a user may call things by."""
        dependencies = {f"{one.name}/{d}" for one in self.environments for d in one.dependencies}
        plain = {one.name for one in self.environments}
        plain |= {one.name for one in self.deployments}
        plain |= {one.name for one in self.runner_pools}
        return frozenset(plain | dependencies)


def selected(overview: Overview, names: Iterable[str]) -> Overview:
    """Only what has one of these names, with what belongs to it."""
    wanted = set(names)
    owners = {name.partition("/")[0] for name in wanted}

    def mine(workload: Deployed) -> bool:
        if workload.name in wanted or workload.environment in wanted:
            return True
        parts = {f"{workload.environment}-{n.partition('/')[2]}" for n in wanted if "/" in n}
        return workload.name in parts

    deployments = tuple(one for one in overview.deployments if mine(one))
    prefixes = tuple(f"{one.name}-" for one in deployments)
    return replace(
        overview,
        nodes=(),
        operators=(),
        installed_operators=(),
        ingress_controllers=(),
        runner_pools=tuple(one for one in overview.runner_pools if one.name in wanted),
        environments=tuple(one for one in overview.environments if one.name in owners),
        sync_sessions=tuple(
            one for one in overview.sync_sessions if one.name in {d.name for d in deployments}
        ),
        deployments=deployments,
        unhealthy_pods=tuple(
            one for one in overview.unhealthy_pods if prefixes and one.pod.startswith(prefixes)
        ),
        routes=tuple(one for one in overview.routes if one.ingress in wanted),
    )


def nodes_of(nodes: Iterable[Object]) -> tuple[Node, ...]:
    found = []
    for node in nodes:
        ready = condition_of(node, "Ready")
        version = ((node.get("status") or {}).get("nodeInfo") or {}).get("kubeletVersion", "")
        well = ready.get("status") == "True"
        problem = "" if well else str(ready.get("message") or "it has not told how it is")
        found.append(Node(node["metadata"]["name"], well, version, problem))
    return tuple(sorted(found, key=lambda one: one.name))


def controllers_of(classes: Iterable[Object]) -> tuple[Controller, ...]:
    return tuple(
        Controller(
            one["metadata"]["name"],
            str((one.get("spec") or {}).get("controller", "")),
            (one["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true",
        )
        for one in classes
    )


def pools_of(pools: Iterable[Object]) -> tuple[Pool, ...]:
    found = []
    for one in pools:
        metadata, spec, status = one["metadata"], one.get("spec") or {}, one.get("status") or {}
        ready = condition_of(one, "Ready")
        found.append(
            Pool(
                one["kind"],
                metadata["namespace"],
                metadata["name"],
                str(spec.get("githubUsername", "")),
                str(spec.get("repository", "")),
                int(spec.get("replicas", 1)),
                int(status.get("readyRunners", 0)),
                ready.get("status") == "True",
                *_why(ready),
            )
        )
    return tuple(found)


def staged_of(environments: Iterable[Object], routes: Sequence[Route] = ()) -> tuple[Staged, ...]:
    """`routes` know the port at which an Ingress is served, which a status does not."""
    addresses = {(r.namespace, r.ingress): r.url for r in reversed(routes)}
    found = []
    for one in environments:
        metadata, spec, status = one["metadata"], one.get("spec") or {}, one.get("status") or {}
        deployment, ready = spec.get("deployment") or {}, condition_of(one, "Ready")
        behind = status.get("observedGeneration", 0) < metadata.get("generation", 0)
        reason, message = _why(ready)
        if behind and ready:
            reason, message = "Outdated", "its latest change has not been seen by an operator yet"
        base = (metadata["namespace"], metadata["name"].replace(".", "-"))
        told = str(status.get("url") or "")
        found.append(
            Staged(
                metadata["namespace"],
                metadata["name"],
                str(deployment.get("image", "")),
                int(deployment.get("replicas", 1)),
                int(status.get("availableReplicas", 0)),
                ready.get("status") == "True" and not behind,
                reason,
                message,
                addresses.get(base, told) if told else "",
                tuple(
                    str(d.get("name") or d.get("type", "")) for d in spec.get("dependencies") or ()
                ),
            )
        )
    return tuple(found)


def sessions_of(workloads: Iterable[Object]) -> tuple[Session, ...]:
    found = []
    for one in workloads:
        metadata = one["metadata"]
        session = (metadata.get("annotations") or {}).get(SESSION_ANNOTATION, "")
        if session:
            found.append(Session(metadata["namespace"], one["kind"], metadata["name"], session))
    return tuple(found)


def deployed_of(workloads: Iterable[Object]) -> tuple[Deployed, ...]:
    found = []
    for one in workloads:
        metadata, spec, status = one["metadata"], one.get("spec") or {}, one.get("status") or {}
        pod = ((spec.get("template") or {}).get("spec")) or {}
        owners = metadata.get("ownerReferences") or ()
        found.append(
            Deployed(
                metadata["namespace"],
                one["kind"],
                metadata["name"],
                int(spec.get("replicas", 1)),
                int(status.get("readyReplicas") or 0),
                tuple(str(c.get("image", "")) for c in pod.get("containers") or ()),
                next((o["name"] for o in owners if o.get("kind") == "DevStagingEnvironment"), ""),
            )
        )
    return tuple(found)


def sick_of(pods: Iterable[Object], now: datetime) -> tuple[Sick, ...]:
    """Pods that crash, cannot start, or are not ready long after they were made. What a pod's
    phase says does not matter: one in a crash loop is `Running`."""
    found: list[Sick] = []
    for pod in pods:
        if is_deleting(pod) or is_done(pod):
            continue
        told: dict[str, Trouble] = {}
        for trouble in troubles(pod, now, Patience()):
            told.setdefault(trouble.container, trouble)
        ailing = list(told.values()) or list(_unready(pod, now))
        found += [
            Sick(
                pod["metadata"]["namespace"],
                trouble.pod,
                trouble.container,
                trouble.reason,
                trouble.message,
                trouble.exit_code,
                trouble.restarts,
                trouble.crashed,
            )
            for trouble in ailing
        ]
    return tuple(found)


def _unready(pod: Object, now: datetime) -> Iterable[Trouble]:
    """Pods with no trouble that a status names, and that nevertheless do not serve."""
    phase = (pod.get("status") or {}).get("phase", "")
    made = datetime.fromisoformat(pod["metadata"]["creationTimestamp"].replace("Z", "+00:00"))
    age = (now - made).total_seconds()
    if phase == "Pending" and age > _PENDING_AFTER:
        yield Trouble(pod_name(pod), "", "Pending", f"for {age:.0f} s")
    elif phase == "Running" and not is_ready(pod) and age > _NOT_READY_AFTER:
        for status in container_statuses(pod):
            running = (status.get("state") or {}).get("running")
            if running and not status.get("ready"):
                yield Trouble(
                    pod_name(pod),
                    str(status["name"]),
                    "NotReady",
                    "it runs, and its readiness probe fails",
                    restarts=int(status.get("restartCount") or 0),
                )


def routes_of(ingresses: Iterable[Object]) -> tuple[Route, ...]:
    found: list[Route] = []
    for one in ingresses:
        metadata, spec = one["metadata"], one.get("spec") or {}
        secure = {host for tls in spec.get("tls") or () for host in tls.get("hosts") or ()}
        port = _served_at(one)
        for rule in spec.get("rules") or ():
            host = str(rule.get("host") or "")
            scheme = "https" if host in secure else "http"
            shown = host or "*"
            if port and scheme == "http":
                shown += f":{port}"
            for path in (rule.get("http") or {}).get("paths") or ():
                service = (path.get("backend") or {}).get("service") or {}
                given = service.get("port") or {}
                where = str(path.get("path") or "/")
                found.append(
                    Route(
                        metadata["namespace"],
                        metadata["name"],
                        f"{scheme}://{shown}{'' if where == '/' else where}",
                        str(service.get("name", "")),
                        given.get("number") or str(given.get("name", "")),
                    )
                )
    return tuple(found)


def _served_at(ingress: Object) -> int:
    """The port that its controller tells, 0 for the usual one."""
    balancer = ((ingress.get("status") or {}).get("loadBalancer")) or {}
    for address in balancer.get("ingress") or ():
        for port in address.get("ports") or ():
            if port.get("port") not in (None, 80, 443):
                return int(port["port"])
    return 0


def condition_of(item: Object, sort: str) -> Mapping[str, Any]:
    """The condition of that type; empty where the object has none."""
    for condition in (item.get("status") or {}).get("conditions") or ():
        if condition.get("type") == sort:
            return dict(condition)
    return {}


def _why(ready: Mapping[str, Any]) -> tuple[str, str]:
    if not ready:
        return "NotSeen", "no operator has looked at it yet"
    return str(ready.get("reason", "")), str(ready.get("message", ""))
