"""Variables, commands, users and limits of containers."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kindling.cluster.images.protocol import ImageConfig
from kindling.cluster.node.expansion import expand
from kindling.cluster.node.names import Resolver, resolver_of
from kindling.cluster.node.quantity import in_units, quantity
from tests.cluster.node.bed import Bed

NAMES = st.text("ABC_", min_size=1, max_size=3)


@given(st.text("$()AB_ x"), st.dictionaries(NAMES, st.text("xyz")))
def test_doubling_every_dollar_keeps_the_text(text: str, values: dict[str, str]) -> None:
    assert expand(text.replace("$", "$$"), values) == text


@given(NAMES, st.text("xyz$(A)"))
def test_a_value_is_not_expanded_again(name: str, value: str) -> None:
    assert expand(f"<$({name})>", {name: value}) == f"<{value}>"


@pytest.mark.parametrize(
    ("text", "result"),
    [("$(A)-$(B)", "1-$(B)"), ("$$(A)", "$(A)"), ("$A $", "$A $"), ("$(A", "$(A"), ("$()", "$()")],
)
def test_what_is_no_reference_stays(text: str, result: str) -> None:
    assert expand(text, {"A": "1"}) == result


@pytest.mark.parametrize(
    ("text", "divisor", "units"),
    [
        ("500m", "1", 1),
        ("500m", "1m", 500),
        ("128Mi", "1Mi", 128),
        ("1G", "1Mi", 954),
        ("2e3", "1", 2000),
        ("1.5", "0", 2),
        ("1Ki", "1", 1024),
    ],
)
def test_quantities_are_divided_and_rounded_up(text: str, divisor: str, units: int) -> None:
    assert in_units(quantity(text), divisor) == units


async def env_of(bed: Bed, meta: Any = None, /, **fields: Any) -> dict[str, str]:
    await bed.pod(containers=[fields], meta=meta)
    await bed.running()
    return bed.process().env


def field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


async def test_values_refer_to_what_came_before(bed: Bed) -> None:
    env = await env_of(
        bed,
        env=[
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)$(C)$$(A)"},
            {"name": "C", "value": "3"},
        ],
    )
    assert env["B"] == "1$(C)$(A)"
    assert env["HOSTNAME"] == "web"
    assert env["PATH"].startswith("/usr/local/sbin:")


async def test_maps_and_secrets_give_variables(bed: Bed) -> None:
    await bed.create("configmaps", "cfg", data={"colour": "red", "size": "9"})
    await bed.create("secrets", "sec", data={"key": base64.b64encode(b"hush").decode()})
    absent = {"name": "nowhere", "optional": True}
    env = await env_of(
        bed,
        envFrom=[
            {"prefix": "C_", "configMapRef": {"name": "cfg"}},
            {"secretRef": {"name": "sec"}},
            {"configMapRef": absent},
        ],
        env=[
            {"name": "SIZE", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "size"}}},
            {"name": "NONE", "valueFrom": {"secretKeyRef": {**absent, "key": "x"}}},
            {"name": "BOTH", "value": "$(C_colour) $(SIZE)"},
            {"name": "key", "value": "mine"},
        ],
    )
    assert (env["C_colour"], env["SIZE"], env["BOTH"], env["key"]) == ("red", "9", "red 9", "mine")
    assert "NONE" not in env


async def test_a_pod_can_ask_about_itself(bed: Bed) -> None:
    resource = {"containerName": "main", "resource": "limits.memory", "divisor": "1Mi"}
    env = await env_of(
        bed,
        {"labels": {"app": "web"}, "annotations": {"example.org/x": "y"}},
        resources={"limits": {"memory": "64Mi"}, "requests": {"cpu": "250m"}},
        env=[
            field("NAME", "metadata.name"),
            field("APP", "metadata.labels['app']"),
            field("X", "metadata.annotations['example.org/x']"),
            field("NODE", "spec.nodeName"),
            field("IP", "status.podIP"),
            field("HOST", "status.hostIP"),
            field("ACCOUNT", "spec.serviceAccountName"),
            {"name": "MEM", "valueFrom": {"resourceFieldRef": resource}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}},
        ],
    )
    assert (env["NAME"], env["APP"], env["X"], env["NODE"]) == ("web", "web", "y", "here")
    assert env["IP"] == bed.status()["podIP"]
    assert (env["HOST"], env["MEM"], env["CPU"]) == ("10.199.0.1", "64", "1")
    assert env["ACCOUNT"] == "default"


async def test_services_are_linked_unless_the_pod_declines(bed: Bed) -> None:
    api = {"clusterIP": "10.198.0.1", "ports": [{"name": "https", "port": 443, "protocol": "TCP"}]}
    shop = {"clusterIP": "10.198.0.9", "ports": [{"port": 80, "protocol": "TCP"}]}
    await bed.create("services", "kubernetes", spec=api)
    await bed.create("services", "my-shop", spec=shop)
    await bed.create("services", "headless", spec={**shop, "clusterIP": "None"})
    env = await env_of(bed, env=[{"name": "URL", "value": "http://$(MY_SHOP_SERVICE_HOST)"}])
    assert env["KUBERNETES_SERVICE_HOST"] == "10.198.0.1"
    assert env["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    assert env["KUBERNETES_PORT"] == "tcp://10.198.0.1:443"
    assert env["MY_SHOP_SERVICE_PORT"] == "80"
    assert env["MY_SHOP_PORT_80_TCP_ADDR"] == "10.198.0.9"
    assert env["URL"] == "http://10.198.0.9"
    assert not any(name.startswith("HEADLESS") for name in env)
    await bed.pod("alone", enableServiceLinks=False)
    await bed.running(pod="alone")
    env = bed.process().env
    assert "KUBERNETES_SERVICE_HOST" in env
    assert "MY_SHOP_SERVICE_HOST" not in env


@pytest.mark.parametrize(
    ("fields", "argv"),
    [
        ({}, ("entry", "run")),
        ({"args": ["$(A)"]}, ("entry", "1")),
        ({"command": ["run", "$(A)"]}, ("run", "1")),
        ({"command": ["run"], "args": ["x"]}, ("run", "x")),
    ],
)
async def test_commands_and_the_image_s(
    bed: Bed, fields: dict[str, Any], argv: tuple[str, ...]
) -> None:
    bed.images.configs["app:1"] = ImageConfig(
        entrypoint=("entry",), cmd=("run",), cwd="/app", env=(("A", "0"), ("B", "image"))
    )
    bed.fake.programs["entry"] = bed.fake.programs["run"]
    env = await env_of(bed, env=[{"name": "A", "value": "1"}], **fields)
    spec = bed.fake.started[-1]
    assert spec.argv == argv
    assert spec.cwd == "/app"
    assert (env["A"], env["B"]) == ("1", "image")


@pytest.mark.parametrize(
    ("pod", "own", "image", "user"),
    [
        ({}, {}, "app", "app"),
        ({"runAsUser": 7}, {}, "app", "7"),
        ({"runAsUser": 7, "runAsGroup": 8}, {"runAsUser": 9}, "app", "9:8"),
        ({}, {"runAsGroup": 8}, "app:3", "app:8"),
        ({"runAsNonRoot": True}, {}, "12", "12"),
    ],
)
async def test_users(bed: Bed, pod: Any, own: Any, image: str, user: str) -> None:
    bed.images.config = ImageConfig(cmd=("run",), user=image)
    await bed.pod(containers=[{"securityContext": own}], securityContext=pod)
    await bed.running()
    assert bed.fake.started[-1].user == user


@pytest.mark.parametrize(
    ("own", "image", "words"),
    [
        ({"runAsUser": 0}, "", "container's runAsUser breaks non-root policy"),
        ({}, "", "container has runAsNonRoot and image will run as root"),
        ({}, "0:0", "container has runAsNonRoot and image will run as root"),
        ({}, "nginx", "image has non-numeric user (nginx), cannot verify user is non-root"),
    ],
)
async def test_non_root_is_verified(bed: Bed, own: Any, image: str, words: str) -> None:
    bed.images.config = ImageConfig(cmd=("run",), user=image)
    await bed.pod(containers=[{"securityContext": {"runAsNonRoot": True, **own}}])
    await bed.until(lambda: bed.entry().get("state", {}).get("waiting", {}).get("message"))
    waiting = bed.entry()["state"]["waiting"]
    assert waiting["reason"] == "CreateContainerConfigError"
    assert words in waiting["message"]
    assert (
        f'(pod: "web_default({bed.get()["metadata"]["uid"]})", container: main)'
        in (waiting["message"])
    )


async def test_limits_groups_and_capabilities_reach_the_runtime(bed: Bed) -> None:
    await bed.pod(
        containers=[
            {
                "resources": {"limits": {"memory": "64Mi", "cpu": "1500m"}},
                "securityContext": {
                    "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
                    "readOnlyRootFilesystem": True,
                },
                "tty": True,
                "stdin": True,
                "workingDir": "/srv",
            }
        ],
        securityContext={"supplementalGroups": [5], "fsGroup": 6},
        shareProcessNamespace=True,
        hostname="named",
    )
    await bed.running()
    spec = bed.fake.started[-1]
    assert (spec.memory, spec.cpus, spec.groups) == (64 << 20, 1.5, (5, 6))
    assert (spec.add_capabilities, spec.drop_capabilities) == (("NET_ADMIN",), ("ALL",))
    assert spec.read_only_root
    assert (spec.tty, spec.stdin, spec.cwd) == (True, True, "/srv")
    sandbox = bed.fake.specs[bed.get()["metadata"]["uid"]]
    assert (sandbox.hostname, sandbox.shared_pids) == ("named", True)
    assert bed.status()["qosClass"]


def test_a_name_server_on_this_machines_loopback_is_not_what_a_pod_asks() -> None:
    """Of `dnsPolicy: Default`: a pod has a loopback of its own, and nobody answers there."""
    host = Resolver.parse("nameserver 127.0.0.53\nnameserver ::1\nnameserver 9.9.9.9\n")
    reached = host.reached_from_pods("10.198.0.10")
    pod = {"metadata": {"namespace": "default"}, "spec": {"dnsPolicy": "Default"}}
    assert resolver_of(pod, reached).nameservers == ("10.198.0.10", "9.9.9.9")
