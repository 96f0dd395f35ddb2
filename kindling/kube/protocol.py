"""The narrow door to a cluster: what executors may ask of it.

Two things stand behind this Protocol and pass one contract test: `kindling.kube.client.KubeCluster`
on the wire, and `kindling.testing.cluster.FakeCluster` in memory. Objects are the API server's JSON
as mappings; they are read, never changed in place. Every call ends within a time limit and raises
only `ClusterError` (or `kindling.kube.errors`' finer kinds of it) and `asyncio.CancelledError`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from kindling.graph.spec import ObjectRef

__all__ = [
    "FIELD_MANAGER",
    "Cluster",
    "ClusterFacts",
    "EventKind",
    "ExecResult",
    "ExecStream",
    "Listing",
    "Object",
    "PatchKind",
    "PodSource",
    "PortStream",
    "Propagation",
    "RegistryHosting",
    "Resource",
    "Selector",
    "WatchEvent",
]

FIELD_MANAGER = "kindling"
"""The name under which the API server records the fields that are ours."""

Object = Mapping[str, Any]
"""A Kubernetes object as the API server speaks it."""

Selector = tuple[tuple[str, str], ...]
"""A label selector by equality: all of these pairs."""


@dataclass(frozen=True, slots=True)
class RegistryHosting:
    """A registry that the cluster announces (KEP-1755). `host` is its name on this machine,
    `host_from_cluster` its name for the nodes; where the cluster tells only one, both are that."""

    host: str
    host_from_cluster: str
    help: str = ""

    def from_here(self, host: str) -> str:
        """The name by which this machine reaches `host`, as the nodes call it; any other registry
        goes by one name."""
        return self.host if host == self.host_from_cluster else host


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What identifies a cluster. `uid` is that of the namespace `kube-system`: no two clusters
    share it, and a cluster that was deleted and made anew under the old name has another."""

    context: str
    server: str
    uid: str
    version: str
    """As the server gives it, such as `v1.20.2`."""
    product: str
    registry: RegistryHosting | None = None
    node_platforms: tuple[str, ...] = ()
    """`os/architecture` of the nodes, sorted, each once; empty where nodes may not be listed."""


@dataclass(frozen=True, slots=True)
class Resource:
    """How the API server serves a kind."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """Objects as of `resource_version`, from which a watch may go on."""

    items: tuple[Object, ...]
    resource_version: str


class EventKind(Enum):
    """What a watch tells."""

    SYNCED = "synced"
    """The list is complete: `items` are all objects there are. Comes first, and again after every
    relist; what is not in it is gone."""
    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"
    AWAY = "away"
    """The API server does not answer; `problem` says why. The watch goes on trying."""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One thing that a watch tells. `object` is empty for `SYNCED` and `AWAY`."""

    kind: EventKind
    object: Object
    items: tuple[Object, ...] = ()
    problem: str = ""
    version: str = ""
    """Of `SYNCED` from a list: as of which resource version."""


class PatchKind(Enum):
    """How a patch is meant; the value is its media type."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"


class Propagation(Enum):
    """What becomes of the objects that an object owns when it is deleted."""

    BACKGROUND = "Background"
    FOREGROUND = "Foreground"
    ORPHAN = "Orphan"


@dataclass(frozen=True, slots=True)
class PodSource:
    """Where pods of a resource come from: objects that own them (through any number of owners
    between) and label selectors for pods that no owner chain finds."""

    owners: tuple[ObjectRef, ...]
    selectors: tuple[Selector, ...] = ()
    namespace: str = ""
    """Where selectors look. Empty: the namespaces of `owners`."""


@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a command in a container ended."""

    code: int
    stdout: bytes
    stderr: bytes


class ExecStream(Protocol):
    """A command that runs in a container, with its input and output open.

    All raise `ClusterError` once the connection broke, which is noticed within some 15 s. Reading,
    writing and waiting may go on at once, one task each.
    """

    async def read(self) -> bytes:
        """What came on its standard output; empty at the end. What is not read makes it wait."""
        ...

    async def write(self, data: bytes) -> None:
        """Write to its standard input, at the pace at which it is taken."""
        ...

    async def ended(self) -> ExecResult:
        """How it ended, with the last of its standard error; output that nobody reads is dropped.

        Standard input cannot be ended on old clusters: a command must know by itself when it is
        done, or end when the stream is closed.
        """
        ...

    async def close(self) -> None:
        """End the connection, and the command's standard input with it. May be done twice."""
        ...


class PortStream(Protocol):
    """One connection to a port of a pod."""

    async def read(self) -> bytes:
        """The next bytes; empty at the end.

        Raises:
            ClusterError: The pod refused the connection, or the API server broke it.
        """
        ...

    async def write(self, data: bytes) -> None: ...

    async def close(self) -> None: ...


