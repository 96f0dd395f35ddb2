"""The image graph: what is built from what, what is needed, and how it reaches the cluster."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import pairwise

from kindling.errors import ConfigError, GraphError, nearest
from kindling.graph.node import EdgeKind, FileSet, Kind, Node, NodeId, Trigger, node_id
from kindling.graph.spec import (
    CustomImageSpec,
    DockerImageSpec,
    LoadSpec,
    PushSpec,
    RegistrySpec,
)
from kindling.lang.assemble.dockerfile import image_references, parse_dockerfile
from kindling.lang.assemble.draft import Draft
from kindling.lang.assemble.outputs import without
from kindling.lang.assemble.reader import FileReader
from kindling.lang.assemble.target import TargetFacts
from kindling.lang.declared import CustomBuild, Declarations, DockerBuild, ImageDeclaration
from kindling.objects.reference import Reference, matches, parse_reference

__all__ = ["Image", "Images", "files_of"]

_LOADERS = {"kind": "kind", "k3d": "k3d", "kindling": "embedded"}
"""Products whose nodes take images without a registry, and the tool that gives them."""

_SHARED_ENGINE = frozenset({"docker-desktop", "orbstack", "rancher-desktop"})
"""Products whose node is the Docker engine itself: what was built there is there already."""


@dataclass(slots=True, eq=False)
class Image:
    """A declared image; `name` is its node's, `bases` are (reference, image) it is built from."""

    declaration: ImageDeclaration
    reference: Reference
    name: str
    bases: list[tuple[str, Image]] = field(default_factory=list)
    users: dict[str, bool] = field(default_factory=dict)
    """The resources that need it, and whether one of their objects runs it (and not a mere base).
    """

    @property
    def node(self) -> NodeId:
        """The id of the node that builds it."""
        return node_id(Kind.IMAGE, self.name)

    @property
    def whole(self) -> tuple[Image, ...]:
        """It and every image that it is built upon."""
        found: dict[str, Image] = {}
        todo: list[Image] = [self]
        while todo:
            image = todo.pop()
            if image.name not in found:
                found[image.name] = image
                todo.extend(base for _, base in image.bases)
        return tuple(found.values())

    @property
    def delivered(self) -> bool:
        """Whether a cluster needs it, and not just another build."""
        return any(self.users.values())


