"""One look at an environment or a pool: what it says, what stands, what is written, what is told.

A pass can end at any write and be taken up again: every value that is drawn is in its Secret before
anything refers to it, and what is done already is seen to be done. A pass over something that is as
it should be writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from kindling.errors import ClusterError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import ForbiddenError, NotFoundError
from kindling.kube.protocol import Cluster, PatchKind
from kindling.operator.controller.events import due, post, timestamp
from kindling.operator.controller.planning import Plan, Step, Verb, plan, reference
from kindling.operator.controller.reading import SORTS, Asking, Reader, Sort
from kindling.operator.controller.wanting import wanted
from kindling.operator.controller.writing import (
    OPERATOR_MANAGER,
    StaleError,
    Writer,
    described,
)
from kindling.operator.credentials import Draw
from kindling.operator.definitions.environment import KIND
from kindling.operator.desired import Desired
from kindling.operator.parts import Part, condition
from kindling.operator.pools.desired import Agent
from kindling.operator.pools.status import pool_status_of
from kindling.operator.rules import Problem
from kindling.operator.status import World, status_of

__all__ = ["AGENT_COMMAND", "BUILD_IMAGE", "Now", "Reconciled", "Reconciler", "survey"]

Object = Mapping[str, Any]

BUILD_IMAGE = "kindling:latest"
"""The image of ours that serves operator and build agent, unless another is configured."""

AGENT_COMMAND = ("kindling", "build-agent")

_RETRY = 1.0
_ATTEMPTS = 5
"""Plans that may turn out stale, one after the other, before the pass is left to be tried later."""

_DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"


class Now(Protocol):
    """The wall clock."""

    def time(self) -> float:
        """Seconds since the epoch."""
        ...


class _System:
    def time(self) -> float:
        import time

        return time.time()


class _GoneError(Exception):
    """The environment or pool was deleted while it was looked at."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What one pass found and did. `manifest` is None where there is no such object any more.

    `again` is in how many seconds another pass should be tried though nothing changes, because a
    write was refused; the more often that happens, the later it should be.
    """

    manifest: Object | None
    status: Mapping[str, Any]
    writes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    again: float | None = None


class Reconciler:
    """Makes the children of environments and pools as they should be.

    Passes over different objects may run side by side; never two over one. `image` is that of
    build agents.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        clock: Now | None = None,
        draw: Draw = os.urandom,
        image: str = BUILD_IMAGE,
        reader: Reader | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._cluster = cluster
        self._clock = clock or _System()
        self._draw = draw
        self._agent = Agent(image, AGENT_COMMAND)
        self._reader = reader or Asking(cluster)
        self._writer = Writer(cluster, self._reader)
        self._say = say or (lambda _: None)
        self._mute = False

    async def environment(self, namespace: str, name: str) -> Reconciled:
        """One pass over an environment.

        Raises:
            ClusterError: The cluster cannot be reached; the pass is to be tried again.
        """
        return await self._pass(SORTS[KIND], namespace, name)

    async def pool(self, kind: str, namespace: str, name: str) -> Reconciled:
        """One pass over a pool of either kind; as `environment`."""
        return await self._pass(SORTS[kind], namespace, name)

    async def _pass(self, sort: Sort, namespace: str, name: str) -> Reconciled:
        for _ in range(_ATTEMPTS):
            owner = await self._reader.find(sort.ref(namespace, name))
            if owner is None or owner["metadata"].get("deletionTimestamp"):
                return Reconciled(None, {})
            try:
                return await self._attempt(sort, owner)
            except StaleError:
                continue
            except _GoneError:
                self._reader.deleted(reference(owner), owner["metadata"]["uid"])
        raise ClusterError(
            f"The children of {sort.ref(namespace, name)} change faster than they can be read",
            transient=True,
        )

    async def _attempt(self, sort: Sort, owner: Object) -> Reconciled:
        made = await wanted(owner, self._reader.find, self._draw, self._agent)
        planned, live = await survey(sort, owner, made, self._reader)
        if any(step.verb is Verb.CREATE for step in planned.steps):
            await self._must_live(owner)
        writes, held, problems = await self._carry_out(planned, live, owner)
        problems = (*made.problems, *planned.problems, *problems)
        status = await self._status(sort, owner, live, problems)
        if held:
            status["conditions"].append(_holding(held, owner, self._now))
        written = await self._tell(owner, status, bool(writes), problems)
        failed = any(one.reason == "ReconcileFailed" for one in problems)
        return Reconciled(owner, status, (*writes, *written), problems, _RETRY if failed else None)

    async def _must_live(self, owner: Object) -> None:
        """Children go with their owner, and word of them may come before word of it."""
        try:
            live = await self._cluster.get(reference(owner))
        except NotFoundError as error:
            raise _GoneError from error
        head = live["metadata"]
        if head["uid"] != owner["metadata"]["uid"] or head.get("deletionTimestamp"):
            raise _GoneError

    async def _carry_out(
        self, planned: Plan, live: dict[ObjectRef, Object], owner: Object
    ) -> tuple[list[str], list[Step], tuple[Problem, ...]]:
        """Does the steps, and keeps `live` as the cluster is."""
        writes: list[str] = []
        held: list[Step] = []
        problems: list[Problem] = []
        for step in planned.steps:
            if step.verb is Verb.HOLD:
                held.append(step)
                continue
            if step.verb is Verb.CHANGE and self._writer.settled(step):
                continue
            result = await self._writer.carry_out(step, owner["metadata"]["uid"])
            if isinstance(result, Problem):
                problems.append(result)
                continue
            writes.append(described(step.ref, step.verb))
            if result is None:
                live.pop(step.ref, None)
            else:
                live[step.ref] = result
        return writes, held, tuple(problems)

    async def _status(
        self,
        sort: Sort,
        owner: Object,
        live: Mapping[ObjectRef, Object],
        problems: Collection[Problem],
    ) -> dict[str, Any]:
        head = owner["metadata"]
        pods = await self._reader.pods(sort, head["namespace"], head["name"])
        if sort.kind == KIND:
            classes = await self._reader.classes()
            default = next((one["metadata"]["name"] for one in classes if _is_default(one)), "")
            names = frozenset(one["metadata"]["name"] for one in classes)
            world = World(tuple(live.values()), pods, names, default)
            return status_of(owner, world, problems, self._now)
        deployment = next((one for one in live.values() if one["kind"] == "Deployment"), None)
        return pool_status_of(owner, deployment, pods, problems, self._now)

    async def _tell(
        self,
        owner: Object,
        status: Mapping[str, Any],
        wrote: bool,
        problems: tuple[Problem, ...],
    ) -> tuple[str, ...]:
        """Writes the status where it differs, and the events that its change is worth."""
        before = owner.get("status") or {}
        if before == status:
            return ()
        for told in due(before, status, wrote, problems):
            await self._post(owner, told)  # before the status, which would let it be forgotten
        patch = {"status": {**dict.fromkeys(before.keys() - status.keys()), **status}}
        ref = reference(owner)
        try:
            live = await self._cluster.patch(
                ref, patch, PatchKind.MERGE, subresource="status", manager=OPERATOR_MANAGER
            )
        except NotFoundError as error:
            raise _GoneError from error
        self._reader.wrote(live)
        return (f"status {ref}",)

    async def _post(self, owner: Object, told: Any) -> None:
        if self._mute:
            return
        try:
            await post(self._cluster, owner, told, self._now, OPERATOR_MANAGER)
        except ForbiddenError as error:
            # Not worth failing for: the conditions say the same.
            self._mute = True
            self._say(f"events are left out: {error.message}")

    @property
    def _now(self) -> str:
        return timestamp(self._clock.time())


async def survey(
    sort: Sort, owner: Object, made: Desired, reader: Reader
) -> tuple[Plan, dict[ObjectRef, Object]]:
    """What is to be done, and the live objects that are the owner's."""
    head = owner["metadata"]
    owned = await reader.owned(sort, head["namespace"], head["uid"])
    found: dict[ObjectRef, Object] = {reference(one): one for one in owned}
    mine = dict(found)
    for one in made.objects:
        ref = reference(one)
        if ref not in found and (live := await reader.find(ref)) is not None:
            found[ref] = live
    return plan(owner, made, found.get, owned), mine


def _holding(held: Collection[Step], owner: Object, now: str) -> dict[str, Any]:
    names = ", ".join(str(step.ref) for step in held)
    told = f"a session holds {names}; what is due for it is written when the session ends"
    return condition("Held", Part(True, "HeldBySession", told), owner, now)


def _is_default(item: Object) -> bool:
    return (item["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
