"""Keys: everything a node's result depends on, as one list with two readers.

A `Manifest` is an ordered list of (label, digest). Its key is the digest of that list; the
explanation of a change is the difference of two such lists. There is no second way to find out why
a node is dirty, so the explanation can not disagree with the decision.

Labels:
    kind              the kind and the version of its executor, in clear
    spec.FIELD        one field of the spec
    object:KIND/NAME  one Kubernetes object of the spec
    file:PATH         the content of an input file, as the file room digests it
    env:NAME          an environment variable it declares (`unset` where there is none)
    tool:NAME         a program it declares
    from:NODE         the output of a content predecessor
    target            the cluster it acts upon, for kinds that act upon one
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from kindling.errors import StoreError
from kindling.graph.node import KIND_TRAITS, Node, NodeId
from kindling.graph.spec import ObjectSpec, Spec

__all__ = [
    "UNSET",
    "Difference",
    "Manifest",
    "differences",
    "digest_text",
    "manifest",
    "spec_entries",
]

Entries = tuple[tuple[str, str], ...]

_KEY_FIELDS: dict[type[Any], tuple[str, ...]] = {}
"""By class, filled as classes are met: what classes say of themselves never changes."""

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode

UNSET = "unset"
"""Stands for the digest of an environment variable that is not set: no digest looks like it."""

_FIELD_WORDS = {
    "argv": "its command",
    "bases": "the images it builds upon",
    "build_args": "its build arguments",
    "container_port": "its container port",
    "context": "its context",
    "dir": "its working directory",
    "dockerfile": "the name of its Dockerfile",
    "dockerfile_contents": "its Dockerfile",
    "covers": "the nodes that it spares",
    "files": "the files that it copies",
    "steps": "its steps",
    "env": "its environment",
    "image": "its image",
    "images": "its images",
    "local_port": "its local port",
    "namespace": "its namespace",
    "outputs": "the list of its outputs",
    "platform": "its platform",
    "ref": "its image name",
    "registry": "its registry",
    "tag": "its tag",
    "target": "its build target",
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one run of a node depends on. `key` is the digest of `entries`."""

    entries: Entries
    key: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        # NUL can be in no path, variable name or node id, so the joined text names one list only.
        text = "\0".join([part for entry in self.entries for part in entry])
        object.__setattr__(self, "key", _digest(text, 32))

    def to_json(self) -> list[str]:
        """Labels and digests in turn: `[label, digest, label, digest, ...]`."""
        return [part for entry in self.entries for part in entry]

    @classmethod
    def from_json(cls, flat: object) -> Manifest:
        """The manifest that `to_json` gave.

        Raises:
            StoreError: It is none.
        """
        if (
            not isinstance(flat, list)
            or len(flat) % 2
            or not all(isinstance(part, str) for part in flat)
        ):
            raise StoreError("A recorded manifest is not a list of labels and digests")
        return cls(tuple(zip(flat[::2], flat[1::2], strict=True)))


@dataclass(frozen=True, slots=True)
class Difference:
    """One entry that two manifests disagree about. `old` or `new` is empty where there was none."""

    label: str
    old: str
    new: str

    @property
    def text(self) -> str:
        """One line in plain English, such as `` `cmd/main.go` changed ``."""
        return _sentence(self)

    def to_json(self) -> dict[str, str]:
        """`{"label", "old", "new", "text"}`."""
        return {"label": self.label, "old": self.old, "new": self.new, "text": self.text}


def manifest(
    node: Node,
    *,
    files: Mapping[str, str],
    env: Mapping[str, str | None],
    tools: Mapping[str, str],
    inputs: Mapping[NodeId, str],
    target: str,
    spec: Sequence[tuple[str, str]] | None = None,
) -> Manifest:
    """Everything the result of `node` depends on.

    `files`, `tools`, `inputs` and `target` are digests (or any text that stands for the content);
    values of `env` are taken in clear and digested here, since they may be secret. `target` is left
    out for kinds that act upon no cluster. `spec`, when given, is `spec_entries(node.spec)` from
    before: a caller with an unchanged graph need not digest it anew.
    """
    traits = KIND_TRAITS[node.kind]
    entries = [("kind", f"{node.kind.value}/{traits.version}")]
    entries += spec_entries(node.spec) if spec is None else spec
    if files:
        entries += [("file:" + path, files[path]) for path in sorted(files)]
    for name in sorted(env) if env else ():
        value = env[name]
        entries.append(("env:" + name, UNSET if value is None else digest_text(value)))
    if tools:
        entries += [("tool:" + name, tools[name]) for name in sorted(tools)]
    if inputs:
        entries += [("from:" + id_, inputs[id_]) for id_ in sorted(inputs)]
    if traits.on_target:
        entries.append(("target", target))
    return Manifest(tuple(entries))


