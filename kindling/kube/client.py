"""A cluster on the wire: the `Cluster` Protocol over one API server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from kindling.errors import ClusterError
from kindling.graph.spec import ObjectRef
from kindling.kube import watch as watching
from kindling.kube.attach import feed_container
from kindling.kube.contexts import KubeContext, read_kubeconfig
from kindling.kube.discovery import Discovery, resource_path
from kindling.kube.errors import (
    ConflictError,
    NotFoundError,
    TimeLimitError,
    UnknownKindError,
)
from kindling.kube.exec import run_in_container
from kindling.kube.facts import learn_facts
from kindling.kube.logs import read_log
from kindling.kube.ownership import find_pods
from kindling.kube.portforward import open_port
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
    Resource,
    Selector,
    WatchEvent,
)
from kindling.kube.sharedwatch import SharedWatches
from kindling.kube.stream import open_stream
from kindling.kube.wire import Params, Wire
from kindling.objects.keys import with_list_keys

__all__ = ["KubeCluster", "connect"]


async def connect(
    context: KubeContext, environment: Mapping[str, str] | None = None, *, timeout: float = 15.0
) -> KubeCluster:
    """The cluster that `context` leads to, once its API server has answered.

    The kubeconfig is read anew from where `environment` points, now and whenever credentials are
    renewed; the context itself stays the one that was chosen.

    Raises:
        ClusterError: It cannot be reached, or does not let us in.
    """
    environment = dict(os.environ if environment is None else environment)
    wire = Wire(context, lambda: read_kubeconfig(environment).raw, environment)
    try:
        await wire.request("GET", "/version", "reach the cluster", timeout=timeout)
    except BaseException:
        await wire.close()
        raise
    return KubeCluster(wire)


class KubeCluster:
    """`kindling.kube.protocol.Cluster` over the wire; that Protocol documents the methods."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._discovery = Discovery(wire)
        self._shared = SharedWatches(self._opened)

    @property
    def context(self) -> str:
        return self._wire.context.name

    @property
    def namespace(self) -> str:
        return self._wire.context.namespace

    async def facts(self, *, timeout: float = 15.0) -> ClusterFacts:
        return await learn_facts(self._wire, timeout)

    async def ready(self, *, timeout: float = 5.0) -> None:
        await self._wire.request("GET", "/readyz", "reach the cluster", timeout=timeout)

    async def resource(self, api_version: str, kind: str, *, timeout: float = 15.0) -> Resource:
        return await self._discovery.resource(api_version, kind, timeout=timeout)

    async def get(self, ref: ObjectRef, *, timeout: float = 15.0) -> Object:
        async with self._wire.limit(timeout, f"read {ref}"):
            path = await self._path(ref, timeout)
            answer = await self._wire.request("GET", path, f"read {ref}", timeout=timeout)
            return _object(answer.json())

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
        resource = await self.resource(api_version, kind, timeout=timeout)
        params = watching.query(labels, fields)
        return await watching.list_objects(self._wire, resource, namespace, params, timeout)

    async def watch(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str = "",
        labels: Selector = (),
        fields: Selector = (),
    ) -> AsyncGenerator[WatchEvent, None]:
        events = self._opened(api_version, kind, namespace, labels, fields, None)
        async with aclosing(events):
            async for event in events:
                yield event

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
        return self._shared.follow(
            api_version, kind, namespace=namespace, labels=labels, fields=fields, since=since
        )

    async def apply(
        self,
        manifest: Object,
        *,
        manager: str = FIELD_MANAGER,
        force: bool = False,
        dry_run: bool = False,
        timeout: float = 30.0,
    ) -> Object:
        ref = await self._ref(manifest, timeout)
        params = [("fieldManager", manager), ("force", "true" if force else "false")]
        if dry_run:
            params.append(("dryRun", "All"))
        return await self._write(
            "PATCH",
            ref,
            f"apply {ref}",
            {**with_list_keys(manifest), "metadata": _without_live_fields(manifest, ref)},
            params=params,
            content_type="application/apply-patch+yaml",
            timeout=timeout,
        )

    async def create(
        self, manifest: Object, *, manager: str = FIELD_MANAGER, timeout: float = 30.0
    ) -> Object:
        ref = await self._ref(manifest, timeout)
        resource = await self.resource(ref.api_version, ref.kind, timeout=timeout)
        answer = await self._wire.request(
            "POST",
            resource_path(resource, ref.namespace),
            f"create {ref}",
            params=[("fieldManager", manager)],
            body=manifest,
            timeout=timeout,
        )
        return _object(answer.json())

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
        return await self._write(
            "PATCH",
            ref,
            f"change {ref}",
            patch,
            subresource=subresource,
            params=[("fieldManager", manager)],
            content_type=kind.value,
            timeout=timeout,
        )

    async def delete(
        self,
        ref: ObjectRef,
        *,
        uid: str = "",
        propagation: Propagation = Propagation.BACKGROUND,
        grace: int | None = None,
        timeout: float = 30.0,
    ) -> bool:
        options: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation.value,
        }
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            await self._write("DELETE", ref, f"delete {ref}", options, timeout=timeout)
        except NotFoundError:
            return False
        except ConflictError:
            if uid:  # the object of that name is another one now
                return False
            raise
        return True

    async def wait_deleted(self, ref: ObjectRef, *, uid: str = "", timeout: float = 60.0) -> None:
        finalizers: list[str] = []
        try:
            async with asyncio.timeout(timeout):
                async with aclosing(
                    self.watch(
                        ref.api_version,
                        ref.kind,
                        namespace=ref.namespace,
                        fields=(("metadata.name", ref.name),),
                    )
                ) as events:
                    async for event in events:
                        if event.kind is EventKind.AWAY:
                            continue
                        left = event.items if event.kind is EventKind.SYNCED else (event.object,)
                        if event.kind is EventKind.DELETED:
                            left = ()
                        left = tuple(o for o in left if not uid or o["metadata"]["uid"] == uid)
                        if not left:
                            return
                        finalizers = left[0]["metadata"].get("finalizers") or []
        except TimeoutError as error:
            raise TimeLimitError(
                f"{ref} is still being deleted after {timeout:.0f} s",
                details=[f"its finalizers: [{', '.join(finalizers)}]"] if finalizers else [],
                hint="Whoever serves these finalizers must act, or they must be removed by hand"
                if finalizers
                else "",
                transient=True,
            ) from error
        except UnknownKindError:
            return

    async def pods_of(self, source: PodSource, *, timeout: float = 30.0) -> tuple[Object, ...]:
        async with self._wire.limit(timeout, "find the pods of a resource"):
            return await find_pods(self, source, timeout)

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
        return read_log(
            self._wire,
            namespace,
            pod,
            container,
            follow=follow,
            previous=previous,
            tail=tail,
            since=since,
            timeout=timeout,
        )

    async def exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        argv: Sequence[str],
        *,
        timeout: float = 60.0,
    ) -> ExecResult:
        return await run_in_container(self._wire, namespace, pod, container, argv, timeout=timeout)

    async def open_exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        argv: Sequence[str],
        *,
        timeout: float = 15.0,
    ) -> ExecStream:
        return await open_stream(self._wire, namespace, pod, container, argv, timeout=timeout)

    async def feed(
        self,
        namespace: str,
        pod: str,
        container: str,
        data: AsyncIterator[bytes],
        *,
        timeout: float = 300.0,
    ) -> None:
        await feed_container(self._wire, namespace, pod, container, data, timeout=timeout)

    async def open_port(
        self, namespace: str, pod: str, port: int, *, timeout: float = 15.0
    ) -> PortStream:
        return await open_port(self._wire, namespace, pod, port, timeout=timeout)

    async def close(self) -> None:
        await self._shared.close()
        await self._wire.close()

    async def _opened(
        self,
        api_version: str,
        kind: str,
        namespace: str,
        labels: Selector,
        fields: Selector,
        link: watching.Link | None,
    ) -> AsyncGenerator[WatchEvent, None]:
        resource = await self.resource(api_version, kind)
        params = watching.query(labels, fields)
        events = watching.follow(self._wire, resource, namespace, params, link=link)
        async with aclosing(events):
            async for event in events:
                yield event

    async def _write(
        self,
        method: str,
        ref: ObjectRef,
        doing: str,
        body: Any,
        *,
        subresource: str = "",
        params: Params = (),
        content_type: str = "application/json",
        timeout: float,
    ) -> Object:
        async with self._wire.limit(timeout, doing):
            path = await self._path(ref, timeout, subresource)
            answer = await self._wire.request(
                method,
                path,
                doing,
                params=params,
                body=body,
                content_type=content_type,
                timeout=timeout,
            )
            return _object(answer.json())

    async def _path(self, ref: ObjectRef, timeout: float, subresource: str = "") -> str:
        resource = await self.resource(ref.api_version, ref.kind, timeout=timeout)
        namespace = ref.namespace or (self.namespace if resource.namespaced else "")
        return resource_path(resource, namespace, ref.name, subresource)

    async def _ref(self, manifest: Object, timeout: float) -> ObjectRef:
        metadata = manifest.get("metadata") or {}
        api_version, kind = str(manifest["apiVersion"]), str(manifest["kind"])
        resource = await self.resource(api_version, kind, timeout=timeout)
        namespace = str(metadata.get("namespace") or self.namespace) if resource.namespaced else ""
        return ObjectRef(api_version, kind, str(metadata["name"]), namespace)


def _without_live_fields(manifest: Object, ref: ObjectRef) -> dict[str, Any]:
    """Metadata as one may apply it: what only the server writes makes it refuse the whole
    object."""
    metadata = dict(manifest.get("metadata") or {})
    for name in ("managedFields", "resourceVersion", "uid", "generation", "selfLink"):
        metadata.pop(name, None)
    if ref.namespace:
        metadata["namespace"] = ref.namespace
    else:
        metadata.pop("namespace", None)
    return metadata


def _object(body: Any) -> Object:
    if not isinstance(body, dict):
        raise ClusterError("The cluster answered something that is no object")
    return body
