"""What a Kindlingfile declares: the plain values that an evaluation yields.

`kindling.lang.evaluate` makes them, `kindling.lang.assemble` turns them into a graph. Nothing here
knows Starlark. Every path is a POSIX path relative to the folder of the main file
(`Declarations.root`), with `..` where it lies outside; it was resolved against the folder of the
file that was being executed. Commands are argument vectors: a command given as one string is
`("sh", "-c", text)`. Order is the order of declaration. `None` in an optional field means that the
file did not say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from kindling.graph.node import FileSet, Trigger, Where
from kindling.graph.spec import ObjectRef, Probe, Readiness
from kindling.graph.steps import (
    FallBackOn,
    InitialSync,
    LiveUpdateStep,
    RestartContainer,
    RunStep,
    SyncStep,
)

__all__ = [
    "CiSettings",
    "ClusterDeclaration",
    "ContainerSelector",
    "CustomBuild",
    "CustomDeploy",
    "Declarations",
    "DefaultRegistry",
    "Dependency",
    "DiscoveryStrategy",
    "DockerBuild",
    "Enabled",
    "EnabledMode",
    "Environment",
    "EnvironmentRead",
    "FallBackOn",
    "Glance",
    "HealthCheck",
    "ImageDeclaration",
    "ImageObject",
    "IngressRule",
    "InitialSync",
    "KindDeclaration",
    "KubernetesObject",
    "Link",
    "LiveUpdateStep",
    "LocalResource",
    "ObjectSelector",
    "PortForward",
    "Profile",
    "Remark",
    "ResourceConfiguration",
    "RestartContainer",
    "RunStep",
    "SecretIfAbsent",
    "SecretReference",
    "Settings",
    "SyncStep",
    "TestDeclaration",
    "WatchIgnore",
    "WorkloadId",
]

Pairs = tuple[tuple[str, str], ...]

_NO_FILES = FileSet(())

# Small parts --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Link:
    """An address to show beside a resource."""

    url: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class PortForward:
    """`port_forward(...)`, or what a number or a text such as `8080:80` or `host:8080:80` means.

    `local_port` 0 asks for the same number as the container port, else any free one;
    `container_port` 0 means: the pod's first declared port (a lone number is the local port, and
    the container port only where the pod declares it or declares none). `path` is appended to the
    link that is shown. `host` empty means localhost.
    """

    local_port: int
    container_port: int = 0
    name: str = ""
    path: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class ObjectSelector:
    """`name[:kind[:namespace[:group]]]`: must name exactly one object, without regard to case.

    `text` is what the user wrote. Empty parts match anything. A prefix of a name does not match.
    """

    text: str
    name: str
    kind: str = ""
    namespace: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class WorkloadId:
    """What `workload_to_resource_function` is told about a workload."""

    name: str
    kind: str
    namespace: str
    group: str


# Images -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DockerBuild:
    """`docker_build`. Either `dockerfile` or `dockerfile_contents` is set.

    `files` are the context with `ignore=` and `only=` applied. The rules of a `.dockerignore` or
    `<Dockerfile>.dockerignore` are in it too, as they were when the file was evaluated.
    The Dockerfile is not in `files` unless it lies in the context; `dockerfile_text` is what it
    said, whichever way it was given.
    """

    ref: str
    where: Where = field(compare=False)
    context: str
    files: FileSet
    dockerfile: str = ""
    dockerfile_contents: str = ""
    dockerfile_text: str = field(default="", repr=False)
    build_args: Pairs = ()
    live_update: tuple[LiveUpdateStep, ...] = ()
    match_in_env_vars: bool = False
    entrypoint: tuple[str, ...] = ()
    container_args: tuple[str, ...] | None = None
    target: str = ""
    ssh: tuple[str, ...] = ()
    network: str = ""
    secrets: tuple[str, ...] = ()
    extra_tags: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = ()
    pull: bool = False
    platform: str = ""
    extra_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CustomBuild:
    """`custom_build`. `files` are `deps=` less `ignore=` (patterns relative to each dep).

    At most one of `tag` and `outputs_image_ref_to` is set.
    """

    ref: str
    where: Where = field(compare=False)
    argv: tuple[str, ...]
    files: FileSet
    dir: str = "."
    env: Pairs = ()
    tag: str = ""
    disable_push: bool = False
    skips_local_docker: bool = False
    outputs_image_ref_to: str = ""
    image_deps: tuple[str, ...] = ()
    live_update: tuple[LiveUpdateStep, ...] = ()
    match_in_env_vars: bool = False
    entrypoint: tuple[str, ...] = ()
    container_args: tuple[str, ...] | None = None


ImageDeclaration = DockerBuild | CustomBuild


@dataclass(frozen=True, slots=True)
class DefaultRegistry:
    """`default_registry`: where images go. Names keep their path with `/` and `@` made `_`."""

    host: str
    host_from_cluster: str = ""
    single_name: str = ""
    where: Where = field(default=Where(), compare=False)


# Kubernetes ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KubernetesObject:
    """One object of a `k8s_yaml` call. `manifest` is canonical JSON: sorted keys, no spaces.

    `source` is the file it came from, empty when it came as text.
    """

    ref: ObjectRef
    manifest: str
    where: Where = field(compare=False)
    source: str = ""
    allow_duplicates: bool = False


class DiscoveryStrategy(Enum):
    """How pods of a resource are found."""

    DEFAULT = "default"
    SELECTORS_ONLY = "selectors-only"


@dataclass(frozen=True, slots=True)
class ResourceConfiguration:
    """One `k8s_resource` call. Several for one workload add up: lists grow, the last scalar wins.

    With `workload` empty, `new_name` and `objects` make a resource of objects that belong to none.
    `extra_pod_selectors` are label selectors, each a tuple of pairs. `recreate`: immutable fields
    may be changed by deleting the object and creating it anew.
    """

    where: Where = field(compare=False)
    workload: str = ""
    new_name: str = ""
    port_forwards: tuple[PortForward, ...] = ()
    extra_pod_selectors: tuple[Pairs, ...] = ()
    trigger: Trigger | None = None
    resource_deps: tuple[str, ...] = ()
    objects: tuple[ObjectSelector, ...] = ()
    auto_init: bool | None = None
    pod_readiness: Readiness | None = None
    links: tuple[Link, ...] = ()
    labels: tuple[str, ...] = ()
    discovery_strategy: DiscoveryStrategy | None = None
    recreate: bool | None = None


@dataclass(frozen=True, slots=True)
class ContainerSelector:
    """Which containers a live update of `k8s_custom_deploy` goes to. At most one field is set."""

    image: str = ""
    container: str = ""


@dataclass(frozen=True, slots=True)
class CustomDeploy:
    """`k8s_custom_deploy`: commands of the user's that apply and delete objects."""

    name: str
    where: Where = field(compare=False)
    apply_argv: tuple[str, ...]
    delete_argv: tuple[str, ...]
    files: FileSet
    apply_dir: str = "."
    apply_env: Pairs = ()
    delete_dir: str = "."
    delete_env: Pairs = ()
    image_deps: tuple[str, ...] = ()
    live_update: tuple[LiveUpdateStep, ...] = ()
    selector: ContainerSelector = ContainerSelector()


