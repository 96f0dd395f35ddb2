"""A cluster in memory, behind the `Cluster` Protocol: API server rules, and no controllers.

It keeps what decisions of ours depend on: identities, namespaces, server-side apply with field
owners, immutable fields, finalizers, owner references, watches. Nothing happens by itself: a test
plays the controllers through `set_status`, `put` and `remove`, and the network through `go_away`
and `come_back`. The same contract test runs on it and on a real cluster. It is long because the
Protocol is one class, and each of its methods is told here a second time.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from kindling.errors import ClusterError, nearest
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import (
    AlreadyExistsError,
    Cause,
    ConflictError,
    FieldConflict,
    FieldConflictError,
    InvalidError,
    NotFoundError,
    TimeLimitError,
    UnknownKindError,
    UnreachableError,
)
from kindling.kube.exec import NoProgramError
from kindling.kube.ownership import find_pods
from kindling.kube.protocol import (
    FIELD_MANAGER,
    ClusterFacts,
    EventKind,
    ExecResult,
    ExecStream,
    Listing,
    Object,
    PatchKind,
    PodSource,
    PortStream,
    Propagation,
    RegistryHosting,
    Resource,
    Selector,
    WatchEvent,
)
from kindling.testing.agents import ProcessStream
from kindling.testing.fields import Fields

__all__ = ["FakeCluster", "FakePortStream"]

_CLUSTER_WIDE = {
    ("v1", "Namespace"): "namespaces",
    ("v1", "Node"): "nodes",
    ("v1", "PersistentVolume"): "persistentvolumes",
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): "customresourcedefinitions",
    ("networking.k8s.io/v1", "IngressClass"): "ingressclasses",
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): "clusterroles",
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): "clusterrolebindings",
}
_NAMESPACED = {
    ("v1", "ConfigMap"): "configmaps",
    ("v1", "Event"): "events",
    ("v1", "PersistentVolumeClaim"): "persistentvolumeclaims",
    ("v1", "Pod"): "pods",
    ("v1", "Secret"): "secrets",
    ("v1", "Service"): "services",
    ("v1", "ServiceAccount"): "serviceaccounts",
    ("apps/v1", "DaemonSet"): "daemonsets",
    ("apps/v1", "Deployment"): "deployments",
    ("apps/v1", "ReplicaSet"): "replicasets",
    ("apps/v1", "StatefulSet"): "statefulsets",
    ("batch/v1", "Job"): "jobs",
    ("coordination.k8s.io/v1", "Lease"): "leases",
    ("networking.k8s.io/v1", "Ingress"): "ingresses",
    ("rbac.authorization.k8s.io/v1", "Role"): "roles",
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): "rolebindings",
}
_IMMUTABLE: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "DaemonSet": (("spec", "selector"),),
    "Deployment": (("spec", "selector"),),
    "Job": (("spec", "template"), ("spec", "selector")),
    "ReplicaSet": (("spec", "selector"),),
    "Service": (("spec", "clusterIP"),),
    "StatefulSet": (
        ("spec", "selector"),
        ("spec", "serviceName"),
        ("spec", "volumeClaimTemplates"),
    ),
}

_BY_APPLY = " by apply"

_Key = tuple[str, str, str, str]


@dataclass(slots=True)
class _Stored:
    body: dict[str, Any]
    fields: Fields = field(default_factory=Fields)


@dataclass(slots=True)
class _Watcher:
    resource: Resource
    matches: Callable[[Object], bool]
    queue: asyncio.Queue[WatchEvent]
    seen: set[str]


class FakePortStream:
    """A connection to a pod that answers every write with what `answer` makes of it."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._answer = answer
        self._coming: asyncio.Queue[bytes] = asyncio.Queue()

    async def read(self) -> bytes:
        return await self._coming.get()

    async def write(self, data: bytes) -> None:
        self._coming.put_nowait(self._answer(data))

    async def close(self) -> None:
        self._coming.put_nowait(b"")


