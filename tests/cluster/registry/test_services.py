"""Addresses and ports of services are given, kept, refused and given back."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any

import pytest

from kindling.cluster.model.api import Obj
from kindling.cluster.model.status import ApiError
from tests.cluster.registry.bench import SERVICES, Bench

PORTS = [{"port": 80}]


async def service(cluster: Bench, name: str, **spec: Any) -> Obj:
    return await cluster.create(
        SERVICES, name, spec={"ports": PORTS, "selector": {"a": "b"}} | spec
    )


async def test_a_service_has_an_address_of_the_service_network(cluster: Bench) -> None:
    spec = (await service(cluster, "a"))["spec"]
    assert ipaddress.ip_address(spec["clusterIP"]) in ipaddress.ip_network("10.198.0.0/16")
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
    assert "nodePort" not in spec["ports"][0]


async def test_no_two_services_share_an_address_or_port(cluster: Bench) -> None:
    made = await asyncio.gather(*(service(cluster, f"s{n}", type="NodePort") for n in range(40)))
    assert len({s["spec"]["clusterIP"] for s in made}) == 40
    ports = {s["spec"]["ports"][0]["nodePort"] for s in made}
    assert len(ports) == 40
    assert all(30000 <= port <= 32767 for port in ports)


async def test_an_address_is_free_again_when_its_service_goes(cluster: Bench) -> None:
    await service(cluster, "a", clusterIP="10.198.0.10")
    with pytest.raises(ApiError) as caught:
        await service(cluster, "b", clusterIP="10.198.0.10")
    assert caught.value.message == (
        'Service "b" is invalid: spec.clusterIPs: Invalid value: []string{"10.198.0.10"}: failed to'
        " allocate IP 10.198.0.10: provided IP is already allocated"
    )
    await cluster.delete(SERVICES, "a")
    await service(cluster, "b", clusterIP="10.198.0.10")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"clusterIP": "1.2.3.4"},
            'spec.clusterIPs: Invalid value: []string{"1.2.3.4"}: failed to allocate IP 1.2.3.4:'
            " the provided IP (1.2.3.4) is not in the valid range. The range of valid IPs is"
            " 10.198.0.0/16",
        ),
        (
            {"type": "NodePort", "ports": [{"port": 80, "nodePort": 40}]},
            "spec.ports[0].nodePort: Invalid value: 40: provided port is not in the valid range."
            " The range of valid ports is 30000-32767",
        ),
        (
            {"ipFamilyPolicy": "RequireDualStack"},
            'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured'
            " for dual-stack services",
        ),
        (
            {"ipFamilies": ["IPv6"]},
            'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster',
        ),
    ],
)
async def test_what_cannot_be_given_is_refused(cluster: Bench, spec: Obj, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        await service(cluster, "x", **spec)
    assert (caught.value.code, caught.value.message) == (
        422,
        f'Service "x" is invalid: {message}',
    )


async def test_a_port_that_is_taken_is_refused(cluster: Bench) -> None:
    ports = [{"port": 80, "nodePort": 31000}]
    await service(cluster, "a", type="NodePort", ports=ports)
    with pytest.raises(ApiError, match="31000: provided port is already allocated"):
        await service(cluster, "b", type="NodePort", ports=ports)
    udp = [{"port": 80, "nodePort": 31000, "protocol": "UDP"}]
    await service(cluster, "c", type="NodePort", ports=udp)


async def test_headless_and_external_services_have_no_address(cluster: Bench) -> None:
    headless = (await service(cluster, "a", clusterIP="None"))["spec"]
    assert (headless["clusterIP"], headless["clusterIPs"]) == ("None", ["None"])
    spec = {"type": "ExternalName", "externalName": "a.example"}
    external = (await cluster.create(SERVICES, "b", spec=spec))["spec"]
    assert "clusterIP" not in external
    blind = (await cluster.create(SERVICES, "c", spec={"clusterIP": "None"}))["spec"]
    assert blind["ipFamilyPolicy"] == "RequireDualStack"


async def test_what_was_given_stays_when_a_replacement_leaves_it_out(cluster: Bench) -> None:
    made = await service(cluster, "a", type="NodePort")
    bare = {
        "metadata": {"name": "a", "namespace": "default"},
        "spec": {"type": "NodePort", "ports": PORTS, "selector": {"a": "c"}},
    }
    after = await cluster.api.update(SERVICES, bare)
    assert after["spec"]["clusterIP"] == made["spec"]["clusterIP"]
    assert after["spec"]["ports"] == made["spec"]["ports"]
    assert after["spec"]["selector"] == {"a": "c"}


async def test_an_address_does_not_change(cluster: Bench) -> None:
    await service(cluster, "a")
    with pytest.raises(ApiError) as caught:
        await cluster.api.patch(SERVICES, "a", {"spec": {"clusterIP": "10.198.9.9"}}, "default")
    assert caught.value.message == (
        'Service "a" is invalid: spec.clusterIPs[0]: Invalid value: []string{"10.198.9.9"}: may not'
        " change once set"
    )


async def test_a_change_of_type_takes_and_gives_back(cluster: Bench) -> None:
    made = await service(cluster, "a")

    async def become(**spec: Any) -> Obj:
        found = await cluster.api.patch(SERVICES, "a", {"spec": spec}, "default")
        spec_now: Obj = found["spec"]
        return spec_now

    node = await become(type="NodePort")
    assert node["ports"][0]["nodePort"] >= 30000
    assert node["clusterIP"] == made["spec"]["clusterIP"]
    plain = await become(type="ClusterIP")
    assert "nodePort" not in plain["ports"][0]
    external = await become(type="ExternalName", externalName="x.y")
    assert "clusterIP" not in external
    assert (await become(type="ClusterIP", externalName=None))["clusterIP"]