@dataclass(frozen=True, slots=True)
class ImageObject:
    """An image that a custom resource holds as an object of two fields, repository and tag."""

    json_path: str
    repo_field: str
    tag_field: str


@dataclass(frozen=True, slots=True)
class KindDeclaration:
    """`k8s_kind` (and `k8s_image_json_path`): where objects of a kind hold images, and whether pods
    follow.

    The patterns are regular expressions, matched without regard to case anywhere in the value;
    empty ones match everything. `workload` is True for `k8s_kind`: such objects are workloads.
    """

    where: Where = field(compare=False)
    kind: str = ""
    api_version: str = ""
    name: str = ""
    namespace: str = ""
    image_json_paths: tuple[str, ...] = ()
    image_object: ImageObject | None = None
    pod_readiness: Readiness | None = None
    workload: bool = True


@dataclass(frozen=True, slots=True)
class SecretIfAbsent:
    """`secret_if_absent`. An empty namespace is the target's. Values never appear in a repr."""

    name: str
    where: Where = field(compare=False)
    namespace: str = ""
    literals: Pairs = field(default=(), repr=False)
    type: str = "Opaque"
    labels: tuple[str, ...] = ()


# Environments -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dependency:
    """What `postgres()` and its kin give: an entry of `spec.dependencies`, as canonical JSON."""

    type: str
    manifest: str
    where: Where = field(default=Where(), compare=False)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """What `http_get()`, `grpc()` and `tcp()` give: a `healthCheck`, as canonical JSON."""

    type: str
    manifest: str


