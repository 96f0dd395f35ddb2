"""Row 18, and logs of what runs without a session."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kindling.operator.install.manifests import INSTALLATION_LABEL
from kindling.testing.cluster import FakeCluster
from tests.environments.conftest import Kindling, pod, workload

API = "apps.example.com/v1alpha1"
ENVIRONMENT = {
    "apiVersion": API,
    "kind": "DevStagingEnvironment",
    "metadata": {"name": "orders.v2", "namespace": "default"},
    "spec": {
        "deployment": {"image": "nginx", "port": 80},
        "service": {"port": 80},
        "dependencies": [{"type": "postgres"}],
    },
}


def stand(fake: FakeCluster, name: str, *containers: str, **metadata: Any) -> None:
    """A Deployment and its pod, whose containers have said two lines each."""
    place = metadata.get("namespace", "default")
    live = fake.put(workload(name, **metadata))
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    owner["uid"] = live["metadata"]["uid"]
    running = [{"name": one, "state": {"running": {}}} for one in containers]
    made = pod(
        f"{name}-1",
        {"phase": "Running", "containerStatuses": running},
        namespace=place,
        ownerReferences=[owner],
        labels={"app": name},
    )
    fake.put(made)
    for one in containers:
        fake.log_lines[place, f"{name}-1", one] = [f"{one} begins", f"{one} works"]


@pytest.fixture
def furnished(fake: FakeCluster) -> FakeCluster:
    fake.add_kind(API, "DevStagingEnvironment")
    fake.put(ENVIRONMENT)
    stand(fake, "orders-v2", "orders-v2")
    stand(fake, "orders-v2-postgres", "postgres")
    return fake


@pytest.mark.usefixtures("furnished")
def test_names_of_environments_and_dependencies_are_read_without_a_session(
    kindling: Kindling,
) -> None:
    done = kindling("logs", "orders.v2", "orders.v2/postgres", "--tail", "1")
    assert done.out.splitlines() == [
        "orders.v2 orders-v2-1/orders-v2 | orders-v2 works",
        "orders.v2/postgres orders-v2-postgres-1/postgres | postgres works",
    ]
    (form,) = map(
        json.loads, kindling("logs", "orders.v2", "--tail", "1", "--json").out.splitlines()
    )
    assert (form["resource"], form["stream"], form["at"]) == (
        "orders.v2",
        "pod/orders-v2-1/orders-v2",
        None,
    )


@pytest.mark.usefixtures("furnished")
def test_a_name_that_nothing_has_is_told_with_the_nearest(kindling: Kindling) -> None:
    done = kindling("logs", "orders.v2/postgras")
    assert (done.code, done.out) == (2, "")
    assert "Did you mean `orders.v2/postgres`?" in done.err


def test_row_18_the_operator_that_is_installed(fake: FakeCluster, kindling: Kindling) -> None:
    fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kindling-system"}})
    labels = {INSTALLATION_LABEL: "kindling-system"}
    containers = ("kindling-operator", "proxy")
    stand(fake, "kindling-operator", *containers, namespace="kindling-system", labels=labels)
    done = kindling("logs", "--operator")
    assert done.out.splitlines() == [
        "operator kindling-operator-1/kindling-operator | kindling-operator begins",
        "operator kindling-operator-1/kindling-operator | kindling-operator works",
    ]
    assert len(kindling("logs", "--operator", "--all").out.splitlines()) == 4


def test_row_18_upstreams_operator_is_found_too(fake: FakeCluster, kindling: Kindling) -> None:
    fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kindling-system"}})
    labels = {"control-plane": "controller-manager"}
    name = "kindling-controller-manager"
    stand(fake, name, name, namespace="kindling-system", labels=labels)
    assert "begins" in kindling("logs", "--operator").out


@pytest.mark.parametrize(("words", "since"), [((), 300.0), (("--since", "1h"), 3600.0)])
def test_row_18_five_minutes_unless_another_time_is_asked_for(
    fake: FakeCluster,
    kindling: Kindling,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    since: float,
) -> None:
    fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kindling-system"}})
    labels = {INSTALLATION_LABEL: "kindling-system"}
    stand(
        fake, "kindling-operator", "kindling-operator", namespace="kindling-system", labels=labels
    )
    asked: list[float | None] = []
    genuine = fake.logs

    def logs(*args: Any, **options: Any) -> Any:
        asked.append(options["since"])
        return genuine(*args, **options)

    monkeypatch.setattr(fake, "logs", logs)
    kindling("logs", "--operator", *words)
    assert asked == [since]


@pytest.mark.usefixtures("fake")
def test_row_18_without_an_operator_it_says_how_to_have_one(kindling: Kindling) -> None:
    done = kindling("logs", "--operator")
    assert done.code == 1
    assert "no operator is installed" in done.err
    assert "`kindling operator install`" in done.err


def test_options_that_mean_nothing_together_are_refused(kindling: Kindling) -> None:
    assert "`--all` is for" in kindling("logs", "--all").err
    assert kindling("logs", "orders", "--operator").code == 2
