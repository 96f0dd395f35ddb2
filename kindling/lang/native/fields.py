"""Arguments as the fields of a DevStagingEnvironment: variables, amounts, waits."""

from __future__ import annotations

import json
from typing import Any

from kindling.errors import ConfigError, nearest
from kindling.lang.call import Call
from kindling.lang.declared import Dependency, HealthCheck, IngressRule, SecretReference

__all__ = [
    "dependencies_of",
    "health_fields",
    "health_of",
    "ingress_of",
    "plain",
    "resources_of",
    "storage_of",
    "variables_of",
]

_SOURCES = ("secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef")
_AMOUNTS = ("cpuRequest", "cpuLimit", "memoryRequest", "memoryLimit")


def plain(call: Call, argument: str, value: object) -> Any:
    """A value of lists, dicts, texts and numbers; a value of one of our builtins is none."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, list):
        return [plain(call, argument, one) for one in value]
    if isinstance(value, dict):
        return {str(key): plain(call, argument, one) for key, one in value.items()}
    raise call.wants(argument, "texts, numbers, lists and dicts", value)


# Variables ----------------------------------------------------------------------------------------


def variables_of(call: Call, argument: str, value: object) -> list[dict[str, Any]]:
    """Variables from a dict, or from a list as the kind itself has them."""
    if isinstance(value, list):
        return [_listed(call, argument, one) for one in value]
    if not isinstance(value, dict):
        if value is None:
            return []
        raise call.wants(argument, "a dict of variables", value)
    return [{"name": str(name)} | _value(call, argument, name, one) for name, one in value.items()]


def _listed(call: Call, argument: str, item: object) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise call.wants(argument, "variables such as `{'name': 'A', 'value': 'b'}`", item)
    if isinstance(reference := item.get("value"), SecretReference):
        return {"name": item.get("name"), "valueFrom": _of_secret(reference)}
    made: dict[str, Any] = plain(call, argument, item)
    return made


def _value(call: Call, argument: str, name: str, value: object) -> dict[str, Any]:
    if isinstance(value, SecretReference):
        return {"valueFrom": _of_secret(value)}
    if isinstance(value, str):
        return {"value": str(value)}
    if isinstance(value, bool):
        word = "true" if value else "false"
        raise ConfigError(
            f"`{call.name}({argument}=)`: `{name}` is a bool, and a variable is a text",
            hint=f'Write the text that the program expects, such as `"{word}"`.',
        )
    if isinstance(value, int):
        return {"value": str(value)}
    if isinstance(value, float):
        return {"value": f"{value:g}"}
    if isinstance(value, dict):
        return {"valueFrom": _source(call, argument, name, value)}
    raise call.wants(argument, f"a text, a number, `secret()` or a dict for `{name}`", value)


def _source(call: Call, argument: str, name: str, value: dict[str, object]) -> Any:
    inner = value["valueFrom"] if set(value) == {"valueFrom"} else value
    if not isinstance(inner, dict) or len(inner) != 1 or next(iter(inner)) not in _SOURCES:
        keys = list(inner) if isinstance(inner, dict) else []
        raise ConfigError(
            f"`{call.name}({argument}=)`: `{name}` has a dict that says nowhere to take a value "
            "from",
            details=[f"known: [{', '.join(_SOURCES)}]"],
            hint=nearest(str(keys[0]), _SOURCES) if keys else "",
        )
    return plain(call, argument, inner)


def _of_secret(reference: SecretReference) -> dict[str, Any]:
    return {"secretKeyRef": {"name": reference.object, "key": reference.key}}


# Amounts ------------------------------------------------------------------------------------------


def resources_of(call: Call, argument: str, value: object) -> dict[str, Any]:
    """CPU and memory, in the kind's own words or in short.

    `cpu` and `memory` are what is set aside, or a list of that and what may be used; `requests` and
    `limits` are dicts as a container has them.
    """
    if value is None or value == {}:
        return {}
    if not isinstance(value, dict):
        raise call.wants(argument, "a dict such as `{'cpu': '100m', 'memory': '64Mi'}`", value)
    made: dict[str, Any] = {}
    for key, one in value.items():
        for field, amount in _amounts(call, argument, str(key), one):
            if field in made:
                raise ConfigError(f"`{call.name}({argument}=)` says `{field}` twice")
            made[field] = amount
    return made


def _amounts(call: Call, argument: str, key: str, value: object) -> list[tuple[str, Any]]:
    if key in _AMOUNTS:
        return [(key, _amount(call, argument, key, value))]
    if key in ("requests", "limits"):
        if not isinstance(value, dict):
            raise call.wants(argument, f"a dict of cpu and memory for `{key}`", value)
        for name in value:
            if name not in ("cpu", "memory"):
                raise _unknown(call, argument, f"{key}.{name}", ("cpu", "memory"))
        end = "Request" if key == "requests" else "Limit"
        return [(f"{n}{end}", _amount(call, argument, f"{key}.{n}", v)) for n, v in value.items()]
    if key not in ("cpu", "memory"):
        raise _unknown(call, argument, key, ("cpu", "memory", "requests", "limits", *_AMOUNTS))
    if not isinstance(value, list):
        return [(f"{key}Request", _amount(call, argument, key, value))]
    if len(value) != 2:
        raise call.wants(argument, f"an amount or two, request and limit, for `{key}`", value)
    ends = zip(("Request", "Limit"), value, strict=True)
    return [(f"{key}{end}", _amount(call, argument, key, one)) for end, one in ends]


def _amount(call: Call, argument: str, key: str, value: object) -> str | int:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise call.wants(argument, f"an amount such as `100m` or `64Mi` for `{key}`", value)
    return value if isinstance(value, int) else str(value)


def _unknown(call: Call, argument: str, key: str, known: tuple[str, ...]) -> ConfigError:
    return ConfigError(
        f"`{call.name}({argument}=)` does not know `{key}`",
        details=[f"known: [{', '.join(known)}]"],
        hint=nearest(key.rpartition(".")[2], known),
    )


def storage_of(call: Call, value: object) -> str | int | None:
    """How large a volume is: `1Gi`."""
    if value is None or value == "":
        return None
    return _amount(call, "storage", "storage", value)


# Parts --------------------------------------------------------------------------------------------


def health_fields(
    call: Call, port: object, initial_delay: object, period: object
) -> dict[str, Any]:
    """What all health checks have."""
    made = {
        "port": port,
        "initialDelaySeconds": _seconds(call, "initial_delay", initial_delay),
        "periodSeconds": _seconds(call, "period", period),
    }
    return {key: plain(call, key, value) for key, value in made.items() if value is not None}


def _seconds(call: Call, argument: str, value: object) -> int | None:
    seconds = call.duration(argument, value)
    if seconds is None:
        return None
    if seconds != int(seconds):
        raise call.wants(argument, "whole seconds", value)
    return int(seconds)


def ingress_of(call: Call, value: object) -> dict[str, Any]:
    """An ingress from a host, `ingress()` or the kind's own fields, which are enabled unless they
    say that they are not."""
    if value is None or value == "" or value == {}:
        return {}
    if isinstance(value, IngressRule):
        made: dict[str, Any] = json.loads(value.manifest)
        return made
    if isinstance(value, dict):
        fields: dict[str, Any] = plain(call, "ingress", value)
        return {"enabled": True} | fields
    if not isinstance(value, str):
        raise call.wants("ingress", "a host such as `shop.localhost`, or `ingress()`", value)
    if "/" in value:
        host, _, path = str(value).removeprefix("http://").removeprefix("https://").partition("/")
        raise ConfigError(
            f"`{call.name}(ingress=)` is a host, and `{value}` is more than that",
            hint=f'Write `ingress("{host}", path = "/{path}")`.',
        )
    return {"enabled": True, "host": str(value)}


def dependencies_of(call: Call, value: object, known: tuple[str, ...]) -> list[dict[str, Any]]:
    """Dependencies from `postgres()` and its kin, names of types, or the kind's own fields."""
    items = value if isinstance(value, list) else [] if value is None else [value]
    made: list[dict[str, Any]] = []
    for item in items:
        if isinstance(item, Dependency):
            made.append(json.loads(item.manifest))
        elif isinstance(item, str):
            if item not in known:
                raise ConfigError(
                    f"`{call.name}(dependencies=)` does not know `{item}`",
                    details=[f"known: [{', '.join(known)}]"],
                    hint=nearest(item, known),
                )
            made.append({"type": str(item)})
        elif isinstance(item, dict):
            fields = dict(item)
            if "env" in fields:
                fields["env"] = variables_of(call, "dependencies", fields["env"])
            if isinstance(fields.get("resources"), dict):
                fields["resources"] = resources_of(call, "dependencies", fields["resources"])
            made.append(plain(call, "dependencies", fields))
        else:
            raise call.wants("dependencies", "`postgres()` and its kin", item)
    return made


def health_of(call: Call, value: object) -> dict[str, Any] | None:
    """A health check from `http_get()`, `grpc()` or `tcp()`."""
    if value is None:
        return None
    if not isinstance(value, HealthCheck):
        raise call.wants("health", "`http_get()`, `grpc()` or `tcp()`", value)
    made: dict[str, Any] = json.loads(value.manifest)
    return made
