"""Sync sessions in the graph: one node that carries files into a workload's containers, and beside
it one that puts back what that changed.

A workload is synced when `sync=` of its `service()` or `dse()` says so, or when a container runs an
image with `live_update=`. Only Deployments and StatefulSets can be: the pods of others do not come
back from a changed template. Of a workload the containers of one image are synced; what concerns
those of another is built anew, and a warning says so. So is what concerns a second container whose
program the steps start anew, since it may be another program.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from kindling.errors import ConfigError
from kindling.graph.node import EdgeKind, FileSet, IgnoreRule, Kind, Node, NodeId, Where, node_id
from kindling.graph.spec import ObjectRef, RollbackSpec, SyncSpec
from kindling.graph.steps import (
    LEFT_OUT,
    FallBackOn,
    InitialSync,
    LiveUpdateStep,
    RestartContainer,
    SyncStep,
)
from kindling.lang.assemble.deploy import apply_of, modes_of, rollout_of, writers_of
from kindling.lang.assemble.draft import Draft
from kindling.lang.assemble.environments import deployment_of
from kindling.lang.assemble.images import Image, Images, files_of
from kindling.lang.assemble.resources import Resource, Resources
from kindling.lang.assemble.taking import Taken
from kindling.lang.declared import Declarations, DockerBuild
from kindling.objects.workloads import pod_templates

__all__ = ["add_syncs", "spared_by"]

_KINDS = frozenset({"Deployment", "StatefulSet"})


@dataclass(frozen=True, slots=True)
class _Wish:
    """One container that is to be synced."""

    resource: Resource
    steps: tuple[LiveUpdateStep, ...]
    where: Where
    workload: ObjectRef | None
    container: str
    image: Image | None
    """The image of this file that it runs; None: a prebuilt one, or a custom deploy."""
    runs: int
    """What runs it, of those that `_runs` lists."""
    acts: bool = False
    also: tuple[str, ...] = ()
    """Other containers of the same image."""


def add_syncs(
    draft: Draft,
    declarations: Declarations,
    resources: Resources,
    images: Images,
    cluster: NodeId,
) -> None:
    """Nodes for every workload that is synced. The nodes of its resource must be there.

    Raises:
        ConfigError: Steps stand in two places, or fall back on an image that is not built here.
    """
    wishes = [
        wish
        for resource in resources.by_name.values()
        if rollout_of(resource.name) in draft.nodes
        for wish in _wishes(draft, resource, images)
    ]
    synced = {(wish.image.name, wish.runs) for wish in wishes if wish.image is not None}
    runs = list(_runs(resources, images))
    spared = {
        image.node
        for image in images
        if all((top, at) in synced for top, at, whole in runs if image in whole)
        and any(image in whole for _, _, whole in runs)
    }
    modes = modes_of(declarations, resources)
    count: dict[str, int] = {}
    for wish in wishes:
        count[wish.resource.name] = count.get(wish.resource.name, 0) + 1
    for wish in wishes:
        resource = wish.resource
        name = resource.name
        if count[name] > 1:
            assert wish.workload is not None
            name = f"{name}/{wish.workload.name}"
        trigger, auto_init, labels = modes[resource.name]
        sync = draft.add(
            Node(
                id=node_id(Kind.SYNC, name),
                kind=Kind.SYNC,
                name=name,
                spec=_spec(wish, spared),
                where=wish.where,
                resource=resource.name,
                trigger=trigger,
                auto_init=auto_init,
                labels=labels,
                description=_description(wish),
            )
        )
        rollback = draft.add(
            Node(
                id=node_id(Kind.ROLLBACK, name),
                kind=Kind.ROLLBACK,
                name=name,
                spec=RollbackSpec(sync, wish.workload),
                where=wish.where,
                resource=resource.name,
                auto_init=auto_init,
                labels=labels,
            )
        )
        draft.connect(cluster, sync, EdgeKind.READY)
        draft.connect(cluster, rollback, EdgeKind.READY)
        draft.connect(rollout_of(resource.name), sync, EdgeKind.CONTENT)
        for writer in writers_of(resource):
            draft.connect(rollback, writer, EdgeKind.ORDER)


def spared_by(draft: Draft) -> frozenset[NodeId]:
    """The nodes that need not run for changes which are carried."""
    return frozenset(
        NodeId(id_)
        for node in draft.nodes.values()
        if isinstance(node.spec, SyncSpec)
        for id_ in node.spec.covers
    )


def _wishes(draft: Draft, resource: Resource, images: Images) -> Iterator[_Wish]:
    deploy = resource.deploy
    if deploy is not None and deploy.live_update:
        selector = deploy.selector
        image = images.find(selector.image) if selector.image else None
        yield _Wish(
            resource,
            deploy.live_update,
            deploy.where,
            None,
            selector.container,
            image,
            id(resource),
        )
    for taken in resource.objects:
        if taken.environment is not None:
            yield from _of_environment(resource, taken, images)
        elif taken.ref.kind in _KINDS:
            yield from _of_workload(draft, resource, taken, images)


def _of_environment(resource: Resource, taken: Taken, images: Images) -> Iterator[_Wish]:
    assert taken.environment is not None
    image = images.find(str(taken.manifest["spec"]["deployment"]["image"]))
    own = image.declaration.live_update if image is not None else ()
    said = taken.environment.sync
    if own and said:
        assert image is not None
        raise ConfigError(
            f"{said[0].where}: `{resource.name}` has `sync`, and its image "
            f"`{image.declaration.ref}` has `live_update`",
            details=[f"`live_update` begins at {own[0].where}"],
            hint="Say in one of the two places how files get into the container.",
        )
    steps = said or own
    if not steps:
        return
    if image is None:
        for step in steps:
            if isinstance(step, FallBackOn):
                raise ConfigError(
                    f"{step.where}: `{resource.name}` cannot fall back on building its image, which"
                    " is not of this file",
                    hint="Remove `fall_back_on`, or build the image with `docker_build`.",
                )
    workload = deployment_of(taken)
    yield _Wish(
        resource,
        steps,
        steps[0].where,
        workload,
        workload.name,
        image,
        id(taken),
        acts=bool(said),
    )


def _of_workload(draft: Draft, resource: Resource, taken: Taken, images: Images) -> Iterator[_Wish]:
    found: _Wish | None = None
    for template in pod_templates(taken.manifest):
        for container in template.spec.get("containers") or ():
            image = images.find(str(container.get("image", "")))
            if image is None or not image.declaration.live_update:
                continue
            name = str(container.get("name", ""))
            steps = image.declaration.live_update
            if found is not None and found.image is image and _together(image):
                found = replace(found, also=(*found.also, name))
            elif found is not None:
                draft.warn(
                    steps[0].where,
                    f"container `{name}` of {taken.ref} is not synced, since `{found.container}` of"
                    f" the same pods is; a change to its image `{image.declaration.ref}` builds it"
                    " anew",
                )
            else:
                at = steps[0].where
                found = _Wish(resource, steps, at, taken.ref, name, image, id(taken))
    if found is not None:
        yield found


def _together(image: Image) -> bool:
    """Are several containers of a pod that run the image synced together? Files are the same in
    all of them; a restart is another thing where their commands differ."""
    steps = image.declaration.live_update
    return bool(steps) and not any(isinstance(step, RestartContainer) for step in steps)


def _runs(resources: Resources, images: Images) -> Iterator[tuple[str, int, tuple[Image, ...]]]:
    """Whatever runs an image: its name, who it is, and all images that it is made of."""
    for resource in resources.by_name.values():
        for taken in resource.objects:
            for image in taken.images:
                yield image.name, id(taken), image.whole
            # A container that is passed over does not make the image less needed.
            yield from _passed_over(taken, images)
        if resource.deploy is not None:
            for text in resource.deploy.image_deps:
                if (image_dep := images.find(text)) is not None:
                    yield image_dep.name, id(resource), image_dep.whole


def _passed_over(taken: Taken, images: Images) -> Iterator[tuple[str, int, tuple[Image, ...]]]:
    """Images that a pod runs in more than one container, where only one of them is synced."""
    seen: set[str] = set()
    for template in pod_templates(taken.manifest) if taken.environment is None else ():
        for container in template.spec.get("containers") or ():
            image = images.find(str(container.get("image", "")))
            if image is not None and image.name in seen and not _together(image):
                yield image.name, -1, image.whole
            elif image is not None:
                seen.add(image.name)


def _spec(wish: _Wish, spared: Iterable[NodeId]) -> SyncSpec:
    deploy = wish.resource.deploy
    built = wish.image.whole if wish.image is not None else ()
    files = [files for image in built for files in files_of(image.declaration)]
    made_by: list[str] = [image.node for image in built]
    covers: list[str] = [image.node for image in built if image.node in spared]
    again: str = wish.image.node if wish.image is not None else ""
    steps = wish.steps
    if deploy is not None:
        files += [deploy.files] if deploy.files.paths else []
        again = apply_of(wish.resource.name)
        covers.append(again)
        made_by.append(again)
    # A Dockerfile may lie in what is copied; a change of it is for the build all the same.
    recipes = tuple(
        image.declaration.dockerfile
        for image in built
        if isinstance(image.declaration, DockerBuild) and image.declaration.dockerfile
    )
    if recipes:
        at = sum(isinstance(step, InitialSync) for step in steps[:1])
        steps = (*steps[:at], FallBackOn(recipes, wish.where), *steps[at:])
    if not built and deploy is None:
        steps = tuple(_spared(step) if isinstance(step, SyncStep) else step for step in steps)
        files += [_copied(step) for step in steps if isinstance(step, SyncStep)]
    elif wish.acts:
        known = {path for one in files for path in one.paths}
        files += [
            _copied(step)
            for step in steps
            if isinstance(step, SyncStep) and not any(_inside(step.local, path) for path in known)
        ]
    return SyncSpec(
        rollout=rollout_of(wish.resource.name),
        workload=wish.workload,
        steps=steps,
        files=tuple(dict.fromkeys(files)),
        container=wish.container,
        image=again,
        built=tuple(made_by),
        covers=tuple(covers),
        acts=wish.acts,
        also=wish.also,
    )


def _description(wish: _Wish) -> str:
    """What goes where, in a line."""
    copied = (step for step in wish.steps if isinstance(step, SyncStep))
    return ", ".join(f"{step.local} -> {step.remote}" for step in copied)


def _copied(step: SyncStep) -> FileSet:
    """The files of a step whose image is made elsewhere."""
    return FileSet((step.local,), (IgnoreRule(step.local, step.ignore),) if step.ignore else ())


def _spared(step: SyncStep) -> SyncStep:
    """A step without what `kindling sync` of its folder leaves out, unless it says otherwise."""
    return replace(step, ignore=(*LEFT_OUT, *step.ignore))


def _inside(path: str, folder: str) -> bool:
    if folder == ".":
        return not path.startswith("../") and path != ".."
    return path == folder or path.startswith(folder + "/")
