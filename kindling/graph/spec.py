"""Specs: what each kind of node is to do, as plain values that a digest can be taken of.

A spec holds only what its result depends on, or says so: a field whose metadata carries
`{"key": False}` steers how the work is done (a time limit, where to show it) and never makes a node
dirty. Paths are POSIX paths relative to the graph's root. Programs are argument vectors; the
command line of a user's shell string is `("sh", "-c", text)`. Kubernetes objects travel as
canonical JSON text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from kindling.graph.place import FileSet
from kindling.graph.steps import LiveUpdateStep

__all__ = [
    "NOT_IN_KEY",
    "ApplySpec",
    "ClusterSpec",
    "CommandSpec",
    "CustomDeploySpec",
    "CustomImageSpec",
    "DockerImageSpec",
    "ImageInjection",
    "ImageObjectPath",
    "LoadSpec",
    "ObjectRef",
    "ObjectSpec",
    "OperatorSpec",
    "PortForwardSpec",
    "Probe",
    "ProbeAction",
    "PushSpec",
    "Readiness",
    "RegistrySpec",
    "RollbackSpec",
    "RolloutSpec",
    "SecretSpec",
    "ServeSpec",
    "Spec",
    "SyncSpec",
]

NOT_IN_KEY: dict[str, Any] = {"key": False}

Pairs = tuple[tuple[str, str], ...]


class ProbeAction(Enum):
    EXEC = "exec"
    HTTP_GET = "http_get"
    TCP_SOCKET = "tcp_socket"


@dataclass(frozen=True, slots=True)
class Probe:
    """A readiness probe with the meaning, defaults and units (seconds) of a Kubernetes probe."""

    action: ProbeAction
    argv: tuple[str, ...] = ()
    host: str = "localhost"
    port: int = 0
    path: str = "/"
    scheme: str = "http"
    headers: Pairs = ()
    initial_delay_secs: float = 0
    timeout_secs: float = 1
    period_secs: float = 10
    success_threshold: int = 1
    failure_threshold: int = 3


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A command that ends: `local_resource(cmd=...)` and `test(...)`.

    `outputs` are files or folders it promises to write; with them, its output digest is theirs and
    they can come from the action cache. Without, the digest is of its exit and standard output.
    """

    argv: tuple[str, ...]
    dir: str = "."
    env: Pairs = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServeSpec:
    """A command that keeps running for the session: `local_resource(serve_cmd=...)`."""

    argv: tuple[str, ...]
    dir: str = "."
    env: Pairs = ()
    probe: Probe | None = field(default=None, metadata=NOT_IN_KEY)


@dataclass(frozen=True, slots=True)
class DockerImageSpec:
    """`docker_build`: an image from a Dockerfile by a Docker engine.

    `ref` is the name as users write it in their manifests. `bases` maps references named by `FROM`
    or `COPY --from` to the image nodes of this graph that build them. Either `dockerfile` (a path)
    or `dockerfile_contents` is set. `ignore` and `only` of the context are in the node's file set.
    """

    ref: str
    context: str
    dockerfile: str = ""
    dockerfile_contents: str = ""
    build_args: Pairs = ()
    target: str = ""
    platform: str = ""
    network: str = ""
    pull: bool = False
    ssh: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    extra_tags: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = field(default=(), metadata=NOT_IN_KEY)
    bases: Pairs = ()
    """Pairs of (reference in the Dockerfile, id of the image node that builds it)."""


@dataclass(frozen=True, slots=True)
class CustomImageSpec:
    """`custom_build`: an image made by any command, told what to make by `EXPECTED_REF` and its
    kin.

    `tag` fixed: the command builds that tag. `outputs_ref_to`: the command writes the reference it
    made to that file. Neither: a temporary tag, re-tagged by content afterwards. `images` are pairs
    of (reference, node id) of the images whose references it gets as `TILT_IMAGE_0`,
    `TILT_IMAGE_MAP_0`... `host` and `host_from_cluster` are the default registry's, empty for none.
    """

    ref: str
    argv: tuple[str, ...]
    dir: str = "."
    env: Pairs = ()
    tag: str = ""
    disable_push: bool = False
    skips_local_docker: bool = False
    outputs_ref_to: str = ""
    images: Pairs = ()
    host: str = ""
    host_from_cluster: str = ""


@dataclass(frozen=True, slots=True)
class RegistrySpec:
    """A registry that images travel by.

    `host` is its name on this machine, `host_from_cluster` its name for the nodes; both may carry a
    path. Both empty: taken from ConfigMap `kube-public/local-registry-hosting` (KEP-1755).
    """

    host: str = ""
    host_from_cluster: str = ""
    single_name: str = ""


