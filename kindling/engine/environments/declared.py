"""Whether the session that runs in a project declares an object, so that nobody else should change
it."""

from __future__ import annotations

from pathlib import Path

from kindling.engine.control import NoSessionError, ask
from kindling.graph.spec import ObjectRef
from kindling.kube.protocol import Object
from kindling.objects.inject import owner_of
from kindling.operator.definitions.environment import KIND

__all__ = ["declared_here"]


async def declared_here(state_dir: Path, ref: ObjectRef, live: Object) -> str:
    """The place in the file where the running session declares the object; empty where none runs,
    or the object is not its own.

    The session tells no objects, but nodes: an environment is `operator:NAME`, and other workloads
    belong to a resource that is rolled out under their name. Without the label of a project it is
    nobody's, whatever it is called.
    """
    if not owner_of(live):
        return ""
    try:
        reply = await ask(state_dir, {"ask": "status"})
    except NoSessionError:
        return ""
    wanted = ("operator",) if ref.kind == KIND else ("apply", "rollout")
    for node in reply.get("nodes", ()):
        if node.get("kind") in wanted and ref.name in (
            node["id"].partition(":")[2],
            node["resource"],
        ):
            return str(node.get("where") or "the Kindlingfile")
    return ""
