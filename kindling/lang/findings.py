"""What is wrong with a DevStagingEnvironment, said of the fields that its writer knows.

The checks are the operator's own: its schema, the fields that a server would drop in silence, and
its rules. Here they get the names of the arguments, or the line in a file, and the nearest word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kindling.errors import ConfigError, nearest
from kindling.lang.structured import place_in_yaml
from kindling.objects.reference import parse_reference
from kindling.operator.backing.exports import injected, nearest_credential
from kindling.operator.definitions.core import GROUP, VERSION
from kindling.operator.definitions.environment import KIND
from kindling.operator.model import Environment, environment_schema, read_environment
from kindling.operator.rules import Problem, problems
from kindling.operator.structure import defaulted, faults, unknown_fields

__all__ = [
    "API_VERSION",
    "Finding",
    "error_in_file",
    "error_of",
    "find_in_dependency",
    "find_in_environment",
    "find_in_part",
    "name_of",
    "renamed",
    "steps_of",
]

API_VERSION = f"{GROUP}/{VERSION}"

_AMOUNT = "is no amount such as `500m`, `2` or `1Gi`"
_PATTERNS = {
    "Request": _AMOUNT,
    "Limit": _AMOUNT,
    "storageSize": _AMOUNT,
    "envVarName": "is no name of a variable",
    "name": "is no name: lower-case letters, digits and `-`, of which a letter comes first",
}
"""What a pattern of the schema means, by the end of the field's name."""

_REFERENCE = re.compile(r"(\$+)\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")
_STEP = re.compile(r"[^.\[\]]+|\[\d+\]")
_SPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake. One that is not `serious` is a warning: the environment stands all the same."""

    field: str
    message: str
    hint: str = ""
    serious: bool = True

    @property
    def told(self) -> str:
        """Field and message as one sentence."""
        colon = "" if self.message[:1].isalpha() else ":"
        return f"`{self.field}`{colon} {self.message}"

    def __str__(self) -> str:
        told = self.told
        return f"{told}. {self.hint}" if self.hint else told


def name_of(manifest: Mapping[str, Any]) -> str:
    """The name in a manifest that nobody has checked; empty when there is none."""
    metadata = manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return name if isinstance(name, str) else ""


def find_in_environment(manifest: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Every mistake in a manifest, by the path of the field."""
    if (version := manifest.get("apiVersion")) != API_VERSION:
        return (Finding("apiVersion", f"`{version}` is not known", f"It is `{API_VERSION}`."),)
    schema = environment_schema()
    found = [*_unknown(manifest, schema)]
    environment = read_environment(manifest)
    if isinstance(environment, tuple):
        return (*found, *(_of_fault(f.field, f.message, manifest, schema) for f in environment))
    namespace = manifest["metadata"].get("namespace")
    if namespace is not None and not (isinstance(namespace, str) and _SPACE.fullmatch(namespace)):
        found.append(Finding("metadata.namespace", f"`{namespace}` is no name of a namespace"))
    images = [("spec.deployment.image", environment.image)]
    images += [(f"{one.path}.image", one.image) for one in environment.dependencies if one.image]
    for field, image in images:
        found += _image(field, image)
    told = {one.field for one in found}
    found += [_of_problem(one) for one in problems(environment) if one.field not in told]
    return (*found, *_misspelt(environment))


def _misspelt(environment: Environment) -> Iterator[Finding]:
    """Names of variables that are nearly right: references to one that nothing sets, and passwords
    and users of dependencies.

    Others may be meant as they are: the kubelet sets some too, and leaves alone what it does not
    know, and images know more than what is known of them here.
    """
    known = [name for one in environment.dependencies for name in injected(one)]
    known += [variable.name for variable in environment.env]
    for at, variable in enumerate(environment.env):
        for dollars, name in _REFERENCE.findall(variable.value):
            if len(dollars) % 2 and name not in known and (hint := nearest(name, known)):
                field = f"spec.deployment.env[{at}]"
                yield Finding(field, f"refers to `$({name})`, which nothing sets", hint, False)
    for one in environment.dependencies:
        for at, variable in enumerate(one.env):
            if meant := nearest_credential(one.type, variable.name):
                field = f"{one.path}.env[{at}]"
                told = f"sets `{variable.name}`, of which {one.type} knows nothing"
                yield Finding(field, told, f"Did you mean `{meant}`?", False)


def find_in_part(value: Mapping[str, Any], *path: str) -> tuple[Finding, ...]:
    """Mistakes in a part by itself, such as a `healthCheck`, as far as the schema knows them."""
    schema: Mapping[str, Any] = environment_schema()
    for key in path:
        schema = schema["items"] if key == "[]" else schema["properties"][key]
    whole = defaulted(value, schema)
    wrong = (_of_fault(f.field, f.message, value, schema) for f in faults(whole, schema))
    return (*_unknown(value, schema), *wrong)


