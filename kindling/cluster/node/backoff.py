"""Growing delays between attempts, by the rules of the kubelet.

Figures from the kubelet: restarts and pulls begin with 10 seconds, double up to 5 minutes, and
forget after twice the longest delay (k8s.io/client-go `util/flowcontrol/backoff.go`).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FIRST", "LONGEST", "Backoff"]

FIRST = 10.0
LONGEST = 300.0


@dataclass(slots=True)
class Backoff:
    """The delay of one thing that keeps failing. All times are on the monotonic clock."""

    first: float = FIRST
    longest: float = LONGEST
    delay: float = 0.0
    """The delay in force; 0 before the first failure was answered."""
    updated: float = 0.0

    def until(self, failed: float) -> float:
        """When the next attempt may begin after a failure at `failed`: at once when nothing failed
        lately."""
        if not self.delay or self._forgotten(failed):
            return failed
        return failed + self.delay

    def step(self, now: float) -> None:
        """Note an attempt: the delay after it is twice as long."""
        if not self.delay or self._forgotten(now):
            self.delay = self.first
        else:
            self.delay = min(self.delay * 2, self.longest)
        self.updated = now

    def _forgotten(self, now: float) -> bool:
        return now - self.updated > 2 * self.longest