class Cluster(Protocol):
    """A cluster, reached through one context.

    `timeout` is in seconds and covers the whole call. Calls raise `kindling.errors.ClusterError`;
    `kindling.kube.errors` has finer classes for what callers must tell apart (`NotFoundError`,
    `ConflictError`, `InvalidError`, `UnreachableError` ...).
    """

    @property
    def context(self) -> str: ...

    @property
    def namespace(self) -> str:
        """Where objects go whose manifest names no namespace."""
        ...

    async def facts(self, *, timeout: float = 15.0) -> ClusterFacts:
        """Who this cluster is. Asks the server each time."""
        ...

    async def ready(self, *, timeout: float = 5.0) -> None:
        """Return when the API server says that it is ready, raise when it does not."""
        ...

    async def resource(self, api_version: str, kind: str, *, timeout: float = 15.0) -> Resource:
        """How a kind is served.

        Raises:
            UnknownKindError: The server has no such kind; perhaps its CRD is not installed.
        """
        ...

    async def get(self, ref: ObjectRef, *, timeout: float = 15.0) -> Object:
        """Raises `NotFoundError` when there is none, also when its kind is unknown."""
        ...

    async def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str = "",
        labels: Selector = (),
        fields: Selector = (),
        timeout: float = 30.0,
    ) -> Listing:
        """All objects of a kind; of every namespace when `namespace` is empty."""
        ...

    def watch(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str = "",
        labels: Selector = (),
        fields: Selector = (),
    ) -> AsyncGenerator[WatchEvent, None]:
        """List, then follow for as long as the iterator is read; close it with `aclose`.

        Never ends by itself: lost connections and expired versions are mended inside. Raises only
        what trying again cannot mend (no permission, an unknown kind).
        """
        ...

    def follow(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str = "",
        labels: Selector = (),
        fields: Selector = (),
        since: str = "",
    ) -> AsyncGenerator[WatchEvent, None]:
        """As `watch`, but all who follow a kind in a namespace share one watch of all of it.

        For state that is read for long. The first `SYNCED` may be some moments old, and lack what
        was written just before, unless `since` names a resource version of that kind: it is then
        not older than that. Objects come without `managedFields`, and a follower that does not read
        is told the whole state in place of single events. `watch` is better for secrets, and for
        one object among many.
        """
        ...

    async def apply(
        self,
        manifest: Object,
        *,
        manager: str = FIELD_MANAGER,
        force: bool = False,
        dry_run: bool = False,
        timeout: float = 30.0,
    ) -> Object:
        """Server-side apply as a field manager; the object as it then is.

        Raises: FieldConflictError: Another manager owns fields with other values; not with `force`.
            InvalidError: The server refuses the manifest; `immutable` tells fields that cannot
            change.
        """
        ...

    async def create(
        self, manifest: Object, *, manager: str = FIELD_MANAGER, timeout: float = 30.0
    ) -> Object:
        """Raises `AlreadyExistsError` when there is one of that name."""
        ...

    async def patch(
        self,
        ref: ObjectRef,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        kind: PatchKind = PatchKind.MERGE,
        *,
        subresource: str = "",
        manager: str = FIELD_MANAGER,
        timeout: float = 30.0,
    ) -> Object: ...

    async def delete(
        self,
        ref: ObjectRef,
        *,
        uid: str = "",
        propagation: Propagation = Propagation.BACKGROUND,
        grace: int | None = None,
        timeout: float = 30.0,
    ) -> bool:
        """Ask for deletion; False when there was nothing to delete.

        With `uid`, only that very object: one of the same name made since is left alone (False).
        """
        ...

    async def wait_deleted(self, ref: ObjectRef, *, uid: str = "", timeout: float = 60.0) -> None:
        """Return once the object (of that `uid`) is gone.

        Raises:
            TimeLimitError: It is still there; the message names its finalizers.
        """
        ...

    async def pods_of(self, source: PodSource, *, timeout: float = 30.0) -> tuple[Object, ...]:
        """The pods of a resource, oldest first, those being deleted included."""
        ...

    def logs(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        follow: bool = False,
        previous: bool = False,
        tail: int | None = None,
        since: float | None = None,
        timeout: float = 30.0,
    ) -> AsyncGenerator[str, None]:
        """Lines of a container's log, without their newlines.

        `since` is in seconds before now. With `follow`, until the container ends, and `timeout`
        covers only the beginning; a broken connection raises.
        """
        ...

    async def exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        argv: Sequence[str],
        *,
        timeout: float = 60.0,
    ) -> ExecResult:
        """Run a command in a container to its end, without standard input."""
        ...

    async def open_exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        argv: Sequence[str],
        *,
        timeout: float = 15.0,
    ) -> ExecStream:
        """Start a command in a container and stay connected to it, for as long as the stream is not
        closed. `timeout` covers the beginning. That there is no such program may come out as
        late as the first read (`kindling.kube.exec.NoProgramError`)."""
        ...

    async def feed(
        self,
        namespace: str,
        pod: str,
        container: str,
        data: AsyncIterator[bytes],
        *,
        timeout: float = 300.0,
    ) -> None:
        """Write to the standard input of a container's first process, and end it.

        The container is one with `stdin` and `stdinOnce`; its output is not read.
        """
        ...

    async def open_port(
        self, namespace: str, pod: str, port: int, *, timeout: float = 15.0
    ) -> PortStream:
        """One connection to a port of a pod, open for as long as it is not closed."""
        ...

    async def close(self) -> None:
        """End all connections."""
        ...
