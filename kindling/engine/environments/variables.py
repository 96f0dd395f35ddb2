"""Environment variables of what runs in a cluster: of a DevStagingEnvironment, or of a Deployment
or StatefulSet that no environment owns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kindling.errors import UsageError, nearest
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import ConflictError, NotFoundError, UnknownKindError
from kindling.kube.protocol import Cluster, Object
from kindling.objects.inject import owner_of
from kindling.operator.backing.exports import injected
from kindling.operator.definitions.core import GROUP, VERSION
from kindling.operator.definitions.environment import KIND
from kindling.operator.model import Environment, read_environment

__all__ = ["Edited", "Holder", "Listed", "assignments", "change", "find", "listed", "names"]

_API = f"{GROUP}/{VERSION}"
_SORTS = ((_API, KIND), ("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"))
_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*\Z")
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Holder:
    """What holds variables: the live object, and where in it they are. `container` is empty for an
    environment, which has one."""

    ref: ObjectRef
    live: Object
    container: str = ""

    @property
    def is_environment(self) -> bool:
        return self.ref.kind == KIND

    @property
    def project(self) -> str:
        """The project whose file declares it, empty for none."""
        return owner_of(self.live)

    @property
    def variables(self) -> Sequence[Mapping[str, Any]]:
        if self.is_environment:
            return tuple(((self.live.get("spec") or {}).get("deployment") or {}).get("env") or ())
        found = next(c for c in _containers(self.live) if c["name"] == self.container)
        return tuple(found.get("env") or ())


@dataclass(frozen=True, slots=True)
class Listed:
    """One variable. `value` is None where it is not written down but taken from `source`."""

    name: str
    value: str | None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Edited:
    """What a change did, name by name; nothing was written when `changed` is empty."""

    changed: tuple[str, ...]
    same: tuple[str, ...]


def assignments(words: Iterable[str]) -> dict[str, str]:
    """`NAME=value` words as a mapping.

    Raises:
        UsageError: One is none, or a name comes twice.
    """
    found: dict[str, str] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign:
            raise UsageError(
                f"`{word}` sets nothing", hint=f"Write it as `{name or 'NAME'}=value`."
            )
        _check_name(name)
        if name in found:
            raise UsageError(f"`{name}` is given twice")
        found[name] = value
    return found


def names(words: Iterable[str]) -> tuple[str, ...]:
    """Names of variables to unset, each once.

    Raises:
        UsageError: One cannot be a name.
    """
    found = tuple(dict.fromkeys(words))
    for name in found:
        if "=" in name:
            raise UsageError(
                f"`{name}` is no name of a variable",
                hint=f"To unset it, write `{name.partition('=')[0]}` alone.",
            )
        _check_name(name)
    return found


def _check_name(name: str) -> None:
    if not _NAME.match(name):
        raise UsageError(
            f"`{name}` is no name of a variable",
            hint="Letters, digits, `_`, `-` and `.`, with no digit in front.",
        )


async def find(cluster: Cluster, namespace: str, name: str, container: str = "") -> Holder:
    """What is called `name` in a namespace: an environment before a Deployment before a
    StatefulSet.

    Raises:
        UsageError: Nothing is called so, it has no such container, or it belongs to an environment
            whose operator would put it back.
    """
    for api_version, kind in _SORTS:
        ref = ObjectRef(api_version, kind, name, namespace)
        try:
            live = await cluster.get(ref)
        except NotFoundError:
            continue
        return _holder(ref, live, container)
    known = await _known(cluster, namespace)
    raise UsageError(
        f"no DevStagingEnvironment, Deployment or StatefulSet in `{namespace}` is called `{name}`",
        details=[f"there are: [{', '.join(known)}]"] if known else [],
        hint=nearest(name, known) or "`-n` looks in another namespace.",
    )


async def _known(cluster: Cluster, namespace: str) -> list[str]:
    found: set[str] = set()
    for api_version, kind in _SORTS:
        try:
            listing = await cluster.list(api_version, kind, namespace=namespace)
        except UnknownKindError:
            continue
        found |= {str(one["metadata"]["name"]) for one in listing.items}
    return sorted(found)


def _holder(ref: ObjectRef, live: Object, container: str) -> Holder:
    if ref.kind == KIND:
        if container:
            raise UsageError(
                f"the environment `{ref.name}` has one container; `--container` is for Deployments"
            )
        return Holder(ref, live)
    for owner in live["metadata"].get("ownerReferences") or ():
        if owner.get("kind") == KIND:
            whole = owner["name"]
            hint = f"`kindling env ... {whole}` edits the environment itself."
            if ref.name != whole.replace(".", "-"):
                hint = f"Set them in `spec.dependencies` of the environment `{whole}`."
            raise UsageError(
                f"the {ref.kind} `{ref.name}` belongs to the environment `{whole}`, and its "
                "operator would put it back",
                hint=hint,
            )
    there = [str(one["name"]) for one in _containers(live)]
    if container and container not in there:
        raise UsageError(
            f"the {ref.kind} `{ref.name}` has no container `{container}`",
            details=[f"there are: [{', '.join(there)}]"],
            hint=nearest(container, there),
        )
    return Holder(ref, live, container or there[0])


def listed(holder: Holder) -> tuple[Listed, ...]:
    """The variables in order: those that dependencies bring before the environment's own."""
    own = [_listed(one) for one in holder.variables]
    if not holder.is_environment:
        return tuple(own)
    environment = read_environment(holder.live)
    if not isinstance(environment, Environment):
        return tuple(own)
    said = {one.name for one in own}
    brought = [
        Listed(name, None, f"dependency {dependency.name}")
        for dependency in environment.dependencies
        for name in injected(dependency)
        if name not in said
    ]
    return (*brought, *own)


