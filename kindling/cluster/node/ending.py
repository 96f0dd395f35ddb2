"""How containers are brought to their end: hook, signal, grace, and then no more grace."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal

from kindling.cluster.model.api import Obj
from kindling.cluster.node.clock import wait_until, within
from kindling.cluster.node.handlers import run_hook
from kindling.cluster.node.life import tell
from kindling.cluster.node.site import Site
from kindling.cluster.node.slot import Role, Run, Slot

__all__ = ["Deadline", "stop_container", "stop_signal"]

_log = logging.getLogger(__name__)
_LEAST_AFTER_HOOK = 2.0  # seconds that a container has after its hook, or after what it served


class Deadline:
    """When the grace is over, on the monotonic clock; it may be moved nearer while it is waited
    for."""

    def __init__(self, at: float) -> None:
        self._at = at
        self._moved = asyncio.Event()

    @property
    def at(self) -> float:
        return self._at

    def shorten(self, at: float) -> None:
        if at < self._at:
            self._at = at
            self._moved.set()

    async def wait_for(self, event: asyncio.Event, site: Site, at_least: float = 0.0) -> bool:
        """Wait for `event` until the deadline; whether it was set."""
        while not event.is_set():
            self._moved.clear()
            until = max(self._at, at_least)
            either = asyncio.Event()
            watchers = [
                asyncio.create_task(_forward(one, either), name="deadline")
                for one in (event, self._moved)
            ]
            try:
                await wait_until(either, site.clock, until)
            finally:
                for watcher in watchers:
                    watcher.cancel()
                await asyncio.gather(*watchers, return_exceptions=True)
            if not event.is_set() and site.clock.monotonic() >= max(self._at, at_least):
                return False
        return True


async def _forward(source: asyncio.Event, target: asyncio.Event) -> None:
    await source.wait()
    target.set()


async def stop_container(
    site: Site, pod: Obj, slot: Slot, address: str, deadline: Deadline, why: str = ""
) -> None:
    """Stop what runs in `slot`, by the deadline. Returns when it has ended. What is stopped
    already is asked no more, but killed by this deadline too."""
    run = slot.run
    if run is None:
        return
    if run.stopping:
        if not await deadline.wait_for(run.ended, site):
            await _kill(run)
        return
    run.stopping = True
    about = tell(pod, slot)
    site.events.normal(about, "Killing", why or f"Stopping container {slot.name}")
    at_least = 0.0
    left = deadline.at - site.clock.monotonic()
    if (hook := (slot.spec.get("lifecycle") or {}).get("preStop")) and left > 0:
        try:
            failure = await within(
                site.clock,
                left,
                run_hook(hook, slot.spec, run.container, address, site.runtime, site.clock),
            )
        except TimeoutError:
            failure = "context deadline exceeded"
        if failure:
            # What a hook prints may be secret: as by the kubelet, it goes to our log alone.
            _log.info("preStop hook of %s: %s", slot.name, failure)
            site.events.warning(about, "FailedPreStopHook", "PreStopHook failed")
        at_least = site.clock.monotonic() + _LEAST_AFTER_HOOK
    if not run.ended.is_set():
        with contextlib.suppress(ProcessLookupError):
            run.container.signal(stop_signal(run.image.config.stop_signal))
    if slot.role is Role.SIDECAR:
        # What it served may have used up the grace: that is not its fault.
        at_least = max(at_least, site.clock.monotonic() + _LEAST_AFTER_HOOK)
    if not await deadline.wait_for(run.ended, site, at_least):
        await _kill(run)


async def _kill(run: Run) -> None:
    with contextlib.suppress(ProcessLookupError):
        run.container.signal(signal.SIGKILL)
    await run.ended.wait()


def stop_signal(text: str) -> int:
    """The number of an image's STOPSIGNAL: `SIGQUIT`, `quit` or `3`; SIGTERM for what is none."""
    if text.isdigit():
        return int(text)
    name = text.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    try:
        return int(signal.Signals[name])
    except KeyError:
        return int(signal.SIGTERM)
