"""The objects of a file as they are taken in, and what is found out about each of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kindling.errors import ConfigError
from kindling.graph.node import Where
from kindling.graph.spec import ObjectRef
from kindling.lang.assemble.images import Image, Images
from kindling.lang.declared import (
    Declarations,
    Environment,
    KindDeclaration,
    KubernetesObject,
    Remark,
)
from kindling.objects.identity import api_group, object_ref, with_namespace
from kindling.objects.inject import Named, named_images
from kindling.objects.jsonpath import parse_json_path
from kindling.objects.workloads import is_workload

if TYPE_CHECKING:
    from kindling.lang.assemble.resources import Resource

__all__ = [
    "ENVIRONMENT_IMAGES",
    "ENVIRONMENT_VALUES",
    "Taken",
    "check_paths",
    "look_into",
    "paths_to_nothing",
    "take_in",
]

ENVIRONMENT_IMAGES = ("{.spec.deployment.image}", "{.spec.dependencies[*].image}")
"""Where a DevStagingEnvironment names images."""

ENVIRONMENT_VALUES = ("{.spec.deployment.env[*].value}", "{.spec.dependencies[*].env[*].value}")
"""Where it has values of variables."""


@dataclass(slots=True, eq=False)
class Taken:
    """One object of a `k8s_yaml` call, with what was found out about it."""

    ref: ObjectRef
    manifest: dict[str, Any]
    where: Where
    source: str
    kinds: tuple[KindDeclaration, ...] = ()
    images: tuple[Image, ...] = ()
    named: Named = field(default_factory=lambda: Named())
    workload: bool = False
    environment: Environment | None = None
    """What it was declared as, for a DevStagingEnvironment."""
    owner: Resource | None = None
    moved: Where | None = None
    """Where an `objects=` put it into its resource."""

    @property
    def place(self) -> str:
        """Where it was declared, with its file when it came from one."""
        return f"{self.where} ({self.source})" if self.source else str(self.where)


def take_in(declarations: Declarations, namespace: str) -> list[Taken]:
    """Every object once. A second one of the same identity is an error unless it was allowed; then
    the later one stands, in the place of the first."""
    taken: dict[tuple[str, str, str, str], Taken] = {}
    everything: list[KubernetesObject | Environment] = [
        *declarations.objects,
        *declarations.environments,
    ]
    for declared in everything:
        manifest: dict[str, Any] = json.loads(declared.manifest)
        source = declared.file if isinstance(declared, Environment) else declared.source
        environment = declared if isinstance(declared, Environment) else None
        if environment is not None and not manifest["metadata"].get("namespace"):
            manifest["metadata"]["namespace"] = namespace
        try:
            ref = object_ref(manifest, namespace)
        except ConfigError as error:
            place = f"{declared.where} ({source})" if source else declared.where
            raise ConfigError(f"{place}: {error.message}", hint=error.hint) from error
        key = (api_group(ref.api_version), ref.kind, ref.namespace, ref.name)
        new = Taken(ref, dict(with_namespace(manifest, namespace)), declared.where, source)
        new.environment = environment
        if (first := taken.get(key)) is not None and not declared.allow_duplicates:
            raise ConfigError(
                f"{declared.where}: object {ref} is declared twice",
                details=[f"first at {first.place}", f"again at {new.place}"],
                hint="Remove one of them, or say `k8s_yaml(..., allow_duplicates = True)`.",
            )
        taken[key] = new
    return list(taken.values())


def check_paths(kinds: Iterable[KindDeclaration]) -> None:
    """Refuse what cannot be read as a path."""
    for kind in kinds:
        object_path = (kind.image_object.json_path,) if kind.image_object is not None else ()
        for text in (*kind.image_json_paths, *object_path):
            try:
                parse_json_path(text)
            except ConfigError as error:
                raise ConfigError(f"{kind.where}: {error.message}", hint=error.hint) from error


def look_into(taken: Taken, kinds: Iterable[KindDeclaration], images: Images) -> None:
    """Find out which images an object runs, and whether it is a workload."""
    taken.kinds = tuple(kind for kind in kinds if _is_of_kind(kind, taken.ref))
    paths = tuple(path for kind in taken.kinds for path in kind.image_json_paths)
    if taken.environment is not None:
        paths = tuple(dict.fromkeys((*ENVIRONMENT_IMAGES, *paths)))
    objects = tuple(kind.image_object for kind in taken.kinds if kind.image_object is not None)
    taken.named = named_images(
        taken.manifest, paths, [(o.json_path, o.repo_field, o.tag_field) for o in objects]
    )
    found: dict[str, Image] = {}
    for text in (*taken.named.images, *taken.named.declared):
        if (image := images.find(text)) is not None:
            found[image.name] = image
    values = taken.named.env
    if taken.environment is not None:
        values = named_images(taken.manifest, ENVIRONMENT_VALUES).declared
    for text in values:
        image = images.find(text)
        if image is not None and image.declaration.match_in_env_vars:
            found[image.name] = image
    taken.images = tuple(found.values())
    taken.workload = (
        taken.environment is not None
        or is_workload(taken.manifest)
        or bool(taken.images)
        or any(kind.workload for kind in taken.kinds)
    )


def paths_to_nothing(
    kinds: Iterable[KindDeclaration], objects: Iterable[Taken]
) -> Iterator[Remark]:
    """A remark for every declared path that leads nowhere in all objects of its kind."""
    objects = list(objects)
    for kind in kinds:
        ours = [taken for taken in objects if kind in taken.kinds]
        object_path = (kind.image_object.json_path,) if kind.image_object is not None else ()
        for text in (*kind.image_json_paths, *object_path) if ours else ():
            path = parse_json_path(text)
            if not any(path.find(taken.manifest) for taken in ours):
                names = ", ".join(f"{taken.ref.kind}/{taken.ref.name}" for taken in ours[:5])
                yield Remark(f"`{text}` leads to nothing in {names}", where=kind.where)


def _is_of_kind(kind: KindDeclaration, ref: ObjectRef) -> bool:
    pairs = (
        (kind.kind, ref.kind),
        (kind.api_version, ref.api_version),
        (kind.name, ref.name),
        (kind.namespace, ref.namespace),
    )
    return all(
        not pattern or re.search(pattern, value, re.IGNORECASE) is not None
        for pattern, value in pairs
    )
