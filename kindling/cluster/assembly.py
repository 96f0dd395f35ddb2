"""A cluster's parts put together, and taken apart again in order.

The API answers before the node starts, and pods end before the API does. When anything that must go
on fails, the cluster ends: one that half works helps nobody.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import structlog
import yaml

from kindling.cluster.apiserver.app import ApiServer
from kindling.cluster.apiserver.serving import Serving
from kindling.cluster.controllers.bootstrap import bootstrap
from kindling.cluster.controllers.manager import Controllers
from kindling.cluster.home import ClusterHome
from kindling.cluster.images.distribution import Distribution
from kindling.cluster.images.engine_api import EngineApi
from kindling.cluster.images.store import ImageStore
from kindling.cluster.kubeconfig import document_for, write_private
from kindling.cluster.model.api import Api
from kindling.cluster.model.resource import builtin
from kindling.cluster.network.dns import DnsServer
from kindling.cluster.network.ingress import IngressProxy
from kindling.cluster.network.services import ServiceAddresses
from kindling.cluster.node.node import Node
from kindling.cluster.pki.authority import Authority
from kindling.cluster.pki.tokens import Tokens
from kindling.cluster.ports import listen
from kindling.cluster.record import Settings, read_settings, write_settings
from kindling.cluster.registry.registry import Registry
from kindling.cluster.runtime.protocol import Runtime, words
from kindling.cluster.schema.catalog import Catalog
from kindling.cluster.storage.database import ObjectStore
from kindling.errors import ClusterError

__all__ = ["running"]

_log = structlog.get_logger("kindling.cluster")

SERVICE_ADDRESS, DNS_ADDRESS = "10.198.0.1", "10.198.0.10"
_API_PORT = 6443
"""Where the API server listens in the node's network; on the host it has a port of its own."""
_INGRESS_PORT, _REGISTRY_PORT = 7080, 5050
"""Not 8080 and 5000, which the apps of users and other registries like to have."""
_DRAIN_SECS = 10.0
"""As long as `docker stop` gives containers."""
_HOSTING = "localRegistryHosting.v1"


@asynccontextmanager
async def running(home: ClusterHome, runtime: Runtime) -> AsyncIterator[Settings]:
    """The cluster of `home`, ready within the context. The lock must be held; `runtime` has been
    started, and is closed at the end.

    Raises:
        KindlingError: It cannot start.
        ExceptionGroup: (from the body's end) A part that must go on has failed.
    """
    settings = read_settings(home)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runtime.close)
        api_socket = listen(settings.api_port)
        ingress_socket = listen(settings.ingress_port, preferred=_INGRESS_PORT)
        registry_socket = listen(settings.registry_port, preferred=_REGISTRY_PORT)
        settings = replace(
            settings,
            api_port=_port(api_socket),
            ingress_port=_port(ingress_socket),
            registry_port=_port(registry_socket),
        )
        settings = replace(
            settings, runtime=words(runtime.isolation), missing=runtime.isolation.missing
        )
        catalog = Catalog()
        api = Registry(ObjectStore(home.database), catalog)
        await api.start()
        stack.push_async_callback(api.close)

        authority = Authority(home.pki, names=[home.name])
        tokens = Tokens(home.pki)
        images = ImageStore(home.images)
        stack.callback(images.close)
        images.serve_as(
            (f"localhost:{settings.registry_port}", f"127.0.0.1:{settings.registry_port}")
        )
        node = Node(api, runtime, images, name=home.name, folder=home.pods, tokens=tokens)
        images.in_use = node.images_in_use
        app = ApiServer(api, catalog, tokens=tokens, streams=node, hosts=[home.name])
        sockets = [api_socket, *_inner_sockets(runtime)]
        serving = Serving(app, sockets, tls=authority.server_context())
        await serving.start()
        stack.push_async_callback(serving.close)
        inside = len(sockets) > 1
        await bootstrap(
            api,
            authority=authority.bundle(),
            endpoint=(runtime.node_address, _API_PORT)
            if inside
            else ("127.0.0.1", settings.api_port),
        )
        await _announce_registry(api, settings.registry_port)
        await _serve_images(stack, home, images, node, runtime, registry_socket)

        tasks = await stack.enter_async_context(_Work())
        tasks.start("registry", api.keep_house())
        tasks.start(
            "controllers",
            Controllers(
                api, volumes=home.volumes, authority=authority.bundle(), tokens=tokens
            ).run(),
        )
        await node.start()
        stack.push_async_callback(node.close)
        stack.push_async_callback(node.drain, _DRAIN_SECS)  # comes first at the end
        tasks.start("runtime", _outlive(runtime))
        tasks.start("ingress", IngressProxy(api, runtime, ingress_socket).run())
        if inside:
            reserved = frozenset({(SERVICE_ADDRESS, 443), (DNS_ADDRESS, 53)})
            tasks.start("services", ServiceAddresses(api, runtime, reserved).run())
            tasks.start("dns", DnsServer(api, runtime, DNS_ADDRESS).run())

        write_settings(home, settings)
        document = document_for(
            home.context,
            settings.server,
            authority.bundle().encode(),
            authority.admin_certificate.read_bytes(),
            authority.admin_key.read_bytes(),
        )
        text = yaml.safe_dump(document, sort_keys=False).encode()
        if not home.kubeconfig.is_file() or home.kubeconfig.read_bytes() != text:
            write_private(home.kubeconfig, text)
        # What was made so far stays: the collector, which has rested until now, need not look at
        # it at all.
        gc.freeze()
        gc.enable()
        yield settings