class FakeCluster:
    """See the module. `writes` lists every accepted write as `(verb, object)`, dry runs left
    out."""

    def __init__(
        self,
        *,
        context: str = "kind-fake",
        namespace: str = "default",
        product: str = "kind",
        registry: RegistryHosting | None = None,
    ) -> None:
        self.writes: list[tuple[str, ObjectRef]] = []
        self.log_lines: dict[tuple[str, str, str], list[str]] = {}
        self.previous_log_lines: dict[tuple[str, str, str], list[str]] = {}
        self.ports: dict[tuple[str, str, int], Callable[[bytes], bytes]] = {}
        """By namespace, pod and port: what answers there. Anything else refuses connections."""
        self.commands: dict[tuple[str, ...], ExecResult] = {}
        self.programs: Callable[[str, str, str, tuple[str, ...]], Sequence[str] | None] = _nothing
        """By namespace, pod, container and command line: the program of this machine that
        `open_exec` runs in its place; None where the container has no such program."""
        self.streams: list[ProcessStream] = []
        """What `open_exec` gave out, the oldest first, for tests that break one."""
        self.fed: dict[tuple[str, str, str], bytes] = {}
        """By namespace, pod and container: what was written to standard input."""
        self.uid = "00000000-fake-cluster"
        self._context = context
        self._namespace = namespace
        self._product = product
        self._registry = registry
        self._away: ClusterError | None = None
        self._numbers = count(1)
        self._objects: dict[_Key, _Stored] = {}
        self._watchers: list[_Watcher] = []
        self._kinds: dict[tuple[str, str], Resource] = {
            (version, kind): Resource(version, kind, plural, namespaced)
            for table, namespaced in ((_CLUSTER_WIDE, False), (_NAMESPACED, True))
            for (version, kind), plural in table.items()
        }
        for name in dict.fromkeys(("kube-system", "default", namespace)):
            self.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self.writes.clear()

    # What tests do ---------------------------------------------------------------------------

    def go_away(self) -> None:
        """The API server stops answering."""
        self._away = UnreachableError(
            "Cannot reach the cluster: https://fake refuses connections", transient=True
        )
        for watcher in self._watchers:
            watcher.queue.put_nowait(WatchEvent(EventKind.AWAY, {}, problem=self._away.message))

    def come_back(self) -> None:
        """It answers again; watches list anew."""
        self._away = None
        for watcher in self._watchers:
            watcher.queue.put_nowait(self._synced(watcher))

    def add_kind(
        self, api_version: str, kind: str, plural: str = "", *, namespaced: bool = True
    ) -> None:
        """Serve one more kind, as when its CRD is installed."""
        self._kinds[api_version, kind] = Resource(
            api_version, kind, plural or f"{kind.lower()}s", namespaced
        )

    def put(self, manifest: Object, *, manager: str = "test") -> Object:
        """Write an object as somebody else does: create it, or put it in the place of the old
        one."""
        ref = self._ref(manifest)
        old = self._objects.get(_key(ref))
        body = copy.deepcopy(dict(manifest))
        if old is not None:
            body.setdefault("status", old.body.get("status", {}))
        return self._store(ref, body, manager)

    def set_status(self, ref: ObjectRef, status: Mapping[str, Any]) -> Object:
        """Play the controller: this is now the object's status."""
        stored = self._stored(ref, "change")
        return self._store(ref, {**stored.body, "status": dict(status)}, "controller")

    def remove(self, ref: ObjectRef) -> None:
        """The object is gone at once, finalizers or not."""
        self._drop(_key(self._resolved(ref)))

    def objects(self, kind: str = "") -> tuple[Object, ...]:
        """All objects, or those of a kind, oldest first."""
        return tuple(
            copy.deepcopy(stored.body)
            for stored in self._objects.values()
            if not kind or stored.body["kind"] == kind
        )

    # The Protocol ----------------------------------------------------------------------------

    @property
    def context(self) -> str:
        return self._context

    @property
    def namespace(self) -> str:
        return self._namespace

    async def facts(self, *, timeout: float = 15.0) -> ClusterFacts:
        del timeout
        await self._answer()
        return ClusterFacts(
            context=self._context,
            server="https://fake",
            uid=self.uid,
            version="v1.20.2",
            product=self._product,
            registry=self._registry,
            node_platforms=("linux/amd64",),
        )

    async def ready(self, *, timeout: float = 5.0) -> None:
        del timeout
        await self._answer()

    async def resource(self, api_version: str, kind: str, *, timeout: float = 15.0) -> Resource:
        del timeout
        await self._answer()
        return self._kind(api_version, kind)

    async def get(self, ref: ObjectRef, *, timeout: float = 15.0) -> Object:
        del timeout
        await self._answer()
        return copy.deepcopy(self._stored(ref, "read").body)

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
        del timeout
        await self._answer()
        resource = self._kind(api_version, kind)
        matches = _matcher(namespace, labels, fields)
        return Listing(tuple(self._matching(resource, matches)), str(next(self._numbers)))

    async def watch(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str = "",
        labels: Selector = (),
        fields: Selector = (),
    ) -> AsyncGenerator[WatchEvent, None]:
        resource = self._kind(api_version, kind)
        watcher = _Watcher(resource, _matcher(namespace, labels, fields), asyncio.Queue(), set())
        self._watchers.append(watcher)
        try:
            if self._away is None:
                watcher.queue.put_nowait(self._synced(watcher))
            else:
                watcher.queue.put_nowait(WatchEvent(EventKind.AWAY, {}, problem=self._away.message))
            while True:
                yield await watcher.queue.get()
        finally:
            self._watchers.remove(watcher)

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
        del since  # nothing here is ever late
        return self.watch(api_version, kind, namespace=namespace, labels=labels, fields=fields)

    async def apply(
        self,
        manifest: Object,
        *,
        manager: str = FIELD_MANAGER,
        force: bool = False,
        dry_run: bool = False,
        timeout: float = 30.0,
    ) -> Object:
        del timeout
        applier = _applier(manager)
        await self._answer()
        ref = self._ref(manifest)
        old = self._objects.get(_key(ref))
        live = old.body if old else {}
        fields = old.fields.copy() if old else Fields()
        wanted = _plain(manifest)
        conflicts = fields.conflicts(applier, wanted, live)
        if conflicts and not force:
            found = [
                FieldConflict(name.removesuffix(_BY_APPLY), tuple(paths))
                for name, paths in conflicts.items()
            ]
            raise FieldConflictError(
                f"Cannot apply {ref}: its fields belong to others",
                found,
                details=[str(conflict) for conflict in found],
            )
        body = fields.apply(applier, wanted, live)
        body.update({"apiVersion": ref.api_version, "kind": ref.kind})
        body.setdefault("metadata", {})["name"] = ref.name
        if dry_run:
            return self._checked(ref, body, live)
        result = self._store(ref, body, None)
        self._objects[_key(ref)].fields = fields
        self.writes.append(("apply", ref))
        return result

    async def create(
        self, manifest: Object, *, manager: str = FIELD_MANAGER, timeout: float = 30.0
    ) -> Object:
        del timeout
        await self._answer()
        ref = self._ref(manifest)
        if _key(ref) in self._objects:
            raise AlreadyExistsError(f"Cannot create {ref}: it exists already")
        result = self._store(ref, copy.deepcopy(dict(manifest)), manager)
        self.writes.append(("create", ref))
        return result

    async def patch(
        self,
        ref: ObjectRef,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        kind: PatchKind = PatchKind.MERGE,
        *,
        subresource: str = "",
        manager: str = FIELD_MANAGER,
        timeout: float = 30.0,
    ) -> Object:
        del timeout
        await self._answer()
        ref = self._resolved(ref)
        stored = self._stored(ref, "change")
        if kind is PatchKind.JSON and not isinstance(patch, Mapping):
            result = self._store(ref, _json_patched(ref, stored.body, patch), manager)
            self.writes.append(("patch", ref))
            return result
        if kind is not PatchKind.MERGE or not isinstance(patch, Mapping):
            raise NotImplementedError("the fake cluster knows merge and JSON patches alone")
        version = (patch.get("metadata") or {}).get("resourceVersion")
        if version not in (None, stored.body["metadata"]["resourceVersion"]):
            raise ConflictError(
                f"Cannot change {ref}: it was changed meanwhile",
                details=["the object has been modified"],
                transient=True,
            )
        if subresource == "status":
            patch = {"status": patch.get("status")}
        result = self._store(ref, _merged(stored.body, patch), manager)
        self.writes.append(("patch", ref))
        if result["metadata"].get("deletionTimestamp") and not result["metadata"].get("finalizers"):
            self._drop(_key(ref))
        return result

    async def delete(
        self,
        ref: ObjectRef,
        *,
        uid: str = "",
        propagation: Propagation = Propagation.BACKGROUND,
        grace: int | None = None,
        timeout: float = 30.0,
    ) -> bool:
        del timeout, grace
        await self._answer()
        ref = self._resolved(ref)
        stored = self._objects.get(_key(ref))
        if stored is None or (uid and stored.body["metadata"]["uid"] != uid):
            return False
        self.writes.append(("delete", ref))
        if stored.body["metadata"].get("finalizers"):
            body = copy.deepcopy(stored.body)
            body["metadata"].setdefault("deletionTimestamp", self._now())
            self._store(ref, body, "controller")
            return True
        self._drop(_key(ref), orphan=propagation is Propagation.ORPHAN)
        return True

    async def wait_deleted(self, ref: ObjectRef, *, uid: str = "", timeout: float = 60.0) -> None:
        fields = (("metadata.name", ref.name),)
        try:
            events = self.watch(ref.api_version, ref.kind, namespace=ref.namespace, fields=fields)
            async with asyncio.timeout(timeout), aclosing(events):
                async for event in events:
                    if event.kind is EventKind.AWAY:
                        continue
                    stored = self._objects.get(_key(self._resolved(ref)))
                    if stored is None or (uid and stored.body["metadata"]["uid"] != uid):
                        return
        except TimeoutError as error:
            raise TimeLimitError(
                f"{ref} is still being deleted after {timeout:.0f} s", transient=True
            ) from error

    async def pods_of(self, source: PodSource, *, timeout: float = 30.0) -> tuple[Object, ...]:
        return await find_pods(self, source, timeout)

    async def logs(
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
        del follow, since, timeout
        await self._answer()
        table = self.previous_log_lines if previous else self.log_lines
        found = table.get((namespace, pod, container), [])
        for line in found[-tail:] if tail else found:
            yield line

    async def exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        argv: Sequence[str],
        *,
        timeout: float = 60.0,
    ) -> ExecResult:
        del container, timeout
        await self._answer()
        self._stored(ObjectRef("v1", "Pod", pod, namespace), "run a command in")
        return self.commands.get(tuple(argv), ExecResult(127, b"", b"not found\n"))

    async def open_exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        argv: Sequence[str],
        *,
        timeout: float = 15.0,
    ) -> ExecStream:
        del timeout
        await self._answer()
        self._stored(ObjectRef("v1", "Pod", pod, namespace), "run a command in")
        doing = f"run `{argv[0]}` in {pod}/{container} in {namespace}"
        found = self.programs(namespace, pod, container, tuple(argv))
        if found is None:
            raise NoProgramError(f"Cannot {doing}: the container has no such program")
        stream = await ProcessStream.start(found, doing)
        self.streams.append(stream)
        return stream

    async def feed(
        self,
        namespace: str,
        pod: str,
        container: str,
        data: AsyncIterator[bytes],
        *,
        timeout: float = 300.0,
    ) -> None:
        del timeout
        await self._answer()
        self._stored(ObjectRef("v1", "Pod", pod, namespace), "write to")
        self.fed[namespace, pod, container] = b"".join([piece async for piece in data])

    async def open_port(
        self, namespace: str, pod: str, port: int, *, timeout: float = 15.0
    ) -> PortStream:
        del timeout
        await self._answer()
        self._stored(ObjectRef("v1", "Pod", pod, namespace), "connect to")
        answer = self.ports.get((namespace, pod, port))
        if answer is None:
            raise UnreachableError(
                f"Cannot connect to port {port} of {pod} in {namespace}", transient=True
            )
        return FakePortStream(answer)

    async def close(self) -> None:
        return None

    # Inside ----------------------------------------------------------------------------------

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self._away is not None:
            raise self._away

    def _now(self) -> str:
        moment = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=next(self._numbers))
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _kind(self, api_version: str, kind: str) -> Resource:
        found = self._kinds.get((api_version, kind))
        if found is None:
            kinds = [known for version, known in self._kinds if version == api_version]
            raise UnknownKindError(
                f"The cluster has no kind `{kind}` in `{api_version}`", hint=nearest(kind, kinds)
            )
        return found

    def _ref(self, manifest: Object) -> ObjectRef:
        metadata = manifest["metadata"]
        return self._resolved(
            ObjectRef(
                manifest["apiVersion"],
                manifest["kind"],
                metadata["name"],
                metadata.get("namespace") or "",
            )
        )

    def _resolved(self, ref: ObjectRef) -> ObjectRef:
        namespaced = self._kind(ref.api_version, ref.kind).namespaced
        namespace = (ref.namespace or self._namespace) if namespaced else ""
        return ObjectRef(ref.api_version, ref.kind, ref.name, namespace)

    def _stored(self, ref: ObjectRef, doing: str) -> _Stored:
        try:
            return self._objects[_key(self._resolved(ref))]
        except KeyError:
            raise NotFoundError(f"Cannot {doing} {ref}: there is no such object") from None

    def _checked(
        self, ref: ObjectRef, body: dict[str, Any], live: Mapping[str, Any]
    ) -> dict[str, Any]:
        if ref.namespace and ("v1", "Namespace", "", ref.namespace) not in self._objects:
            raise NotFoundError(
                f"Cannot apply {ref}: there is no such object",
                details=[f'namespaces "{ref.namespace}" not found'],
            )
        causes = [
            Cause(".".join(path), "field is immutable", "FieldValueInvalid")
            for path in _IMMUTABLE.get(ref.kind, ())
            if live and _dig(live, path) not in (None, _dig(body, path))
        ]
        if causes:
            raise InvalidError(
                f"Cannot apply {ref}: the cluster refuses it", causes, details=map(str, causes)
            )
        return body

    def _store(self, ref: ObjectRef, body: dict[str, Any], manager: str | None) -> Object:
        old = self._objects.get(_key(ref))
        live: Mapping[str, Any] = old.body if old else {}
        self._checked(ref, body, live)
        metadata = body["metadata"] = dict(body.get("metadata") or {})
        if ref.namespace:
            metadata["namespace"] = ref.namespace
        before = live.get("metadata") or {}
        for name, new in (
            ("uid", f"uid-{ref.kind}-{ref.name}-{next(self._numbers)}"),
            ("creationTimestamp", self._now()),
        ):
            metadata[name] = before.get(name) or new
        changed = body.get("spec") != live.get("spec")
        metadata["generation"] = before.get("generation", 0) + (1 if changed or not old else 0)
        same = old is not None and _plain(body) == _plain(live)
        metadata["resourceVersion"] = (
            before["resourceVersion"] if same else str(next(self._numbers))
        )
        stored = self._objects.setdefault(_key(ref), _Stored(body))
        if manager is not None:
            stored.fields.updated(manager, _plain(live), _plain(body))
        if ref.kind == "CustomResourceDefinition":
            self._serve(body)
        stored.body = copy.deepcopy(body)
        if not same:
            self._tell(ref, body)
        return copy.deepcopy(body)

    def _serve(self, crd: Mapping[str, Any]) -> None:
        spec = crd["spec"]
        for version in spec["versions"]:
            self.add_kind(
                f"{spec['group']}/{version['name']}",
                spec["names"]["kind"],
                spec["names"]["plural"],
                namespaced=spec["scope"] == "Namespaced",
            )
        crd["status"] = {"conditions": [{"type": "Established", "status": "True"}]}  # type: ignore[index]

    def _drop(self, key: _Key, *, orphan: bool = False) -> None:
        stored = self._objects.pop(key, None)
        if stored is None:
            return
        body = stored.body
        ref = ObjectRef(*key[:2], key[3], key[2])
        for watcher in self._watchers:
            if _is_of(ref, watcher.resource) and body["metadata"]["uid"] in watcher.seen:
                watcher.seen.discard(body["metadata"]["uid"])
                watcher.queue.put_nowait(WatchEvent(EventKind.DELETED, copy.deepcopy(body)))
        for other, item in list(self._objects.items()):
            owners = item.body["metadata"].get("ownerReferences") or ()
            owned = any(owner["uid"] == body["metadata"]["uid"] for owner in owners)
            inside = ref.kind == "Namespace" and other[2] == ref.name
            if inside or (owned and not orphan):
                self._drop(other)

    def _tell(self, ref: ObjectRef, body: Object) -> None:
        uid = body["metadata"]["uid"]
        for watcher in self._watchers:
            if not _is_of(ref, watcher.resource):
                continue
            known, wanted = uid in watcher.seen, watcher.matches(body)
            if wanted:
                watcher.seen.add(uid)
                kind = EventKind.MODIFIED if known else EventKind.ADDED
            elif known:
                watcher.seen.discard(uid)
                kind = EventKind.DELETED
            else:
                continue
            watcher.queue.put_nowait(WatchEvent(kind, copy.deepcopy(body)))

    def _synced(self, watcher: _Watcher) -> WatchEvent:
        items = tuple(self._matching(watcher.resource, watcher.matches))
        watcher.seen = {item["metadata"]["uid"] for item in items}
        return WatchEvent(EventKind.SYNCED, {}, items)

    def _matching(self, resource: Resource, matches: Callable[[Object], bool]) -> Iterator[Object]:
        for key, stored in self._objects.items():
            if key[:2] == (resource.api_version, resource.kind) and matches(stored.body):
                yield copy.deepcopy(stored.body)


