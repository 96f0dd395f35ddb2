"""The environment, command line and user of a container, out of its pod and its image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from kindling.cluster.images.protocol import ImageConfig
from kindling.cluster.model.api import Api, Obj, Selection
from kindling.cluster.model.resource import builtin
from kindling.cluster.node.downward import FieldError, PodFacts, field_value, resource_value
from kindling.cluster.node.expansion import expand
from kindling.cluster.node.payload import decoded
from kindling.cluster.node.quantity import quantity

__all__ = [
    "PATH",
    "ConfigError",
    "command_line",
    "environment",
    "limits_of",
    "service_links",
    "user_of",
]

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CONFIG_MAPS, _SECRETS, _SERVICES = (
    builtin("configmaps"),
    builtin("secrets"),
    builtin("services"),
)


class ConfigError(Exception):
    """A container that cannot be configured (`CreateContainerConfigError`); the text is the
    kubelet's."""


def environment(api: Api, pod: Obj, container: Obj, facts: PodFacts) -> tuple[tuple[str, str], ...]:
    """The variables that the pod asks for, without the image's. Raises `ConfigError`."""
    namespace = pod["metadata"]["namespace"]
    services = service_links(api, pod)
    result: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        prefix = source.get("prefix", "")
        for key, value in _everything(api, namespace, source).items():
            if key and "=" not in key:
                result[prefix + key] = value
    known = {**services, **result}
    for variable in container.get("env") or ():
        name = variable["name"]
        given = _value(api, pod, container, variable, facts, known)
        if given is not None:
            known[name] = result[name] = given
    return tuple(
        ({key: value for key, value in services.items() if key not in result} | result).items()
    )


def _everything(api: Api, namespace: str, source: Obj) -> Mapping[str, str]:
    for field, kind in (("configMapRef", "configmap"), ("secretRef", "secret")):
        if (ref := source.get(field)) is None:
            continue
        found = api.get(_CONFIG_MAPS if kind == "configmap" else _SECRETS, ref["name"], namespace)
        if found is None:
            if ref.get("optional"):
                return {}
            raise ConfigError(f'{kind} "{ref["name"]}" not found')
        return {key: value.decode(errors="replace") for key, value in decoded(found).items()}
    return {}


def _value(
    api: Api, pod: Obj, container: Obj, variable: Obj, facts: PodFacts, known: Mapping[str, str]
) -> str | None:
    source = variable.get("valueFrom")
    if not source:
        return expand(str(variable.get("value") or ""), known)
    try:
        if ref := source.get("fieldRef"):
            return field_value(pod, ref["fieldPath"], facts)
        if ref := source.get("resourceFieldRef"):
            return resource_value(pod, container, ref, facts)
    except FieldError as error:
        raise ConfigError(str(error)) from error
    namespace = pod["metadata"]["namespace"]
    for field, resource, kind in (
        ("configMapKeyRef", _CONFIG_MAPS, "ConfigMap"),
        ("secretKeyRef", _SECRETS, "Secret"),
    ):
        if (ref := source.get(field)) is None:
            continue
        found = api.get(resource, ref["name"], namespace)
        if found is None:
            if ref.get("optional"):
                return None
            raise ConfigError(f'{kind.lower()} "{ref["name"]}" not found')
        values = decoded(found)
        if ref["key"] not in values:
            if ref.get("optional"):
                return None
            raise ConfigError(f"couldn't find key {ref['key']} in {kind} {namespace}/{ref['name']}")
        return values[ref["key"]].decode(errors="replace")
    return None


def service_links(api: Api, pod: Obj) -> dict[str, str]:
    """Docker-link variables of the namespace's services and of `kubernetes`; the latter alone when
    the pod wants none."""
    namespace = pod["metadata"]["namespace"]
    master = api.get(_SERVICES, "kubernetes", "default")
    services = [master] if master else []
    if pod["spec"].get("enableServiceLinks", True):
        services += [
            service
            for service in api.select(_SERVICES, Selection(namespace))
            if (namespace, service["metadata"]["name"]) != ("default", "kubernetes")
        ]
    result: dict[str, str] = {}
    for service in services:
        result |= _links(service)
    return result