class _Work:
    """Tasks that go on until the end. One that fails ends the process, by an exception from
    here."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._owner: asyncio.Task[Any] | None = None
        self._failed: list[BaseException] = []

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        _log.error("a part of the cluster failed", part=task.get_name(), exc_info=error)
        self._failed.append(error)
        if self._owner is not None:
            self._owner.cancel()

    async def __aenter__(self) -> _Work:
        self._owner = asyncio.current_task()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._owner = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._failed:
            raise BaseExceptionGroup("parts of the cluster failed", self._failed)


async def _outlive(runtime: Runtime) -> None:
    """Without the runtime every container is dead, and the network with it: the next start brings
    all of it back."""
    await runtime.lost()
    raise ClusterError("the process that holds the containers was killed")


def _port(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def _inner_sockets(runtime: Runtime) -> list[socket.socket]:
    """Where pods reach the API server: the Service's address and the node's. None without a network
    of the node's own, where the host's address serves."""
    if not runtime.isolation.network:
        return []
    made = []
    for address, port in ((SERVICE_ADDRESS, 443), (runtime.node_address, _API_PORT)):
        sock = runtime.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(1024)
        made.append(sock)
    return made


async def _announce_registry(api: Api, port: int) -> None:
    """ConfigMap `local-registry-hosting`, as KEP-1755 has it."""
    maps = builtin("configmaps")
    said = yaml.safe_dump(
        {
            "host": f"localhost:{port}",
            "hostFromContainerRuntime": f"localhost:{port}",
            "help": "https://github.com/kubernetes/enhancements/tree/master/keps/"
            "sig-cluster-lifecycle/generic/1755-communicating-a-local-registry",
        },
        sort_keys=False,
    )
    name, namespace = "local-registry-hosting", "kube-public"
    found = api.get(maps, name, namespace)
    if found is None:
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace},
            "data": {_HOSTING: said},
        }
        await api.create(maps, body, namespace)
    elif (found.get("data") or {}).get(_HOSTING) != said:
        await api.patch(maps, name, {"data": {_HOSTING: said}}, namespace)


async def _serve_images(
    stack: AsyncExitStack,
    home: ClusterHome,
    images: ImageStore,
    node: Node,
    runtime: Runtime,
    registry: socket.socket,
) -> None:
    """The registry on its port, and the builder on its socket, which only the user may open."""
    distribution = Distribution(images)
    folder = home.engine_socket.parent
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise ClusterError(f"`{folder}` belongs to another user")
    home.engine_socket.unlink(missing_ok=True)
    engine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    engine.bind(str(home.engine_socket))
    home.engine_socket.chmod(0o600)
    engine.listen(128)
    engine.setblocking(False)
    for app, sock in ((distribution, registry), (EngineApi(images, runtime), engine)):
        serving = Serving(_ImageDoor(app, node.images_changed), [sock], tls=None)
        await serving.start()
        stack.push_async_callback(serving.close)
    stack.callback(lambda: home.engine_socket.unlink(missing_ok=True))
    stack.callback(distribution.close)


class _ImageDoor:
    """An app through which images come and go, of which the node is told. Its answers all end by
    themselves."""

    def __init__(
        self, app: Callable[..., Coroutine[Any, Any, None]], changed: Callable[[], None]
    ) -> None:
        self._app = app
        self._changed = changed

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)
        if scope.get("method") not in ("GET", "HEAD"):
            self._changed()

    def stop(self) -> None:
        """There is nothing endless to end."""
