"""Laws of a pass over any environment that a server takes."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from hypothesis import given, settings

from kindling.kube.errors import UnreachableError
from kindling.testing.cluster import FakeCluster
from tests.operator.controller.bed import Bed
from tests.operator.manifests import Obj
from tests.operator.strategies import environments


def _bed(obj: Obj) -> Bed:
    """With what the strategies' environments refer to."""
    bed = Bed(Dying())
    head = {"name": "own", "namespace": "default"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": head, "data": {"k": "cEBzcy93"}}
    bed.cluster.put(secret)
    bed.cluster.put(secret | {"kind": "ConfigMap", "data": {"k": "p@ss/w"}})
    bed.put(obj)
    bed.cluster.writes.clear()
    return bed


class Dying(FakeCluster):
    """A cluster whose reader is killed after so many writes; a negative number is never."""

    left = -1

    def _die(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1

    async def apply(self, *args: Any, **options: Any) -> Any:
        self._die()
        return await super().apply(*args, **options)

    async def create(self, *args: Any, **options: Any) -> Any:
        self._die()
        return await super().create(*args, **options)

    async def patch(self, *args: Any, **options: Any) -> Any:
        self._die()
        return await super().patch(*args, **options)

    async def delete(self, *args: Any, **options: Any) -> Any:
        self._die()
        return await super().delete(*args, **options)


class Killed(BaseException):
    """Nothing may catch it, as nothing catches a signal 9."""


@given(environments())
@settings(max_examples=60, deadline=None)
def test_one_pass_is_enough_and_a_second_writes_nothing(obj: Obj) -> None:
    async def scenario() -> None:
        bed = _bed(obj)
        name = obj["metadata"]["name"]
        first = await bed.do(name)
        assert first.again is None
        state, count = bed.state(), len(bed.cluster.writes)
        assert (await bed.do(name)).writes == ()
        bed.reconciler = bed.fresh()
        assert (await bed.do(name)).writes == ()
        assert (bed.state(), len(bed.cluster.writes)) == (state, count)

    asyncio.run(scenario())


@given(environments(), environments())
@settings(max_examples=40, deadline=None)
def test_a_change_and_its_undoing_leave_what_was(obj: Obj, other: Obj) -> None:
    """But for claims and credentials, which are kept for their data."""

    async def scenario() -> None:
        bed = _bed(obj)
        name = obj["metadata"]["name"]
        if any(one.blocking for one in (await bed.do(name)).problems):
            return
        before = bed.state("Deployment", "Service", "Ingress")
        bed.put({**copy.deepcopy(other), "metadata": obj["metadata"]})
        await bed.do(name)
        bed.put(obj)
        await bed.do(name)
        after = bed.state("Deployment", "Service", "Ingress")
        assert after.keys() == before.keys()
        for ref, one in after.items():
            assert _without_digests(one) == _without_digests(before[ref])
        assert (await bed.do(name)).writes == ()

    asyncio.run(scenario())


def _without_digests(item: Obj) -> Obj:
    """Credentials that went with a dependency are drawn anew when it comes back."""
    result = copy.deepcopy(item)
    result["metadata"].get("annotations", {}).pop("apps.example.com/spec-hash", None)
    template = result["spec"].get("template", {}).get("metadata", {})
    template.get("annotations", {}).pop("apps.example.com/credentials-hash", None)
    result.pop("status", None)
    return result


@given(environments())
@settings(max_examples=25, deadline=None)
def test_a_pass_that_was_killed_at_any_write_is_taken_up(obj: Obj) -> None:
    """Whoever comes next ends where an undisturbed pass ends, with one and the same password."""

    async def scenario() -> None:
        name = obj["metadata"]["name"]
        whole = _bed(obj)
        await whole.do(name)
        for died in range(len(whole.cluster.writes)):
            bed = _bed(obj)
            assert isinstance(bed.cluster, Dying)
            bed.cluster.left = died
            try:
                await bed.do(name)
                raise AssertionError("it was not killed")
            except Killed:
                assert len(bed.cluster.writes) == died
            bed.cluster.left = -1
            bed.reconciler = bed.fresh()
            await bed.do(name)
            assert bed.state().keys() == whole.state().keys()
            assert _lasting(bed) == _lasting(whole)
            bed.reconciler = bed.fresh()
            assert (await bed.do(name)).writes == ()

    asyncio.run(scenario())


def _lasting(bed: Bed) -> list[tuple[str, Any]]:
    """Every write but those of events, of which one may be told twice."""
    return [(verb, ref) for verb, ref in bed.cluster.writes if ref.kind != "Event"]


async def test_a_pass_that_does_not_reach_the_cluster_ends_with_that(shop: Obj) -> None:
    bed = _bed(shop)
    bed.cluster.go_away()
    with pytest.raises(UnreachableError):
        await bed.do()
