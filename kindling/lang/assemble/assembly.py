"""Assembling: declarations in, a graph out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from kindling.errors import ConfigError, GraphError, nearest
from kindling.graph.dag import Graph
from kindling.graph.node import EdgeKind, Kind, Node, NodeId, Where, node_id
from kindling.graph.spec import ClusterSpec
from kindling.lang.assemble.deploy import Endpoint, add_resources, mark_used, modes_of
from kindling.lang.assemble.draft import Draft
from kindling.lang.assemble.environments import command_environments
from kindling.lang.assemble.images import Images
from kindling.lang.assemble.local import add_locals, add_tests
from kindling.lang.assemble.order import (
    Unit,
    add_secrets,
    connect_cluster_tools,
    connect_deps,
    connect_objects,
    units_of,
)
from kindling.lang.assemble.outputs import Reading, find_mentions, find_readings
from kindling.lang.assemble.reader import FileReader
from kindling.lang.assemble.resources import UNCATEGORIZED, Resources
from kindling.lang.assemble.syncing import add_syncs, spared_by
from kindling.lang.assemble.target import TargetFacts
from kindling.lang.declared import Declarations, EnabledMode, Remark, Settings
from kindling.objects.secrets import SecretValue, secret_values

__all__ = ["Assembly", "assemble"]


@dataclass(frozen=True, slots=True)
class Assembly:
    """The graph of one evaluation, and what else a session must know.

    `selected` are the nodes that take part: those asked for by name, else those that the file
    enables, with all they depend on. `resources` maps each resource to its nodes, in order; an
    image that several need is in each of them. `secrets` are values to strike from all that is
    shown. `warnings` include the remarks of the evaluation.
    """

    graph: Graph
    selected: frozenset[NodeId]
    resources: Mapping[str, tuple[NodeId, ...]]
    namespace: str
    settings: Settings
    secrets: tuple[SecretValue, ...] = field(default=(), repr=False)
    warnings: tuple[Remark, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    cluster: NodeId | None = None
    """The cluster's node; None when the file has to do with no cluster."""


def assemble(
    declarations: Declarations,
    target: TargetFacts | None,
    reader: FileReader,
    names: Iterable[str] = (),
) -> Assembly:
    """Make the graph of what a file declared.

    `target` is the cluster that was chosen, or None where none could be (the graph then says what
    it would be, with a registry to be found later). `names` were given before `--` on the command
    line: resources or node ids; they win over what the file enables.

    Raises:
        ConfigError: Declarations that cannot be what the user means; the message begins with a
        place. GraphError: A cycle, or a name that nothing has.
    """
    draft = Draft(remarks=list(declarations.remarks))
    namespace = declarations.cluster.namespace or (target.namespace if target else "") or "default"
    images = Images(declarations, target, reader)
    resources = Resources(declarations, namespace, images)
    draft.remarks += resources.remarks
    mark_used(resources, images)
    environments = [taken for taken in resources.objects if taken.environment is not None]
    command_environments(images, environments)
    named = [text for taken in resources.objects for text in taken.named.images]
    named += [text for taken in environments for text in taken.named.declared]
    images.warn_unused(draft, named)
    units = units_of(declarations, resources)

    cluster = _add_cluster(draft, declarations, target, resources, namespace)
    add_locals(draft, declarations)
    endpoints: tuple[Endpoint, ...] = ()
    if cluster is not None:
        add_secrets(draft, declarations, cluster, namespace, resources)
        images.add(draft, cluster, modes_of(declarations, resources))
        endpoints = add_resources(draft, declarations, resources, images, cluster, target)
        add_syncs(draft, declarations, resources, images, cluster)
        connect_cluster_tools(draft, declarations, cluster)
    add_tests(draft, declarations)
    connect_deps(draft, units, images)
    connect_objects(draft, resources)
    readings = find_readings(draft)
    spared = spared_by(draft)
    for reading in readings:
        # What is read is in the key of the reader. Where a change of it may be carried, the change
        # itself decides whether the reader runs, and not the output as a whole.
        kind = EdgeKind.READY if reading.after in spared else EdgeKind.CONTENT
        draft.connect(reading.before, reading.after, kind)
    for before, after in find_mentions(draft):
        draft.connect(before, after, EdgeKind.ORDER)

    graph = _graph(draft, readings)
    return Assembly(
        graph=graph,
        selected=_selected(graph, draft, units, declarations, tuple(names)),
        resources=MappingProxyType({name: tuple(ids) for name, ids in draft.members.items()}),
        namespace=namespace,
        settings=declarations.settings,
        secrets=_secrets(declarations, resources) if declarations.settings.scrub_secrets else (),
        warnings=tuple(draft.remarks),
        endpoints=endpoints
        + tuple(
            Endpoint(local.name, link.url, link.name)
            for local in declarations.locals
            for link in local.links
        ),
        cluster=cluster,
    )


