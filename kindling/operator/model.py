"""A DevStagingEnvironment as a value: what its manifest says, defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from kindling.objects.inject import ROLL_ANNOTATION
from kindling.operator.definitions.core import Schema
from kindling.operator.definitions.environment import environment_definition
from kindling.operator.structure import Fault, defaulted, faults

__all__ = [
    "Dependency",
    "Environment",
    "Health",
    "Ingress",
    "Variable",
    "environment_schema",
    "read_environment",
]


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable: `value`, or where the kubelet takes it from."""

    name: str
    value: str = ""
    source: Mapping[str, Any] | None = None

    def manifest(self) -> dict[str, Any]:
        if self.source is not None:
            return {"name": self.name, "valueFrom": dict(self.source)}
        return {"name": self.name, "value": self.value}


@dataclass(frozen=True, slots=True)
class Health:
    """How a container is asked whether it is well. `port` 0 is the container's own."""

    type: str
    path: str
    port: int
    initial_delay: int
    period: int


@dataclass(frozen=True, slots=True)
class Ingress:
    """How the environment is reached from outside."""

    host: str
    path: str
    path_type: str
    class_name: str | None
    tls_secret: str
    tls_hosts: tuple[str, ...]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Dependency:
    """One backing service as it is declared. `port` 0 is the type's own."""

    type: str
    name: str
    version: str
    image: str
    port: int
    env: tuple[Variable, ...]
    variable: str
    storage: str
    resources: Mapping[str, Any]
    path: str
    """Where it is declared: `spec.dependencies[0]`."""


@dataclass(frozen=True, slots=True)
class Environment:
    """One DevStagingEnvironment. `uid` is empty before a server has given one."""

    name: str
    namespace: str
    uid: str
    generation: int
    labels: Mapping[str, str]
    image: str
    port: int
    replicas: int
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: tuple[Variable, ...]
    resources: Mapping[str, Any]
    health: Health | None
    service_port: int
    target_port: int
    service_type: str
    ingress: Ingress | None
    """None when it is not enabled."""
    dependencies: tuple[Dependency, ...]
    rolls: tuple[tuple[str, str], ...] = ()
    """Annotations that tell contents of images apart where their references do not."""

    @property
    def base(self) -> str:
        """What children are named after; dots are not allowed in a Service's name."""
        return self.name.replace(".", "-")

    def child(self, dependency: Dependency) -> str:
        """The name of a dependency's Deployment and Service, and so its host name."""
        return f"{self.base}-{dependency.name}"


@cache
def environment_schema() -> Schema:
    """The schema of a whole object. Not to be changed."""
    version: Schema = environment_definition()["spec"]["versions"][0]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def read_environment(manifest: Mapping[str, Any]) -> Environment | tuple[Fault, ...]:
    """The environment of a manifest, or what makes it none."""
    whole = defaulted(manifest, environment_schema())
    found = tuple(faults(whole, environment_schema()))
    if not found and not isinstance(whole.get("metadata", {}).get("name"), str):
        found = (Fault("metadata.name", "is required"),)
    return found or _environment(whole)


def _environment(manifest: Mapping[str, Any]) -> Environment:
    metadata, spec = manifest["metadata"], manifest["spec"]
    deployment, service = spec["deployment"], spec["service"]
    return Environment(
        name=metadata["name"],
        namespace=metadata.get("namespace") or "default",
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 0),
        labels=metadata.get("labels") or {},
        image=deployment["image"],
        port=deployment["port"],
        replicas=deployment["replicas"],
        command=tuple(deployment.get("command", ())),
        args=tuple(deployment.get("args", ())),
        env=_variables(deployment),
        resources=deployment.get("resources", {}),
        health=_health(deployment.get("healthCheck")),
        service_port=service["port"],
        target_port=service.get("targetPort") or deployment["port"],
        service_type=service["type"],
        ingress=_ingress(spec.get("ingress", {})),
        dependencies=tuple(
            _dependency(one, index) for index, one in enumerate(spec.get("dependencies", ()))
        ),
        rolls=tuple(
            (key, value)
            for key, value in sorted((metadata.get("annotations") or {}).items())
            if key.startswith(f"{ROLL_ANNOTATION}.")
        ),
    )


def _variables(owner: Mapping[str, Any]) -> tuple[Variable, ...]:
    """The variables in order; of two with one name the later counts, as in a container."""
    last = {one["name"]: one for one in owner.get("env", ())}
    kept = [one for one in owner.get("env", ()) if last[one["name"]] is one]
    return tuple(Variable(one["name"], one.get("value", ""), one.get("valueFrom")) for one in kept)


def _health(told: Mapping[str, Any] | None) -> Health | None:
    if told is None or told["type"] == "none":
        return None
    return Health(
        type=told["type"],
        path=told["path"],
        port=told.get("port", 0),
        initial_delay=told["initialDelaySeconds"],
        period=told["periodSeconds"],
    )


def _ingress(told: Mapping[str, Any]) -> Ingress | None:
    if not told.get("enabled"):
        return None
    tls = told.get("tls", {})
    host = told.get("host", "")
    return Ingress(
        host=host,
        path=told["path"],
        path_type=told["pathType"],
        class_name=told.get("ingressClassName") or None,
        tls_secret=tls.get("secretName", ""),
        tls_hosts=tuple(tls.get("hosts", ())) or ((host,) if host and tls else ()),
        annotations=told.get("annotations", {}),
    )


def _dependency(told: Mapping[str, Any], index: int) -> Dependency:
    return Dependency(
        type=told["type"],
        name=told.get("name") or told["type"],
        version=told.get("version", ""),
        image=told.get("image", ""),
        port=told.get("port", 0),
        env=_variables(told),
        variable=told.get("envVarName", ""),
        storage=str(told.get("storageSize", "")),
        resources=told.get("resources", {}),
        path=f"spec.dependencies[{index}]",
    )
