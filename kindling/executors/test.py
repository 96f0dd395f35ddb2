"""Tests: commands whose only output is that they passed."""

from __future__ import annotations

from kindling.executors.commands import command_failure
from kindling.executors.local import LocalExecutor
from kindling.executors.protocol import Job
from kindling.graph.node import Kind
from kindling.graph.outcome import Failure, Output
from kindling.graph.spec import CommandSpec

__all__ = ["TestExecutor"]


class TestExecutor(LocalExecutor):
    """Runs a test. One that passed with these very inputs need not run again, so that the cache
    answers for it even when it declares no outputs."""

    __test__ = False  # no class of tests, whatever pytest makes of its name

    @property
    def kind(self) -> Kind:
        return Kind.TEST

    async def restore(self, job: Job, cached: Output) -> bool:
        assert isinstance(job.node.spec, CommandSpec)
        return await super().restore(job, cached) if job.node.spec.outputs else True

    def _failure(self, code: int, tail: tuple[str, ...]) -> Failure:
        return command_failure(code, tail, what="the test ")
