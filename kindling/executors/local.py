"""Commands that end: `local_resource(cmd=...)`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping

from kindling.executors import outputs
from kindling.executors.commands import Tail, command_failure, environment, folder
from kindling.executors.protocol import Failed, Job, Observation, Outcome, Succeeded
from kindling.graph.node import Kind
from kindling.graph.outcome import Failure, FailureKind, Output
from kindling.graph.spec import CommandSpec

__all__ = ["LocalExecutor"]


class LocalExecutor:
    """Runs a command in its folder with the session's environment and its own variables over it.

    With declared outputs, the node's output is their content: same content, nothing behind it runs.
    Without, it is the standard output, and such a command is never taken from the cache, since what
    else it did is unknown.
    """

    @property
    def kind(self) -> Kind:
        return Kind.LOCAL

    async def run(self, job: Job) -> Outcome:
        spec = _spec(job)
        tail = Tail(job.log)
        result = await job.world.processes.run(
            spec.argv,
            cwd=folder(job, spec.dir),
            env=environment(job.world, spec.env),
            log=tail,
        )
        if result.code != 0:
            return Failed(self._failure(result.code, tail.lines))
        entries = await asyncio.to_thread(outputs.read, job.world.root, spec.outputs)
        missing = [name for name, entry in entries.items() if entry == outputs.ABSENT]
        if missing:
            return Failed(_missing(missing, tail.lines))
        if entries:
            await asyncio.to_thread(outputs.keep, job.world.root, entries, job.world.blobs)
        stdout = "sha256:" + hashlib.sha256(result.stdout).hexdigest()
        digest = outputs.entries_digest(entries) if spec.outputs else stdout
        return Succeeded(Output(digest, {"outputs": entries, "stdout": stdout}))

    async def observe(self, job: Job, recorded: Output) -> Observation:
        spec = _spec(job)
        if not spec.outputs:
            return Observation(same=True)
        before: Mapping[str, str] = recorded.data.get("outputs", {})
        now = await asyncio.to_thread(outputs.read, job.world.root, spec.outputs)
        for name in sorted({*before, *now}):
            was, is_ = before.get(name), now.get(name)
            if was != is_:
                what = "is new" if was is None else "was changed"
                if is_ is None or is_ == outputs.ABSENT:
                    what = "is gone"
                return Observation(same=False, difference=f"its output `{name}` {what}")
        return Observation(same=True)

    async def restore(self, job: Job, cached: Output) -> bool:
        spec = _spec(job)
        if not spec.outputs:
            return False
        return await asyncio.to_thread(
            outputs.restore,
            job.world.root,
            spec.outputs,
            cached.data.get("outputs", {}),
            job.world.blobs,
            job.world.state_dir / "tmp",
        )

    async def undo(self, job: Job, recorded: Output) -> tuple[str, ...]:
        return ()

    def _failure(self, code: int, tail: tuple[str, ...]) -> Failure:
        return command_failure(code, tail)


def _missing(names: list[str], tail: tuple[str, ...]) -> Failure:
    listed = ", ".join(f"`{name}`" for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    verb = "was" if len(names) == 1 else "were"
    return Failure(
        FailureKind.COMMAND,
        f"succeeded, but {listed}{more} {verb} not written",
        tail,
        "`outputs=` names what the command must leave behind, relative to the Kindlingfile.",
    )


def _spec(job: Job) -> CommandSpec:
    assert isinstance(job.node.spec, CommandSpec)
    return job.node.spec
