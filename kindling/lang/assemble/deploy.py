"""The nodes of what runs in the cluster: objects applied, pods followed, ports forwarded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kindling.errors import ConfigError
from kindling.graph.node import EdgeKind, Kind, Node, NodeId, Trigger, node_id
from kindling.graph.spec import (
    ApplySpec,
    CustomDeploySpec,
    ImageInjection,
    ImageObjectPath,
    ObjectRef,
    ObjectSpec,
    OperatorSpec,
    PortForwardSpec,
    Readiness,
    RolloutSpec,
)
from kindling.lang.assemble.draft import Draft
from kindling.lang.assemble.environments import (
    address_of,
    deployment_of,
    environment_of,
    operator_node,
    operator_of,
    port_of,
)
from kindling.lang.assemble.forwards import LocalPorts, forward_nodes
from kindling.lang.assemble.images import Image, Images
from kindling.lang.assemble.local import links_of
from kindling.lang.assemble.resources import UNCATEGORIZED, Resource, Resources
from kindling.lang.assemble.taking import Taken
from kindling.lang.assemble.target import TargetFacts
from kindling.lang.declared import Declarations, DiscoveryStrategy
from kindling.objects.identity import canonical, install_order
from kindling.objects.workloads import (
    declared_ports,
    default_readiness,
    is_workload,
    pod_templates,
)

__all__ = [
    "Endpoint",
    "add_resources",
    "apply_of",
    "mark_used",
    "modes_of",
    "rollout_of",
    "writers_of",
]

_APPLY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address a user can open once the resource serves."""

    resource: str
    url: str
    name: str = ""


def apply_of(name: str) -> NodeId:
    """The id of the node that applies a resource."""
    return node_id(Kind.APPLY, name)


def rollout_of(name: str) -> NodeId:
    """The id of the node that follows a resource's pods."""
    return node_id(Kind.ROLLOUT, name)


def writers_of(resource: Resource) -> list[NodeId]:
    """The ids of the nodes that write a resource's objects; pods come of the last one."""
    if environment_of(resource) is None:
        return [apply_of(resource.name)]
    others = [apply_of(resource.name)] if len(resource.objects) > 1 else []
    return [*others, operator_of(resource.name)]


def mark_used(resources: Resources, images: Images) -> None:
    """Tell the image graph which resource runs what.

    Raises:
        ConfigError: A custom deploy names an image that is not declared, or an image with an
            entrypoint of its own is used by no container.
    """
    for resource in resources.by_name.values():
        for taken in resource.objects:
            for image in taken.images:
                images.use(image, resource.name)
        if resource.deploy is not None:
            what = f"{resource.deploy.where}: `{resource.name}` depends on image"
            for text in resource.deploy.image_deps:
                images.use(images.require(text, what), resource.name)
    in_containers = {
        found.name
        for taken in resources.objects
        for text in (*taken.named.images, *(taken.named.declared if taken.environment else ()))
        if (found := images.find(text)) is not None
    }
    for image in images:
        build = image.declaration
        commanded = bool(build.entrypoint) or build.container_args is not None
        unseen = commanded and image.name not in in_containers
        if unseen and any(image in taken.images for taken in resources.objects):
            word = "entrypoint" if build.entrypoint else "container_args"
            raise ConfigError(
                f"{build.where}: image `{build.ref}` has `{word}=`, and no container runs it: only "
                "an environment variable or a custom resource names it"
            )


def modes_of(
    declarations: Declarations, resources: Resources
) -> dict[str, tuple[Trigger, bool, tuple[str, ...]]]:
    """Trigger mode, auto_init and labels of every resource."""
    return {
        resource.name: (
            resource.trigger or declarations.settings.trigger,
            resource.auto_init,
            tuple(dict.fromkeys(resource.labels)),
        )
        for resource in resources.by_name.values()
    }