@dataclass(frozen=True, slots=True)
class IngressRule:
    """What `ingress()` gives: a `spec.ingress`, as canonical JSON."""

    manifest: str


@dataclass(frozen=True, slots=True)
class SecretReference:
    """What `secret()` gives: the value of one of the user's secrets, by the name he knows it by.

    `object` is what its Secret is called, `key` where the value is in it.
    """

    name: str
    object: str
    key: str


@dataclass(frozen=True, slots=True)
class Environment:
    """A DevStagingEnvironment: a `service()`, a `dse()`, or a document of `k8s_yaml`.

    `name` is what its resource is called. `manifest` is canonical JSON, without defaults and
    without a status; no namespace in it is the target's. `file` is where it came from, empty when
    it came as text or fields. `configuration` is what the call says of the resource, None for
    `k8s_yaml`, which says nothing and leaves its name to `workload_to_resource_function`.
    """

    name: str
    manifest: str
    where: Where = field(compare=False)
    file: str = ""
    configuration: ResourceConfiguration | None = None
    allow_duplicates: bool = False
    sync: tuple[LiveUpdateStep, ...] = ()
    """How files get into the running container of its application."""


# Local work ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LocalResource:
    """`local_resource`: a command that ends, one that serves, or both; empty means not given.

    `files` are `deps=` less `ignore=`.
    """

    name: str
    where: Where = field(compare=False)
    argv: tuple[str, ...] = ()
    dir: str = "."
    env: Pairs = ()
    serve_argv: tuple[str, ...] = ()
    serve_dir: str = "."
    serve_env: Pairs = ()
    files: FileSet = _NO_FILES
    outputs: tuple[str, ...] = ()
    trigger: Trigger | None = None
    resource_deps: tuple[str, ...] = ()
    auto_init: bool = True
    allow_parallel: bool = False
    links: tuple[Link, ...] = ()
    labels: tuple[str, ...] = ()
    readiness_probe: Probe | None = None


@dataclass(frozen=True, slots=True)
class TestDeclaration:
    """`test`: a command that checks something, run again when a file or a resource it tests
    changed.

    `timeout` is in seconds, 0 for none.
    """

    __test__ = False  # not a test case, whatever its name says to pytest

    name: str
    where: Where = field(compare=False)
    argv: tuple[str, ...]
    dir: str = "."
    env: Pairs = ()
    files: FileSet = _NO_FILES
    outputs: tuple[str, ...] = ()
    trigger: Trigger | None = None
    resource_deps: tuple[str, ...] = ()
    auto_init: bool = True
    allow_parallel: bool = True
    labels: tuple[str, ...] = ()
    timeout: float = 0.0


# The session --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClusterDeclaration:
    """`cluster(...)`: which cluster. Without the call: provider `auto`.

    `name` is the context's name for provider `context`, else the cluster's. `registry`: one is
    wanted; `registry_host` names it where the file does. `where` is None when nothing was declared.
    """

    provider: str = "auto"
    name: str = ""
    namespace: str = ""
    registry: bool = False
    registry_host: str = ""
    ingress: bool = False
    where: Where | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile the file knows, and whether its name was given after `--`."""

    name: str
    help: str
    active: bool
    where: Where = field(default=Where(), compare=False)


class EnabledMode(Enum):
    """What `config.set_enabled_resources` and `config.clear_enabled_resources` asked for."""

    ALL = "all"
    """Neither was called, or the set was empty, which means all."""
    ONLY = "only"
    """The named ones with all they depend on."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Enabled:
    mode: EnabledMode = EnabledMode.ALL
    names: tuple[str, ...] = ()
    where: Where = field(default=Where(), compare=False)


