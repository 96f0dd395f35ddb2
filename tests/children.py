"""Programs that a test starts and that must not outlive it, however it ends."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable

__all__ = ["ends_with_us"]

_PR_SET_PDEATHSIG = 1


def ends_with_us() -> Callable[[], None] | None:
    """For `preexec_fn`: the program is killed when the thread that starts it ends, which a `kill
    -9` of the tests does, too. None where the system knows no such thing."""
    if sys.platform != "linux":
        return None
    # Loaded before the fork: between fork and exec as little as may be is done.
    prctl = ctypes.CDLL(None).prctl

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    return arrange
