"""Beginning although the cluster is away for a moment."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kindling.errors import ClusterError
from kindling.sync.notices import Remark, Tell
from kindling.sync.protocol import Clock, LinkLostError

__all__ = ["patiently_begun"]

_Result = TypeVar("_Result")

_LONG = 30.0
"""For how many seconds after the first failure a beginning is tried again."""
_FIRST_WAIT = 0.25
_LONGEST_WAIT = 8.0


async def patiently_begun(
    work: Callable[[], Awaitable[_Result]], clock: Clock, tell: Tell
) -> _Result:
    """Do it, and again where what failed may work later by itself; said once.

    `work` can be done again at whatever point it failed.

    Raises:
        ClusterError: It does not work, or not soon enough.
    """
    tries, end = 0, 0.0
    while True:
        try:
            return await work()
        except ClusterError as problem:
            if not (problem.transient or isinstance(problem, LinkLostError)):
                raise
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2**tries) * random.uniform(0.75, 1.0)
            if not tries:
                end = clock.monotonic() + _LONG
            if clock.monotonic() + wait > end:
                raise
            if not tries:
                text = f"{problem.message}; the beginning is tried again for {_LONG:.0f} s"
                tell(Remark(text, warning=True))
            tries += 1
        await clock.sleep(wait)