@dataclass(frozen=True, slots=True)
class PushSpec:
    """Copy an image from the Docker engine to the registry, under a tag named by its content."""

    ref: str
    image: str
    """The id of the image node."""
    registry: str
    """The id of the registry node."""


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """Put an image into the cluster's nodes without a registry.

    `tool` is `kind`, `k3d` or `embedded`; `cluster` is the cluster's name as that tool knows it.
    """

    ref: str
    image: str
    tool: str
    cluster: str


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """The identity of a Kubernetes object. `namespace` is empty for objects that live in none."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        place = f" in {self.namespace}" if self.namespace else ""
        return f"{self.kind}/{self.name}{place}"


@dataclass(frozen=True, slots=True)
class ImageObjectPath:
    """Where a custom resource holds an image as two fields of one object
    (`k8s_kind(image_object=)`)."""

    path: str
    repo_field: str
    tag_field: str


@dataclass(frozen=True, slots=True)
class ImageInjection:
    """Where the built reference of one image goes.

    `ref` is the name in the manifest; `delivery` the id of the push, load or image node whose
    output holds the reference to write. `paths` are JSON paths that hold it besides the containers
    (`k8s_kind(image_json_path=)`), `object_paths` those that hold it in two fields. `env`: also in
    environment values that equal it.
    """

    ref: str
    delivery: str
    paths: tuple[str, ...] = ()
    object_paths: tuple[ImageObjectPath, ...] = ()
    env: bool = False
    entrypoint: tuple[str, ...] = ()
    container_args: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """One object to apply: who it is, and its manifest as canonical JSON text."""

    ref: ObjectRef
    manifest: str


@dataclass(frozen=True, slots=True)
class ApplySpec:
    """Objects to be written by server-side apply, in install order.

    `recreate`: an immutable field may be changed by deleting the object and creating it anew.
    """

    objects: tuple[ObjectSpec, ...]
    images: tuple[ImageInjection, ...] = ()
    recreate: bool = field(default=False, metadata=NOT_IN_KEY)
    timeout: float = field(default=30.0, metadata=NOT_IN_KEY)


@dataclass(frozen=True, slots=True)
class CustomDeploySpec:
    """`k8s_custom_deploy`: any command that applies objects and prints them as YAML on stdout."""

    argv: tuple[str, ...]
    delete_argv: tuple[str, ...] = field(default=(), metadata=NOT_IN_KEY)
    dir: str = "."
    delete_dir: str = field(default=".", metadata=NOT_IN_KEY)
    env: Pairs = ()
    delete_env: Pairs = field(default=(), metadata=NOT_IN_KEY)
    images: tuple[ImageInjection, ...] = ()


@dataclass(frozen=True, slots=True)
class SecretSpec:
    """`secret_if_absent`: a Secret that is created when missing and never touched again.

    Values are not in the key, or a rotated default would look like work to do.
    """

    name: str
    namespace: str
    literals: Pairs = field(default=(), metadata=NOT_IN_KEY, repr=False)
    type: str = "Opaque"


@dataclass(frozen=True, slots=True)
class OperatorSpec:
    """A DevStagingEnvironment to be written, and its children to be reconciled by an operator.

    `object` is the manifest; `images` say where the references of built images go, as for an
    `ApplySpec`.
    """

    object: ObjectSpec
    images: tuple[ImageInjection, ...] = ()
    timeout: float = field(default=30.0, metadata=NOT_IN_KEY)


class Readiness(Enum):
    """What a workload's pods must be before the rollout counts as done (`pod_readiness=`)."""

    WAIT = "wait"
    IGNORE = "ignore"
    SUCCEEDED = "succeeded"


@dataclass(frozen=True, slots=True)
class RolloutSpec:
    """Follow the pods of the objects that the node `apply` wrote until the new revision serves.

    `selectors` are extra label selectors (each a tuple of pairs) for pods that no owner chain
    finds.
    """

    apply: str
    objects: tuple[ObjectRef, ...]
    selectors: tuple[Pairs, ...] = ()
    readiness: Readiness = Readiness.WAIT


@dataclass(frozen=True, slots=True)
class SyncSpec:
    """Keep a container of every pod of a workload equal to files of this machine.

    `rollout` is the node that follows the pods. `workload` None: the one that `rollout` found,
    where a command decided what to deploy. `container` empty: the default one. `files` are what its
    image is made of, or what the steps copy; they are watched, and kept up to date by the session
    itself, so that they are no part of the key.
    """

    rollout: str
    workload: ObjectRef | None
    steps: tuple[LiveUpdateStep, ...]
    files: tuple[FileSet, ...]
    container: str = ""
    image: str = ""
    """What a change that cannot be carried runs again: the id of the image node (of the apply node
    for a custom deploy). Empty: the image is prebuilt, and there is nothing to fall back on."""
    built: tuple[str, ...] = ()
    """The ids of the nodes whose last success says of which files the container was made."""
    covers: tuple[str, ...] = ()
    """The ids of the nodes that need not run for a change which every sync node over them carries.
    """
    acts: bool = False
    """Find out what runs, and do what makes new files have effect. Without it that is up to the
    steps."""
    also: tuple[str, ...] = ()
    """The names of other containers that run the same image, and get the same files."""


@dataclass(frozen=True, slots=True)
class RollbackSpec:
    """Put back the pod template that a sync session changed: of the node `sync`, and of sessions
    that ended without doing it themselves."""

    sync: str
    workload: ObjectRef | None


@dataclass(frozen=True, slots=True)
class PortForwardSpec:
    """One local port that leads to the pods of `rollout`, whichever pod is the right one just now.

    `local_port` 0 asks for any free one; `container_port` 0 for the pod's first declared port.
    """

    rollout: str
    local_port: int
    container_port: int
    host: str = "localhost"
    name: str = field(default="", metadata=NOT_IN_KEY)
    path: str = field(default="", metadata=NOT_IN_KEY)


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """The cluster the graph talks to. `context` is resolved before the graph is made, never
    ambient."""

    provider: str
    context: str
    namespace: str = "default"


Spec = (
    ApplySpec
    | ClusterSpec
    | CommandSpec
    | CustomDeploySpec
    | CustomImageSpec
    | DockerImageSpec
    | LoadSpec
    | OperatorSpec
    | PortForwardSpec
    | PushSpec
    | RegistrySpec
    | RollbackSpec
    | RolloutSpec
    | SecretSpec
    | ServeSpec
    | SyncSpec
)
