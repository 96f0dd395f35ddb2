"""`cluster`: the target is reachable, is the one it was, and stays so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kindling.errors import ClusterError
from kindling.executors.protocol import (
    Clock,
    Job,
    Observation,
    Outcome,
    ReadinessReport,
    Succeeded,
)
from kindling.graph.node import Kind
from kindling.graph.outcome import Failure, FailureKind, Output
from kindling.kube.contexts import Product
from kindling.kube.errors import UnreachableError
from kindling.kube.protocol import Cluster, ClusterFacts

__all__ = ["ClusterExecutor"]

_CALM = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0


class ClusterExecutor:
    """Connects to the target. Its output says who it is; its live part, whether it answers."""

    @property
    def kind(self) -> Kind:
        return Kind.CLUSTER

    async def run(self, job: Job) -> Outcome:
        cluster = await job.world.cluster()
        await cluster.ready()
        output = _output(await cluster.facts())
        return Succeeded(output, live=_Reachability(cluster, output, job.world.clock))

    async def observe(self, job: Job, recorded: Output) -> Observation:
        cluster = await job.world.cluster()
        await cluster.ready()
        output = _output(await cluster.facts())
        if output.digest != recorded.digest:
            return Observation(same=False, difference="it is another cluster under the same name")
        if dict(output.data) != dict(recorded.data):
            return Observation(same=False, difference="what the cluster says of itself changed")
        return Observation(same=True, live=_Reachability(cluster, recorded, job.world.clock))

    async def restore(self, job: Job, cached: Output) -> bool:
        return False

    async def undo(self, job: Job, recorded: Output) -> tuple[str, ...]:
        """The cluster was there before us."""
        return ()


def _output(facts: ClusterFacts) -> Output:
    registry: dict[str, Any] | None = None
    if facts.registry is not None:
        registry = {
            "host": facts.registry.host,
            "host_from_cluster": facts.registry.host_from_cluster,
        }
    return Output(
        facts.uid,
        {
            "context": facts.context,
            "server": facts.server,
            "uid": facts.uid,
            "version": facts.version,
            "product": facts.product,
            "registry": registry,
            "platforms": list(facts.node_platforms),
        },
    )


class _Reachability:
    """Asks the API server every few seconds whether it is ready, sooner when it has just gone away.

    Two silences in a row make it away: a single one is a hiccup, and holding everything for it
    would show more trouble than there is.
    """

    def __init__(self, cluster: Cluster, recorded: Output, clock: Clock) -> None:
        self._cluster = cluster
        self._uid = recorded.digest
        self._embedded = recorded.data.get("product") == Product.EMBEDDED.value
        self._clock = clock

    async def follow(self, report: Callable[[ReadinessReport], None]) -> None:
        silences = 0
        while True:
            pause = _CALM if not silences else min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**silences)
            await self._clock.sleep(pause)
            try:
                await self._cluster.ready()
                if silences >= 2 and (await self._cluster.facts()).uid != self._uid:
                    report(_away("another cluster answers under the same name", ended=True))
                    return
            except ClusterError as error:
                silences += 1
                if silences == 2 or (silences == 1 and not error.transient):
                    report(self._away_by(error))
                continue
            if silences:
                silences = 0
                report(ReadinessReport(ready=True))

    def _away_by(self, error: ClusterError) -> ReadinessReport:
        if self._embedded and isinstance(error, UnreachableError):
            # Whether somebody stopped it is not ours to judge, so it is not started again.
            mend = "`kindling cluster start` brings it back"
            return _away(f"it does not answer; {mend}", details=(mend,))
        return _away(error.message, details=error.details, hint=error.hint)

    async def close(self) -> None:
        """Nothing is held."""


def _away(
    summary: str, *, details: tuple[str, ...] = (), hint: str = "", ended: bool = False
) -> ReadinessReport:
    failure = Failure(FailureKind.CLUSTER, summary, details, hint, transient=not ended)
    return ReadinessReport(ready=False, failure=failure, ended=ended)
