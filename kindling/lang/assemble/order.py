"""What waits for what between resources: `resource_deps`, secrets, namespaces, custom kinds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kindling.errors import ConfigError, GraphError, nearest
from kindling.graph.node import EdgeKind, Kind, Node, NodeId, Where, node_id
from kindling.graph.spec import SecretSpec
from kindling.lang.assemble.deploy import apply_of, writers_of
from kindling.lang.assemble.draft import Draft
from kindling.lang.assemble.images import Images
from kindling.lang.assemble.local import talks_to_cluster
from kindling.lang.assemble.resources import UNCATEGORIZED, Resource, Resources
from kindling.lang.declared import Declarations
from kindling.objects.identity import api_group

__all__ = [
    "Unit",
    "add_secrets",
    "connect_cluster_tools",
    "connect_deps",
    "connect_objects",
    "units_of",
]

_ON_MACHINE = frozenset({Kind.LOCAL, Kind.SERVE, Kind.TEST})
_WAITING = _ON_MACHINE | {Kind.APPLY, Kind.OPERATOR}
_FOLLOWED_BY = {
    Kind.APPLY: Kind.ROLLOUT,
    Kind.OPERATOR: Kind.ROLLOUT,
    Kind.LOCAL: Kind.SERVE,
}
"""A resource is as far as the second of these is, where it has both."""


@dataclass(slots=True)
class Unit:
    """One name that `resource_deps` may give, and what it waits for itself."""

    name: str
    where: Where
    deps: list[tuple[str, Where]] = field(default_factory=list)


def units_of(declarations: Declarations, resources: Resources) -> dict[str, Unit]:
    """Every resource by name, of whatever kind, with those of its dependencies that exist.

    Raises:
        ConfigError: Two of them share a name, or one depends on itself.
    """
    units: dict[str, Unit] = {}

    def add(name: str, where: Where, deps: Iterable[tuple[str, Where]]) -> None:
        if (first := units.get(name)) is not None:
            raise ConfigError(
                f"{where}: a resource is already called `{name}`",
                details=[f"first at {first.where}"],
                hint="Names are shared by local_resource, test and Kubernetes resources.",
            )
        units[name] = Unit(name, where, list(deps))

    for resource in resources.by_name.values():
        add(resource.name, resource.where, resource.resource_deps)
    for local in declarations.locals:
        add(local.name, local.where, ((name, local.where) for name in local.resource_deps))
    for test in declarations.tests:
        add(test.name, test.where, ((name, test.where) for name in test.resource_deps))
    return units


def connect_deps(draft: Draft, units: Mapping[str, Unit], images: Images) -> None:
    """Edges for `resource_deps`. An unknown name is warned about and dropped.

    Raises:
        ConfigError: A resource depends on itself.
        GraphError: Resources wait for each other.
    """
    for unit in units.values():
        known: dict[str, Where] = {}
        for name, where in unit.deps:
            if name == unit.name:
                raise ConfigError(f"{where}: resource `{name}` depends on itself")
            if name in units:
                known.setdefault(name, where)
                continue
            text = f"resource `{unit.name}` depends on `{name}`, which is not declared; ignored"
            hint = nearest(name, units)
            draft.warn(where, f"{text}. {hint}" if hint else text)
        unit.deps = list(known.items())
    _refuse_cycles(units)
    for unit in units.values():
        members = [draft.nodes[id_] for id_ in draft.members.get(unit.name, ())]
        for node in members:
            if node.kind in _WAITING:
                for dep, _ in unit.deps:
                    for before, kind in _last(draft, dep, node.kind):
                        draft.connect(before, node.id, kind)
    _hold_images(draft, units, images)


def _last(draft: Draft, name: str, after: Kind) -> Iterator[tuple[NodeId, EdgeKind]]:
    """The nodes of a resource that must be ready before one of kind `after` that depends on it.

    A test comes after every one whose output it may see, by content, so that it runs again. A local
    port is of use to commands on this machine alone, and only for being there.
    """
    members = [draft.nodes[id_] for id_ in draft.members.get(name, ())]
    kinds = {node.kind for node in members}
    for node in members:
        if node.kind is Kind.PORTFORWARD:
            if after in _ON_MACHINE:
                yield node.id, EdgeKind.READY
        elif node.kind is Kind.SYNC:
            if after is Kind.TEST:
                yield node.id, EdgeKind.CONTENT
        elif node.kind in _WAITING or node.kind is Kind.ROLLOUT:
            if after is Kind.TEST:
                yield node.id, EdgeKind.CONTENT
            elif _FOLLOWED_BY.get(node.kind) not in kinds:
                yield node.id, EdgeKind.READY


def _hold_images(draft: Draft, units: Mapping[str, Unit], images: Images) -> None:
    """An image waits for the work on this machine that all who need it wait for: it may copy it.

    Only what all have in common, or a resource could wait for an image that waits for it.
    """
    for image in images:
        if image.node not in draft.nodes:
            continue
        first, *others = (_local_deps(draft, units, name) for name in image.users)
        for dep in first:
            if all(dep in deps for deps in others):
                for before, kind in _last(draft, dep, Kind.IMAGE):
                    draft.connect(before, image.node, kind)


def _local_deps(draft: Draft, units: Mapping[str, Unit], name: str) -> dict[str, None]:
    """The local resources and tests that a resource waits for, through other resources too."""
    found: dict[str, None] = {}
    seen, todo = {name}, [name]
    while todo:
        for dep, _ in units[todo.pop()].deps:
            if dep in seen:
                continue
            seen.add(dep)
            if any(draft.nodes[id_].kind in _ON_MACHINE for id_ in draft.members.get(dep, ())):
                found[dep] = None
            else:
                todo.append(dep)
    return found


def _refuse_cycles(units: Mapping[str, Unit]) -> None:
    done: set[str] = set()
    for start in units:
        if start in done:
            continue
        path: list[str] = []
        on_path: set[str] = set()
        stack: list[tuple[str, Iterator[tuple[str, Where]]]] = [(start, iter(units[start].deps))]
        path.append(start)
        on_path.add(start)
        while stack:
            name, deps = stack[-1]
            for dep, where in deps:
                if dep in on_path:
                    cycle = [*path[path.index(dep) :], dep]
                    raise GraphError(
                        f"{where}: resources wait for each other: {' -> '.join(cycle)}",
                        details=[f"`{n}` is declared at {units[n].where}" for n in cycle[:-1]],
                        hint="Remove one of these from `resource_deps`.",
                    )
                if dep not in done:
                    path.append(dep)
                    on_path.add(dep)
                    stack.append((dep, iter(units[dep].deps)))
                    break
            else:
                stack.pop()
                path.pop()
                on_path.discard(name)
                done.add(name)


def connect_objects(draft: Draft, resources: Resources) -> None:
    """What holds namespaces and custom kinds comes before what lives in them or is of them.

    `uncategorized` comes before every other resource, as in Tilt, but for those that it needs
    itself.
    """
    providers: dict[tuple[str, str, str], Resource] = {}
    for taken in resources.objects:
        if taken.owner is None:
            continue
        if (provided := _provides(taken.manifest, taken.ref.kind, taken.ref.name)) is not None:
            providers.setdefault(provided, taken.owner)
    rest = resources.by_name.get(UNCATEGORIZED)
    later: dict[str, dict[str, None]] = {}
    for resource in resources.by_name.values():
        for taken in resource.objects:
            group = api_group(taken.ref.api_version)
            for need in (("namespace", "", taken.ref.namespace), ("kind", group, taken.ref.kind)):
                provider = providers.get(need)
                if provider is not None and provider is not rest:
                    later.setdefault(provider.name, {})[resource.name] = None
    if rest is not None:
        later[UNCATEGORIZED] = dict.fromkeys(resources.by_name)
    for name, followers in later.items():
        first = apply_of(name)
        before = _ancestors(draft, first)
        for follower in followers:
            for id_ in writers_of(resources.by_name[follower]):
                if id_ not in before:
                    draft.connect(first, id_, EdgeKind.READY)


def _provides(manifest: Mapping[str, object], kind: str, name: str) -> tuple[str, str, str] | None:
    if kind == "Namespace":
        return ("namespace", "", name)
    if kind == "CustomResourceDefinition":
        spec = manifest.get("spec")
        names = spec.get("names") if isinstance(spec, dict) else None
        if isinstance(spec, dict) and isinstance(names, dict):
            return ("kind", str(spec.get("group", "")), str(names.get("kind", "")))
    return None


def _ancestors(draft: Draft, id_: NodeId) -> set[str]:
    before: dict[NodeId, list[NodeId]] = {}
    for edge in draft.edges:
        before.setdefault(edge.after, []).append(edge.before)
    seen: set[str] = set()
    todo = [id_]
    while todo:
        for earlier in before.get(todo.pop(), ()):
            if earlier not in seen:
                seen.add(earlier)
                todo.append(earlier)
    return seen


def add_secrets(
    draft: Draft,
    declarations: Declarations,
    cluster: NodeId,
    namespace: str,
    resources: Resources,
) -> None:
    """A node for every `secret_if_absent`, before all that is applied in its namespace.

    A resource that brings the namespace itself comes first.

    Raises:
        ConfigError: The Secret is declared twice, or stands in `k8s_yaml` too.
    """
    ours = {
        (t.ref.namespace, t.ref.name): t
        for t in resources.objects
        if t.ref.kind == "Secret" and t.ref.api_version == "v1"
    }
    for secret in declarations.secrets:
        place = secret.namespace or namespace
        if (taken := ours.get((place, secret.name))) is not None:
            raise ConfigError(
                f"{secret.where}: Secret `{secret.name}` in `{place}` has two owners",
                details=[
                    f"secret_if_absent at {secret.where} never touches it once it is there",
                    f"k8s_yaml at {taken.place} writes it every time",
                ],
                hint="Take the Secret out of the YAML, or remove the secret_if_absent.",
            )
        name = f"{place}/{secret.name}"
        id_ = draft.add(
            Node(
                id=node_id(Kind.SECRET, name),
                kind=Kind.SECRET,
                name=name,
                spec=SecretSpec(secret.name, place, secret.literals, secret.type),
                where=secret.where,
                labels=secret.labels,
            )
        )
        draft.connect(cluster, id_, EdgeKind.READY)
        for resource in resources.by_name.values():
            if any(t.ref.kind == "Namespace" and t.ref.name == place for t in resource.objects):
                draft.connect(apply_of(resource.name), id_, EdgeKind.READY)
            elif resource.deploy is not None or any(
                t.ref.namespace == place for t in resource.objects
            ):
                for writer in writers_of(resource):
                    draft.connect(id_, writer, EdgeKind.READY)


def connect_cluster_tools(draft: Draft, declarations: Declarations, cluster: NodeId) -> None:
    """Local commands that run kubectl or helm did so in one cluster: another one, another run."""
    for local in declarations.locals:
        for argv, kind in ((local.argv, Kind.LOCAL), (local.serve_argv, Kind.SERVE)):
            if talks_to_cluster(argv):
                draft.connect(cluster, node_id(kind, local.name), EdgeKind.CONTENT)
    for test in declarations.tests:
        if talks_to_cluster(test.argv):
            draft.connect(cluster, node_id(Kind.TEST, test.name), EdgeKind.CONTENT)
