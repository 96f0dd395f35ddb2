"""The definitions are written where they are missing or differ, and left alone otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from kindling.errors import ClusterError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import ForbiddenError
from kindling.kube.protocol import Cluster, Object
from kindling.operator.controller.definitions import definitions, install_definitions
from kindling.testing.cluster import FakeCluster

NAMES = tuple(one["metadata"]["name"] for one in definitions())
REF = ObjectRef("apiextensions.k8s.io/v1", "CustomResourceDefinition", NAMES[0])


class Guarded(FakeCluster):
    """A cluster where we may not do some things to definitions."""

    denied: frozenset[str] = frozenset()

    async def get(self, ref: ObjectRef, **options: Any) -> Object:
        if "get" in self.denied and ref.kind == REF.kind:
            raise ForbiddenError("Cannot read it: it is forbidden")
        return await super().get(ref, **options)

    async def apply(self, manifest: Object, **options: Any) -> Object:
        if "apply" in self.denied and manifest["kind"] == REF.kind:
            raise ForbiddenError("Cannot apply it: it is forbidden", details=["ask somebody"])
        return await super().apply(manifest, **options)


async def test_they_are_written_once() -> None:
    cluster = FakeCluster()
    assert await install_definitions(cluster) == NAMES
    assert await install_definitions(cluster) == ()
    assert await install_definitions(cluster, force=True) == NAMES


async def test_one_of_another_version_is_replaced() -> None:
    cluster = FakeCluster()
    await install_definitions(cluster)
    await cluster.patch(REF, {"spec": {"names": {"shortNames": ["x"]}}}, manager="kubectl")
    assert await install_definitions(cluster) == NAMES[:1]
    assert (await cluster.get(REF))["spec"]["names"]["shortNames"] != ["x"]


async def test_who_may_not_write_them_is_told_what_to_do() -> None:
    cluster = Guarded()
    cluster.denied = frozenset({"apply"})
    with pytest.raises(ClusterError, match="does not know `DevStagingEnvironment`") as caught:
        await install_definitions(cluster)
    assert "kindling operator install" in caught.value.hint
    assert caught.value.details == ("ask somebody",)


async def test_who_may_not_even_look_is_content_where_the_kinds_are_served() -> None:
    """Somebody else installed them, and looks after them."""
    cluster = Guarded()
    await install_definitions(cluster)
    cluster.denied = frozenset({"get", "apply"})
    assert await install_definitions(cluster) == ()
    empty = Guarded()
    empty.denied = cluster.denied
    with pytest.raises(ClusterError, match="does not know"):
        await install_definitions(empty)


@pytest.mark.cluster
async def test_a_real_server_has_nothing_to_change_the_second_time(cluster: Cluster) -> None:
    """Also one that does not understand all that they say."""
    await install_definitions(cluster)
    before = {name: await _version(cluster, name) for name in NAMES}
    assert await install_definitions(cluster) == ()
    assert {name: await _version(cluster, name) for name in NAMES} == before


async def _version(cluster: Cluster, name: str) -> str:
    live = await cluster.get(ObjectRef(REF.api_version, REF.kind, name))
    return str(live["metadata"]["resourceVersion"])
