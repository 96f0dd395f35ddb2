"""Pods inside manifests: which objects make pods, and what those pods hold.

A pod template is found by the object's kind, whatever its apiVersion, and by its shape in kinds
that we do not know (`spec.template.spec.containers`), so that Argo's Rollout or Knative's Service
need no declaration for their images to be found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kindling.graph.spec import Readiness
from kindling.objects.identity import Manifest, Scope, scope
from kindling.objects.jsonpath import Location, value_at

__all__ = [
    "WORKLOAD_KINDS",
    "Container",
    "ContainerPort",
    "ImageSlot",
    "PodTemplate",
    "containers",
    "declared_ports",
    "default_readiness",
    "image_slots",
    "is_workload",
    "pod_templates",
    "selector_matches",
    "service_selector",
]

WORKLOAD_KINDS: Mapping[str, tuple[str, ...]] = {
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Deployment": ("spec", "template"),
    "Job": ("spec", "template"),
    "Pod": (),
    "PodTemplate": ("template",),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
}
"""Kinds that hold a pod template, and where."""

_SHAPE = ("spec", "template")
_CONTAINER_LISTS = ("initContainers", "containers")


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """A pod template in a manifest (of a Pod, the Pod itself). `location` leads to it."""

    location: Location
    labels: Mapping[str, str]
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """A port that a container declares. `name` may be empty."""

    number: int
    name: str = ""
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a pod template. `location` leads to it in the manifest."""

    location: Location
    name: str
    image: str
    init: bool
    ports: tuple[ContainerPort, ...] = ()
    env_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageSlot:
    """A place that names an image. `location` leads to the text.

    `owner` leads to the map that holds the pull policy, under the key `policy`: the container, or
    the source of an image volume.
    """

    location: Location
    value: str
    owner: Location
    policy: str
    container: bool


def pod_templates(manifest: Manifest) -> tuple[PodTemplate, ...]:
    """The pod templates of an object: one for everything that makes pods, none for all else."""
    kind = str(manifest.get("kind", ""))
    location = WORKLOAD_KINDS.get(kind)
    if location is None:
        unknown = scope(str(manifest.get("apiVersion", "")), kind) is Scope.UNKNOWN
        if not unknown or not isinstance(_dig(manifest, (*_SHAPE, "spec", "containers")), list):
            return ()
        location = _SHAPE
    template = _dig(manifest, location)
    spec = template.get("spec") if isinstance(template, Mapping) else None
    if not isinstance(template, Mapping) or not isinstance(spec, Mapping):
        return ()
    labels = _dig(template, ("metadata", "labels"))
    return (
        PodTemplate(
            location,
            {str(k): str(v) for k, v in labels.items()} if isinstance(labels, Mapping) else {},
            spec,
        ),
    )


def is_workload(manifest: Manifest) -> bool:
    """Whether an object of a built-in kind makes pods (a PodTemplate by itself makes none)."""
    kind = str(manifest.get("kind", ""))
    return kind in WORKLOAD_KINDS and kind != "PodTemplate" and bool(pod_templates(manifest))


def containers(manifest: Manifest) -> tuple[Container, ...]:
    """Every container of an object, init containers first, as pods start them."""
    return tuple(_containers(manifest))


def _containers(manifest: Manifest) -> Iterator[Container]:
    for template in pod_templates(manifest):
        for key in _CONTAINER_LISTS:
            items = template.spec.get(key)
            for at, item in enumerate(items if isinstance(items, list) else ()):
                if not isinstance(item, Mapping):
                    continue
                env = item.get("env")
                yield Container(
                    location=(*template.location, "spec", key, at),
                    name=str(item.get("name") or ""),
                    image=str(item.get("image") or ""),
                    init=key == "initContainers",
                    ports=tuple(_ports(item)),
                    env_values=tuple(
                        str(variable["value"])
                        for variable in (env if isinstance(env, list) else ())
                        if isinstance(variable, Mapping) and isinstance(variable.get("value"), str)
                    ),
                )


def _ports(container: Mapping[str, Any]) -> Iterator[ContainerPort]:
    ports = container.get("ports")
    for port in ports if isinstance(ports, list) else ():
        number = port.get("containerPort") if isinstance(port, Mapping) else None
        if isinstance(number, int):
            yield ContainerPort(
                number, str(port.get("name") or ""), str(port.get("protocol") or "TCP")
            )


def declared_ports(manifest: Manifest) -> tuple[ContainerPort, ...]:
    """The TCP ports that the pods of an object declare, main containers first, in order."""
    found = sorted(containers(manifest), key=lambda container: container.init)
    return tuple(port for c in found for port in c.ports if port.protocol == "TCP")


def image_slots(manifest: Manifest) -> tuple[ImageSlot, ...]:
    """Every place in the pod templates that names an image: containers and image volumes."""
    slots = [
        ImageSlot((*c.location, "image"), c.image, c.location, "imagePullPolicy", container=True)
        for c in containers(manifest)
        if c.image
    ]
    for template in pod_templates(manifest):
        volumes = template.spec.get("volumes")
        for at, volume in enumerate(volumes if isinstance(volumes, list) else ()):
            source = volume.get("image") if isinstance(volume, Mapping) else None
            if isinstance(source, Mapping) and isinstance(source.get("reference"), str):
                owner = (*template.location, "spec", "volumes", at, "image")
                slots.append(
                    ImageSlot(
                        (*owner, "reference"),
                        source["reference"],
                        owner,
                        "pullPolicy",
                        container=False,
                    )
                )
    return tuple(slots)


def service_selector(manifest: Manifest) -> Mapping[str, str] | None:
    """The pod labels that a Service selects; None for no Service, or one that selects nothing."""
    if manifest.get("kind") != "Service" or manifest.get("apiVersion") != "v1":
        return None
    selector = _dig(manifest, ("spec", "selector"))
    if not isinstance(selector, Mapping) or not selector:
        return None
    return {str(k): str(v) for k, v in selector.items()}


def selector_matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether labels satisfy an equality selector; an empty one (of a Service) selects none."""
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def default_readiness(manifest: Manifest) -> Readiness:
    """What pods must be where nobody said: those of a Job must have succeeded, all others be ready.

    A CronJob's pods come when its schedule says, so nobody waits for them.
    """
    match manifest.get("kind"):
        case "Job":
            return Readiness.SUCCEEDED
        case "CronJob":
            return Readiness.IGNORE
        case _:
            return Readiness.WAIT


def _dig(value: Any, location: Location) -> Any:
    try:
        return value_at(value, location)
    except (KeyError, IndexError, TypeError):
        return None
