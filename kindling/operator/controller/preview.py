"""What a pass over an environment would do, without doing it: for `plan` and `deploy`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kindling.graph.spec import ObjectRef
from kindling.kube.errors import NotFoundError
from kindling.kube.protocol import Cluster
from kindling.operator.controller.reading import SORTS, Asking
from kindling.operator.controller.reconcile import (
    AGENT_COMMAND,
    BUILD_IMAGE,
    survey,
)
from kindling.operator.controller.wanting import wanted
from kindling.operator.pools.desired import Agent

__all__ = ["Change", "preview"]

_UNBORN = "00000000-0000-0000-0000-000000000000"
"""Stands for the uid of an owner that no server has seen."""


@dataclass(frozen=True, slots=True)
class Change:
    """One child that would be written or deleted; `fields` are those that would change.

    `verb` is `create`, `change`, `delete`, or `hold` for one that waits for a session's end.
    """

    verb: str
    ref: ObjectRef
    fields: tuple[str, ...] = ()


async def preview(
    cluster: Cluster, manifest: Mapping[str, Any], *, image: str = BUILD_IMAGE
) -> tuple[Change, ...]:
    """What the operator would do once `manifest` is stored as it is. It writes nothing.

    Works before the namespace, the definitions and the object itself are there. A manifest that
    the operator would not act on gives nothing.
    """
    sort = SORTS[manifest["kind"]]
    head = manifest["metadata"]
    namespace = head.get("namespace") or cluster.namespace
    reader = Asking(cluster)
    try:
        live: Mapping[str, Any] = await cluster.get(sort.ref(namespace, head["name"]))
    except NotFoundError:
        live = {}
    known = live.get("metadata", {"uid": _UNBORN, "generation": 1})
    identity = {key: known[key] for key in ("uid", "generation") if key in known}
    owner = {**manifest, "metadata": {**head, **identity, "namespace": namespace}}
    made = await wanted(owner, reader.find, bytes, Agent(image, AGENT_COMMAND))
    planned, _ = await survey(sort, owner, made, reader)
    return tuple(Change(step.verb.value, step.ref, step.fields) for step in planned.steps)
