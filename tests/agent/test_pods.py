"""The pod of a build is upstream's command line, and its status is read for what it means."""

from __future__ import annotations

from typing import Any

import pytest

from kindling.agent.orders import BuildOrder
from kindling.agent.pods import BuildSettings, Stage, build_pod, standing

SETTINGS = BuildSettings("ci", image="kaniko:1", agent="jeff-runner-x")
ORDER = BuildOrder("api", "registry:5000/api:jeff-abc", "docker/Dockerfile")


def container(pod: dict[str, Any]) -> dict[str, Any]:
    [found] = pod["spec"]["containers"]
    return dict(found)


def test_row_50_kaniko_is_told_destination_and_cache() -> None:
    args = container(build_pod(ORDER, SETTINGS, "0a"))["args"]
    assert args == [
        "--context=tar://stdin",
        "--destination=registry:5000/api:jeff-abc",
        "--dockerfile=docker/Dockerfile",
        "--insecure",
        "--insecure-registry=registry:5000",
        "--cache=true",
        "--cache-repo=registry:5000/cache",
        "--push-retry=3",
        "--skip-push-permission-check",
    ]


def test_a_registry_elsewhere_is_pushed_to_by_tls() -> None:
    args = container(build_pod(BuildOrder("api", "ghcr.io/o/api:1"), SETTINGS, "0a"))["args"]
    assert "--insecure" not in args
    assert not [one for one in args if one.startswith("--dockerfile")]


def test_a_build_has_no_token_one_input_and_an_end() -> None:
    spec = build_pod(ORDER, SETTINGS, "0a")["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["restartPolicy"] == "Never"
    assert spec["activeDeadlineSeconds"] > SETTINGS.limit
    assert spec["containers"][0]["stdin"] is spec["containers"][0]["stdinOnce"] is True


def test_pods_of_one_name_are_told_apart_and_names_are_made_legal() -> None:
    order = BuildOrder("My_Api.v2" + "x" * 100, "a:b")
    names = {build_pod(order, SETTINGS, token)["metadata"]["name"] for token in ("0a", "0b")}
    assert len(names) == 2
    assert all(len(name) < 64 and name.startswith("kaniko-my-api-v2x") for name in names)
    assert build_pod(BuildOrder("_", "a"), SETTINGS, "0a")["metadata"]["name"] == "kaniko-build-0a"


def test_a_build_goes_with_the_pod_of_its_agent() -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "jeff-runner-x", "uid": "u"}
    made = build_pod(ORDER, BuildSettings("ci", owner=owner, memory="2Gi"), "0a")
    assert made["metadata"]["ownerReferences"] == [owner]
    assert container(made)["resources"]["limits"] == {"memory": "2Gi"}


def status(state: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    states = [{"name": "kaniko", "state": state}] if state is not None else []
    return {"status": {"containerStatuses": states, **more}}


def test_a_pod_that_no_node_takes_says_why() -> None:
    told = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1"}
    found = standing(status(conditions=[told]))
    assert (found.stage, found.message) == (Stage.UNSCHEDULED, "Unschedulable: 0/1")


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "CreateContainerError"])
def test_a_container_that_does_not_start_may_yet(reason: str) -> None:
    found = standing(status({"waiting": {"reason": reason, "message": "no\n such thing"}}))
    assert (found.stage, found.hopeless) == (Stage.STUCK, False)
    assert found.message == f"{reason}: no such thing"


def test_an_image_name_that_is_none_is_hopeless() -> None:
    assert standing(status({"waiting": {"reason": "InvalidImageName"}})).hopeless


def test_a_container_that_is_made_is_starting() -> None:
    assert standing({}).stage is Stage.STARTING
    assert standing(status({"waiting": {"reason": "ContainerCreating"}})).stage is Stage.STARTING
    assert standing(status({"running": {}}, phase="Running")).stage is Stage.RUNNING


@pytest.mark.parametrize("code", [0, 1, 64])
def test_row_45_the_exit_code_is_the_tools(code: int) -> None:
    found = standing(status({"terminated": {"exitCode": code, "reason": "Error"}}, phase="Failed"))
    assert (found.stage, found.code, found.message) == (Stage.ENDED, code, "")


def test_a_build_out_of_memory_says_so() -> None:
    found = standing(status({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}))
    assert found.code == 137
    assert "memory" in found.message


@pytest.mark.parametrize(("reason", "code"), [("DeadlineExceeded", 124), ("Evicted", 125)])
def test_a_pod_that_failed_as_a_whole_says_why(reason: str, code: int) -> None:
    found = standing(status(phase="Failed", reason=reason, message="The node was low on disk"))
    assert (found.stage, found.code) == (Stage.ENDED, code)
    assert found.message == f"{reason}: The node was low on disk"
    killed = {"terminated": {"exitCode": 137, "reason": "Error"}}
    assert reason in standing(status(killed, phase="Failed", reason=reason)).message


def test_an_image_without_a_program_never_ran() -> None:
    ended = {"terminated": {"exitCode": 128, "reason": "StartError", "message": "not found"}}
    found = standing(status(ended, phase="Failed"))
    assert found.code == 125
    assert "cannot be run: not found" in found.message
