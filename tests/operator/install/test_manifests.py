"""What an installed operator consists of, and what it may do."""

from __future__ import annotations

from typing import Any

import pytest

from kindling.operator.install.manifests import (
    INSTALLATION_LABEL,
    KINDS,
    NAME,
    SYSTEM,
    Installation,
    operator_objects,
)
from kindling.operator.install.rights import (
    LEASE,
    cluster_rules,
    lease_rules,
    operator_rules,
)
from kindling.operator.pools.rights import agent_rules

EVERYWHERE = Installation("kindling:1")
SOME = Installation("kindling:1", "tools", ("team-a", "team-b"))


def of_kind(told: Installation, kind: str) -> list[dict[str, Any]]:
    return [one for one in operator_objects(told) if one["kind"] == kind]


def pod(told: Installation) -> dict[str, Any]:
    [deployment] = of_kind(told, "Deployment")
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def places(told: Installation, kind: str) -> list[tuple[str, str]]:
    found = of_kind(told, kind)
    return [(one["metadata"].get("namespace", ""), one["metadata"]["name"]) for one in found]


def allowed(rules: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_an_operator_holds_all_rights_that_it_hands_out() -> None:
    """Else the server refuses the Role of a pool's build agent, but for `escalate`."""
    assert allowed(agent_rules()) <= allowed(operator_rules())


@pytest.mark.parametrize(
    "right",
    [
        ("", "nodes", "get"),
        ("", "nodes/proxy", "get"),
        ("", "pods/exec", "create"),
        ("", "pods/portforward", "create"),
        ("", "namespaces", "delete"),
        ("", "persistentvolumeclaims", "delete"),
        ("", "serviceaccounts/token", "create"),
        ("apiextensions.k8s.io", "customresourcedefinitions", "patch"),
        ("apps.example.com", "devstagingenvironments", "delete"),
        ("rbac.authorization.k8s.io", "clusterroles", "create"),
        ("rbac.authorization.k8s.io", "clusterrolebindings", "create"),
        ("rbac.authorization.k8s.io", "roles", "bind"),
        ("rbac.authorization.k8s.io", "roles", "escalate"),
    ],
)
def test_an_operator_may_not(right: tuple[str, str, str]) -> None:
    assert right not in allowed([*operator_rules(), *cluster_rules(), *lease_rules()])


def test_no_rule_says_all() -> None:
    for rule in [*operator_rules(), *cluster_rules(), *lease_rules()]:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


def test_only_its_own_lease_can_be_changed() -> None:
    for rule in lease_rules():
        if set(rule["verbs"]) & {"delete", "patch", "update"}:
            assert rule["resourceNames"] == [LEASE]


def test_one_for_all_namespaces_has_its_lease_where_all_look_for_it() -> None:
    elsewhere = Installation("kindling:1", "tools")
    assert (SYSTEM, f"{NAME}-tools-lease") in places(elsewhere, "Role")
    assert [name for _, name in places(elsewhere, "Namespace")] == ["tools", SYSTEM]


def test_one_for_some_namespaces_has_rights_in_no_other() -> None:
    [role] = of_kind(SOME, "ClusterRole")
    assert role["rules"] == cluster_rules()
    assert all(verb in ("get", "list", "watch") for _, _, verb in allowed(role["rules"]))
    assert {namespace for namespace, _ in places(SOME, "Role")} == {"team-a", "team-b", SYSTEM}


def test_one_for_some_namespaces_only_looks_at_the_lease_of_all() -> None:
    [role] = [one for one in of_kind(SOME, "Role") if one["metadata"]["namespace"] == SYSTEM]
    assert allowed([*role["rules"]]) == {
        ("coordination.k8s.io", "leases", verb) for verb in ("get", "list", "watch")
    }


def test_two_installations_share_no_object_but_namespaces() -> None:
    first, second = (
        {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in found}
        for found in (operator_objects(EVERYWHERE), operator_objects(SOME))
    )
    assert {kind for kind, _, _ in first & second} == {"Namespace"}


@pytest.mark.parametrize("told", [EVERYWHERE, SOME])
def test_each_binding_binds_the_account_to_a_role_that_is_there(told: Installation) -> None:
    for kind in ("Role", "ClusterRole"):
        roles = places(told, kind)
        bindings = of_kind(told, f"{kind}Binding")
        assert places(told, f"{kind}Binding") == roles
        for binding in bindings:
            assert binding["roleRef"]["kind"] == kind
            assert binding["roleRef"]["name"] == binding["metadata"]["name"]
            assert binding["subjects"] == [
                {"kind": "ServiceAccount", "name": NAME, "namespace": told.namespace}
            ]


@pytest.mark.parametrize("told", [EVERYWHERE, SOME])
def test_every_object_is_of_a_kind_that_is_removed_and_bears_the_label(told: Installation) -> None:
    for one in operator_objects(told):
        assert (one["apiVersion"], one["kind"]) in KINDS
        assert one["metadata"]["labels"][INSTALLATION_LABEL] == told.namespace


def test_the_container_is_nobody_and_changes_nothing_of_its_image() -> None:
    spec = pod(EVERYWHERE)
    [container] = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]


def test_on_this_machines_own_files_it_runs_as_whoever_owns_them() -> None:
    told = Installation("kindling.dev/host", command=("python", "-m", "kindling"), machine=True)
    assert "securityContext" not in pod(told)
    assert pod(told)["containers"][0]["command"] == ["python", "-m", "kindling"]


def test_the_namespaces_are_what_the_operator_is_told() -> None:
    args = pod(SOME)["containers"][0]["args"]
    assert args[-4:] == ["--namespace", "team-a", "--namespace", "team-b"]
    assert "--namespace" not in pod(EVERYWHERE)["containers"][0]["args"]


def test_it_listens_on_the_address_of_its_pod_alone() -> None:
    args = pod(EVERYWHERE)["containers"][0]["args"]
    assert args[args.index("--health-host") + 1] == "$(POD_IP)"


def test_pods_of_one_image_and_of_another_can_be_told_apart() -> None:
    hashes = {
        image: of_kind(Installation(image), "Deployment")[0]["spec"]["template"]["metadata"][
            "annotations"
        ]["kindling.dev/template-hash"]
        for image in ("kindling:1", "kindling:2")
    }
    assert hashes["kindling:1"] != hashes["kindling:2"]


def test_what_it_writes_covers_nothing_of_what_it_is_made_of() -> None:
    """kindling may lie below `/tmp`, and the volume for what is written would hide it there."""
    told = Installation(
        "kindling.dev/host", command=("/tmp/x/python",), machine=True, scratch="/var/tmp"
    )
    [container] = pod(told)["containers"]
    assert [one["mountPath"] for one in container["volumeMounts"]] == ["/var/tmp"]
    env = {one["name"]: one.get("value") for one in container["env"]}
    assert (env["HOME"], env["TMPDIR"]) == ("/var/tmp", "/var/tmp")
