"""DevStagingEnvironments in the graph: one node that has it reconciled, one that follows its pods.

An environment is a resource like a workload. What is known of its children without a cluster (the
name of its Deployment, its port, its address) is said here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kindling.graph.node import Kind, Node, NodeId, Trigger, node_id
from kindling.graph.spec import ImageInjection, ObjectRef, ObjectSpec, OperatorSpec
from kindling.lang.assemble.images import Image, Images
from kindling.lang.assemble.resources import Resource
from kindling.lang.assemble.taking import ENVIRONMENT_IMAGES, ENVIRONMENT_VALUES, Taken
from kindling.lang.assemble.target import TargetFacts
from kindling.lang.declared import Declarations, Link
from kindling.objects.identity import canonical

__all__ = [
    "address_of",
    "command_environments",
    "deployment_of",
    "environment_of",
    "operator_node",
    "operator_of",
    "port_of",
]

_SECONDS = 30.0


def operator_of(name: str) -> NodeId:
    """The id of the node that has a resource's environment reconciled."""
    return node_id(Kind.OPERATOR, name)


def environment_of(resource: Resource) -> Taken | None:
    """The environment that a resource was made for."""
    return next((taken for taken in resource.objects if taken.environment), None)


def deployment_of(taken: Taken) -> ObjectRef:
    """The Deployment of an environment's application."""
    name = taken.ref.name.replace(".", "-")
    return ObjectRef("apps/v1", "Deployment", name, taken.ref.namespace)


def port_of(taken: Taken) -> int:
    """Where the application listens."""
    port: int = taken.manifest["spec"]["deployment"]["port"]
    return port


def address_of(taken: Taken, target: TargetFacts | None) -> Link | None:
    """Where a browser finds the environment, so far as that is known before it is there: the
    embedded cluster serves at a port that it says itself."""
    ingress = taken.manifest["spec"].get("ingress") or {}
    host = ingress.get("host", "")
    if not ingress.get("enabled") or not host or host.startswith("*"):
        return None
    if target is None or target.product == "kindling":
        return None
    scheme = "https" if ingress.get("tls") else "http"
    return Link(f"{scheme}://{host}{ingress.get('path', '/')}")


def command_environments(images: Images, environments: Iterable[Taken]) -> None:
    """Write what an image says of its command (`entrypoint=`, `container_args=`) into the
    environments that run it, as it is written into containers."""
    for taken in environments:
        deployment: dict[str, Any] = taken.manifest["spec"]["deployment"]
        image = images.find(deployment["image"])
        if image is None:
            continue
        build = image.declaration
        if build.entrypoint:
            deployment["command"] = list(build.entrypoint)
        if build.container_args is not None:
            deployment["args"] = list(build.container_args)


def operator_node(
    declarations: Declarations,
    resource: Resource,
    taken: Taken,
    images: Images,
    mode: tuple[Trigger, bool, tuple[str, ...]],
) -> Node:
    """The node that has the environment of a resource reconciled."""
    trigger, auto_init, labels = mode
    seconds = declarations.settings.k8s_upsert_timeout_secs
    return Node(
        id=operator_of(resource.name),
        kind=Kind.OPERATOR,
        name=resource.name,
        spec=OperatorSpec(
            object=ObjectSpec(taken.ref, canonical(taken.manifest)),
            images=tuple(_injection(image, taken, images) for image in taken.images),
            timeout=_SECONDS if seconds is None else seconds,
        ),
        where=resource.where,
        resource=resource.name,
        trigger=trigger,
        auto_init=auto_init,
        labels=labels,
    )


def _injection(image: Image, taken: Taken, images: Images) -> ImageInjection:
    build = image.declaration
    declared = (path for kind in taken.kinds for path in kind.image_json_paths)
    values = ENVIRONMENT_VALUES if build.match_in_env_vars else ()
    return ImageInjection(
        ref=build.ref,
        delivery=images.delivery(image),
        paths=tuple(dict.fromkeys((*ENVIRONMENT_IMAGES, *declared, *values))),
    )