class Images:
    """All declared images of one evaluation.

    Raises:
        ConfigError: A reference that is none, declared twice, or an image dependency that is
        unknown. GraphError: Images that are built from each other.
    """

    def __init__(
        self, declarations: Declarations, target: TargetFacts | None, reader: FileReader
    ) -> None:
        self._declarations = declarations
        self._target = target
        self._reader = reader
        self._images: list[Image] = []
        self._by_name: dict[str, list[Image]] = {}
        for declaration in declarations.images:
            self._declare(declaration)
        for image in self._images:
            image.bases = list(self._bases(image))
        self._refuse_cycles()

    def __iter__(self) -> Iterator[Image]:
        return iter(self._images)

    def _declare(self, declaration: ImageDeclaration) -> None:
        try:
            reference = parse_reference(declaration.ref)
        except ConfigError as error:
            raise ConfigError(f"{declaration.where}: {error.message}", hint=error.hint) from error
        siblings = self._by_name.setdefault(reference.name, [])
        for other in siblings:
            if (other.reference.tag or "latest") == (reference.tag or "latest"):
                raise ConfigError(
                    f"{declaration.where}: image `{declaration.ref}` is declared twice",
                    details=[f"first at {other.declaration.where}"],
                )
        image = Image(declaration, reference, reference.familiar)
        siblings.append(image)
        self._images.append(image)

    def find(self, text: str) -> Image | None:
        """The declared image that `text`, a reference in a manifest or Dockerfile, means."""
        try:
            found = parse_reference(text)
        except ConfigError:
            return None
        hits = [i for i in self._by_name.get(found.name, ()) if matches(i.reference, found)]
        return min(hits, key=lambda i: (not i.reference.digest, not i.reference.tag), default=None)

    def require(self, text: str, what: str) -> Image:
        """The declared image called `text`; `what` begins the message where there is none."""
        if (image := self.find(text)) is None:
            names = [image.declaration.ref for image in self._images]
            raise ConfigError(
                f"{what} `{text}`, which no docker_build or custom_build declares",
                details=[f"declared: [{', '.join(names)}]"] if names else [],
                hint=nearest(text, names),
            )
        return image

    def _bases(self, image: Image) -> Iterator[tuple[str, Image]]:
        declaration = image.declaration
        if isinstance(declaration, CustomBuild):
            for text in declaration.image_deps:
                what = f"{declaration.where}: image `{declaration.ref}` depends on image"
                yield text, self.require(text, what)
            return
        for text in self._references(declaration):
            base = self.find(text)
            # `FROM nginx` in the build of `nginx` means the public image.
            if base is not None and base is not image:
                yield text, base

    def _references(self, build: DockerBuild) -> tuple[str, ...]:
        text = build.dockerfile_text or build.dockerfile_contents
        if not text:
            found = self._reader.read(build.dockerfile)
            if found is None:
                raise ConfigError(
                    f"{build.where}: image `{build.ref}` has no Dockerfile: there is no "
                    f"`{build.dockerfile}`",
                    hint="Say where it is with `dockerfile=`.",
                )
            text = found
        stages = parse_dockerfile(text, dict(build.build_args))
        place = str(build.where) + (f": `{build.dockerfile}`" if build.dockerfile else "")
        return image_references(stages, build.target, place)

    def _refuse_cycles(self) -> None:
        done: set[str] = set()
        path: list[Image] = []

        def visit(image: Image) -> None:
            if image.name in done:
                return
            if image in path:
                cycle = [*path[path.index(image) :], image]
                raise GraphError(
                    f"{image.declaration.where}: images are built from each other: "
                    + " -> ".join(i.name for i in cycle),
                    details=[
                        f"{one.name} is built from {two.name} at {one.declaration.where}"
                        for one, two in pairwise(cycle)
                    ],
                    hint="Remove one of these dependencies.",
                )
            path.append(image)
            for _, base in image.bases:
                visit(base)
            path.pop()
            done.add(image.name)

        for image in self._images:
            visit(image)

    def use(self, image: Image, resource: str) -> None:
        """An object of `resource` runs `image`: it and all it is built from are needed."""
        image.users[resource] = True
        todo = [base for _, base in image.bases]
        while todo:
            base = todo.pop()
            if resource not in base.users:
                base.users[resource] = False
                todo.extend(more for _, more in base.bases)

    def warn_unused(self, draft: Draft, names: Iterable[str]) -> None:
        """One warning for each image that nothing uses. `names` are those that manifests name."""
        known = list(dict.fromkeys(names))
        quiet = self._declarations.settings.suppress_unused_images
        for image in self._images:
            ref = image.declaration.ref
            if image.users or any(
                fnmatchcase(ref, pattern) or fnmatchcase(image.name, pattern) for pattern in quiet
            ):
                continue
            hint = nearest(ref, [name for name in known if self.find(name) is None])
            text = f"image `{ref}` is used by no object and is not built"
            draft.warn(image.declaration.where, f"{text}. {hint}" if hint else text)

    # Nodes ----------------------------------------------------------------------------------------

    def add(
        self,
        draft: Draft,
        cluster: NodeId | None,
        modes: Mapping[str, tuple[Trigger, bool, tuple[str, ...]]],
    ) -> None:
        """Nodes for every image that is needed and for its way to the cluster.

        `modes` are trigger, auto_init and labels of the resources by name: an image is manual, or
        not built at the start, when all that need it are.
        """
        for image in self._images:
            if not image.users:
                continue
            sole = next(iter(image.users)) if len(image.users) == 1 else ""
            used_by = [modes[name] for name in image.users]
            manual = all(trigger is Trigger.MANUAL for trigger, _, _ in used_by)
            auto_init = any(start for _, start, _ in used_by)
            labels = used_by[0][2] if sole else ()
            node = Node(
                id=image.node,
                kind=Kind.IMAGE,
                name=image.name,
                spec=self._spec(image),
                where=image.declaration.where,
                resource=sole,
                files=files_of(image.declaration),
                trigger=Trigger.MANUAL if manual else Trigger.AUTO,
                auto_init=auto_init,
                labels=labels,
            )
            draft.add(node)
            for _, base in image.bases:
                draft.connect(base.node, image.node, EdgeKind.CONTENT)
            delivery = self.delivery(image)
            if image.delivered and delivery != image.node:
                self._deliver(draft, image, delivery, cluster, (sole, auto_init, labels))
            elif cluster is not None and image.delivered and _delivers_itself(image.declaration):
                # The command itself brings the image to this cluster: another cluster, another run.
                draft.connect(cluster, image.node, EdgeKind.CONTENT)
            for name in image.users:
                draft.join(name, image.node)
                if delivery in draft.nodes and delivery != image.node:
                    draft.join(name, delivery)

    def delivery(self, image: Image) -> NodeId:
        """The id of the node whose output says how the cluster calls the image."""
        if _delivers_itself(image.declaration):
            return image.node
        if not self._registry_wanted() and self._target is not None:
            if self._target.product in _LOADERS:
                return node_id(Kind.LOAD, image.name)
            if self._target.product in _SHARED_ENGINE:
                return image.node
        return node_id(Kind.PUSH, image.name)

    def _registry_wanted(self) -> bool:
        declared = self._declarations.registry is not None or (
            self._declarations.cluster.registry or bool(self._declarations.cluster.registry_host)
        )
        return declared or (self._target is not None and self._target.registry is not None)

    def _deliver(
        self,
        draft: Draft,
        image: Image,
        delivery: NodeId,
        cluster: NodeId | None,
        mode: tuple[str, bool, tuple[str, ...]],
    ) -> None:
        resource, auto_init, labels = mode
        ref, where = image.declaration.ref, image.declaration.where
        spec: PushSpec | LoadSpec
        if delivery.startswith(Kind.LOAD.value):
            assert self._target is not None
            spec = LoadSpec(ref, image.node, _LOADERS[self._target.product], self._target.cluster)
            kind = Kind.LOAD
        else:
            registry = self._add_registry(draft, image, cluster)
            spec = PushSpec(ref, image.node, registry)
            kind = Kind.PUSH
        draft.add(
            Node(
                id=delivery,
                kind=kind,
                name=image.name,
                spec=spec,
                where=where,
                resource=resource,
                auto_init=auto_init,
                labels=labels,
            )
        )
        draft.connect(image.node, delivery, EdgeKind.CONTENT)
        if isinstance(spec, PushSpec):
            draft.connect(NodeId(spec.registry), delivery, EdgeKind.CONTENT)
        if cluster is not None:
            draft.connect(cluster, delivery, EdgeKind.READY)

    def _add_registry(self, draft: Draft, image: Image, cluster: NodeId | None) -> NodeId:
        default, wanted = self._declarations.registry, self._declarations.cluster
        where = image.declaration.where
        if default is not None:
            spec = RegistrySpec(default.host, default.host_from_cluster, default.single_name)
            where = default.where
        elif wanted.registry_host:
            spec = RegistrySpec(wanted.registry_host)
            where = wanted.where or where
        elif self._registry_wanted() or self._target is None or not self._target.registry_known:
            spec = RegistrySpec()
        else:
            # No registry and nothing to load with: the image's own name says where it belongs.
            spec = RegistrySpec(image.reference.domain)
            if image.reference.domain == "docker.io":
                draft.warn(
                    where,
                    f"image `{image.declaration.ref}` will be pushed to docker.io, since "
                    f"`{self._target.context}` announces no registry; say "
                    "`default_registry(...)` to push elsewhere",
                )
        id_ = node_id(Kind.REGISTRY, spec.host or "local")
        if id_ not in draft.nodes:
            draft.add(
                Node(id=id_, kind=Kind.REGISTRY, name=spec.host or "local", spec=spec, where=where)
            )
            if cluster is not None:
                draft.connect(cluster, id_, EdgeKind.READY)
        return id_

    def _spec(self, image: Image) -> DockerImageSpec | CustomImageSpec:
        build = image.declaration
        bases = tuple((text, base.node) for text, base in image.bases)
        if isinstance(build, CustomBuild):
            host, host_from_cluster = self._registry_names()
            return CustomImageSpec(
                ref=build.ref,
                argv=build.argv,
                dir=build.dir,
                env=build.env,
                tag=build.tag,
                disable_push=build.disable_push,
                skips_local_docker=build.skips_local_docker,
                outputs_ref_to=build.outputs_image_ref_to,
                images=bases,
                host=host,
                host_from_cluster=host_from_cluster,
            )
        return DockerImageSpec(
            ref=build.ref,
            context=build.context,
            dockerfile="" if build.dockerfile_contents else build.dockerfile,
            dockerfile_contents=build.dockerfile_contents,
            build_args=build.build_args,
            target=build.target,
            platform=build.platform,
            network=build.network,
            pull=build.pull,
            ssh=build.ssh,
            secrets=build.secrets,
            extra_tags=build.extra_tags,
            extra_hosts=build.extra_hosts,
            cache_from=build.cache_from,
            bases=bases,
        )

    def _registry_names(self) -> tuple[str, str]:
        if (default := self._declarations.registry) is not None:
            return default.host, default.host_from_cluster
        if host := self._declarations.cluster.registry_host:
            return host, ""
        if self._target is not None and (announced := self._target.registry) is not None:
            return announced.host, announced.host_from_cluster
        return "", ""


def _delivers_itself(build: ImageDeclaration) -> bool:
    return isinstance(build, CustomBuild) and (build.disable_push or build.skips_local_docker)


def files_of(build: ImageDeclaration) -> tuple[FileSet, ...]:
    """The files that an image is made of, its Dockerfile included."""
    if isinstance(build, CustomBuild):
        written = [build.outputs_image_ref_to] if build.outputs_image_ref_to else []
        return (without(build.files, written),) if build.files.paths else ()
    sets = [build.files] if build.files.paths else []
    if build.dockerfile and not build.dockerfile_contents:
        sets.append(FileSet((posixpath.normpath(build.dockerfile),)))
    return tuple(sets)
