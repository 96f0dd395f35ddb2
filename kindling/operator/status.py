"""How an environment stands: its status, from its live children.

Fields and the reasons of `Ready` are upstream's. Unlike there, each part has a condition that is
always told and so turns true again, a roll-out that is not over is not taken for ready, an Ingress
counts, and a pod that cannot run gives its reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kindling.operator.credentials import secret_name
from kindling.operator.model import Environment, read_environment
from kindling.operator.parts import Part, condition, deployment_part
from kindling.operator.rules import Problem

__all__ = ["World", "status_of"]

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class World:
    """What is live: an environment's children, the pods of its Deployments where they are known,
    and the names of the cluster's IngressClasses, with `default_class` that an Ingress without one
    gets."""

    children: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    ingress_classes: frozenset[str] = frozenset()
    default_class: str = ""

    def find(self, kind: str, name: str) -> Object | None:
        for one in self.children:
            if one["kind"] == kind and one["metadata"]["name"] == name:
                return one
        return None

    def pods_of(self, deployment: Object) -> tuple[Object, ...]:
        wanted = deployment["spec"]["selector"]["matchLabels"].items()
        return tuple(
            pod for pod in self.pods if wanted <= (pod["metadata"].get("labels") or {}).items()
        )


def status_of(
    manifest: Object, world: World, problems: Collection[Problem], now: str
) -> dict[str, Any]:
    """The status to write; equal to the live one when nothing has changed.

    `problems` are those of `desired`, `now` is RFC 3339 in UTC: when a condition turned, if it did.
    """
    environment = read_environment(manifest)
    blocking = [one for one in problems if one.blocking]
    status: dict[str, Any] = {}
    if isinstance(environment, Environment):
        app, parts = _parts(environment, world)
        status = _fields(environment, app, parts, world)
    else:
        parts = {}
    told = [condition(f"{name}Ready", part, manifest, now) for name, part in parts.items()]
    ready = _ready(parts, blocking)
    status["observedGeneration"] = manifest["metadata"].get("generation", 0)
    status["conditions"] = [condition("Ready", ready, manifest, now), *told]
    return status


def _fields(
    environment: Environment, app: Object | None, parts: Mapping[str, Part], world: World
) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "availableReplicas": ((app or {}).get("status") or {}).get("availableReplicas", 0)
    }
    for name in ("Deployment", "Service", "Ingress", "Dependencies"):
        fields[f"{name.lower()}Ready"] = parts[name].ready
    ingress = environment.ingress
    if ingress is not None and ingress.host and world.find("Ingress", environment.base):
        scheme = "https" if ingress.tls_secret else "http"
        fields["url"] = f"{scheme}://{ingress.host}{ingress.path}"
    return fields


def _parts(environment: Environment, world: World) -> tuple[Object | None, dict[str, Part]]:
    app = world.find("Deployment", environment.base)
    parts = {
        "Deployment": _deployment(app, environment.base, world),
        "Service": _existing(world, "Service", environment.base),
        "Ingress": _ingress(environment, world),
        "Dependencies": _dependencies(environment, world),
    }
    return app, parts


def _deployment(live: Object | None, name: str, world: World) -> Part:
    if live is None:
        return Part(False, "Missing", f"the Deployment `{name}` is not there")
    return deployment_part(live, world.pods_of(live))


def _existing(world: World, kind: str, name: str) -> Part:
    if world.find(kind, name) is None:
        return Part(False, "Missing", f"the {kind} `{name}` is not there")
    return Part(True, "Available", f"the {kind} `{name}` is there")


def _ingress(environment: Environment, world: World) -> Part:
    """An address is waited for where somebody is there to give one."""
    told = environment.ingress
    if told is None:
        return Part(True, "NotWanted", "no Ingress is wanted")
    live = world.find("Ingress", environment.base)
    if live is None:
        return _existing(world, "Ingress", environment.base)
    name = told.class_name or world.default_class
    if name not in world.ingress_classes:
        which = f"IngressClass `{name}` is" if name else "IngressClass is chosen or"
        return Part(True, "NoController", f"no {which} there, so none gives it an address")
    addresses = (live.get("status") or {}).get("loadBalancer", {}).get("ingress")
    if not addresses:
        return Part(False, "NoAddress", f"IngressClass `{name}` has not given it an address yet")
    return Part(True, "Available", f"IngressClass `{name}` serves it")


def _dependencies(environment: Environment, world: World) -> Part:
    waiting: list[Part] = []
    for dependency in environment.dependencies:
        name = environment.child(dependency)
        for part in (
            _existing(world, "Secret", secret_name(environment, dependency)),
            _existing(world, "Service", name),
            _deployment(world.find("Deployment", name), name, world),
        ):
            if not part.ready:
                waiting.append(part)
                break
    if waiting:
        return Part(False, waiting[0].reason, "; ".join(part.message for part in waiting))
    count = len(environment.dependencies)
    return Part(True, "Available", f"{count} of {count} are ready")


def _ready(parts: Mapping[str, Part], blocking: Iterable[Problem]) -> Part:
    found = list(blocking)
    if found:
        return Part(False, found[0].reason, "; ".join(map(str, found)))
    waiting = [f"{name}: {part.message}" for name, part in parts.items() if not part.ready]
    if waiting:
        return Part(False, "ResourcesNotReady", "; ".join(waiting))
    return Part(True, "AllResourcesReady", "everything is ready")
