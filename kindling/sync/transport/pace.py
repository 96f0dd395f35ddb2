"""How quick a link is, and how long it pays to look for what an older version has in common."""

from __future__ import annotations

from collections.abc import Sequence

from kindling.sync.agent.delta import SEARCH_MOST

__all__ = ["Pace"]

_UNKNOWN = 20e6
"""Bytes a second of a link that nothing is known of: a cluster that is neither here nor far."""
_TOLD_BY = 1 << 20
_EACH = 64 << 10
"""What says something of the way: contents, and not what there is to do for each file."""
_SEARCHED = 2.5e6
"""Bytes a second that this side searches in vain, or about it."""
_SHARE = 0.5
"""Of the time that the whole file would take, what may be lost by looking for its parts."""
_LEAST = 32 << 10


class Pace:
    """The bytes of contents that go over a link in a second, as far as batches have told."""

    def __init__(self) -> None:
        self._rate = 0.0

    @property
    def rate(self) -> float:
        """Bytes a second; a guess before anything has told."""
        return self._rate or _UNKNOWN

    def took(self, sizes: Sequence[int], seconds: float) -> None:
        """Files of these sizes went over whole, in so long. Small ones tell nothing."""
        total = sum(sizes)
        if total < _TOLD_BY or total < _EACH * len(sizes) or seconds <= 0:
            return
        rate = total / seconds
        # The last one counts as much as all before it: the way may be another one by now.
        self._rate = (self._rate + rate) / 2 if self._rate else rate

    def search_most(self, size: int) -> int:
        """How many bytes of a file of `size` may be searched in vain: the quicker the whole would
        be there, the fewer."""
        worth = _SHARE * _SEARCHED * size / self.rate
        return int(min(SEARCH_MOST, max(_LEAST, worth)))
