"""The API as the cluster's own parts use it: reads from memory, durable writes, watches.

`registry` implements `Api`; `apiserver` puts HTTP in front of it, and the controllers, the node and
the network work through it in the same process. All of it lives on one event loop: a read never
waits, and shows every write that was acknowledged.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from kindling.cluster.model.resource import ResourceType

__all__ = [
    "Api",
    "Change",
    "ChangeType",
    "DeleteOptions",
    "Listing",
    "Obj",
    "PatchType",
    "Selection",
    "WriteOptions",
]

Obj = dict[str, Any]
"""An object as JSON. Never changed once it was handed out or handed in."""


class PatchType(StrEnum):
    """The media types of the four patches; `APPLY` also comes as JSON, which is YAML too."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


class ChangeType(StrEnum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class Change:
    """One step in the history of an object.

    `object` is the state after it (for `DELETED` the last one, with the resourceVersion of the
    deletion); `before` the one before, None for a new object. A `BOOKMARK` carries only a
    resourceVersion.
    """

    type: ChangeType
    resource: ResourceType
    object: Obj
    before: Obj | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a resource are meant. `namespace` None is every namespace. The selectors are
    texts as clients send them: `app=web,tier!=db`, `status.phase=Running`."""

    namespace: str | None = None
    labels: str = ""
    fields: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """A list as it was at `resource_version`; `proceed` is the token for the rest, empty at the
    end. `remaining` is how many are left, None where a selector makes that unknown."""

    items: tuple[Obj, ...]
    resource_version: str
    proceed: str = ""
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What every write takes. `field_validation` is `Ignore`, `Warn` or `Strict`; `warn` gets each
    warning that the client is to be shown (unknown fields under `Warn`, deprecated fields)."""

    field_manager: str = "kindling-cluster"
    dry_run: bool = False
    force: bool = False
    field_validation: str = "Ignore"
    warn: Callable[[str], None] | None = None


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """`grace` None is the object's own; `propagation` is `Background`, `Foreground`, `Orphan` or
    empty for the resource's own; `uid` and `resource_version` are preconditions."""

    grace: int | None = None
    propagation: str = ""
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False


class Api(Protocol):
    """Every method raises `ApiError` as a client would get it. Namespace is empty for resources of
    the whole cluster. Defaulting, validation, admission and field owners happen inside."""

    def resources(self) -> Sequence[ResourceType]:
        """Everything that is served now, custom resources included, one row a version."""
        ...

    def resource(self, group: str, version: str, plural: str) -> ResourceType | None: ...

    def by_kind(self, group: str, kind: str, version: str = "") -> ResourceType | None:
        """The resource of a kind; without a version, the preferred one."""
        ...

    def get(self, resource: ResourceType, name: str, namespace: str = "") -> Obj | None:
        """The newest acknowledged state; None when there is none. `resource.version` decides the
        `apiVersion` of what comes back."""
        ...

    def select(self, resource: ResourceType, selection: Selection = Selection()) -> list[Obj]:
        """All that match, in the order of namespace and name."""
        ...

    def scale(self, resource: ResourceType, name: str, namespace: str = "") -> Obj | None:
        """The `autoscaling/v1` `Scale` of an object; None when there is no such object. Raises
        `ApiError` 404 where the resource has no such subresource."""
        ...

    def encoded(self, obj: Obj) -> bytes:
        """The object as JSON. What was handed out here carries its bytes along, so this costs
        nothing for the objects of lists and watches."""
        ...

    def by_owner(self, uid: str) -> list[tuple[ResourceType, Obj]]:
        """Every object that names `uid` among its owners."""
        ...

    def list(
        self,
        resource: ResourceType,
        selection: Selection = Selection(),
        *,
        limit: int = 0,
        proceed: str = "",
        resource_version: str = "",
        match: str = "",
    ) -> Listing:
        """A page as HTTP clients ask for it. `match` is `Exact`, `NotOlderThan` or empty."""
        ...

    @property
    def revision(self) -> int:
        """The resourceVersion of the newest acknowledged write."""
        ...

    def watch(
        self,
        resources: Sequence[ResourceType],
        selection: Selection = Selection(),
        *,
        since: str = "",
        bookmarks: bool = False,
        initial: bool = False,
    ) -> AsyncIterator[Change]:
        """What happens after revision `since` (empty: from now; `0`: what is there as `ADDED`, then
        on). An object that begins or ceases to match the selection is `ADDED` or `DELETED`.
        `initial` asks for the state first and a bookmark annotated `k8s.io/initial-events-end`
        (`sendInitialEvents`). A watch registers when this method is called, not at the first
        item; close it with `aclose()`. Raises `ApiError` 410 when `since` is too old, at once or,
        for a reader that falls too far behind, later."""
        ...

    async def create(
        self,
        resource: ResourceType,
        obj: Obj,
        namespace: str = "",
        options: WriteOptions = WriteOptions(),
    ) -> Obj: ...

    async def update(
        self,
        resource: ResourceType,
        obj: Obj,
        subresource: str = "",
        options: WriteOptions = WriteOptions(),
    ) -> Obj:
        """Replace. A `metadata.resourceVersion` in `obj` is a precondition. Without a change
        nothing is written and no revision is used. `subresource` is `status`, `scale`, `finalize`,
        `ephemeralcontainers` or empty. With `binding` or `eviction`, `obj` is the `Binding` or
        `Eviction` for the pod of its name, and a `Status` comes back."""
        ...

    async def patch(
        self,
        resource: ResourceType,
        name: str,
        patch: Any,
        namespace: str = "",
        *,
        patch_type: PatchType = PatchType.MERGE,
        subresource: str = "",
        options: WriteOptions = WriteOptions(),
    ) -> Obj:
        """Patch; an `APPLY` of an object that is not there creates it."""
        ...

    async def delete(
        self,
        resource: ResourceType,
        name: str,
        namespace: str = "",
        options: DeleteOptions = DeleteOptions(),
    ) -> tuple[Obj, bool]:
        """Delete, or begin to: the object as it is then, and whether it is gone."""
        ...

    async def delete_collection(
        self,
        resource: ResourceType,
        selection: Selection = Selection(),
        options: DeleteOptions = DeleteOptions(),
    ) -> tuple[Obj, ...]:
        """Delete all that match, each as `delete` does, and give them as they are then."""
        ...