def _links(service: Obj) -> dict[str, str]:
    spec = service.get("spec", {})
    address, ports = spec.get("clusterIP"), spec.get("ports") or ()
    if not address or address == "None" or not ports:
        return {}
    name = service["metadata"]["name"].upper().replace("-", "_")
    result = {f"{name}_SERVICE_HOST": address, f"{name}_SERVICE_PORT": str(ports[0]["port"])}
    for port in ports:
        if port.get("name"):
            named = port["name"].upper().replace("-", "_")
            result[f"{name}_SERVICE_PORT_{named}"] = str(port["port"])
    for index, port in enumerate(ports):
        protocol, number = port.get("protocol", "TCP"), port["port"]
        url = f"{protocol.lower()}://{address}:{number}"
        if not index:
            result[f"{name}_PORT"] = url
        prefix = f"{name}_PORT_{number}_{protocol.upper()}"
        result |= {
            prefix: url,
            f"{prefix}_PROTO": protocol.lower(),
            f"{prefix}_PORT": str(number),
            f"{prefix}_ADDR": address,
        }
    return result


def command_line(
    container: Obj, image: ImageConfig, variables: Mapping[str, str]
) -> tuple[str, ...]:
    """A command of the pod replaces the image's entrypoint and its arguments; arguments alone go to
    the image's entrypoint. Raises `ConfigError` when there is nothing to run."""
    command = _expanded(container.get("command") or (), variables)
    args = _expanded(container.get("args") or (), variables)
    argv = (*command, *args) if command else (*image.entrypoint, *(args or image.cmd))
    if not argv:
        raise ConfigError("no command specified")
    return argv


def _expanded(words: Iterable[str], variables: Mapping[str, str]) -> Sequence[str]:
    return tuple(expand(word, variables) for word in words)


def user_of(pod: Obj, container: Obj, image: ImageConfig) -> str:
    """The user to run as, in the form of `ContainerSpec.user`. Raises `ConfigError` where
    `runAsNonRoot` forbids it, in the kubelet's words."""
    above = pod["spec"].get("securityContext") or {}
    context = above | {
        key: value
        for key, value in (container.get("securityContext") or {}).items()
        if value is not None
    }
    uid, gid = context.get("runAsUser"), context.get("runAsGroup")
    if context.get("runAsNonRoot"):
        metadata = pod["metadata"]
        where = (
            f'(pod: "{metadata["name"]}_{metadata["namespace"]}({metadata["uid"]})",'
            f" container: {container['name']})"
        )
        named = image.user.partition(":")[0]
        if uid is not None:
            if uid == 0:
                raise ConfigError(f"container's runAsUser breaks non-root policy {where}")
        elif named and not named.isdigit():
            raise ConfigError(
                f"container has runAsNonRoot and image has non-numeric user ({named}), cannot"
                f" verify user is non-root {where}"
            )
        elif not named or int(named) == 0:
            raise ConfigError(f"container has runAsNonRoot and image will run as root {where}")
    if uid is None and gid is None:
        return image.user
    user = str(uid) if uid is not None else image.user.partition(":")[0] or "0"
    return f"{user}:{gid}" if gid is not None else user


def limits_of(container: Obj) -> tuple[int | None, float | None]:
    """The limits of memory in bytes and of CPUs; None where there is none."""
    limits = (container.get("resources") or {}).get("limits") or {}
    memory = quantity(limits["memory"]) if "memory" in limits else Decimal(0)
    cpus = quantity(limits["cpu"]) if "cpu" in limits else Decimal(0)
    return int(memory) or None, float(cpus) or None
