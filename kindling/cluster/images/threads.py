"""Blocking work beside the event loop, which is waited for even when nobody wants it any more."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from threading import Event
from typing import TypeVar

__all__ = ["in_thread"]

T = TypeVar("T")


async def in_thread(work: Callable[[Event], T]) -> T:
    """Run `work` in a thread. On cancellation the event that it was given is set, it is waited for,
    and only then is the cancellation passed on: no thread writes to a folder that its caller has
    let go of."""
    stop = Event()
    context = contextvars.copy_context()
    future = asyncio.get_running_loop().run_in_executor(None, lambda: context.run(work, stop))
    cancelled = False
    while not future.done():
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError:
            cancelled = True
            stop.set()
        except BaseException:
            break  # the future's own, raised below
    if cancelled:
        future.exception()  # seen, so that nobody warns of it
        raise asyncio.CancelledError
    return future.result()