def spec_entries(spec: Spec) -> Entries:
    """The entries of a spec: one per field, or per object where a field holds Kubernetes
    objects.
    """
    entries: list[tuple[str, str]] = []
    for name in _key_fields(type(spec)):
        value = getattr(spec, name)
        if type(value) is str or value is None or value == ():
            entries.append(("spec." + name, _digest_scalar(value)))
        elif isinstance(value, tuple) and isinstance(value[0], ObjectSpec):
            entries += _object_entries(value)
        else:
            entries.append(("spec." + name, digest_text(_canonical(value))))
    return tuple(entries)


def digest_text(text: str) -> str:
    """The digest that entries hold of a text (128 bits, hex)."""
    return _digest(text, 16)


def differences(old: Manifest, new: Manifest) -> tuple[Difference, ...]:
    """What two manifests disagree about: what `new` has in its order, then what is gone."""
    before = dict(old.entries)
    after = dict(new.entries)
    return (
        *(
            Difference(label, before.get(label, ""), digest)
            for label, digest in new.entries
            if before.get(label) != digest
        ),
        *(Difference(label, digest, "") for label, digest in old.entries if label not in after),
    )


def _digest(text: str, size: int) -> str:
    # File names that are not UTF-8 reach us with surrogates in them.
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=size).hexdigest()


@lru_cache(maxsize=4096)
def _digest_scalar(value: str | tuple[()] | None) -> str:
    return digest_text(_canonical(value))


def _key_fields(cls: type[Any]) -> tuple[str, ...]:
    names = _KEY_FIELDS.get(cls)
    if names is None:
        names = tuple(f.name for f in fields(cls) if f.metadata.get("key", True))
        _KEY_FIELDS[cls] = names
    return names


def _object_entries(objects: Iterable[ObjectSpec]) -> list[tuple[str, str]]:
    entries: list[tuple[str, str]] = []
    seen: dict[str, int] = {}
    for item in objects:
        name = f"object:{item.ref}"
        seen[name] = seen.get(name, 0) + 1
        label = name if seen[name] == 1 else f"{name} ({seen[name]})"
        text = _canonical((item.ref.api_version, item.manifest))
        entries.append((label, digest_text(text)))
    return entries


def _canonical(value: object) -> str:
    return _encode(_plain(value))


def _plain(value: object) -> object:
    if value is None or (
        isinstance(value, str | bool | int | float) and not isinstance(value, Enum)
    ):
        return value
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {
            "": type(value).__name__,
            **{name: _plain(getattr(value, name)) for name in _key_fields(type(value))},
        }
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(_canonical(item) for item in value)
    raise TypeError(f"a spec can not hold a {type(value).__name__}: no digest can be taken of it")


def _sentence(difference: Difference) -> str:
    sort, _, name = difference.label.partition(":")
    fate = "is new" if not difference.old else "is gone" if not difference.new else "changed"
    match sort:
        case "file":
            return f"`{name}` {fate}"
        case "object":
            return f"its object `{name}` {fate}"
        case "env":
            if difference.old == UNSET or difference.new == UNSET:
                fate = "is set now" if difference.old == UNSET else "is not set any more"
            return f"environment variable `{name}` {fate}"
        case "tool":
            return f"the program `{name}` {fate}"
        case "from":
            if fate == "changed":
                return f"the output of `{name}` changed"
            return f"`{name}` is {'a new' if fate == 'is new' else 'no longer an'} input"
        case "target":
            return "the cluster is another one"
        case "kind":
            return "kindling itself does this in another way now"
        case _:
            part = difference.label.removeprefix("spec.")
            return f"{_FIELD_WORDS.get(part, f'its `{part}`')} changed"
