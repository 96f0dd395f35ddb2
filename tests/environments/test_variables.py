"""`kindling env`: what is edited, what is kept, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from kindling.engine.environments.variables import (
    Listed,
    assignments,
    change,
    find,
    listed,
    names,
)
from kindling.errors import UsageError
from kindling.kube.errors import ConflictError
from kindling.operator.controller.definitions import install_definitions
from kindling.testing.cluster import FakeCluster

SECRET = {"valueFrom": {"secretKeyRef": {"name": "kindling-secret-stripe-key", "key": "value"}}}
ENVIRONMENT: dict[str, Any] = {
    "apiVersion": "apps.example.com/v1alpha1",
    "kind": "DevStagingEnvironment",
    "metadata": {"name": "orders", "namespace": "default"},
    "spec": {
        "deployment": {
            "image": "nginx",
            "port": 80,
            "env": [{"name": "A", "value": "1"}, {"name": "STRIPE_KEY", **SECRET}],
        },
        "service": {"port": 80},
        "dependencies": [{"type": "postgres"}],
    },
}


def deployment(name: str = "web", **metadata: Any) -> dict[str, Any]:
    containers = [
        {"name": "web", "image": "a", "ports": [{"containerPort": 80}]},
        {"name": "side", "image": "b", "env": [{"name": "X", "value": "1"}]},
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default", **metadata},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}},
        },
    }


@pytest.fixture
async def cluster() -> FakeCluster:
    """A cluster with one environment and one Deployment."""
    fake = FakeCluster()
    await install_definitions(fake)
    fake.put(ENVIRONMENT)
    fake.put(deployment())
    fake.writes.clear()
    return fake


async def test_setting_a_variable_of_an_environment_keeps_everything_else(
    cluster: FakeCluster,
) -> None:
    holder = await find(cluster, "default", "orders")
    edited = await change(cluster, holder, put={"B": "2", "A": "9"})
    assert set(edited.changed) == {"A", "B"}
    spec = (await cluster.get(holder.ref))["spec"]
    assert spec["deployment"].pop("env") == [
        {"name": "A", "value": "9"},
        {"name": "STRIPE_KEY", **SECRET},
        {"name": "B", "value": "2"},
    ]
    before = ENVIRONMENT["spec"]
    assert spec == {**before, "deployment": {"image": "nginx", "port": 80}}


async def test_setting_what_is_set_writes_nothing(cluster: FakeCluster) -> None:
    edited = await change(cluster, await find(cluster, "default", "orders"), put={"A": "1"})
    assert (edited.changed, edited.same) == ((), ("A",))
    assert cluster.writes == []


async def test_unsetting_is_idempotent(cluster: FakeCluster) -> None:
    holder = await find(cluster, "default", "orders")
    assert (await change(cluster, holder, drop=("A", "NIX"))).same == ("NIX",)
    again = await change(cluster, await find(cluster, "default", "orders"), drop=("A",))
    assert again.changed == ()
    assert len(cluster.writes) == 1


async def test_a_value_takes_the_place_of_a_reference(cluster: FakeCluster) -> None:
    holder = await find(cluster, "default", "orders")
    await change(cluster, holder, put={"STRIPE_KEY": "plain"})
    env = (await cluster.get(holder.ref))["spec"]["deployment"]["env"]
    assert env[1] == {"name": "STRIPE_KEY", "value": "plain"}


async def test_values_of_secrets_are_never_listed(cluster: FakeCluster) -> None:
    found = listed(await find(cluster, "default", "orders"))
    assert found == (
        Listed("DATABASE_URL", None, "dependency postgres"),
        Listed("A", "1"),
        Listed("STRIPE_KEY", None, "secret kindling-secret-stripe-key, value"),
    )


async def test_of_a_deployment_one_container_is_edited_and_the_others_are_kept(
    cluster: FakeCluster,
) -> None:
    holder = await find(cluster, "default", "web", "side")
    await change(cluster, holder, put={"Y": "2"})
    containers = (await cluster.get(holder.ref))["spec"]["template"]["spec"]["containers"]
    assert containers[0] == {"name": "web", "image": "a", "ports": [{"containerPort": 80}]}
    assert [one["name"] for one in containers[1]["env"]] == ["X", "Y"]
    assert (await find(cluster, "default", "web")).container == "web"


async def test_a_change_in_between_is_kept(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The patch is for the version that was read: a server refuses it for another."""
    holder = await find(cluster, "default", "orders")
    await change(cluster, holder, put={"MEANWHILE": "1"})
    genuine = cluster.patch

    async def strict(ref: Any, patch: Any, *args: Any, **options: Any) -> Any:
        live = await cluster.get(ref)
        if patch["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"]:
            raise ConflictError("changed", transient=True)
        return await genuine(ref, patch, *args, **options)

    monkeypatch.setattr(cluster, "patch", strict)
    await change(cluster, holder, put={"B": "2"})
    env = (await cluster.get(holder.ref))["spec"]["deployment"]["env"]
    assert [one["name"] for one in env] == ["A", "STRIPE_KEY", "MEANWHILE", "B"]


async def test_an_unknown_name_is_told_with_the_nearest(cluster: FakeCluster) -> None:
    with pytest.raises(UsageError) as caught:
        await find(cluster, "default", "order")
    assert caught.value.hint == "Did you mean `orders`?"
    with pytest.raises(UsageError) as caught:
        await find(cluster, "default", "web", "sode")
    assert caught.value.hint == "Did you mean `side`?"


@pytest.mark.parametrize(
    ("name", "hint"), [("orders", "env ... orders`"), ("orders-postgres", "spec.dependencies")]
)
async def test_a_child_of_an_environment_is_not_edited(name: str, hint: str) -> None:
    """Its operator would put it back."""
    cluster = FakeCluster()
    owner = {"kind": "DevStagingEnvironment", "name": "orders", "uid": "1", "apiVersion": "x/v1"}
    cluster.put(deployment(name, ownerReferences=[owner]))
    with pytest.raises(UsageError, match="would put it back") as caught:
        await find(cluster, "default", name)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("A", "`A` sets nothing"),
        ("=1", "`` is no name"),
        ("1A=2", "`1A` is no name"),
        ("A B=2", "`A B` is no name"),
    ],
)
def test_words_that_set_nothing_are_refused(word: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        assignments([word])


def test_words_are_taken_as_they_are() -> None:
    assert assignments(["A=", "B=x=y", "C=a b"]) == {"A": "", "B": "x=y", "C": "a b"}
    assert names(["A", "B", "A"]) == ("A", "B")
    with pytest.raises(UsageError, match="given twice"):
        assignments(["A=1", "A=2"])
    with pytest.raises(UsageError, match="is no name") as caught:
        names(["A=1"])
    assert "write `A` alone" in caught.value.hint
