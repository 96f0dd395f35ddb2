"""Writing what was built into manifests: image references, and whose an object is.

Rules as Tilt's: containers, init containers and image volumes by name; environment values and
places in custom resources where the user says so. A container that runs an image of ours has the
pull policy `IfNotPresent`, since what we deliver may be nowhere to be pulled from; `Never` stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from kindling.errors import ConfigError
from kindling.graph.spec import ImageInjection, ImageObjectPath
from kindling.objects.identity import Manifest
from kindling.objects.jsonpath import Location, parse_json_path, value_at
from kindling.objects.reference import Reference, matches, parse_reference
from kindling.objects.workloads import containers, image_slots, pod_templates

__all__ = [
    "OWNER_LABEL",
    "ROLL_ANNOTATION",
    "Delivered",
    "Named",
    "inject",
    "named_images",
    "owner_of",
    "uses",
    "with_owner",
]

OWNER_LABEL = "kindling.dev/project"
ROLL_ANNOTATION = "kindling.dev/image-digest"
"""Followed by `.` and the number of the injection in its node."""

_KEPT_POLICIES = frozenset({"Never", "IfNotPresent"})


class Delivered(NamedTuple):
    """What the cluster pulls. `roll` is set when the reference does not tell contents apart."""

    reference: str
    roll: str = ""


@dataclass(frozen=True, slots=True)
class _Target:
    """One place to write: `kind` is `container`, `volume`, `value`, `env` or `object`."""

    kind: str
    location: Location
    owner: Location = ()
    policy: str = ""
    object_path: ImageObjectPath | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """Every text in a manifest that may name an image, by where it stands."""

    images: tuple[str, ...] = ()
    """Containers and image volumes."""
    declared: tuple[str, ...] = ()
    """Declared places of custom resources."""
    env: tuple[str, ...] = ()
    """Values of environment variables; nearly none of them is an image."""


def named_images(
    manifest: Manifest,
    paths: Iterable[str] = (),
    objects: Iterable[tuple[str, str, str]] = (),
) -> Named:
    """What a manifest may say about images.

    `paths` are JSON paths to references, `objects` triples of a JSON path to a map and the names of
    its fields for repository and tag.

    Raises:
        ConfigError: A path that cannot be read.
    """
    declared: list[str] = []
    for text in paths:
        for location in parse_json_path(text).find(manifest):
            value = value_at(manifest, location)
            if isinstance(value, str) and value:
                declared.append(value)
    for triple in objects:
        path = ImageObjectPath(*triple)
        for location in parse_json_path(path.path).find(manifest):
            value = value_at(manifest, location)
            if isinstance(value, Mapping) and (joined := _joined(value, path)):
                declared.append(joined)
    return Named(
        tuple(slot.value for slot in image_slots(manifest)),
        tuple(declared),
        tuple(value for c in containers(manifest) for value in c.env_values),
    )


def inject(
    manifest: Manifest,
    injections: Iterable[ImageInjection],
    references: Mapping[str, Delivered | tuple[str, str]],
) -> dict[str, Any]:
    """The manifest with every image of `injections` replaced by what was delivered for it.

    `references` maps delivery ids (`ImageInjection.delivery`) to references; an id that is missing
    raises KeyError. Where the reference does not name its content, its `roll` goes to an annotation
    of the pod template, so that pods are replaced. Injecting twice gives the same manifest, as long
    as the name of what was delivered is not the name of another declared image.
    """
    injections = tuple(injections)
    result: dict[str, Any] = _copied(manifest)
    found = _targets(manifest, injections)
    for number, injection in enumerate(injections):
        targets = found.get(number, ())
        if not targets:
            continue
        delivered = Delivered(*references[injection.delivery])
        for target in targets:
            _write(result, target, injection, delivered.reference)
        if delivered.roll:
            _annotate(result, f"{ROLL_ANNOTATION}.{number}", delivered.roll)
    return result


def uses(manifest: Manifest, injections: Iterable[ImageInjection]) -> frozenset[int]:
    """Which of `injections`, by number, have a place in this manifest."""
    return frozenset(_targets(manifest, tuple(injections)))


def _targets(
    manifest: Manifest, injections: tuple[ImageInjection, ...]
) -> dict[int, tuple[_Target, ...]]:
    declared = [parse_reference(injection.ref) for injection in injections]
    found: dict[int, list[_Target]] = {}
    for slot in image_slots(manifest):
        if (number := _best(declared, slot.value)) is not None:
            kind = "container" if slot.container else "volume"
            found.setdefault(number, []).append(
                _Target(kind, slot.location, slot.owner, slot.policy)
            )
    for number, injection in enumerate(injections):
        for target in _declared_targets(manifest, injection, declared, number):
            if all(target.location != other.location for other in found.get(number, ())):
                found.setdefault(number, []).append(target)
    return {number: tuple(targets) for number, targets in found.items()}


def _declared_targets(
    manifest: Manifest, injection: ImageInjection, declared: list[Reference], number: int
) -> Iterator[_Target]:
    for text in injection.paths:
        for location in parse_json_path(text).find(manifest):
            value = value_at(manifest, location)
            if isinstance(value, str) and _best(declared, value) == number:
                yield _Target("value", location)
    for path in injection.object_paths:
        for location in parse_json_path(path.path).find(manifest):
            value = value_at(manifest, location)
            if isinstance(value, Mapping) and _best(declared, _joined(value, path)) == number:
                yield _Target("object", location, object_path=path)
    if injection.env:
        for container in containers(manifest):
            variables = value_at(manifest, container.location).get("env")
            for at, variable in enumerate(variables if isinstance(variables, list) else ()):
                value = variable.get("value") if isinstance(variable, Mapping) else None
                if isinstance(value, str) and _best(declared, value) == number:
                    yield _Target("env", (*container.location, "env", at, "value"))


def _best(declared: list[Reference], text: str) -> int | None:
    """The declared image that `text` means; a declared digest or tag beats none."""
    try:
        found = parse_reference(text)
    except ConfigError:
        return None
    hits = [at for at, ref in enumerate(declared) if matches(ref, found)]
    return min(hits, key=lambda at: (not declared[at].digest, not declared[at].tag), default=None)


def _joined(value: Mapping[str, Any], path: ImageObjectPath) -> str:
    repo, tag = value.get(path.repo_field), value.get(path.tag_field)
    if not isinstance(repo, str):
        return ""
    return f"{repo}:{tag}" if isinstance(tag, str) and tag else repo


def _write(
    manifest: dict[str, Any], target: _Target, injection: ImageInjection, reference: str
) -> None:
    if target.object_path is not None:
        parsed = parse_reference(reference)
        holder = value_at(manifest, target.location)
        holder[target.object_path.repo_field] = parsed.familiar_name
        holder[target.object_path.tag_field] = parsed.tag or parsed.digest
        return
    value_at(manifest, target.location[:-1])[target.location[-1]] = reference
    if target.kind not in ("container", "volume"):
        return
    owner = value_at(manifest, target.owner)
    if owner.get(target.policy) not in _KEPT_POLICIES:
        owner[target.policy] = "IfNotPresent"
    if target.kind == "container":
        if injection.entrypoint:
            owner["command"] = list(injection.entrypoint)
        if injection.container_args is not None:
            owner["args"] = list(injection.container_args)


def _copied(value: Any) -> Any:
    """A copy in which no part stands in two places, as aliases in YAML make them.

    Labels that are also the selector must be free to differ."""
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list | tuple) else value


def _annotate(manifest: dict[str, Any], key: str, value: str) -> None:
    places = [t.location for t in pod_templates(manifest)] or [()]
    for location in places:
        _metadata(value_at(manifest, location), "annotations")[key] = value


def _metadata(holder: dict[str, Any], field: str) -> dict[str, Any]:
    metadata: dict[str, Any] = holder.get("metadata") or {}
    holder["metadata"] = metadata
    values: dict[str, Any] = metadata.get(field) or {}
    metadata[field] = values
    return values


def with_owner(manifest: Manifest, project: str) -> dict[str, Any]:
    """The manifest with the owner's label on object and pod template, and in no selector."""
    result: dict[str, Any] = _copied(manifest)
    _metadata(result, "labels")[OWNER_LABEL] = project
    for template in pod_templates(result):
        _metadata(value_at(result, template.location), "labels")[OWNER_LABEL] = project
    return result


def owner_of(manifest: Manifest) -> str:
    """The project that an object belongs to, empty for none."""
    metadata = manifest.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    owner = labels.get(OWNER_LABEL) if isinstance(labels, Mapping) else None
    return owner if isinstance(owner, str) else ""
