"""Whether a pod serves, or is ready just before it crashes."""

from __future__ import annotations

from kindling.executors.protocol import Clock
from kindling.kube.protocol import Object
from kindling.objects.pods import Patience, is_probed, is_ready, restarts, running_since

__all__ = ["Steadiness"]


class Steadiness:
    """Tells pods that serve from those that are ready just before they crash, as it sees them."""

    def __init__(self, clock: Clock, patience: Patience) -> None:
        self._clock = clock
        self._patience = patience
        self._since: dict[tuple[str, int], float] = {}

    def serves(self, pod: Object, *, known: bool = False) -> bool:
        """Ready, and where nothing probes it, for long enough. `known`: served before we looked."""
        count = restarts(pod)
        seen = (str(pod["metadata"]["uid"]), count)
        if not is_ready(pod):
            self._since.pop(seen, None)
            return False
        if is_probed(pod) or (not count and known):
            return True
        now = self._clock.monotonic()
        long = self._patience.steady_again if count else self._patience.steady
        here = now - self._since.setdefault(seen, now)
        # The node's clock counts in whole seconds, and may differ from ours.
        there = self._clock.time() - running_since(pod) - 1.0
        return max(here, there) >= long
