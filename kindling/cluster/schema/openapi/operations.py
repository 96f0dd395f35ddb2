"""The paths of a resource: which operations there are, and which parameters clients look for.

kubectl decides by the parameters of the PATCH operation whether the server validates fields, and
`kubectl explain` finds a kind by the path of its resource.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kindling.cluster.model.resource import ResourceType

__all__ = ["Operation", "Parameter", "operations"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the query, unless it is `in_path`."""

    name: str
    type: str
    description: str
    in_path: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One verb of one path. `takes` and `gives` are definitions, `gives` empty for plain text;
    `action` is the wire word for the verb in `x-kubernetes-action`, `media` what bodies come as."""

    path: str
    method: str
    action: str
    id: str
    description: str
    kind: tuple[str, str, str]
    parameters: tuple[Parameter, ...] = ()
    takes: str = ""
    gives: str = ""
    tag: str = ""
    media: tuple[str, ...] = ("*/*",)


_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_STATUS = _META + "Status"
_NAMESPACE = Parameter(
    "namespace", "string", "object name and auth scope, such as for teams and projects", True
)
_PRETTY = Parameter("pretty", "string", "Whether the answer is indented.")
_DRY_RUN = Parameter("dryRun", "string", "`All` goes through every step but the writing.")
_MANAGER = Parameter("fieldManager", "string", "Who the changed fields belong to.")
_VALIDATION = Parameter(
    "fieldValidation",
    "string",
    "What to do about unknown and duplicate fields: `Ignore`, `Warn` or `Strict`.",
)
_FORCE = Parameter("force", "boolean", "Take over fields of other managers (apply only).")
_LIST = (
    Parameter("allowWatchBookmarks", "boolean", "Whether a watch gets bookmarks."),
    Parameter("continue", "string", "The token of the page before."),
    Parameter("fieldSelector", "string", "Only objects with these fields."),
    Parameter("labelSelector", "string", "Only objects with these labels."),
    Parameter("limit", "integer", "The most objects in an answer."),
    Parameter("resourceVersion", "string", "The state that is asked for."),
    Parameter("resourceVersionMatch", "string", "How `resourceVersion` is meant."),
    Parameter("sendInitialEvents", "boolean", "Whether a watch begins with what there is."),
    Parameter("timeoutSeconds", "integer", "How long the request may take."),
    Parameter("watch", "boolean", "Follow the changes."),
)
_DELETE = (
    _DRY_RUN,
    Parameter("gracePeriodSeconds", "integer", "Seconds until the object is gone."),
    Parameter("orphanDependents", "boolean", "Older form of `propagationPolicy`."),
    Parameter("propagationPolicy", "string", "`Orphan`, `Background` or `Foreground`."),
)
_WRITE = (_DRY_RUN, _MANAGER, _VALIDATION)
_PATCHES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
)
_STRATEGIC = "application/strategic-merge-patch+json"
"""Only built-in kinds have merge keys. kubectl goes by this list when it chooses its patch."""
_WORDS = {"get": "read", "put": "replace", "patch": "partially update", "delete": "delete"}
_SUBRESOURCE_KINDS: Mapping[str, tuple[str, str, str]] = {
    "scale": ("autoscaling", "v1", "Scale"),
    "binding": ("", "v1", "Binding"),
    "eviction": ("policy", "v1", "Eviction"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
}
_ONLY_CREATE = ("binding", "eviction", "token")
_STREAMS = ("attach", "exec", "log", "portforward", "proxy")


def operations(
    resource: ResourceType, definition: str, listing: str, names: Mapping[str, str]
) -> Iterator[Operation]:
    """Every operation of a resource. `definition` and `listing` name the definitions of an object
    and of a list; `names` those of the subresources that have their own."""
    return _Paths(resource, definition, listing, names).all()


class _Paths:
    def __init__(
        self, resource: ResourceType, definition: str, listing: str, names: Mapping[str, str]
    ) -> None:
        self._resource = resource
        self._definition = definition
        self._listing = listing
        self._names = names
        self._kind = (resource.group, resource.version, resource.kind)
        root = f"/apis/{resource.group}" if resource.group else "/api"
        self._root = f"{root}/{resource.version}"
        group = resource.group.partition(".")[0] or "core"
        if resource.custom:
            group = "".join(part.capitalize() for part in resource.group.split("."))
        self._tag = f"{group.lower() if not resource.custom else group}_{resource.version}"
        self._camel = group[:1].upper() + group[1:] + resource.version.capitalize()
        self._scope = "Namespaced" if resource.namespaced else ""
        self._inside = "/namespaces/{namespace}" if resource.namespaced else ""
        self._placed = (_NAMESPACE,) if resource.namespaced else ()

    def all(self) -> Iterator[Operation]:
        resource = self._resource
        collection = f"{self._root}{self._inside}/{resource.plural}"
        verbs = resource.verbs
        if "list" in verbs:
            yield self._list(collection, self._placed, self._scope)
        if "create" in verbs:
            yield self._create(collection)
        if "deletecollection" in verbs:
            yield self._delete_all(collection)
        if resource.namespaced and "list" in verbs:
            yield self._list(f"{self._root}/{resource.plural}", (), "", "ForAllNamespaces")
        if "get" not in verbs:
            return
        one = f"{collection}/{{name}}"
        for method in ("get", "put", "patch", "delete"):
            yield self._one(one, method, "", self._kind, self._definition)
        for name in sorted(resource.subresources):
            yield from self._subresource(one, name)

    def _subresource(self, one: str, name: str) -> Iterator[Operation]:
        kind = _SUBRESOURCE_KINDS.get(name, self._kind)
        definition = self._names.get(name, self._definition)
        path = f"{one}/{name}"
        if name in _STREAMS:
            yield self._stream(path, name)
        elif name in _ONLY_CREATE:
            suffix = name.capitalize()
            yield Operation(
                path,
                "post",
                "post",
                f"create{self._camel}{self._scope}{self._resource.kind}{suffix}",
                f"create {name} of a {self._resource.kind}",
                kind,
                (self._name(), *self._placed, _PRETTY, *_WRITE),
                takes=definition,
                gives=definition,
                tag=self._tag,
            )
        elif name == "finalize":
            yield self._one(path, "put", name, kind, definition)
        else:
            for method in ("get", "put", "patch"):
                yield self._one(path, method, name, kind, definition)

    def _name(self) -> Parameter:
        return Parameter("name", "string", f"name of the {self._resource.kind}", True)

    def _list(
        self, path: str, placed: tuple[Parameter, ...], scope: str, suffix: str = ""
    ) -> Operation:
        return Operation(
            path,
            "get",
            "list",
            f"list{self._camel}{scope}{self._resource.kind}{suffix}",
            f"list or watch objects of kind {self._resource.kind}",
            self._kind,
            (*placed, _PRETTY, *_LIST),
            gives=self._listing,
            tag=self._tag,
        )

    def _create(self, path: str) -> Operation:
        return Operation(
            path,
            "post",
            "post",
            f"create{self._camel}{self._scope}{self._resource.kind}",
            f"create a {self._resource.kind}",
            self._kind,
            (*self._placed, _PRETTY, *_WRITE),
            takes=self._definition,
            gives=self._definition,
            tag=self._tag,
        )

    def _delete_all(self, path: str) -> Operation:
        return Operation(
            path,
            "delete",
            "deletecollection",
            f"delete{self._camel}Collection{self._scope}{self._resource.kind}",
            f"delete collection of {self._resource.kind}",
            self._kind,
            (*self._placed, _PRETTY, *_DELETE, *_LIST[1:8]),
            takes=_META + "DeleteOptions",
            gives=_STATUS,
            tag=self._tag,
        )

    def _one(
        self, path: str, method: str, part: str, kind: tuple[str, str, str], definition: str
    ) -> Operation:
        word = "read" if method == "get" else {"put": "replace"}.get(method, method)
        of_part = f"{part} of " if part else ""
        parameters: tuple[Parameter, ...] = ()
        takes = definition
        media: tuple[str, ...] = ("*/*",)
        if method == "get":
            takes = ""
        elif method == "delete":
            parameters = _DELETE
            takes = _META + "DeleteOptions"
        elif method == "patch":
            parameters = (*_WRITE, _FORCE)
            takes = _META + "Patch"
            media = _PATCHES if self._resource.custom else (*_PATCHES, _STRATEGIC)
        else:
            parameters = _WRITE
        return Operation(
            path,
            method,
            method,
            f"{word}{self._camel}{self._scope}{self._resource.kind}{part.capitalize()}",
            f"{_WORDS[method]} {of_part}the specified {self._resource.kind}",
            kind,
            (self._name(), *self._placed, _PRETTY, *parameters),
            takes=takes,
            gives=_STATUS if method == "delete" else definition,
            tag=self._tag,
            media=media,
        )

    def _stream(self, path: str, part: str) -> Operation:
        return Operation(
            path,
            "get",
            "connect" if part != "log" else "get",
            f"connect{self._camel}Get{self._scope}{self._resource.kind}{part.capitalize()}",
            f"{part} of {self._resource.kind}",
            self._kind,
            (self._name(), *self._placed),
            tag=self._tag,
        )