def find_in_dependency(value: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Mistakes in a dependency by itself, rules included; paths begin below it. Warnings come with
    the environment that it belongs to."""
    if found := find_in_part(value, "spec", "dependencies", "[]"):
        return found
    alone = {"deployment": {"image": "a", "port": 1}, "service": {"port": 1}}
    whole = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": "a"},
        "spec": {**alone, "dependencies": [value]},
    }
    start = "spec.dependencies[0]"
    return tuple(
        replace(one, field=one.field.removeprefix(f"{start}."))
        for one in find_in_environment(whole)
        if one.serious and one.field.startswith(start)
    )


def _image(field: str, image: str) -> Iterator[Finding]:
    try:
        parse_reference(image)
    except ConfigError as error:
        yield Finding(field, error.message, error.hint)


def _unknown(manifest: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Finding]:
    for path in unknown_fields(manifest, schema):
        parent, _, name = path.rpartition(".")
        known = list(_schema_at(schema, steps_of(parent)).get("properties", ()))
        hint = nearest(name, known) or f"Known: [{', '.join(known)}]."
        yield Finding(path, "is not known", hint)


def _of_fault(
    field: str, message: str, manifest: Mapping[str, Any], schema: Mapping[str, Any]
) -> Finding:
    steps = steps_of(field)
    choices = _schema_at(schema, steps).get("enum", ())
    value: Any = manifest
    for step in steps:
        value = _inner(value, step)
    hint = nearest(value, choices) if isinstance(value, str) and choices else ""
    last = str(steps[-1]) if steps else ""
    for ending, told in _PATTERNS.items():
        if last.endswith(ending) and "does not match" in message:
            message = f"`{value}` {told}"
    return Finding(field, message, hint)


def _of_problem(problem: Problem) -> Finding:
    return Finding(problem.field, problem.message, serious=problem.blocking)


def steps_of(path: str) -> tuple[str | int, ...]:
    """`spec.dependencies[0].type` as keys and numbers."""
    return tuple(int(one[1:-1]) if one[0] == "[" else one for one in _STEP.findall(path))


def _schema_at(schema: Mapping[str, Any], steps: Iterable[str | int]) -> Mapping[str, Any]:
    for step in steps:
        if isinstance(step, int):
            schema = schema.get("items", {})
        else:
            more = schema.get("additionalProperties")
            schema = schema.get("properties", {}).get(step, more if isinstance(more, dict) else {})
    return schema


def _inner(value: Any, step: str | int) -> Any:
    if isinstance(value, Mapping):
        return value.get(step)
    if isinstance(value, Sequence) and not isinstance(value, str) and isinstance(step, int):
        return value[step] if step < len(value) else None
    return None


# In the words of a call ---------------------------------------------------------------------------

_ENV = re.compile(r"(.*\benv)\[(\d+)\](.*)")


def renamed(
    findings: Iterable[Finding], names: Mapping[str, str], manifest: Mapping[str, Any]
) -> tuple[Finding, ...]:
    """The findings with arguments for fields: `names` maps the beginning of a path, the longest
    first, to what it is called in the call. Variables are called by their names."""
    out = []
    for one in findings:
        field = one.field
        if match := _ENV.fullmatch(field):
            variable: Any = manifest
            for step in steps_of(f"{match[1]}[{match[2]}]"):
                variable = _inner(variable, step)
            name = variable.get("name") if isinstance(variable, Mapping) else None
            if isinstance(name, str) and name and match[3] != ".name":
                field = f"{match[1]}.{name}{match[3]}"
        out.append(replace(one, field=_named(field, names), message=_worded(one.message, names)))
    return tuple(out)


def _named(field: str, names: Mapping[str, str]) -> str:
    for start in sorted(names, key=len, reverse=True):
        if field == start or field.startswith((f"{start}.", f"{start}[")):
            return (names[start] + field[len(start) :]).lstrip(".")
        if field.endswith(f".{start}"):
            return field[: -len(start)] + names[start]
    return field


def _worded(message: str, names: Mapping[str, str]) -> str:
    """The rules speak of fields too."""
    for start, name in names.items():
        if name and name != start:
            message = message.replace(f"({start}[", f"({name}[").replace(f"`{start}`", f"`{name}`")
            message = re.sub(rf"\b{re.escape(start)}\[", f"{name}[", message)
    if name := names.get("spec.deployment.env", ""):
        message = message.replace("deployment.env", name)
    return message


def error_of(what: str, findings: Sequence[Finding]) -> ConfigError:
    """One error for all of them."""
    if len(findings) == 1:
        (one,) = findings
        return ConfigError(f"{what}: {one.told}", hint=one.hint)
    return ConfigError(f"{what} has {len(findings)} mistakes", details=map(str, findings))


# In the words of a file ---------------------------------------------------------------------------


def error_in_file(
    findings: Sequence[Finding], manifest: Mapping[str, Any], source: str, text: str
) -> ConfigError:
    """One error for all of them, with the lines of the YAML text they are in."""
    name = name_of(manifest)
    owner = f"DevStagingEnvironment `{name}`" if name else "a DevStagingEnvironment without a name"
    places = []
    for one in findings:
        at = place_in_yaml(text, manifest, steps_of(one.field))
        places.append(f"{source or 'YAML'}:{at[0]}:{at[1]}" if at else source or "YAML")
    if len(findings) == 1:
        return error_of(f"{places[0]}: {owner}", findings)
    error = error_of(f"{source or 'The YAML'}: {owner}", findings)
    lines = [f"{at}: {one}" for at, one in zip(places, findings, strict=True)]
    return ConfigError(error.message, details=lines)
