"""An operator that runs: where it acts, who it is, and how it is started and stopped."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeVar

from kindling.errors import ClusterError
from kindling.graph.spec import ObjectRef
from kindling.kube.contexts import KubeContext
from kindling.kube.errors import ForbiddenError, NotFoundError
from kindling.kube.protocol import Cluster
from kindling.operator.controller.lease import (
    SYSTEM_NAMESPACE,
    Terms,
    holder_in_force,
)
from kindling.operator.controller.reconcile import BUILD_IMAGE
from kindling.operator.controller.writing import OPERATOR_MANAGER

__all__ = ["BUILD_IMAGE", "Operation", "Phase", "Scope", "Standing", "holder", "start", "turn"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Scope:
    """Where an operator acts: in some namespaces, or with none named in all of them."""

    namespaces: tuple[str, ...] = ()


class Phase(Enum):
    """What an operator does just now."""

    STARTING = "starting"
    STANDING_BY = "standing by"
    """Another one holds the Lease."""
    ACTING = "acting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Standing:
    """A phase, and who holds the Lease."""

    phase: Phase
    holder: str = ""


class Operation(Protocol):
    """An operator that was started. It runs in a thread and an event loop of its own."""

    @property
    def standing(self) -> Standing: ...

    async def settled(self) -> Standing:
        """Return once it acts or stands by.

        Raises:
            ClusterError: It cannot act: rights or definitions are missing.
        """
        ...

    async def extend(self, namespace: str) -> None:
        """Act in one more namespace; nothing to do where it acts everywhere."""
        ...

    async def stop(self) -> None:
        """Finish what is being written, give the Lease back, close all connections."""
        ...


async def start(
    context: KubeContext,
    environment: dict[str, str],
    scope: Scope,
    *,
    identity: str,
    image: str = BUILD_IMAGE,
    say: Callable[[str], None],
    pools: bool = True,
    terms: Terms | None = None,
) -> Operation:
    """Start an operator in this process. `identity` names it in the Lease; `image` is that of build
    agents; `say` takes lines for people, from any thread; `pools`: runner pools too; `terms` are
    the Lease's times."""
    terms = terms or Terms()
    operation = _Threaded(context, environment, scope, identity, image, say, pools, terms)
    await operation.begin()
    return operation


async def holder(cluster: Cluster, namespace: str) -> str:
    """Who acts in a namespace: the identity in the Lease in force, empty when nobody does."""
    now = time.time()
    for place in (SYSTEM_NAMESPACE, namespace):
        if found := await holder_in_force(cluster, place, now):
            return found
    return ""


def turn(before: Standing, after: Standing, identity: str) -> str:
    """What is said when it changes who acts; nothing of the first time, which the caller tells."""
    if before.phase is Phase.STANDING_BY and after.phase is Phase.ACTING:
        return "this operator acts from now on"
    if before.phase is Phase.STARTING or after.phase is not Phase.STANDING_BY:
        return ""
    if after.holder in ("", identity, before.holder):
        return ""
    return f"the operator {after.holder} acts from now on; this one stands by"


