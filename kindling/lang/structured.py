"""YAML and JSON, as Kubernetes and Tilt read them.

PyYAML follows YAML 1.1 further than Go does: it takes `12:30` for a number in base sixty and dates
for dates. Here both stay texts. `yes`, `no`, `on` and `off` are booleans, as for kubectl.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import yaml

from kindling.errors import ConfigError
from kindling.lang.nesting import yaml_too_deep

__all__ = [
    "dump_json",
    "dump_yaml",
    "dump_yaml_stream",
    "parse_json",
    "parse_yaml_stream",
    "place_in_yaml",
]

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0o?[0-7_]+|0b[01_]+)$")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*)?\.[0-9_]+(?:[eE][-+]?[0-9]+)?$"
    r"|[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"
    r"|[-+]?[0-9][0-9_]*\.$|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
)


class _Loader(_Base):  # type: ignore[misc]
    """A safe loader without sexagesimal numbers and dates."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag.rpartition(":")[2] not in {"int", "float", "timestamp"}
    ]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def _integer(loader: Any, node: Any) -> int:
    text = str(loader.construct_scalar(node)).replace("_", "")
    sign = -1 if text.startswith("-") else 1
    text = text.lstrip("+-")
    if text.startswith("0o"):
        return sign * int(text[2:], 8)
    if len(text) > 1 and text.startswith("0") and text.isdigit():
        return sign * int(text, 8)
    return sign * int(text, 0)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def _floating(loader: Any, node: Any) -> float:
    text = str(loader.construct_scalar(node)).replace("_", "").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


_Loader.add_constructor("tag:yaml.org,2002:float", _floating)


def parse_yaml_stream(text: str, source: str = "") -> list[Any]:
    """Every document of a YAML stream; empty ones are None.

    Raises:
        ConfigError: It is not YAML; `source` names it in the message.
    """
    if yaml_too_deep(text):
        raise ConfigError(f"{source or 'The YAML'} is nested too deep")
    try:
        return list(yaml.load_all(str(text), Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{source or 'YAML'}"
        if mark is not None:
            place += f":{mark.line + 1}:{mark.column + 1}"
        problem = error.problem or error.context or "it cannot be read"
        raise ConfigError(f"{place} is not YAML: {problem}", details=_line(text, mark)) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{source or 'YAML'} is not YAML: {_first_line(error)}") from None


def place_in_yaml(text: str, value: Any, steps: Iterable[str | int]) -> tuple[int, int] | None:
    """Line and column, from 1, of the field that `steps` lead to in the document that holds
    `value`: of the last one there is, where the field itself is missing."""
    try:
        loader = _Loader(str(text))
        while loader.check_node():
            root = loader.get_node()
            for node in _objects_in(root):
                if loader.construct_object(node, deep=True) == value:
                    return _step_into(node, steps)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None  # it was read before, so this is no place to complain
    return None


def _objects_in(node: Any) -> Iterable[Any]:
    """A document, or those that a list of them holds."""
    yield node
    if isinstance(node, yaml.MappingNode):
        for key, inner in node.value:
            if key.value == "items" and isinstance(inner, yaml.SequenceNode):
                for one in inner.value:
                    yield from _objects_in(one)


def _step_into(node: Any, steps: Iterable[str | int]) -> tuple[int, int]:
    mark = node.start_mark
    for step in steps:
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == step), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            found = (node.value[step],) * 2 if step < len(node.value) else None
        if found is None:
            break
        mark, node = found[0].start_mark, found[1]
    return mark.line + 1, mark.column + 1


def _line(text: str, mark: Any) -> list[str]:
    lines = text.split("\n")
    if mark is None or not 0 <= mark.line < len(lines):
        return []
    return [f"{mark.line + 1} | {lines[mark.line][:120]}"]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def parse_json(text: str, source: str = "") -> Any:
    """A JSON value.

    Raises:
        ConfigError: It is not JSON; `source` names it in the message.
    """
    try:
        return json.loads(str(text))
    except json.JSONDecodeError as error:
        place = f"{source or 'JSON'}:{error.lineno}:{error.colno}"
        raise ConfigError(f"{place} is not JSON: {error.msg}") from None
    except RecursionError:
        raise ConfigError(f"{source or 'JSON'} is nested too deep") from None


def dump_json(value: object) -> str:
    """JSON text with two spaces of indent."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def dump_yaml(value: object) -> str:
    """YAML text, keys sorted."""
    return str(
        yaml.dump(
            value, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, width=1 << 20
        )
    )


def dump_yaml_stream(values: Iterable[object]) -> str:
    """Documents divided by `---`."""
    return "---\n".join(dump_yaml(value) for value in values)
