"""Images straight into the nodes of a local cluster: `kind load`, `k3d image import`, or the
embedded cluster's own store."""

from __future__ import annotations

from kindling.build.delivery import load_image
from kindling.build.protocol import NodeEngine
from kindling.errors import ContainerError
from kindling.executors.protocol import Job, Observation, Outcome, Succeeded
from kindling.executors.push import input_data
from kindling.graph.node import Kind
from kindling.graph.outcome import Output
from kindling.graph.spec import LoadSpec

__all__ = ["LoadExecutor"]


class LoadExecutor:
    """Loads an image under its content tag.

    The embedded cluster says what it holds. Nothing tells cheaply what the nodes of others hold, so
    there `observe` trusts the record: a cluster made anew has another identity and with it another
    key, and an image that a node's garbage collection removed shows as a failed pull, which a
    trigger of this node mends.
    """

    @property
    def kind(self) -> Kind:
        return Kind.LOAD

    async def run(self, job: Job) -> Outcome:
        spec = job.node.spec
        assert isinstance(spec, LoadSpec)
        image = input_data(job, spec.image)
        reference = str(image.get("reference") or image["local"])
        roll = str(image.get("roll", ""))
        if not image.get("local"):
            pass  # its builder delivered it by itself
        elif spec.tool == "embedded":
            await (await _node(job)).deliver(reference)
        else:
            await load_image(
                job.world.processes,
                spec.tool,
                spec.cluster,
                reference,
                cwd=job.world.root,
                env=job.world.environment,
                log=job.log,
            )
        return Succeeded(
            Output(f"{reference} {roll}".strip(), {"reference": reference, "roll": roll})
        )

    async def observe(self, job: Job, recorded: Output) -> Observation:
        spec = job.node.spec
        assert isinstance(spec, LoadSpec)
        reference = str(recorded.data["reference"])
        if spec.tool == "embedded" and not await (await _node(job)).delivered(reference):
            return Observation(same=False, difference=f"the node does not have `{reference}`")
        return Observation(same=True)

    async def restore(self, job: Job, cached: Output) -> bool:
        return False

    async def undo(self, job: Job, recorded: Output) -> tuple[str, ...]:
        return ()


async def _node(job: Job) -> NodeEngine:
    engine = await job.world.containers()
    if not isinstance(engine, NodeEngine):
        raise ContainerError("this session does not reach the embedded cluster's images")
    return engine