def _add_cluster(
    draft: Draft,
    declarations: Declarations,
    target: TargetFacts | None,
    resources: Resources,
    namespace: str,
) -> NodeId | None:
    if not resources.by_name and not declarations.secrets:
        return None
    said = declarations.cluster
    context = target.context if target else said.name
    provider = target.provider if target else said.provider
    return draft.add(
        Node(
            id=node_id(Kind.CLUSTER, context or provider),
            kind=Kind.CLUSTER,
            name=context or provider,
            spec=ClusterSpec(provider, context, namespace),
            where=said.where or Where(declarations.file),
        )
    )


def _graph(draft: Draft, readings: tuple[Reading, ...]) -> Graph:
    try:
        return Graph(draft.nodes.values(), draft.edges)
    except GraphError as error:
        # Edges that nobody wrote need a word of explanation.
        inferred = [
            f"`{r.after}` reads `{r.path}`, and `{r.output}` is an output of `{r.before}`"
            for r in readings
            if str(r.before) in error.message and str(r.after) in error.message
        ]
        if not inferred:
            raise
        raise GraphError(
            error.message,
            details=[*error.details, *inferred],
            hint="Narrow `deps=`, or ignore the output there with `ignore=`.",
        ) from error


def _secrets(declarations: Declarations, resources: Resources) -> tuple[SecretValue, ...]:
    applied = [value for taken in resources.objects for value in secret_values(taken.manifest)]
    written_once = [
        SecretValue(secret.name, key, value)
        for secret in declarations.secrets
        for key, value in secret.literals
        if value
    ]
    return (*applied, *written_once)


def _selected(
    graph: Graph,
    draft: Draft,
    units: Mapping[str, Unit],
    declarations: Declarations,
    names: tuple[str, ...],
) -> frozenset[NodeId]:
    enabled = declarations.enabled
    if names:
        return _reach(graph, draft, units, names)
    if declarations.selected:
        return _reach(graph, draft, units, declarations.selected, always=(UNCATEGORIZED,))
    match enabled.mode:
        case EnabledMode.ALL:
            return frozenset(graph.nodes)
        case EnabledMode.NONE:
            return frozenset()
        case EnabledMode.ONLY:
            for name in enabled.names:
                if name not in units:
                    raise ConfigError(
                        f"{enabled.where}: set_enabled_resources: nothing is called `{name}`",
                        details=[f"known: [{', '.join(units)}]"],
                        hint=nearest(name, units),
                    )
            return _reach(graph, draft, units, enabled.names, always=(UNCATEGORIZED,))


def _reach(
    graph: Graph,
    draft: Draft,
    units: Mapping[str, Unit],
    names: Iterable[str],
    always: tuple[str, ...] = (),
) -> frozenset[NodeId]:
    """The nodes of these names with all they depend on.

    Resources that a resource depends on come whole, with their port-forwards, as in Tilt.
    """
    wanted: set[NodeId] = set()
    todo = list(names)
    seen: set[str] = set()
    for name in always:
        if name in units:
            todo.append(name)
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        unit = units.get(name)
        wanted.update(draft.members.get(name, ()) if unit is not None else graph.find(name))
        todo.extend(dep for dep, _ in (unit.deps if unit is not None else ()))
    return graph.ancestors(wanted)