@dataclass(frozen=True, slots=True)
class CiSettings:
    """`ci_settings`, in seconds; 0 switches a limit off, None leaves kindling's default."""

    timeout: float | None = None
    readiness_timeout: float | None = None
    k8s_grace_period: float | None = None


@dataclass(frozen=True, slots=True)
class WatchIgnore:
    """Changes of these files are not looked at; builds still see the files. `.dockerignore` syntax,
    relative to `base`."""

    base: str
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the settings functions said.

    `suppress_unused_images` are image names or patterns (`*`) that may be used by nothing without a
    warning. `trigger` is the mode of every resource that names none.
    """

    max_parallel_updates: int | None = None
    k8s_upsert_timeout_secs: float | None = None
    suppress_unused_images: tuple[str, ...] = ()
    ci: CiSettings = CiSettings()
    watch_ignores: tuple[WatchIgnore, ...] = ()
    trigger: Trigger = Trigger.AUTO
    scrub_secrets: bool = True
    allowed_contexts: tuple[str, ...] = ()
    k8s_server_side_apply: str = "auto"


@dataclass(frozen=True, slots=True)
class EnvironmentRead:
    """An environment variable the file looked at. `digest` is of its value then, empty when
    unset."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Glance:
    """Something of the disk that the file looked at without reading it, and what it was then.

    `os.path.exists` and a plain `listdir` do not watch, as in Tilt; a later start that wants to
    reuse what was evaluated must look again (`kindling.lang.glance.still`).
    """

    path: str
    digest: str


@dataclass(frozen=True, slots=True)
class Remark:
    """Something the user should know that is no error. `warning` False: a mere notice."""

    text: str
    warning: bool = True
    where: Where = field(default=Where(), compare=False)

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where.file else self.text


@dataclass(frozen=True, slots=True)
class Declarations:
    """Everything one evaluation declared.

    `root` is the absolute folder of the main file, `file` the main file's name in it. `reads` are
    the paths whose change (or appearance) means evaluating again; folders count with all they hold.
    `selected` are words after `--` that name resources, because the file takes no arguments of its
    own. `repeatable`: the same reads, environment, glances, arguments and context give the same
    declarations; False when a command ran whose inputs are not known (`local()` without `deps=`).
    `stopped_early`: the file called `exit()`, so what is not declared was perhaps never
    reached. `name_workload` is `workload_to_resource_function`'s hook; it raises ConfigError when
    the user's function fails, and may be called only on the thread that assembles.
    """

    root: str
    file: str
    images: tuple[ImageDeclaration, ...] = ()
    objects: tuple[KubernetesObject, ...] = ()
    environments: tuple[Environment, ...] = ()
    resources: tuple[ResourceConfiguration, ...] = ()
    custom_deploys: tuple[CustomDeploy, ...] = ()
    kinds: tuple[KindDeclaration, ...] = ()
    locals: tuple[LocalResource, ...] = ()
    tests: tuple[TestDeclaration, ...] = ()
    secrets: tuple[SecretIfAbsent, ...] = ()
    registry: DefaultRegistry | None = None
    cluster: ClusterDeclaration = ClusterDeclaration()
    settings: Settings = Settings()
    profiles: tuple[Profile, ...] = ()
    enabled: Enabled = Enabled()
    selected: tuple[str, ...] = ()
    name_workload: Callable[[WorkloadId], str] | None = field(
        default=None, compare=False, repr=False, hash=False
    )
    reads: FileSet = _NO_FILES
    environment: tuple[EnvironmentRead, ...] = ()
    glances: tuple[Glance, ...] = ()
    repeatable: bool = True
    remarks: tuple[Remark, ...] = ()
    stopped_early: bool = False