def _listed(one: Mapping[str, Any]) -> Listed:
    source = one.get("valueFrom")
    if not source:
        return Listed(str(one["name"]), str(one.get("value") or ""))
    for key, word in (("secretKeyRef", "secret"), ("configMapKeyRef", "config map")):
        if key in source:
            return Listed(
                str(one["name"]), None, f"{word} {source[key].get('name')}, {source[key]['key']}"
            )
    if "fieldRef" in source:
        return Listed(str(one["name"]), None, f"field {source['fieldRef'].get('fieldPath')}")
    return Listed(str(one["name"]), None, next(iter(source)))


async def change(
    cluster: Cluster,
    holder: Holder,
    *,
    put: Mapping[str, str] | None = None,
    drop: Iterable[str] = (),
) -> Edited:
    """Set and unset variables and leave everything else as it is; without a difference nothing is
    written. Somebody else's change in between is kept: it is read again.

    Raises:
        ClusterError: The server refuses it, or the object changes without end.
    """
    put, drop = put or {}, tuple(drop)
    for last in (False,) * (_TRIES - 1) + (True,):
        before = holder.variables
        after, edited = _edited(before, put, drop)
        if not edited.changed:
            return edited
        try:
            await cluster.patch(holder.ref, _patch(holder, after))
        except ConflictError:
            if last:
                raise
            live = await cluster.get(holder.ref)
            holder = _holder(holder.ref, live, holder.container)
            continue
        return edited
    raise AssertionError("the last try raises or returns")


def _edited(
    before: Sequence[Mapping[str, Any]], put: Mapping[str, str], drop: Sequence[str]
) -> tuple[list[dict[str, Any]], Edited]:
    """The list as it is to be. A variable that is there keeps its place, since later ones may name
    it; of two with one name the later counts, so that is the one to change."""
    after = [dict(one) for one in before if one["name"] not in drop]
    changed = [name for name in drop if any(one["name"] == name for one in before)]
    for name, value in put.items():
        wanted: dict[str, Any] = {"name": name, "value": value}
        places = [index for index, one in enumerate(after) if one["name"] == name]
        if not places:
            after.append(wanted)
            changed.append(name)
        elif after[places[-1]].get("valueFrom") or (after[places[-1]].get("value") or "") != value:
            after[places[-1]] = wanted
            changed.append(name)
    done = set(changed)
    return after, Edited(tuple(changed), tuple(n for n in (*put, *drop) if n not in done))


def _patch(holder: Holder, after: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A merge patch replaces a list, so it holds for the version alone that the list is of."""
    version = {"resourceVersion": holder.live["metadata"].get("resourceVersion", "")}
    if holder.is_environment:
        return {"metadata": version, "spec": {"deployment": {"env": list(after)}}}
    containers = [
        {**one, "env": list(after)} if one["name"] == holder.container else dict(one)
        for one in _containers(holder.live)
    ]
    return {"metadata": version, "spec": {"template": {"spec": {"containers": containers}}}}


def _containers(live: Object) -> Sequence[Mapping[str, Any]]:
    return tuple(live["spec"]["template"]["spec"].get("containers") or ())
