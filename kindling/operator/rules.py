"""What is wrong with an environment whose fields are each well formed.

The rules of the definition once more, for servers that do not enforce them, and those that no
schema can say. Clashes are not refused by the server, since upstream's are not: an environment that
has one is stored, stands still, and says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kindling.operator.backing.exports import injected
from kindling.operator.backing.table import SERVICES
from kindling.operator.definitions.environment import MAX_NAME
from kindling.operator.model import Dependency, Environment, Variable
from kindling.operator.quantity import amount

__all__ = ["Problem", "problems"]

_HOST = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_VARIABLE = re.compile(r"[ -<>-~]+\Z")
"""Printable ASCII but `=`, as from Kubernetes 1.32 on; earlier servers take less."""

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(@sha256:[0-9a-f]{64})?\Z")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, where, and how to mend it. `reason` is a word for conditions and events.

    While one that is `blocking` lasts, nothing of the environment is written and nothing is taken
    away; the others are told, and the environment stands.
    """

    field: str
    reason: str
    message: str
    blocking: bool = True

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def problems(environment: Environment) -> tuple[Problem, ...]:
    """Everything that the environment itself says wrong, in the order of its fields."""
    return tuple(_problems(environment))


def _problems(environment: Environment) -> Iterator[Problem]:
    yield from _names(environment)
    yield from _image("spec.deployment.image", environment.image)
    yield from _container("spec.deployment", environment.env, environment.resources)
    yield from _ingress(environment)
    for dependency in environment.dependencies:
        yield from _container(dependency.path, dependency.env, dependency.resources)
        yield from _dependency(dependency)
    yield from _name_clashes(environment)
    yield from _variable_clashes(environment)


def _invalid(field: str, message: str) -> Problem:
    return Problem(field, "InvalidSpec", message)


def _names(environment: Environment) -> Iterator[Problem]:
    if not environment.name[:1].islower() or not environment.name[:1].isascii():
        yield _invalid(
            "metadata.name",
            "must begin with a lower-case letter, since a Service is named after it",
        )
    elif not _NAME.match(environment.name):
        yield _invalid(
            "metadata.name",
            f"`{environment.name}` is no name: it is made of lower-case letters, digits, `-` and "
            "`.`, with a letter or digit at both ends",
        )
    longest = max(map(len, (environment.base, *map(environment.child, environment.dependencies))))
    if longest > MAX_NAME:
        named = max((environment.base, *map(environment.child, environment.dependencies)), key=len)
        yield _invalid(
            "metadata.name",
            f"is too long: the Service `{named}` would have {len(named)} characters, "
            f"{MAX_NAME} are allowed",
        )


def _image(field: str, image: str) -> Iterator[Problem]:
    if any(one.isspace() for one in image):
        yield _invalid(field, f"`{image}` is no image: there is a space in it")


def _container(
    path: str, env: tuple[Variable, ...], resources: Mapping[str, Any]
) -> Iterator[Problem]:
    for variable in env:
        if not _VARIABLE.match(variable.name):
            yield _invalid(f"{path}.env", f"`{variable.name}` is no name of a variable")
        if variable.value and variable.source is not None:
            yield _invalid(
                f"{path}.env", f"`{variable.name}` may not have both value and valueFrom"
            )
    amounts = {key: amount(value) for key, value in resources.items()}
    for key, one in amounts.items():
        if one is not None and one < 0:
            yield _invalid(f"{path}.resources.{key}", "must not be negative")
    for what in ("cpu", "memory"):
        request, limit = amounts.get(f"{what}Request"), amounts.get(f"{what}Limit")
        if request is not None and limit is not None and request > limit:
            yield _invalid(
                f"{path}.resources.{what}Request", f"must be at most {what}Limit, or no pod starts"
            )


def _ingress(environment: Environment) -> Iterator[Problem]:
    ingress = environment.ingress
    if ingress is None:
        return
    if ingress.path_type != "ImplementationSpecific" and not ingress.path.startswith("/"):
        yield _invalid("spec.ingress.path", "must begin with a slash")
    fields = (
        ("spec.ingress.host", (ingress.host,) if ingress.host else ()),
        ("spec.ingress.ingressClassName", (ingress.class_name,) if ingress.class_name else ()),
        ("spec.ingress.tls.hosts", ingress.tls_hosts),
    )
    for field, hosts in fields:
        for host in hosts:
            if not _HOST.match(host) or len(host) > 253:
                yield _invalid(field, f"`{host}` is no name such as `shop.localhost`")


def _dependency(dependency: Dependency) -> Iterator[Problem]:
    service = SERVICES[dependency.type]
    path = dependency.path
    yield from _image(f"{path}.image", dependency.image)
    if dependency.version and not dependency.image and not _TAG.match(dependency.version):
        yield _invalid(f"{path}.version", f"`{dependency.version}` is no tag of an image")
    if dependency.port in service.taken:
        yield Problem(
            f"{path}.port",
            "PortTaken",
            f"`{dependency.type}` itself listens on {dependency.port} for something else; "
            "choose another",
        )
    if not dependency.storage:
        return
    size = amount(dependency.storage)
    if size is None or size <= 0:
        yield _invalid(f"{path}.storageSize", "must be more than nothing")
    elif service.storage is None:
        yield Problem(
            f"{path}.storageSize",
            "NothingToStore",
            f"`{dependency.type}` keeps nothing on disk; no volume is made",
            blocking=False,
        )


def _name_clashes(environment: Environment) -> Iterator[Problem]:
    first: dict[str, Dependency] = {}
    for dependency in environment.dependencies:
        other = first.setdefault(dependency.name, dependency)
        if other is not dependency:
            yield Problem(
                dependency.path,
                "NameClash",
                f"is called `{dependency.name}`, as {other.path} is; give one of them a `name` "
                "of its own",
            )


def _variable_clashes(environment: Environment) -> Iterator[Problem]:
    own = {variable.name for variable in environment.env}
    first: dict[str, Dependency] = {}
    for dependency in environment.dependencies:
        for variable in injected(dependency):
            other = first.setdefault(variable, dependency)
            if other is dependency or variable in own or other.name == dependency.name:
                continue
            yield Problem(
                dependency.path,
                "VariableClash",
                f"`{dependency.name}` sets the variable `{variable}`, as `{other.name}` "
                f"({other.path}) does; give one of them an `envVarName` or a `name` of its own, "
                "or set the variable yourself in deployment.env",
            )
