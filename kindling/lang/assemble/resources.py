"""Which objects are one resource, and what `k8s_resource` says of it.

The rules are Tilt's. A workload (an object that makes pods, runs an image we build, or is of a
declared kind) is a resource of its own; what `objects=` names moves there; a Service joins the
workload whose pods it selects; the rest is `uncategorized`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kindling.errors import ConfigError, nearest
from kindling.graph.node import Trigger, Where
from kindling.graph.spec import ObjectRef, Readiness
from kindling.lang.assemble.images import Images
from kindling.lang.assemble.taking import (
    Taken,
    check_paths,
    look_into,
    paths_to_nothing,
    take_in,
)
from kindling.lang.declared import (
    CustomDeploy,
    Declarations,
    DiscoveryStrategy,
    Link,
    ObjectSelector,
    PortForward,
    ResourceConfiguration,
    WorkloadId,
)
from kindling.objects.identity import api_group
from kindling.objects.workloads import (
    pod_templates,
    selector_matches,
    service_selector,
)

__all__ = ["UNCATEGORIZED", "Resource", "Resources"]

UNCATEGORIZED = "uncategorized"

Pairs = tuple[tuple[str, str], ...]


@dataclass(slots=True, eq=False)
class Resource:
    """One resource of Kubernetes objects, or of a custom deploy, and its configuration so far."""

    name: str
    where: Where
    main: Taken | None = None
    """The workload it was made for."""
    objects: list[Taken] = field(default_factory=list)
    deploy: CustomDeploy | None = None
    port_forwards: list[tuple[PortForward, Where]] = field(default_factory=list)
    selectors: list[Pairs] = field(default_factory=list)
    trigger: Trigger | None = None
    resource_deps: list[tuple[str, Where]] = field(default_factory=list)
    auto_init: bool = True
    readiness: Readiness | None = None
    links: list[Link] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    recreate: bool = False
    strategy: DiscoveryStrategy = DiscoveryStrategy.DEFAULT

    def configure(self, said: ResourceConfiguration) -> None:
        """Add what one `k8s_resource` call says: lists grow, the last scalar wins."""
        self.port_forwards += [(forward, said.where) for forward in said.port_forwards]
        self.selectors += said.extra_pod_selectors
        self.resource_deps += [(name, said.where) for name in said.resource_deps]
        self.links += said.links
        self.labels += said.labels
        self.trigger = self.trigger if said.trigger is None else said.trigger
        self.auto_init = self.auto_init if said.auto_init is None else said.auto_init
        self.readiness = self.readiness if said.pod_readiness is None else said.pod_readiness
        self.recreate = self.recreate if said.recreate is None else said.recreate
        self.strategy = said.discovery_strategy or self.strategy


class Resources:
    """All resources of one evaluation that have to do with Kubernetes, by name, in order.

    Raises:
        ConfigError: A duplicate object, a name that is taken or unknown, a selector that does not
        name
            exactly one object.
    """

    def __init__(self, declarations: Declarations, namespace: str, images: Images) -> None:
        self._declarations = declarations
        self.by_name: dict[str, Resource] = {}
        check_paths(declarations.kinds)
        self.objects = take_in(declarations, namespace)
        for taken in self.objects:
            look_into(taken, declarations.kinds, images)
        self.remarks = tuple(paths_to_nothing(declarations.kinds, self.objects))
        self._make_workloads()
        for deploy in declarations.custom_deploys:
            self._add(Resource(deploy.name, deploy.where, deploy=deploy))
        for said in declarations.resources:
            self._configure(said)
        self._gather()

    # One resource for each workload --------------------------------------------------------------

    def _make_workloads(self) -> None:
        workloads = [taken for taken in self.objects if taken.workload]
        unnamed = [taken for taken in workloads if not _named(taken)]
        names = dict(zip(map(id, unnamed), self._names(unnamed), strict=True))
        for taken in workloads:
            name = names.get(id(taken), taken.ref.name)
            resource = Resource(name, taken.where, main=taken, objects=[taken])
            taken.owner = resource
            self._add(resource)
            if taken.environment is not None and taken.environment.configuration is not None:
                resource.configure(taken.environment.configuration)

    def _names(self, workloads: Sequence[Taken]) -> list[str]:
        hook = self._declarations.name_workload
        if hook is not None:
            return [
                hook(
                    WorkloadId(
                        t.ref.name, t.ref.kind, t.ref.namespace, api_group(t.ref.api_version)
                    )
                )
                for t in workloads
            ]
        longer: list[Callable[[ObjectRef], str]] = [
            lambda ref: ref.name,
            lambda ref: f"{ref.name}:{ref.kind.lower()}",
            lambda ref: f"{ref.name}:{ref.kind.lower()}:{ref.namespace}",
            lambda ref: (
                f"{ref.name}:{ref.kind.lower()}:{ref.namespace}:{api_group(ref.api_version)}"
            ),
        ]
        names = [""] * len(workloads)
        open_ = list(range(len(workloads)))
        for spell in longer:
            counts: dict[str, int] = {}
            for at in open_:
                names[at] = spell(workloads[at].ref)
                counts[names[at]] = counts.get(names[at], 0) + 1
            open_ = [at for at in open_ if counts[names[at]] > 1]
        return names

    def _add(self, resource: Resource) -> None:
        if (first := self.by_name.get(resource.name)) is not None:
            raise ConfigError(
                f"{resource.where}: a resource is already called `{resource.name}`",
                details=[f"first at {first.where}"],
                hint="Give one of them another name (`new_name=` of k8s_resource).",
            )
        self.by_name[resource.name] = resource

    # What the file says of them -------------------------------------------------------------------

    def _configure(self, said: ResourceConfiguration) -> None:
        if said.workload:
            resource = self._find(said)
            if said.new_name and said.new_name != resource.name:
                del self.by_name[resource.name]
                resource.name = said.new_name
                self._add(resource)
        else:
            resource = Resource(said.new_name, said.where)
            self._add(resource)
        for selector in said.objects:
            self._move(selector, resource, said.where)
        resource.configure(said)

    def _find(self, said: ResourceConfiguration) -> Resource:
        if (resource := self.by_name.get(said.workload)) is not None:
            return resource
        selector = _parse_selector(said.workload)
        hits = [
            taken.owner
            for taken in self.objects
            if taken.workload and taken.owner is not None and _selects(selector, taken.ref)
        ]
        if len(hits) == 1:
            return hits[0]
        known = list(self.by_name)
        if len(hits) > 1:
            raise ConfigError(
                f"{said.where}: `{said.workload}` may be any of several resources",
                details=[f"[{', '.join(hit.name for hit in hits)}]"],
                hint="Write the name of one of them.",
            )
        unknown = f"{said.where}: there is no workload `{said.workload}`"
        if any(taken.ref.name == said.workload for taken in self.objects):
            raise ConfigError(
                f"{unknown}: the object of that name makes no pods",
                hint=f'Write `k8s_resource(new_name = "{said.workload}", objects = [...])`, '
                "or declare its kind with k8s_kind.",
            )
        raise ConfigError(
            unknown,
            details=[f"known: [{', '.join(known)}]"] if known else ["no object makes pods"],
            hint=nearest(said.workload, known),
        )

    def _move(self, selector: ObjectSelector, resource: Resource, where: Where) -> None:
        hits = [taken for taken in self.objects if _selects(selector, taken.ref)]
        if len(hits) != 1:
            raise _not_one(selector, hits, self.objects, where)
        taken = hits[0]
        _refuse_mixture(taken, resource, selector, where)
        if taken.moved is not None and taken.owner is not resource:
            assert taken.owner is not None
            raise ConfigError(
                f"{where}: object `{selector.text}` is already in resource `{taken.owner.name}`",
                details=[f"put there at {taken.moved}"],
                hint="An object belongs to one resource.",
            )
        if taken.owner is resource:
            return
        if taken.owner is not None:
            old = taken.owner
            old.objects.remove(taken)
            if old.main is taken and not old.objects:
                # A workload that moves leaves no resource behind.
                self.by_name.pop(old.name, None)
        taken.owner, taken.moved = resource, where
        resource.objects.append(taken)

    # What is left ---------------------------------------------------------------------------------

    def _gather(self) -> None:
        templates = [
            (resource, taken.ref.namespace, template.labels)
            for resource in self.by_name.values()
            for taken in resource.objects
            for template in pod_templates(taken.manifest)
        ]
        by_label: dict[tuple[str, str, str], list[int]] = {}
        for at, (_, namespace, labels) in enumerate(templates):
            for key, value in labels.items():
                by_label.setdefault((namespace, key, value), []).append(at)
        rest: list[Taken] = []
        for taken in self.objects:
            if taken.owner is not None:
                continue
            selector = _pod_selector(taken)
            if selector:
                key, value = next(iter(selector.items()))
                for at in by_label.get((taken.ref.namespace, key, value), ()):
                    resource, _, labels = templates[at]
                    if selector_matches(selector, labels):
                        taken.owner = resource
                        resource.objects.append(taken)
                        break
            if taken.owner is None:
                rest.append(taken)
        if rest:
            self._add_uncategorized(rest)

    def _add_uncategorized(self, rest: list[Taken]) -> None:
        resource = self.by_name.get(UNCATEGORIZED)
        if resource is None:
            resource = Resource(UNCATEGORIZED, rest[0].where)
            self.by_name[UNCATEGORIZED] = resource
        for taken in rest:
            taken.owner = resource
            resource.objects.append(taken)


def _named(taken: Taken) -> bool:
    """Whether the file says what the resource of an object is called: by `service` or `dse`."""
    return taken.environment is not None and taken.environment.configuration is not None


def _refuse_mixture(
    taken: Taken, resource: Resource, selector: ObjectSelector, where: Where
) -> None:
    """An environment is a resource by itself; what else makes pods has none of its own there."""
    if taken.owner is resource:
        return
    if taken.environment is not None:
        raise ConfigError(
            f"{where}: `{selector.text}` is a DevStagingEnvironment, which is a resource by itself",
            hint="Call it otherwise with `new_name=`, or put other objects into its resource.",
        )
    main = resource.main
    if taken.workload and main is not None and main.environment is not None:
        raise ConfigError(
            f"{where}: `{selector.text}` makes pods and cannot join `{resource.name}`, which "
            "is an environment",
            hint="Let one wait for the other with `resource_deps=`.",
        )


def _pod_selector(taken: Taken) -> dict[str, str]:
    """The pod labels that a Service or a PodDisruptionBudget selects."""
    selector = service_selector(taken.manifest)
    if selector is None and taken.ref.kind == "PodDisruptionBudget":
        spec = taken.manifest.get("spec")
        inner = spec.get("selector") if isinstance(spec, dict) else None
        labels = inner.get("matchLabels") if isinstance(inner, dict) else None
        selector = labels if isinstance(labels, dict) else None
    return dict(selector or {})


def _parse_selector(text: str) -> ObjectSelector:
    parts = [re.sub(r"\\(.)", r"\1", part) for part in re.split(r"(?<!\\):", text)]
    name, kind, namespace, group = (*parts[:4], *[""] * (4 - len(parts[:4])))
    return ObjectSelector(text, name, kind, namespace, group)


def _selects(selector: ObjectSelector, ref: ObjectRef) -> bool:
    pairs = (
        (selector.name, ref.name),
        (selector.kind, ref.kind),
        (selector.namespace, ref.namespace),
        (selector.group, api_group(ref.api_version)),
    )
    return all(not wanted or wanted.lower() == value.lower() for wanted, value in pairs)


def _full_name(ref: ObjectRef) -> str:
    parts = [ref.name, ref.kind.lower(), ref.namespace, api_group(ref.api_version)]
    escaped = [part.replace(":", "\\:") for part in parts]
    while escaped and not escaped[-1]:
        escaped.pop()
    return ":".join(escaped)


def _not_one(
    selector: ObjectSelector, hits: list[Taken], known: list[Taken], where: Where
) -> ConfigError:
    if hits:
        return ConfigError(
            f"{where}: `{selector.text}` names {len(hits)} objects",
            details=[f"[{', '.join(_full_name(hit.ref) for hit in hits)}]"],
            hint="Write more of the name: `name:kind:namespace:group`.",
        )
    names = [_full_name(taken.ref) for taken in known]
    short = {taken.ref.name: _full_name(taken.ref) for taken in known}
    close = nearest(selector.name, short) or nearest(selector.text, names)
    for name, full in short.items():
        if close == f"Did you mean `{name}`?":
            close = f"Did you mean `{full}`?"
            break
    shown = [*names[:20], *(["..."] if len(names) > 20 else [])]
    return ConfigError(
        f"{where}: `{selector.text}` names no object",
        details=[f"known: [{', '.join(shown)}]"] if names else ["no object is declared"],
        hint=close,
    )
