"""A thread that lets a face show the passing of time without asking anything of the engine's loop.

Writing to a terminal can block (Ctrl-S, a slow connection); here it blocks nobody but the face.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Beat"]


class Beat:
    """Calls `work(now)` when asked to by `wake`, and again when `work` says so.

    `work` returns the moment (seconds since the epoch) at which it wants to be called again, or
    None to sleep until woken. `at_most` is the shortest time in seconds between two calls.
    """

    def __init__(
        self,
        work: Callable[[float], float | None],
        *,
        name: str,
        at_most: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._work = work
        self._at_most = at_most
        self._clock = clock
        self._woken = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._woken.set()

    def stop(self, timeout: float = 2.0) -> bool:
        """End the thread. False: it still hangs in a blocked write, and is left behind."""
        self._over.set()
        self._woken.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        due: float | None = None
        while not self._over.is_set():
            self._woken.wait(None if due is None else max(0.0, due - self._clock()))
            if self._over.is_set():
                return
            self._woken.clear()
            due = self._work(self._clock())
            if self._at_most:
                self._over.wait(self._at_most)
