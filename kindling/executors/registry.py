"""Registries that images travel by: which one it is, and that it answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kindling.build.registry import RegistryClient
from kindling.errors import ContainerError, HostError, WorldError
from kindling.executors.protocol import Failed, Job, Observation, Outcome, Succeeded
from kindling.graph.node import Kind
from kindling.graph.outcome import Failure, FailureKind, Output
from kindling.graph.spec import RegistrySpec

__all__ = ["RegistryExecutor"]

_ANSWER_SECS = 4.0
"""How long one try waits for a registry that does not answer: one in a container may just be
starting. A session tries several times."""
_PERIOD_SECS = 0.5


class RegistryExecutor:
    """Finds the registry that `default_registry` names, or else the one that the cluster announces
    in ConfigMap `kube-public/local-registry-hosting` (KEP-1755), and waits until it answers."""

    @property
    def kind(self) -> Kind:
        return Kind.REGISTRY

    async def run(self, job: Job) -> Outcome:
        found = _names(job)
        if found is None:
            return Failed(
                Failure(
                    FailureKind.CLUSTER,
                    "the cluster announces no registry, and none was named",
                    hint="Name one with `default_registry(...)`, or announce one in ConfigMap "
                    "`kube-public/local-registry-hosting`.",
                )
            )
        clock = job.world.clock
        limit = clock.monotonic() + _ANSWER_SECS
        while True:
            try:
                await RegistryClient(found["push"]).check()
            except (ContainerError, HostError) as error:
                if not error.transient or clock.monotonic() >= limit:
                    raise
            else:
                return Succeeded(Output(f"{found['push']} {found['pull']}", found))
            await clock.sleep(_PERIOD_SECS)

    async def observe(self, job: Job, recorded: Output) -> Observation:
        found = _names(job)
        if found is None or found != dict(recorded.data):
            return Observation(same=False, difference="the cluster announces another registry")
        try:
            await RegistryClient(found["push"]).check()
        except WorldError as error:
            return Observation(same=False, difference=error.message)
        return Observation(same=True)

    async def restore(self, job: Job, cached: Output) -> bool:
        return False

    async def undo(self, job: Job, recorded: Output) -> tuple[str, ...]:
        return ()


def _names(job: Job) -> dict[str, str] | None:
    """The registry's names for who pushes and for who pulls; None where there is no registry."""
    spec = job.node.spec
    assert isinstance(spec, RegistrySpec)
    if spec.host:
        push, pull = spec.host, spec.host_from_cluster or spec.host
        return {"push": push, "pull": pull, "single_name": spec.single_name}
    for id_, output in job.inputs.items():
        announced = output.data.get("registry") if id_.startswith("cluster:") else None
        if isinstance(announced, Mapping) and (push := _first(announced, "push", "host")):
            pull = _first(announced, "pull", "host_from_cluster") or push
            return {"push": push, "pull": pull, "single_name": spec.single_name}
    return None


def _first(values: Mapping[str, Any], *names: str) -> str:
    return next((str(values[name]) for name in names if values.get(name)), "")
