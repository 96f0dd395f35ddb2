"""The values of a dependency: given by the user, kept from before, fixed, or drawn now.

A user's own value wins; a drawn one is kept for as long as its Secret stands. A value that the user
takes from a Secret or a ConfigMap is looked up there, because the URL needs it; the container is
given the user's own source.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from kindling.objects.identity import canonical
from kindling.operator.backing.exports import URL_KEY
from kindling.operator.backing.service import BackingService, Random, Setting
from kindling.operator.backing.table import SERVICES
from kindling.operator.model import Dependency, Environment, Variable
from kindling.operator.rules import Problem

__all__ = ["SALT_KEY", "Credentials", "Draw", "Known", "credentials", "references", "secret_name"]

Draw = Callable[[int], bytes]
"""So many random bytes, as `os.urandom` gives them."""

SALT_KEY = ".salt"
"""A key that can be no variable. Digests of the Secret are keyed with it, so that an annotation
which many may read does not help to guess a short password."""

_KEY = re.compile(r"[-_A-Za-z0-9][-._A-Za-z0-9]*\Z")
"""Names of variables that can be keys of a Secret."""

_BYTES = {Random.PASSWORD: 15, Random.TOKEN: 30}

Data = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Known:
    """What a namespace holds already, decoded, by name: what `references` asks for."""

    secrets: Mapping[str, Data] = field(default_factory=dict, repr=False)
    config_maps: Mapping[str, Data] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The Secret of one dependency, and the variables of its container."""

    data: Data = field(repr=False)
    variables: tuple[Variable, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def digest(self) -> str:
        """Changes with the values, and tells nothing of them."""
        rest = {key: value for key, value in self.data.items() if key != SALT_KEY}
        salt = self.data[SALT_KEY].encode()
        return hmac.new(salt, canonical(rest).encode(), hashlib.sha256).hexdigest()[:16]


def secret_name(environment: Environment, dependency: Dependency) -> str:
    return f"{environment.child(dependency)}-credentials"


def references(environment: Environment) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the Secrets and of the ConfigMaps that `Known` should hold."""
    secrets = {secret_name(environment, one) for one in environment.dependencies}
    config_maps = set[str]()
    for dependency in environment.dependencies:
        for variable in dependency.env:
            source = variable.source or {}
            if ref := source.get("secretKeyRef"):
                secrets.add(ref.get("name", ""))
            if ref := source.get("configMapKeyRef"):
                config_maps.add(ref.get("name", ""))
    return frozenset(secrets - {""}), frozenset(config_maps - {""})


def credentials(
    environment: Environment, dependency: Dependency, known: Known, draw: Draw
) -> Credentials:
    """Everything that is said of one dependency's variables."""
    service = SERVICES[dependency.type]
    secret = secret_name(environment, dependency)
    kept = known.secrets.get(secret, {})
    places = _places(environment, dependency, service)
    given = {variable.name: variable for variable in dependency.env}
    values: dict[str, str | None] = {}
    variables: list[Variable] = []
    found: list[Problem] = []
    needed = _names_in(service)
    settings = _settings(dependency, service)
    for setting in settings:
        told = given.pop(setting.name, None)
        if told is None:
            values[setting.name] = _own(setting, kept, places, draw)
        else:
            values[setting.name] = _given(told, dependency, known, found, setting.name in needed)
        variables.append(_variable(setting, told, values[setting.name] or "", secret))
    for variable in given.values():
        if _KEY.match(variable.name):
            values[variable.name] = _given(variable, dependency, known, found, False)
        variables.append(variable)
    texts = {name: value or "" for name, value in values.items()}
    encoded = {name: quote(value, safe="") for name, value in texts.items()}
    data = {name: value for name, value in values.items() if value is not None}
    data |= {name: text.format_map(texts | places) for name, text in service.exports}
    data[URL_KEY] = service.url.format_map(encoded | places)
    data[SALT_KEY] = kept.get(SALT_KEY) or _drawn(Random.PASSWORD, draw)
    return Credentials(data, tuple(variables), tuple(found))


def _places(
    environment: Environment, dependency: Dependency, service: BackingService
) -> dict[str, str]:
    host = environment.child(dependency)
    return {
        "host": host,
        "address": f"{host}.{environment.namespace}.svc",
        "port": str(dependency.port or service.port),
    }


def _settings(dependency: Dependency, service: BackingService) -> tuple[Setting, ...]:
    moved = service.moved_settings if dependency.port not in (0, service.port) else ()
    stored = service.storage.settings if dependency.storage and service.storage else ()
    return (*service.settings, *moved, *stored)


def _names_in(service: BackingService) -> frozenset[str]:
    """The settings without whose value the URL or a further variable cannot be written."""
    texts = (service.url, *(text for _, text in service.exports))
    return frozenset(
        one.name for one in service.settings if any(f"{{{one.name}}}" in text for text in texts)
    )


def _own(setting: Setting, kept: Data, places: Data, draw: Draw) -> str:
    if isinstance(setting.value, Random):
        return kept.get(setting.name) or _drawn(setting.value, draw)
    return setting.value.format_map(places)


def _drawn(sort: Random, draw: Draw) -> str:
    """Letters and digits alone: such a value can stand in a URL, a shell and a file unchanged."""
    return base64.b32encode(draw(_BYTES[sort])).decode().lower()


def _variable(setting: Setting, told: Variable | None, value: str, secret: str) -> Variable:
    if told is not None and told.source is not None:
        return told
    if not setting.kept:
        return told or Variable(setting.name, value)
    source = {"secretKeyRef": {"name": secret, "key": setting.name}}
    return Variable(setting.name, source=source)


def _given(
    variable: Variable, dependency: Dependency, known: Known, found: list[Problem], needed: bool
) -> str | None:
    """The value of a user's variable; None where only the kubelet knows it."""
    if variable.source is None:
        return variable.value
    for key, sort, place in (
        ("secretKeyRef", "Secret", known.secrets),
        ("configMapKeyRef", "ConfigMap", known.config_maps),
    ):
        ref = variable.source.get(key)
        if ref is None:
            continue
        name = ref.get("name", "")
        value = place.get(name, {}).get(ref["key"])
        if value is None and needed:
            text = f"`{variable.name}` comes from key `{ref['key']}` of the {sort} `{name}`"
            found.append(
                Problem(f"{dependency.path}.env", f"{sort}NotFound", f"{text}, which is not there")
            )
        return value
    if needed:
        text = f"`{variable.name}` is part of the URL, so it must be a value or come from a Secret"
        found.append(Problem(f"{dependency.path}.env", "InvalidSpec", text))
    return None