class _Threaded:
    """The thread, its loop, and the posts that run there."""

    def __init__(
        self,
        context: KubeContext,
        environment: dict[str, str],
        scope: Scope,
        identity: str,
        image: str,
        say: Callable[[str], None],
        pools: bool,
        terms: Terms,
    ) -> None:
        self._context, self._environment, self._scope = context, dict(environment), scope
        self._identity, self._image, self._say = identity, image, say
        self._pools, self._terms = pools, terms
        self._cluster: Cluster
        self._loop: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main()), name="kindling operator", daemon=True
        )
        self._posts: dict[str, tuple[Any, asyncio.Task[None]]] = {}
        self._moved = asyncio.Condition()
        self._stop = asyncio.Event()
        self._failure: ClusterError | None = None
        self._phase = Standing(Phase.STARTING)
        self._begun = False
        self._telling: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        self._thread.start()
        await asyncio.wrap_future(self._loop)

    @property
    def standing(self) -> Standing:
        return self._phase

    async def settled(self) -> Standing:
        return await self._there(self._settled())

    async def extend(self, namespace: str) -> None:
        if self._scope.namespaces:
            await self._there(self._extend(namespace))

    async def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.result().call_soon_threadsafe(self._stop.set)
            await asyncio.to_thread(self._thread.join)

    async def _there(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do it in the operator's own loop."""
        if not self._thread.is_alive():
            work.close()
            raise self._failure or ClusterError("The operator was stopped")
        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(work, self._loop.result())
        )

    # In the operator's loop -------------------------------------------------------------------

    async def _main(self) -> None:
        from kindling.kube.client import connect
        from kindling.operator.controller.definitions import install_definitions

        self._loop.set_result(asyncio.get_running_loop())
        cluster: Cluster | None = None
        try:
            self._cluster = cluster = await connect(self._context, self._environment)
            for name in await install_definitions(cluster):
                self._say(f"{name} was written")
            for namespace in self._scope.namespaces or ("",):
                await self._extend(namespace)
            self._begun = True
            self._changed()
            await self._stop.wait()
        except ClusterError as error:
            await self._fail(error)
            await self._stop.wait()
        finally:
            self._phase = Standing(Phase.STOPPED)
            for _, task in self._posts.values():
                task.cancel()
            await asyncio.gather(
                *(task for _, task in self._posts.values()), return_exceptions=True
            )
            if cluster is not None:
                await cluster.close()

    async def _extend(self, namespace: str) -> None:
        known = self._posts.get(namespace)
        if known is not None and not known[1].done():
            return
        from kindling.operator.controller.post import Post

        self._failure = None
        await _ensure_namespace(self._cluster, namespace)
        loop = asyncio.get_running_loop()
        post = Post(
            self._cluster,
            self._context,
            self._environment,
            namespace,
            identity=self._identity,
            image=self._image,
            pools=self._pools,
            say=self._say,
            changed=self._changed,
            terms=self._terms,
        )
        self._posts[namespace] = (post, loop.create_task(self._run(post)))

    async def _run(self, post: Any) -> None:
        try:
            await post.run()
        except ClusterError as error:
            await self._fail(error)

    async def _settled(self) -> Standing:
        async with self._moved:
            await self._moved.wait_for(
                lambda: (
                    self._failure
                    or (self._begun and all(post.decided for post, _ in self._posts.values()))
                )
            )
        if self._failure:
            raise self._failure
        return self._phase

    async def _fail(self, error: ClusterError) -> None:
        async with self._moved:
            self._failure = error
            self._moved.notify_all()
        if self._phase.phase is not Phase.STARTING:  # until then `settled` tells whoever started it
            self._say(error.render())

    def _changed(self) -> None:
        task = asyncio.get_running_loop().create_task(self._tell())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self) -> None:
        """The phase is that of the post which was added last."""
        posts = [post for post, _ in self._posts.values()]
        async with self._moved:
            if self._stop.is_set() or not posts or not all(post.decided for post in posts):
                return
            acting = all(post.acting for post in posts)
            phase = Phase.ACTING if acting else Phase.STANDING_BY
            before = self._phase
            self._phase = Standing(phase, next((post.holder for post in reversed(posts)), ""))
            self._moved.notify_all()
        if line := turn(before, self._phase, self._identity):
            self._say(line)


async def _ensure_namespace(cluster: Cluster, namespace: str) -> None:
    """The namespace of the Lease of all must be there; one that somebody names has to be."""
    ref = ObjectRef("v1", "Namespace", namespace or SYSTEM_NAMESPACE)
    try:
        await cluster.get(ref)
    except ForbiddenError:
        return  # it will be seen when the Lease is written
    except NotFoundError:
        if namespace:
            raise ClusterError(
                f"There is no namespace `{namespace}` in the cluster `{cluster.context}`",
                hint=f"Create it: kubectl create namespace {namespace}",
            ) from None
        head = {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": {"name": ref.name}}
        await cluster.apply(head, manager=OPERATOR_MANAGER)
