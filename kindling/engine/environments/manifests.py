"""Manifests as `kindling deploy -f` is given them: read from files, and checked before anything is
written. What is wrong is told by file, line, document and field, all of it at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kindling.engine.environments.places import line_of
from kindling.errors import ConfigError, UsageError, nearest
from kindling.graph.spec import ObjectRef
from kindling.objects.identity import Scope, install_rank, object_ref, scope
from kindling.objects.yamls import decode_manifests
from kindling.operator.definitions.core import GROUP, VERSION
from kindling.operator.definitions.environment import KIND
from kindling.operator.definitions.pool import POOL_KINDS
from kindling.operator.model import Environment, environment_schema, read_environment
from kindling.operator.pools.model import Pool, pool_schema, read_pool
from kindling.operator.rules import problems
from kindling.operator.structure import Fault, unknown_fields

__all__ = ["OUR_API", "Item", "check", "placed", "read", "wrong"]

OUR_API = f"{GROUP}/{VERSION}"
_ENDINGS = frozenset({".yaml", ".yml", ".json"})
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Item:
    """One object of a file. `document` and `line` are where its document begins, `text` is all
    of the file, for finding the line of a field."""

    manifest: Mapping[str, Any]
    source: str
    document: int
    line: int
    text: str = ""

    @property
    def ref(self) -> ObjectRef:
        return object_ref(self.manifest)

    @property
    def kind(self) -> str:
        return str(self.manifest["kind"])

    @property
    def is_environment(self) -> bool:
        return self.manifest["apiVersion"] == OUR_API and self.kind == KIND

    @property
    def is_ours(self) -> bool:
        """Whether the operator serves it."""
        return self.is_environment or (
            self.manifest["apiVersion"] == OUR_API and self.kind in POOL_KINDS
        )

    def says(self, field: str, message: str) -> str:
        """A line about one of its fields: `orders.yaml:7: document 2: spec.service.port: ...`."""
        place = f"{self.source}:{line_of(self.text, self.document, field) or self.line}"
        head = f"{place}: document {self.document}: "
        return f"{head}{field}: {message}" if field else head + message


def read(sources: Sequence[str], stdin: str = "") -> tuple[Item, ...]:
    """The objects of files, of the files of folders (not of those below them), and of `-`, in the
    order in which they are given.

    Raises:
        UsageError: A file is not there, cannot be read, or none holds anything.
        ConfigError: What a file holds are no objects.
    """
    items: list[Item] = []
    for source in sources:
        for name, text in _texts(source, stdin):
            items += [
                Item(document.value, name, document.number, document.line, text)
                for document in decode_manifests(text, name)
            ]
    if not items:
        raise UsageError(f"there is nothing to deploy in [{', '.join(sources)}]")
    return tuple(items)


def _texts(source: str, stdin: str) -> Iterator[tuple[str, str]]:
    if source == "-":
        yield "standard input", stdin
        return
    path = Path(source)
    if path.is_dir():
        files = sorted(one for one in path.iterdir() if one.suffix in _ENDINGS and one.is_file())
        if not files:
            raise UsageError(
                f"the folder `{source}` holds no manifests",
                hint="Files that end in .yaml, .yml or .json are looked for.",
            )
    else:
        files = [path]
    for file in files:
        try:
            yield str(file), file.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UsageError(f"there is no file `{file}`", hint=_near(file)) from None
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            raise UsageError(f"cannot read `{file}`: {why}") from None


def _near(file: Path) -> str:
    try:
        return nearest(file.name, [one.name for one in file.parent.iterdir()])
    except OSError:
        return f"There is no folder `{file.parent}` either."


def placed(items: Iterable[Item], namespace: str, default: str) -> tuple[Item, ...]:
    """The same with a namespace where one is needed: `namespace` when it was asked for, else that
    of the target. Kinds that nobody knows here are left as they are.

    Raises:
        ConfigError: One says another namespace than the one that was asked for.
    """
    found: list[Item] = []
    others: list[str] = []
    for item in items:
        said = (item.manifest.get("metadata") or {}).get("namespace")
        where = scope(str(item.manifest["apiVersion"]), item.kind)
        needs = where is Scope.NAMESPACED or item.is_ours
        if namespace and said not in (None, "", namespace) and where is not Scope.CLUSTER:
            others.append(
                item.says("metadata.namespace", f"is `{said}`, and `{namespace}` was asked for")
            )
        elif needs and not said:
            metadata = {**(item.manifest.get("metadata") or {}), "namespace": namespace or default}
            item = replace(item, manifest={**item.manifest, "metadata": metadata})
        found.append(item)
    if others:
        raise wrong(others)
    return tuple(sorted(found, key=lambda one: (one.is_ours, install_rank(one.kind))))


def check(items: Sequence[Item]) -> tuple[str, ...]:
    """Lines about what is odd and yet stands.

    Raises:
        ConfigError: Something is wrong; all of it is told.
    """
    bad: list[str] = []
    odd: list[str] = []
    seen: dict[ObjectRef, Item] = {}
    children: dict[tuple[str, str], Item] = {}
    for item in items:
        try:
            ref = item.ref
        except ConfigError as error:
            bad.append(item.says("", error.message))
            continue
        first = seen.setdefault(ref, item)
        if first is not item:
            bad.append(
                item.says("metadata.name", f"{ref} stands in {first.source}:{first.line} too")
            )
        if not item.is_ours:
            continue
        environment = _check_ours(item, bad, odd)
        if environment is None:
            continue
        names = (environment.base, *map(environment.child, environment.dependencies))
        for name in dict.fromkeys(names):
            other = children.setdefault((environment.namespace, name), item)
            if other is not item:
                bad.append(
                    item.says(
                        "metadata.name",
                        f"`{ref.name}` and `{other.ref.name}` both need a Deployment `{name}`; "
                        "give one of them another name",
                    )
                )
    if bad:
        raise wrong(bad)
    return tuple(odd)


def _check_ours(item: Item, bad: list[str], odd: list[str]) -> Environment | None:
    schema = environment_schema() if item.is_environment else pool_schema(item.kind)
    for field in unknown_fields(item.manifest, schema):
        parent, _, name = field.rpartition(".")
        hint = nearest(name, _fields(schema, parent))
        bad.append(item.says(field, f"there is no such field. {hint}".rstrip()))
    found: Environment | Pool | tuple[Fault, ...]
    found = read_environment(item.manifest) if item.is_environment else read_pool(item.manifest)
    if isinstance(found, tuple):
        bad += [item.says(one.field, one.message) for one in found]
        return None
    if isinstance(found, Pool):
        return None
    for problem in problems(found):
        (bad if problem.blocking else odd).append(item.says(problem.field, problem.message))
    return found


def _fields(schema: Mapping[str, Any], path: str) -> list[str]:
    """The fields that may stand at a path of the schema."""
    node = schema
    for key in (part.partition("[")[0] for part in path.split(".") if part):
        node = node.get("properties", {}).get(key, {})
        node = node.get("items", node)
    return list(node.get("properties", {}))


def wrong(lines: Sequence[str]) -> ConfigError:
    """One error for all that is wrong; with one line, that line is the error."""
    end = "Nothing was written."
    if len(lines) == 1:
        return ConfigError(lines[0], hint=end)
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return ConfigError(f"{len(lines)} mistakes:", details=[*lines[:_SHOWN], *more], hint=end)
