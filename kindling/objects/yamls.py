"""YAML streams as Kubernetes reads them: documents to JSON values, lists of objects to objects.

YAML 1.1 as in Kubernetes' own tools, which differ from PyYAML's defaults: dates stay text, `1:30`
is text and not ninety, a lone `=` is text.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from kindling.errors import ConfigError

__all__ = ["Document", "decode_manifests", "decode_stream"]

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc] # chosen at run time: libyaml's where it is built in
    """The fast loader where libyaml is there, with the resolvers below."""


_DROPPED = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag not in (*_DROPPED, *_NUMBERS)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"[-+]?(?:0b[0-1_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))$|\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


def _construct_int(loader: Any, node: Any) -> int:
    text = str(loader.construct_scalar(node)).replace("_", "")
    sign, digits = (-1, text[1:]) if text[0] == "-" else (1, text.lstrip("+"))
    for prefix, base in (("0b", 2), ("0x", 16), ("0o", 8)):
        if digits.startswith(prefix):
            return sign * int(digits[2:], base)
    return sign * (int(digits, 8) if len(digits) > 1 and digits[0] == "0" else int(digits))


def _construct_float(loader: Any, node: Any) -> float | str:
    """A number too large for JSON (a commit id such as `123e4567`) stays the text that it was."""
    value: float = loader.construct_yaml_float(node)
    text = str(loader.construct_scalar(node))
    return text if math.isinf(value) and "inf" not in text.lower() else value


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a stream: its value, its number and its first line, both from 1."""

    value: Any
    number: int
    line: int


def decode_stream(text: str, source: str = "YAML") -> tuple[Document, ...]:
    """Every document of a stream that holds anything, as JSON values.

    Mapping keys become text, as in JSON. `source` names the text in messages.

    Raises:
        ConfigError: With the place, the number of the document where there are several, and the
        reason.
    """
    loader = _Loader(text.removeprefix("\ufeff"))
    documents: list[Document] = []
    number = 1
    try:
        while loader.check_node():
            node = loader.get_node()
            line = node.start_mark.line + 1
            value = loader.construct_document(node)
            if value is not None:
                documents.append(Document(_json(value, source, line), number, line))
            number += 1
    except yaml.MarkedYAMLError as error:
        raise _refuse(error, text, source, number) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f"{source}: not valid YAML: {reason.splitlines()[0]}") from error
    finally:
        loader.dispose()
    return tuple(documents)


def _refuse(error: yaml.MarkedYAMLError, text: str, source: str, number: int) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    problem = error.problem or error.context or "cannot be read"
    if mark is None:
        return ConfigError(f"{source}: not valid YAML: {problem}")
    lines = text.splitlines()
    details: list[str] = []
    if mark.line < len(lines):
        shown = lines[mark.line].replace("\t", " ")[:200]
        details = [shown, " " * min(mark.column, len(shown)) + "^"]
    if number > 1:
        details.append(f"in document {number} of the stream")
    hint = ""
    if mark.line < len(lines) and "\t" in lines[mark.line]:
        hint = "Indent with spaces: YAML forbids tabs."
    return ConfigError(
        f"{source}:{mark.line + 1}:{mark.column + 1}: not valid YAML: {problem}",
        details=details,
        hint=hint,
    )


def _json(value: Any, source: str, line: int) -> Any:
    if isinstance(value, dict):
        return {_key(k): _json(v, source, line) for k, v in value.items()}
    if isinstance(value, list):
        return [_json(item, source, line) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{source}:{line}: `{value}` is no number that JSON knows")
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise ConfigError(f"{source}:{line}: a YAML {type(value).__name__} has no meaning here")


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return "null" if key is None else str(key)


def decode_manifests(text: str, source: str = "YAML") -> tuple[Document, ...]:
    """The objects of a stream; those inside a `List` stand for themselves.

    Raises:
        ConfigError: The stream cannot be read, or a document is no object.
    """
    return tuple(
        Document(manifest, document.number, document.line)
        for document in decode_stream(text, source)
        for manifest in _objects(document, document.value, source)
    )


def _objects(document: Document, value: Any, source: str) -> Iterator[Mapping[str, Any]]:
    place = f"{source}:{document.line}"
    if not isinstance(value, dict):
        shown = type(value).__name__ if not isinstance(value, list) else "list"
        raise ConfigError(
            f"{place}: document {document.number} is no Kubernetes object but a {shown}",
            hint="Every Kubernetes object has apiVersion, kind and metadata.name.",
        )
    if not value:
        return
    kind = value.get("kind")
    if isinstance(kind, str) and kind.endswith("List") and isinstance(value.get("items"), list):
        for item in value["items"]:
            yield from _objects(document, item, source)
        return
    for name in ("apiVersion", "kind"):
        if not isinstance(value.get(name), str) or not value[name]:
            raise ConfigError(
                f"{place}: document {document.number} is no Kubernetes object: it has no `{name}`",
                hint="Every Kubernetes object has apiVersion, kind and metadata.name.",
            )
    yield value
