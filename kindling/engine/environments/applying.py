"""Manifests into a cluster: first what would happen to each is asked, then they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kindling.engine.environments.manifests import Item, wrong
from kindling.errors import ClusterError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import (
    AlreadyExistsError,
    FieldConflictError,
    InvalidError,
    NotFoundError,
    UnknownKindError,
)
from kindling.kube.protocol import FIELD_MANAGER, Cluster, Object
from kindling.objects.compare import differences
from kindling.objects.inject import owner_of

__all__ = ["Step", "intended", "write"]

_TAKEN = (FIELD_MANAGER, "kubectl", "before-first-apply")
"""Field managers whose values a manifest may replace: people's, and our own other commands'."""


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one object: `create`, `change` (with the fields) or `same`."""

    item: Item
    ref: ObjectRef
    verb: str
    fields: tuple[str, ...] = ()
    took: tuple[str, ...] = ()
    """Lines about fields that others had set and that change now."""

    def __str__(self) -> str:
        words = {"create": "create", "change": "change", "same": "unchanged"}
        what = f": {', '.join(self.fields)}" if self.fields else ""
        return f"{words[self.verb]} {self.ref}{what}"


async def intended(cluster: Cluster, items: Sequence[Item]) -> tuple[tuple[Step, ...], list[str]]:
    """What writing the items would do, asked of the server where it can be: an object whose kind or
    namespace comes with the same files cannot be tried. Also the namespaces that are missing.

    Raises:
        ConfigError: The server refuses some, or they belong to others; all of it is told.
    """
    brought = {_defined(item.manifest) for item in items} - {None}
    given = {item.ref.name for item in items if item.kind == "Namespace"}
    spaces = {item.ref.namespace for item in items} - {""}
    missing = [space for space in sorted(spaces) if not await _exists(cluster, space)]
    steps: list[Step] = []
    bad: list[str] = []
    for item in items:
        ref = item.ref
        try:
            live: Object | None = await cluster.get(ref)
        except UnknownKindError as error:
            group = ref.api_version.partition("/")[0]
            if not item.is_ours and (group, ref.kind) not in brought:
                bad.append(item.says("kind", f"{error.message}. {error.hint}".rstrip(". ")))
            steps.append(Step(item, ref, "create"))
            continue
        except NotFoundError:
            live = None
        owner = owner_of(live) if live is not None else ""
        if owner and owner != owner_of(item.manifest):
            bad.append(
                item.says(
                    "metadata.name",
                    f"{ref} belongs to the project `{owner}`: change its Kindlingfile instead",
                )
            )
            continue
        if ref.namespace in missing:
            steps.append(Step(item, ref, "create"))
            continue
        try:
            steps.append(await _tried(cluster, item, live))
        except InvalidError as error:
            causes = [item.says(one.field, one.message) for one in error.causes]
            bad += causes or [item.says("", error.message)]
        except FieldConflictError as error:
            bad += [item.says("", f"{error.message}: {one}") for one in error.conflicts]
    if bad:
        raise wrong(bad)
    return tuple(steps), [space for space in missing if space not in given]


async def _tried(cluster: Cluster, item: Item, live: Object | None) -> Step:
    took: list[str] = []
    try:
        after = await cluster.apply(item.manifest, dry_run=True)
    except FieldConflictError as error:
        if not all(one.manager.startswith(_TAKEN) for one in error.conflicts):
            raise
        took = [
            f"{item.ref}: [{', '.join(one.fields)}], which `{one.manager}` had set, are as the "
            "file says"
            for one in error.conflicts
        ]
        after = await cluster.apply(item.manifest, dry_run=True, force=True)
    if live is None:
        return Step(item, item.ref, "create")
    one, other = _compared(after), _compared(live)
    fields = tuple(dict.fromkeys((*differences(one, other), *differences(other, one))))
    return Step(item, item.ref, "change" if fields else "same", fields, tuple(took))


async def write(
    cluster: Cluster, steps: Iterable[Step], namespaces: Iterable[str], say: Callable[[str], None]
) -> None:
    """Write what is not the same, in order, into namespaces that are made where they are missing.

    Raises:
        ClusterError: The server refused one; those before it are written.
    """
    for name in namespaces:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        try:
            await cluster.create(namespace)
        except AlreadyExistsError:
            continue
        say(f"Namespace/{name} created")
    for step in steps:
        if step.verb == "same":
            say(f"{step.ref} unchanged")
            continue
        try:
            await cluster.apply(step.item.manifest, force=bool(step.took))
        except ClusterError as error:
            raise ClusterError(
                step.item.says("", error.message), details=error.details, hint=error.hint
            ) from error
        for line in step.took:
            say(line)
        say(f"{step.ref} {'created' if step.verb == 'create' else 'changed'}")


async def _exists(cluster: Cluster, namespace: str) -> bool:
    try:
        await cluster.get(ObjectRef("v1", "Namespace", namespace))
    except NotFoundError:
        return False
    return True


def _defined(manifest: Mapping[str, Any]) -> tuple[str, str] | None:
    """Group and kind that a CustomResourceDefinition brings."""
    if manifest.get("kind") != "CustomResourceDefinition":
        return None
    spec = manifest.get("spec") or {}
    return str(spec.get("group", "")), str((spec.get("names") or {}).get("kind", ""))


def _compared(item: Object) -> dict[str, Any]:
    """An object without what every write changes."""
    kept = ("name", "namespace", "labels", "annotations", "finalizers", "ownerReferences")
    metadata = {key: value for key, value in item["metadata"].items() if key in kept}
    rest = {key: value for key, value in item.items() if key not in ("metadata", "status")}
    return {**rest, "metadata": metadata}
