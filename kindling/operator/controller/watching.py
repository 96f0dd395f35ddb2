"""Environments and pools as kopf tells of them.

Only its watches are used: it writes nothing, marks nothing, and asks for no finalizer, so that an
environment that is as it should be stays untouched. It has a thread and a loop to itself, because
at its end it cancels every task of the loop that it runs in.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from kindling.kube.contexts import KubeContext
from kindling.kube.lending import Lent
from kindling.operator.controller.reading import SORTS

__all__ = ["OwnerWatch"]

Told = Callable[[Mapping[str, Any], bool], None]

_PAUSE = 3.0
"""Seconds between the end of kopf, which comes when the server is away for long, and a new
beginning."""


class OwnerWatch:
    """Follows environments and pools, of a namespace or with none of all, until it is stopped.

    `told` is called in the loop of whoever makes it, with each object and whether it is gone, and
    `begun` whenever following begins anew, since what went before may have been missed.
    """

    def __init__(
        self,
        context: KubeContext,
        environment: Mapping[str, str],
        namespace: str,
        kinds: tuple[str, ...],
        told: Told,
        begun: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self._context = context
        self._environment = environment
        self._namespace = namespace
        self._kinds = kinds
        self._told, self._begun, self._say = told, begun, say
        self._outer = asyncio.get_running_loop()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._ended = False
        self._said = ""
        self._lock = threading.Lock()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main()), name="kindling operator's kopf", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    async def stop(self) -> None:
        """Return once nothing of it runs any more."""
        with self._lock:
            self._ended = True
            if self._loop is not None and self._stopping is not None:
                self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    async def _main(self) -> None:
        with self._lock:
            self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
            if self._ended:
                return
        stopping = self._stopping
        while not stopping.is_set():
            self._out(self._begun)
            await self._follow(stopping)
            try:
                async with asyncio.timeout(_PAUSE):
                    await stopping.wait()
            except TimeoutError:
                continue
        with self._lock:
            self._loop = None

    async def _follow(self, stopping: asyncio.Event) -> None:
        import kopf

        # It logs what we tell in our own words, and how each call of ours went.
        logging.getLogger("kopf").setLevel(logging.CRITICAL)
        lent = Lent(self._context, self._environment)
        try:
            settings = _settings()
            settings.scanning.disabled = bool(self._namespace) and not await _sees_others(lent)
            await kopf.operator(
                registry=self._registry(lent),
                settings=settings,
                standalone=True,
                clusterwide=not self._namespace,
                namespaces=[self._namespace] if self._namespace else [],
                stop_flag=stopping,
            )
        except Exception as error:
            told = str(error) or type(error).__name__
            if told != self._said:
                self._say(f"the watch of environments is tried again every {_PAUSE:.0f} s: {told}")
            self._said = told
        finally:
            await _end_others()
            await lent.close()

    def _registry(self, lent: Lent) -> Any:
        import kopf

        registry = kopf.OperatorRegistry()

        def changed(event: Any, **_: Any) -> None:
            self._out(self._told, dict(event["object"]), event["type"] == "DELETED")

        async def login(**_: Any) -> Any:
            session: Any = await lent.open()
            return kopf.AiohttpSession(server=lent.server, aiohttp_session=session)

        for kind in self._kinds:
            group, _, version = SORTS[kind].api_version.partition("/")
            kopf.on.event(group=group, version=version, kind=kind, registry=registry, id=kind)(
                changed
            )
        kopf.on.login(registry=registry, id="login", retries=5, backoff=1.0)(login)
        return registry

    def _out(self, call: Callable[..., None], *args: Any) -> None:
        """From this thread to the loop of whoever listens, if that still runs."""
        with self._lock:
            if not self._ended:
                self._outer.call_soon_threadsafe(call, *args)


async def _sees_others(lent: Lent) -> bool:
    """Whether we may list namespaces. Who may not is better off not trying: kopf would ask again
    and again for most of a minute before it watches the one that it was told."""
    session = await lent.open()
    asked = f"{lent.server}/api/v1/namespaces"
    async with await session.request("GET", asked, params={"limit": "1"}) as response:
        return response.status != HTTPStatus.FORBIDDEN


async def _end_others() -> None:
    """End what kopf has left running in this loop, which is there for kopf alone."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _settings() -> Any:
    """Definitions and namespaces that come and go are followed, too, where we may see them."""
    import kopf

    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.queueing.exit_timeout = 1.0
    settings.networking.request_timeout = 60.0
    return settings
