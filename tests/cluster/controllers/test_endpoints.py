"""Endpoints and EndpointSlices say where a Service's pods are."""

from __future__ import annotations

from typing import Any

import pytest

from kindling.cluster.controllers.kinds import ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES
from kindling.cluster.model.api import Obj
from tests.cluster.controllers.bed import Bed, pod_obj


def service(name: str = "web", **spec: Any) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "labels": {"team": "a"}},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}], **spec},
    }


def web_pod(name: str, **spec: Any) -> Obj:
    return pod_obj(name, labels={"app": "web"}, **spec)


def slices(bed: Bed) -> list[Obj]:
    return [one for one in bed.all(ENDPOINT_SLICES) if one["metadata"]["name"] != "kubernetes"]


async def test_ready_and_unready_pods_are_told_apart(bed: Bed) -> None:
    bed.node.verdict = lambda pod: "running" if pod["metadata"]["name"] == "two" else "ready"
    await bed.create(SERVICES, service())
    await bed.create(PODS, web_pod("one"))
    await bed.create(PODS, web_pod("two"))
    one, two = bed.get(PODS, "one"), bed.get(PODS, "two")
    (subset,) = bed.get(ENDPOINTS, "web")["subsets"]
    assert subset["ports"] == [{"port": 8080, "protocol": "TCP"}]
    assert [one["ip"] for one in subset["addresses"]] == [one["status"]["podIP"]]
    assert [one["ip"] for one in subset["notReadyAddresses"]] == [two["status"]["podIP"]]
    assert subset["addresses"][0]["targetRef"]["uid"] == one["metadata"]["uid"]
    (made,) = slices(bed)
    meta = made["metadata"]
    assert meta["labels"] == {
        "team": "a",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert meta["ownerReferences"][0]["kind"] == "Service"
    assert [one["conditions"]["ready"] for one in made["endpoints"]] == [True, False]
    assert made["ports"] == [{"name": "", "port": 8080, "protocol": "TCP"}]
    bed.node.verdict = lambda _: "ready"
    await bed.node_looks_again()
    (subset,) = bed.get(ENDPOINTS, "web")["subsets"]
    assert len(subset["addresses"]) == 2
    (made,) = slices(bed)
    assert [one["conditions"]["ready"] for one in made["endpoints"]] == [True, True]


async def test_a_pod_on_its_way_out_serves_no_new_clients(bed: Bed) -> None:
    await bed.create(SERVICES, service())
    await bed.create(PODS, web_pod("one"))
    bed.node.holds_deletions = True
    await bed.delete(PODS, "one")
    assert "subsets" not in bed.get(ENDPOINTS, "web")
    (made,) = slices(bed)
    assert made["endpoints"][0]["conditions"] == {
        "ready": False,
        "serving": True,
        "terminating": True,
    }


async def test_named_ports_are_looked_up_in_each_pod(bed: Bed) -> None:
    def named(number: int) -> list[Obj]:
        port = {"name": "http", "containerPort": number}
        return [{"name": "main", "image": "app:1", "ports": [port]}]

    ports = [{"name": "web", "port": 80, "targetPort": "http"}]
    await bed.create(SERVICES, service(ports=ports))
    await bed.create(PODS, web_pod("one", containers=named(8080)))
    await bed.create(PODS, web_pod("two", containers=named(9090)))
    await bed.create(PODS, web_pod("three"))  # has no such port, and so is not there
    found = {
        subset["ports"][0]["port"]: len(subset["addresses"])
        for subset in bed.get(ENDPOINTS, "web")["subsets"]
    }
    assert found == {8080: 1, 9090: 1}
    assert sorted(one["ports"][0]["port"] for one in slices(bed)) == [8080, 9090]


async def test_a_headless_service_names_its_pods(bed: Bed) -> None:
    await bed.create(SERVICES, service(clusterIP="None", ports=[]))
    await bed.create(PODS, web_pod("one", hostname="one", subdomain="web"))
    live = bed.get(ENDPOINTS, "web")
    assert live["metadata"]["labels"]["service.kubernetes.io/headless"] == ""
    assert live["subsets"][0]["addresses"][0]["hostname"] == "one"
    assert slices(bed)[0]["endpoints"][0]["hostname"] == "one"


async def test_unready_addresses_are_published_on_demand(bed: Bed) -> None:
    bed.node.verdict = lambda _: "running"
    await bed.create(SERVICES, service(publishNotReadyAddresses=True))
    await bed.create(PODS, web_pod("one"))
    assert len(bed.get(ENDPOINTS, "web")["subsets"][0]["addresses"]) == 1
    assert slices(bed)[0]["endpoints"][0]["conditions"]["ready"] is True


@pytest.mark.parametrize("kind", [ENDPOINTS, ENDPOINT_SLICES])
async def test_what_somebody_wrote_for_a_service_without_selector_stays(
    bed: Bed, kind: Any
) -> None:
    await bed.create(SERVICES, service(selector=None))
    by_hand: Obj = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": "web",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "web"},
        },
    }
    if kind is ENDPOINTS:
        by_hand["subsets"] = [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 1}]}]
    else:
        by_hand |= {"addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.1"]}]}
    made = await bed.create(kind, by_hand)
    assert bed.get(kind, "web") == made
    await bed.delete(SERVICES, "web")
    assert bed.get(kind, "web") == made


async def test_they_go_with_the_service(bed: Bed) -> None:
    await bed.create(SERVICES, service())
    await bed.create(PODS, web_pod("one"))
    await bed.delete(SERVICES, "web")
    assert bed.all(ENDPOINTS) == []
    assert slices(bed) == []


async def test_a_pod_that_changes_its_labels_leaves(bed: Bed) -> None:
    await bed.create(SERVICES, service())
    await bed.create(PODS, web_pod("one"))
    await bed.patch(PODS, "one", {"metadata": {"labels": {"app": "other"}}})
    assert "subsets" not in bed.get(ENDPOINTS, "web")
    assert slices(bed)[0]["endpoints"] == []
