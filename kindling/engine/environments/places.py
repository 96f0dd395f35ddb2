"""The line of a field in a YAML file, for messages that lead to it."""

from __future__ import annotations

import re
from typing import Any

import yaml

__all__ = ["line_of"]

_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def line_of(text: str, document: int, field: str) -> int:
    """The line, from 1, of a field such as `spec.dependencies[0].type` in a document (from 1) of
    `text`; of what it should stand in where it is missing. 0 when the document cannot be found, or
    does not begin with an object of its own (a `List`)."""
    try:
        node = _document(text, document)
    except yaml.YAMLError:
        return 0
    if node is None or _keyed(node, "items") is not None:
        return 0
    line = int(node.start_mark.line) + 1
    for match in _PART.finditer(field):
        key, index = match.groups()
        if key is not None:
            found = _keyed(node, key)
            if found is None:
                break
            line, node = found
        else:
            if not isinstance(node, yaml.SequenceNode) or int(index) >= len(node.value):
                break
            node = node.value[int(index)]
            line = int(node.start_mark.line) + 1
    return line


def _document(text: str, wanted: int) -> Any:
    for number, node in enumerate(yaml.compose_all(text, Loader=yaml.SafeLoader), 1):
        if number == wanted:
            return node
    return None


def _keyed(node: Any, key: str) -> tuple[int, Any] | None:
    """The line of a key in a mapping, and the node of its value."""
    if not isinstance(node, yaml.MappingNode):
        return None
    for name, value in node.value:
        if isinstance(name, yaml.ScalarNode) and name.value == key:
            return int(name.start_mark.line) + 1, value
    return None