def add_resources(
    draft: Draft,
    declarations: Declarations,
    resources: Resources,
    images: Images,
    cluster: NodeId,
    target: TargetFacts | None = None,
) -> tuple[Endpoint, ...]:
    """Nodes for every resource, `uncategorized` first; the addresses that they open."""
    endpoints: list[Endpoint] = []
    ports: LocalPorts = {}
    in_order = sorted(resources.by_name.values(), key=lambda r: r.name != UNCATEGORIZED)
    modes = modes_of(declarations, resources)
    for resource in in_order:
        if not resource.objects and resource.deploy is None:
            raise ConfigError(
                f"{resource.where}: resource `{resource.name}` has no objects",
                hint="Name some with `objects=`.",
            )
        environment = environment_of(resource)
        if environment is not None and (address := address_of(environment, target)) is not None:
            resource.links.append(address)
        _add_writers(draft, declarations, resource, images, modes[resource.name])
        *others, last = writers_of(resource)
        for other in others:
            # What was put into an environment's resource may be what it needs, as a ConfigMap.
            draft.connect(cluster, other, EdgeKind.READY)
            draft.connect(other, last, EdgeKind.READY)
        draft.connect(cluster, last, EdgeKind.READY)
        rollout = _add_rollout(draft, resource, modes[resource.name])
        if rollout is not None:
            draft.connect(last, rollout, EdgeKind.CONTENT)
            draft.connect(cluster, rollout, EdgeKind.READY)
        endpoints += [Endpoint(resource.name, link.url, link.name) for link in resource.links]
        if rollout is None and resource.port_forwards:
            raise ConfigError(
                f"{resource.port_forwards[0][1]}: resource `{resource.name}` has no pods to "
                "forward a port to",
                hint="Say which with `extra_pod_selectors=`, or forward from the workload.",
            )
        if rollout is not None:
            declared = [port for taken in _with_pods(resource) for port in _ports(taken)]
            mode = modes[resource.name]
            for node in forward_nodes(draft, resource, rollout, declared, ports, mode):
                draft.connect(cluster, node.id, EdgeKind.READY)
                spec = node.spec
                assert isinstance(spec, PortForwardSpec)
                if spec.local_port:
                    url = f"http://{spec.host}:{spec.local_port}/{spec.path.lstrip('/')}"
                    endpoints.append(Endpoint(resource.name, url, spec.name))
    return tuple(endpoints)


def _add_writers(
    draft: Draft,
    declarations: Declarations,
    resource: Resource,
    images: Images,
    mode: tuple[Trigger, bool, tuple[str, ...]],
) -> None:
    """Nodes for what writes the objects of a resource, in the order of `writers_of`."""
    environment = environment_of(resource)
    if environment is None or len(resource.objects) > 1:
        _add_apply(draft, declarations, resource, images, mode)
    if environment is None:
        return
    operator = draft.add(operator_node(declarations, resource, environment, images, mode))
    spec = draft.nodes[operator].spec
    assert isinstance(spec, OperatorSpec)
    for injection in spec.images:
        draft.connect(NodeId(injection.delivery), operator, EdgeKind.CONTENT)


def _add_apply(
    draft: Draft,
    declarations: Declarations,
    resource: Resource,
    images: Images,
    mode: tuple[Trigger, bool, tuple[str, ...]],
) -> NodeId:
    trigger, auto_init, labels = mode
    has_rollout = bool(_with_pods(resource)) or resource.deploy is not None
    injections = tuple(_injections(resource, images))
    seconds = declarations.settings.k8s_upsert_timeout_secs
    spec: ApplySpec | CustomDeploySpec
    if (deploy := resource.deploy) is not None:
        if resource.objects:
            taken = resource.objects[0]
            raise ConfigError(
                f"{taken.moved or taken.where}: {taken.ref} cannot be put into `{resource.name}`, "
                "which is deployed by a command of its own"
            )
        spec = CustomDeploySpec(
            argv=deploy.apply_argv,
            delete_argv=deploy.delete_argv,
            dir=deploy.apply_dir,
            delete_dir=deploy.delete_dir,
            env=deploy.apply_env,
            delete_env=deploy.delete_env,
            images=injections,
        )
    else:
        objects = (ObjectSpec(t.ref, canonical(t.manifest)) for t in _plain(resource))
        spec = ApplySpec(
            objects=install_order(objects),
            images=injections,
            recreate=resource.recreate,
            timeout=_APPLY_SECONDS if seconds is None else seconds,
        )
    id_ = draft.add(
        Node(
            id=apply_of(resource.name),
            kind=Kind.APPLY,
            name=resource.name,
            spec=spec,
            where=resource.where,
            resource=resource.name,
            files=(deploy.files,) if deploy is not None and deploy.files.paths else (),
            trigger=trigger,
            auto_init=auto_init,
            labels=labels,
            links=() if has_rollout else links_of(tuple(resource.links)),
        )
    )
    for injection in injections:
        draft.connect(NodeId(injection.delivery), id_, EdgeKind.CONTENT)
    return id_


