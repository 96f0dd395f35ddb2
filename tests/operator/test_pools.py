"""Runner pools: names, rights, what the containers are told, and how they stand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kindling.operator.desired import Desired
from kindling.operator.pools.desired import Agent, desired_pool
from kindling.operator.pools.model import sanitised
from kindling.operator.pools.providers import PROVIDERS, api_url
from kindling.operator.pools.status import pool_status_of
from tests.operator.manifests import POOLS, Obj, documents, refusals, stored

AGENT = Agent("kindling:1", ("kindling", "agent"), {"KANIKO_IMAGE": "kaniko:1"})
NOW = "2026-01-01T00:00:00Z"


def pool(kind: str = "CIRunnerPool", **spec: Any) -> Obj:
    base = {
        "githubUsername": "jeff",
        "repository": "jeff/orders",
        "tokenSecretRef": {"name": "github-runner-token"},
    }
    head = {"name": "jeff-runner-pool", "namespace": "default", "uid": "u-1", "generation": 2}
    return {
        "apiVersion": "apps.example.com/v1alpha1",
        "kind": kind,
        "metadata": head,
        "spec": base | spec,
    }


def make(obj: Obj, keys: tuple[str, ...] = ("github-token", "gitlab-token")) -> Desired:
    return desired_pool(obj, keys, AGENT)


def children(obj: Obj) -> dict[str, Obj]:
    made = make(obj)
    assert made.problems == ()
    return {one["kind"]: one for one in made.objects}


def runner(obj: Obj) -> Obj:
    found: Obj = children(obj)["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    return found


def told(obj: Obj) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in runner(obj)["env"]}


@pytest.mark.parametrize("obj", documents(POOLS), ids=lambda obj: str(obj["spec"]["repository"]))
def test_a_server_takes_every_child(obj: Obj) -> None:
    """Also when the server has filled the defaults in before."""
    for one in (obj, stored(obj)):
        made = make(one)
        assert made.problems == ()
        assert [line for child in made.objects for line in refusals(child)] == []
        assert make(one) == made


@pytest.mark.parametrize(
    ("user", "name"),
    [
        ("Jeff.D.Vincent@gmail.com", "jeff-d-vincent-gmail-com"),
        ("", "runner"),
        ("__", "runner"),
        ("a--b!c", "a-bc"),
        ("x" * 80, "x" * 56),
    ],
)
def test_names(user: str, name: str) -> None:
    """Row 42."""
    assert sanitised(user) == name
    assert len(f"{name}-runner") <= 63


@pytest.mark.parametrize(
    ("provider", "url", "api"),
    [
        ("github", "https://github.com", "https://api.github.com"),
        ("github", "https://github.com/", "https://api.github.com"),
        ("github", "https://ghe.example.com/", "https://ghe.example.com/api/v3"),
        ("gitlab", "https://gitlab.com", "https://gitlab.com/api/v4"),
        ("gitlab", "https://lab.example.com/", "https://lab.example.com/api/v4"),
    ],
)
def test_addresses_of_the_api(provider: str, url: str, api: str) -> None:
    """Row 44."""
    assert api_url(PROVIDERS[provider], url) == api


@pytest.mark.parametrize("kind", ["CIRunnerPool", "GithubActionRunnerPool"])
def test_everything_goes_with_the_pool(kind: str) -> None:
    """Row 43: nothing is outside its namespace, all of it is owned by it."""
    for one in make(pool(kind)).objects:
        assert one["metadata"]["namespace"] == "default"
        assert one["metadata"]["name"] == "jeff-runner"
        assert one["metadata"]["ownerReferences"][0]["kind"] == kind
        assert not one["kind"].startswith("Cluster")


def test_rights_are_what_builds_need() -> None:
    """Row 43: no Secret is read, no pod entered, no right given on."""
    rules = children(pool())["Role"]["rules"]
    resources = {name for rule in rules for name in rule["resources"]}
    assert not resources & {"secrets", "pods/exec", "roles", "rolebindings", "serviceaccounts", "*"}
    assert "*" not in {verb for rule in rules for verb in rule["verbs"]}


def test_jobs_have_no_token_of_the_cluster() -> None:
    """The agent has, beside them."""
    pod = children(pool())["Deployment"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    mounts = {one["name"]: one["volumeMounts"] for one in pod["containers"]}
    assert [one["mountPath"] for one in mounts["runner"]] == ["/builds"]
    assert "agent-token" in {one["name"] for one in mounts["build-agent"]}
    assert "/builds" in {one["mountPath"] for one in mounts["build-agent"]}


def test_a_github_runner_is_told() -> None:
    env = told(pool(labels=["kindling"], runnerGroup="team"))
    assert env == {
        "GITHUB_PAT": "",
        "RUNNER_NAME_PREFIX": "jeff-jeff-runner-pool",
        "RUNNER_WORKDIR": "/home/runner/_work",
        "RUNNER_REPOSITORY_URL": "https://github.com/jeff/orders",
        "GITHUB_API_URL": "https://api.github.com",
        "RUNNER_REPO_SLUG": "jeff/orders",
        "GITHUB_USERNAME": "jeff",
        "RUNNER_LABELS": "self-hosted,jeff,kindling",
        "RUNNER_GROUP": "team",
        "RUNNER_EPHEMERAL": "false",
    }
    source = {"secretKeyRef": {"name": "github-runner-token", "key": "github-token"}}
    assert runner(pool())["env"][0] == {"name": "GITHUB_PAT", "valueFrom": source}


def test_a_gitlab_runner_is_told() -> None:
    """What the definition's defaults say of GitHub is not taken for meant."""
    legacy = {
        "githubURL": "https://github.com",
        "runnerImage": "ghcr.io/actions/actions-runner:latest",
        "workDir": "/runner/_work",
    }
    obj = pool(ciProvider="gitlab", repository="group/sub/orders", **legacy)
    env = told(obj)
    assert env["CI_SERVER_URL"] == "https://gitlab.com"
    assert env["GITLAB_API_URL"] == "https://gitlab.com/api/v4"
    assert env["GITLAB_PROJECT_REF"] == "group%2Fsub%2Forders"
    assert env["RUNNER_WORKDIR"] == "/builds"
    assert runner(obj)["image"].startswith("gitlab/gitlab-runner:v")


