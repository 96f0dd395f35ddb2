"""The wish to end a session: Ctrl-C, a closed terminal, `kill`.

The first one ends it in order. The second one at once: everything that leads back is on disk before
the cluster is touched, so that `kindling sync --restore` and the next session can put it back.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

__all__ = ["Leaving", "leaving"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ONE_SIGNAL = 0.3
"""Programs that run others often pass on what the terminal has told all of them already, so that
signals right after the first one are no second wish."""


class Leaving:
    """Whether and how often somebody wanted the session to end. `parting` is what is still to be
    said when it is left at once."""

    def __init__(self, parting: Callable[[], str], end: Callable[[int], None] = os._exit) -> None:
        self._parting = parting
        self._end = end
        self._asked = asyncio.Event()
        self._first = float("-inf")

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    def ask(self) -> None:
        """End in order; asking so again changes nothing."""
        if not self._asked.is_set():
            self._first = asyncio.get_running_loop().time()
            self._asked.set()

    def hear(self) -> None:
        """A signal came."""
        if not self._asked.is_set():
            self.ask()
        elif asyncio.get_running_loop().time() - self._first >= _ONE_SIGNAL:
            text = self._parting()
            with suppress(OSError, ValueError):
                sys.stderr.write(f"\n{text}\n" if text else "\n")
                sys.stderr.flush()
            self._end(130)

    async def wait(self) -> None:
        await self._asked.wait()


@contextmanager
def leaving(parting: Callable[[], str]) -> Iterator[Leaving]:
    """Signals are the wish to end for as long as the context is open."""
    wish, loop = Leaving(parting), asyncio.get_running_loop()
    heard: list[signal.Signals] = []
    for one in _SIGNALS:
        with suppress(ValueError, NotImplementedError, RuntimeError):  # not on the main thread
            loop.add_signal_handler(one, wish.hear)
            heard.append(one)
    try:
        yield wish
    finally:
        for one in heard:
            loop.remove_signal_handler(one)
