"""Disruption budgets, autoscalers without metrics, and what a cluster begins with."""

from __future__ import annotations

from typing import Any

from kindling.cluster.controllers.bootstrap import bootstrap
from kindling.cluster.controllers.kinds import (
    CLASSES,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    POD_AUTOSCALERS,
    SERVICES,
)
from kindling.cluster.controllers.meta import condition
from kindling.cluster.model.api import Obj
from tests.cluster.controllers.bed import Bed, deployment


def budget(**spec: Any) -> Obj:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }


def numbers(bed: Bed) -> tuple[int, ...]:
    status = bed.get(DISRUPTION_BUDGETS, "web")["status"]
    fields = ("expectedPods", "currentHealthy", "desiredHealthy", "disruptionsAllowed")
    return tuple(status[field] for field in fields)


async def test_a_budget_counts_what_may_go(bed: Bed) -> None:
    await bed.create(DEPLOYMENTS, deployment(replicas=4))
    await bed.create(DISRUPTION_BUDGETS, budget(maxUnavailable="25%"))
    assert numbers(bed) == (4, 4, 3, 1)
    told = condition(bed.get(DISRUPTION_BUDGETS, "web")["status"], "DisruptionAllowed")
    assert told is not None
    assert (told["status"], told["reason"]) == ("True", "SufficientPods")
    bed.node.verdict = lambda _: "running"
    await bed.node_looks_again()
    assert numbers(bed) == (4, 0, 3, 0)
    told = condition(bed.get(DISRUPTION_BUDGETS, "web")["status"], "DisruptionAllowed")
    assert told is not None
    assert (told["status"], told["reason"]) == ("False", "InsufficientPods")


async def test_a_budget_may_name_a_number_that_must_stay(bed: Bed) -> None:
    await bed.create(DISRUPTION_BUDGETS, budget(minAvailable=2))
    assert numbers(bed) == (0, 0, 2, 0)
    await bed.create(DEPLOYMENTS, deployment(replicas=3))
    assert numbers(bed) == (3, 3, 2, 1)


async def test_an_autoscaler_says_that_it_has_no_metrics(bed: Bed) -> None:
    await bed.create(DEPLOYMENTS, deployment())
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "maxReplicas": 5,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        },
    }
    await bed.create(POD_AUTOSCALERS, scaler)
    status = bed.get(POD_AUTOSCALERS, "web")["status"]
    found = {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}
    assert found == {
        "AbleToScale": ("True", "SucceededGetScale"),
        "ScalingActive": ("False", "FailedGetResourceMetric"),
    }
    assert status["currentReplicas"] == 3


async def test_a_cluster_begins_with_its_own_service_and_follows_its_address(bed: Bed) -> None:
    await bootstrap(bed.api, authority="PEM", endpoint=("10.199.0.1", 6443))
    await bed.settle()
    assert bed.get(SERVICES, "kubernetes")["spec"]["clusterIP"] == "10.198.0.1"
    assert bed.get(SERVICES, "kube-dns", "kube-system")["spec"]["clusterIP"] == "10.198.0.10"
    assert bed.get(CLASSES, "standard")["volumeBindingMode"] == "WaitForFirstConsumer"
    (subset,) = bed.get(ENDPOINTS, "kubernetes")["subsets"]
    assert (subset["addresses"], subset["ports"][0]["port"]) == ([{"ip": "10.199.0.1"}], 6443)
    before = bed.api.revision
    await bootstrap(bed.api, authority="PEM", endpoint=("10.199.0.1", 6443))
    assert bed.api.revision == before
    await bootstrap(bed.api, authority="PEM", endpoint=("10.199.0.1", 7777))
    await bed.settle()
    (subset,) = bed.get(ENDPOINTS, "kubernetes")["subsets"]
    assert subset["ports"][0]["port"] == 7777
    assert bed.get(ENDPOINT_SLICES, "kubernetes")["ports"][0]["port"] == 7777