def test_a_users_own_parts() -> None:
    obj = pool(
        serviceAccountName="mine",
        env=[{"name": "RUNNER_EPHEMERAL", "value": "true"}, {"name": "A", "value": "b"}],
        volumes=[{"name": "cache", "emptyDir": {}}],
        volumeMounts=[{"name": "cache", "mountPath": "/cache"}],
        runnerImage="mine:1",
        workDir="/work",
        replicas=2,
        resources={"cpuLimit": 2},
    )
    objects = children(obj)
    assert "ServiceAccount" not in objects
    assert objects["RoleBinding"]["subjects"][0]["name"] == "mine"
    assert objects["Deployment"]["spec"]["replicas"] == 2
    made = runner(obj)
    assert made["image"] == "mine:1"
    assert made["resources"] == {"limits": {"cpu": "2"}}
    assert told(obj)["RUNNER_EPHEMERAL"] == "true"
    assert told(obj)["RUNNER_WORKDIR"] == "/work"
    names = [one["name"] for one in made["env"]]
    assert len(names) == len(set(names))
    assert {"name": "cache", "mountPath": "/cache"} in made["volumeMounts"]


@pytest.mark.parametrize("keys", [None, (), ("other",)])
def test_a_missing_token_is_waited_for(keys: tuple[str, ...] | None) -> None:
    """Row 41: and its coming is all that is needed."""
    obj = pool()
    made = desired_pool(obj, keys, AGENT)
    assert made.objects == ()
    status = pool_status_of(obj, None, (), made.problems, NOW)
    ready = status["conditions"][0]
    assert (ready["status"], ready["reason"]) == ("False", "SecretNotFound")
    assert "`github-token` of the Secret `github-runner-token`" in ready["message"]
    assert make(obj).objects


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"repository": "orders"}, "spec.repository"),
        ({"repository": "a/b/c"}, "spec.repository"),
        ({"repository": "a/b c"}, "spec.repository"),
        ({"githubURL": "github.com"}, "spec.githubURL"),
        ({"githubUsername": ""}, "spec.githubUsername"),
        ({"replicas": 0}, "spec.replicas"),
        ({"ciProvider": "jenkins"}, "spec.ciProvider"),
        ({"tokenSecretRef": {}}, "spec.tokenSecretRef.name"),
    ],
)
def test_what_could_not_run_is_refused(change: Obj, field: str) -> None:
    made = make(pool(**change))
    assert [(one.field, one.reason) for one in made.problems] == [(field, "InvalidSpec")]


def test_a_repository_may_be_given_as_its_address() -> None:
    obj = pool(repository="https://github.com/jeff/orders.git")
    assert told(obj)["RUNNER_REPO_SLUG"] == "jeff/orders"


def test_status() -> None:
    """It is kept when nothing changes, and what a runner is busy with is not lost."""
    obj = pool()
    good = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    live = children(obj)["Deployment"]
    live = live | {"metadata": live["metadata"] | {"generation": 1}, "status": good}
    obj["status"] = {"activeJob": "build"}
    status = pool_status_of(obj, live, (), (), NOW)
    assert status["readyRunners"] == 1
    assert status["activeJob"] == "build"
    assert [(one["type"], one["reason"]) for one in status["conditions"]] == [
        ("Ready", "RunnerReady"),
        ("DeploymentReady", "Available"),
    ]
    obj["status"] = status
    assert pool_status_of(obj, live, (), (), "2026-01-02T00:00:00Z") == status
    assert refusals(obj) == []
    worse = pool_status_of(obj, live | {"status": {}}, (), (), NOW)
    assert worse["conditions"][0]["reason"] == "RunnerNotReady"
    missing = pool_status_of(obj, None, (), (), NOW)
    assert missing["conditions"][0]["reason"] == "DeploymentMissing"


def test_no_token_stands_in_any_object() -> None:
    """Only where it is to be found."""
    text = json.dumps(make(pool()).objects)
    assert "secretKeyRef" in text
    assert '"kind": "Secret"' not in text