def _nothing(
    namespace: str,  # noqa: ARG001
    pod: str,  # noqa: ARG001
    container: str,  # noqa: ARG001
    argv: tuple[str, ...],  # noqa: ARG001
) -> Sequence[str] | None:
    return None


def _applier(manager: str) -> str:
    """To the API server, one name is two managers: one that applies and one that writes
    otherwise."""
    return manager + _BY_APPLY


def _key(ref: ObjectRef) -> _Key:
    return (ref.api_version, ref.kind, ref.namespace, ref.name)


def _is_of(ref: ObjectRef, resource: Resource) -> bool:
    return (ref.api_version, ref.kind) == (resource.api_version, resource.kind)


def _matcher(namespace: str, labels: Selector, fields: Selector) -> Callable[[Object], bool]:
    def matches(item: Object) -> bool:
        metadata = item["metadata"]
        if namespace and metadata.get("namespace", namespace) != namespace:
            return False
        found = metadata.get("labels") or {}
        return all(found.get(key) == value for key, value in labels) and all(
            _dig(item, tuple(key.split("."))) == value for key, value in fields
        )

    return matches


def _plain(body: Mapping[str, Any]) -> dict[str, Any]:
    """An object without what the server alone writes."""
    metadata = {
        key: value
        for key, value in (body.get("metadata") or {}).items()
        if key not in ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields")
    }
    return {**body, "metadata": metadata}


def _json_patched(ref: ObjectRef, live: Object, patch: Sequence[Mapping[str, Any]]) -> Any:
    """An object after a JSON patch; one that fails, also at a `test`, is refused as a whole."""
    from kindling.cluster.model.status import ApiError
    from kindling.cluster.patch.json_patch import json_patch

    try:
        return json_patch(copy.deepcopy(dict(live)), [dict(step) for step in patch])
    except ApiError as error:
        raise InvalidError(
            f"Cannot change {ref}: the cluster refuses it", details=[str(error)]
        ) from error


def _merged(live: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(live) if isinstance(live, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


def _dig(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value