def _injections(resource: Resource, images: Images) -> Iterator[ImageInjection]:
    kinds = {id(kind): kind for taken in _plain(resource) for kind in taken.kinds}.values()
    paths = tuple(dict.fromkeys(path for kind in kinds for path in kind.image_json_paths))
    object_paths = tuple(
        dict.fromkeys(
            ImageObjectPath(o.json_path, o.repo_field, o.tag_field)
            for kind in kinds
            if (o := kind.image_object) is not None
        )
    )
    for image in _images_of(resource, images):
        build = image.declaration
        yield ImageInjection(
            ref=build.ref,
            delivery=images.delivery(image),
            paths=paths,
            object_paths=object_paths,
            env=build.match_in_env_vars,
            entrypoint=build.entrypoint,
            container_args=build.container_args,
        )


def _images_of(resource: Resource, images: Images) -> list[Image]:
    found = {image.name: image for taken in _plain(resource) for image in taken.images}
    if resource.deploy is not None:
        for text in resource.deploy.image_deps:
            if (image := images.find(text)) is not None:
                found[image.name] = image
    return list(found.values())


def _plain(resource: Resource) -> list[Taken]:
    """The objects that are written as they are."""
    return [taken for taken in resource.objects if taken.environment is None]


def _with_pods(resource: Resource) -> list[Taken]:
    return [taken for taken in resource.objects if _has_pods(taken)]


def _has_pods(taken: Taken) -> bool:
    """Whether pods come of an object: of a declared kind, when it holds images or said so."""
    if not taken.workload:
        return False
    return (
        taken.environment is not None
        or is_workload(taken.manifest)
        or bool(taken.images)
        or bool(pod_templates(taken.manifest))
        or any(
            kind.image_json_paths
            or kind.image_object is not None
            or kind.pod_readiness not in (None, Readiness.IGNORE)
            for kind in taken.kinds
            if kind.workload
        )
    )


def _add_rollout(
    draft: Draft, resource: Resource, mode: tuple[Trigger, bool, tuple[str, ...]]
) -> NodeId | None:
    pods = _with_pods(resource)
    if not pods and not resource.selectors and resource.deploy is None:
        return None
    selectors_only = resource.strategy is DiscoveryStrategy.SELECTORS_ONLY and resource.selectors
    _, auto_init, labels = mode
    return draft.add(
        Node(
            id=rollout_of(resource.name),
            kind=Kind.ROLLOUT,
            name=resource.name,
            spec=RolloutSpec(
                apply=writers_of(resource)[-1],
                objects=() if selectors_only else tuple(map(_followed, pods)),
                selectors=tuple(resource.selectors),
                readiness=_readiness(resource, pods),
            ),
            where=resource.where,
            resource=resource.name,
            auto_init=auto_init,
            labels=labels,
            links=links_of(tuple(resource.links)),
        )
    )


def _followed(taken: Taken) -> ObjectRef:
    return taken.ref if taken.environment is None else deployment_of(taken)


def _ports(taken: Taken) -> list[int]:
    """The ports that its pods declare."""
    if taken.environment is not None:
        return [port_of(taken)]
    return [port.number for port in declared_ports(taken.manifest)]


def _readiness(resource: Resource, pods: list[Taken]) -> Readiness:
    if resource.readiness is not None:
        return resource.readiness
    said = [k.pod_readiness for taken in pods for k in taken.kinds if k.pod_readiness is not None]
    if said:
        return said[-1]
    defaults = {default_readiness(taken.manifest) for taken in pods}
    return defaults.pop() if len(defaults) == 1 else Readiness.WAIT
