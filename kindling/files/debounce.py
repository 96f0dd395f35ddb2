"""When a burst of file events is over.

    events   | |                    |||||||||||||| || |||||  |||          |
    batches       ^ 10 ms of quiet                               ^ one       ^

A lone save goes out after 10 ms of quiet. The longer a burst lasts, the longer the quiet that ends
it, so that a branch switch with its small pauses stays one batch; noise that never ends is handed
out every 10 s.
"""

from __future__ import annotations

__all__ = ["Debounce"]

_QUIET = 0.010
_QUIET_MOST = 0.250
_SHARE = 0.5
"""A burst that has lasted a second may pause for half of one, were it not for `_QUIET_MOST`."""
_HELD_MOST = 10.0
_NEAR = 4.0
"""A burst that begins within so many quiet times after the last one is taken for its
continuation."""


class Debounce:
    """Decides when to hand out what has gathered. Pure: every moment is given (seconds).

    `quiet`: always so much of it, instead of what the burst suggests.
    """

    def __init__(self, quiet: float | None = None) -> None:
        self._quiet = quiet
        self._first: float | None = None
        self._last = 0.0
        self._least = _QUIET
        self._flushed: float | None = None

    @property
    def first(self) -> float:
        """When what has gathered began; 0 when nothing has."""
        return self._first or 0.0

    def touch(self, now: float) -> None:
        """Events came."""
        if self._first is None:
            self._first = now
            near = self._flushed is not None and now - self._flushed < _NEAR * self._least
            self._least = min(2 * self._least, _QUIET_MOST) if near else _QUIET
        self._last = now

    @property
    def due(self) -> float | None:
        """When the gathered events go out if nothing else comes; None when there are none."""
        if self._first is None:
            return None
        if self._quiet is not None:
            return min(self._last + self._quiet, self._first + max(_HELD_MOST, self._quiet))
        lasted = self._last - self._first
        quiet = min(max(self._least, _SHARE * lasted), _QUIET_MOST)
        return min(self._last + quiet, self._first + _HELD_MOST)

    def flush(self, now: float, *, calm: bool = False) -> None:
        """They went out. `calm`: what comes next is a burst of its own, however soon it comes."""
        self._first = None
        self._flushed = None if calm else now
