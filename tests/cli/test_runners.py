"""`kindling runners` on clusters in memory, with the operator played by the test (rows 42, 44)."""

from __future__ import annotations

import asyncio
import base64
import getpass
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest

from kindling.engine.runnerpools import Asked, ci_page, create_pool, pool_manifest, pool_rows
from kindling.engine.runnerwait import wait_ready
from kindling.errors import ClusterError, UsageError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import TimeLimitError
from kindling.operator.controller import run as operator_run
from kindling.operator.controller.definitions import install_definitions
from kindling.operator.pools.desired import Agent, desired_pool
from kindling.operator.pools.model import Pool, read_pool
from kindling.operator.pools.providers import api_url
from kindling.operator.pools.status import pool_status_of
from kindling.testing.cluster import FakeCluster
from tests.cli.clusters import Clusters, typed

Kindling = Callable[..., Any]

_TOKEN = "ghp-0123456789abcdef"
_API = "apps.example.com/v1alpha1"
_ARGS = ("-u", "Ada.L@x.org", "-r", "ada/shop")
_POOL = "ada-l-x-org-runner-pool"
_BASE = "ada-l-x-org-runner"


class Operator:
    """Does for every pool what the operator does, when it is asked to."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.started: list[object] = []
        self.stopped = 0

    async def start(self, *_: object, **options: object) -> Operator:
        self.started.append(options["identity"])
        return self

    async def settled(self) -> None:
        for kind in ("CIRunnerPool", "GithubActionRunnerPool"):
            for pool in (await self.cluster.list(_API, kind)).items:
                self.see_to(pool)

    async def stop(self) -> None:
        self.stopped += 1

    def see_to(self, pool: Any, *, ready: bool = True) -> None:
        children = desired_pool(pool, ("github-token", "gitlab-token"), Agent("i", ("c",))).objects
        deployment: Any = None
        for child in children:
            if child["kind"] == "Deployment":
                deployment = self.cluster.put(child)
        wanted = deployment["spec"]["replicas"]
        counts: tuple[str, ...] = ("replicas", "updatedReplicas", "availableReplicas")
        status: dict[str, int] = dict.fromkeys(counts, wanted if ready else 0)
        status["observedGeneration"] = deployment["metadata"]["generation"]
        ref = ObjectRef("apps/v1", "Deployment", deployment["metadata"]["name"], "default")
        live = self.cluster.set_status(ref, status | {"replicas": wanted})
        own = ObjectRef(_API, pool["kind"], pool["metadata"]["name"], "default")
        now = datetime.now(UTC).isoformat()
        self.cluster.set_status(own, pool_status_of(pool, live, (), (), now))


@pytest.fixture
def cluster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    assert folder.is_dir()
    clusters = Clusters(monkeypatch)
    clusters.connect()
    return clusters.add("kind-fake")


@pytest.fixture
def operator(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """The operator of this command, where no other acts."""

    async def nobody(_cluster: object, _namespace: str) -> str:
        return ""

    made = Operator(cluster)
    monkeypatch.setattr(operator_run, "start", made.start)
    monkeypatch.setattr(operator_run, "holder", nobody)
    return made


@pytest.fixture
def create(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`create("-u", ...)` with a token on standard input."""

    def call(*args: str, token: str = f"{_TOKEN}\n") -> Any:
        typed(monkeypatch, token.encode())
        return kindling("runners", "create", *args)

    return call


def _get(cluster: FakeCluster, kind: str, name: str) -> Any:
    (found,) = (one for one in cluster.objects(kind) if one["metadata"]["name"] == name)
    return found


def test_create_writes_the_token_and_the_pool_and_prints_the_page(
    create: Callable[..., Any], cluster: FakeCluster, operator: Operator
) -> None:
    result = create(*_ARGS)
    assert result.code == 0, result.err
    assert result.out == "https://github.com/ada/shop/actions\n"
    secret = _get(cluster, "Secret", "github-runner-token")
    assert secret["data"] == {"github-token": base64.b64encode(_TOKEN.encode()).decode()}
    pool = _get(cluster, "CIRunnerPool", _POOL)
    assert pool["spec"] == {
        "githubUsername": "Ada.L@x.org",
        "repository": "ada/shop",
        "githubURL": "https://github.com",
        "ciProvider": "github",
        "tokenSecretRef": {"name": "github-runner-token", "key": "github-token"},
        "replicas": 1,
        "labels": ["kindling"],
    }
    assert _TOKEN not in result.out + result.err
    assert _TOKEN not in json.dumps(pool)
    assert len(operator.started) == operator.stopped == 1
    assert "the runners of `ada-l-x-org-runner-pool` are ready" in result.err


def test_create_for_gitlab_with_all_options(
    create: Callable[..., Any], cluster: FakeCluster, operator: Operator
) -> None:
    result = create(
        *("-u", "ada", "-r", "group/sub/shop", "--ci-provider", "gitlab"),
        *("--url", "https://git.example.com/", "--replicas", "3"),
        *("--labels", "big,fast", "--labels", "big", "--image", "own/runner:1"),
    )
    assert result.code == 0, result.err
    assert result.out == "https://git.example.com/group/sub/shop/-/pipelines\n"
    assert set(_get(cluster, "Secret", "gitlab-runner-token")["data"]) == {"gitlab-token"}
    spec = _get(cluster, "CIRunnerPool", "ada-runner-pool")["spec"]
    assert (spec["replicas"], spec["labels"], spec["runnerImage"]) == (
        3,
        ["big", "fast"],
        "own/runner:1",
    )
    assert operator.stopped == 1


@pytest.mark.parametrize(
    ("user", "name"),
    [
        ("Jeff.D.Vincent@gmail.com", "jeff-d-vincent-gmail-com"),
        ("ada_l", "ada-l"),
        ("Ünïcode", "ncode"),
        ("--__--", "runner"),
        ("$(rm -rf)", "rm-rf"),
        ("x" * 300, "x" * 56),
    ],
)
def test_row_42_names_come_from_the_user_and_are_legal(user: str, name: str) -> None:
    asked = Asked(user, "ada/shop", _TOKEN)
    if len(name) > 51:
        with pytest.raises(UsageError, match="at most 63 characters"):
            pool_manifest(asked, "ns")
        return
    manifest, pool = pool_manifest(asked, "ns")
    assert manifest["metadata"]["name"] == f"{name}-runner-pool"
    assert pool.base == f"{name}-runner"


@pytest.mark.parametrize(
    ("provider", "url", "repository", "api", "page"),
    [
        ("github", "", "a/b", "https://api.github.com", "https://github.com/a/b/actions"),
        (
            "github",
            "https://ghe.example.com/",
            "https://ghe.example.com/a/b.git",
            "https://ghe.example.com/api/v3",
            "https://ghe.example.com/a/b/actions",
        ),
        ("gitlab", "", "a/b", "https://gitlab.com/api/v4", "https://gitlab.com/a/b/-/pipelines"),
        (
            "gitlab",
            "http://git.local:8080",
            "g/s/b",
            "http://git.local:8080/api/v4",
            "http://git.local:8080/g/s/b/-/pipelines",
        ),
    ],
)
def test_row_44_addresses_of_the_api_and_the_page(
    provider: str, url: str, repository: str, api: str, page: str
) -> None:
    _, pool = pool_manifest(Asked("ada", repository, _TOKEN, provider, url), "ns")
    assert (api_url(pool.provider, pool.url), ci_page(pool)) == (api, page)


@pytest.mark.parametrize(
    ("args", "token", "said"),
    [
        (("-r", "a/b"), _TOKEN, "no --username"),
        (("-u", "ada"), _TOKEN, "no --repo"),
        ((), _TOKEN, "no --username and --repo"),
        (_ARGS, "", "no token"),
        (_ARGS, " \n", "no token"),
        (_ARGS, "two words", "That is no token"),
        (_ARGS, "line\nline", "That is no token"),
        (_ARGS, "x" * 5000, "That is no token"),
        ((*_ARGS, "--ci-provider", "circleci"), _TOKEN, "Known: [github, gitlab]"),
        ((*_ARGS, "--ci-provider", "Gitlab"), _TOKEN, "Did you mean `gitlab`?"),
        (("-u", "ada", "-r", "shop"), _TOKEN, "`--repo`: `shop` is not `owner/name`"),
        (("-u", "ada", "-r", "a/b/../c"), _TOKEN, "`--repo`"),
        (("-u", "ada", "-r", "a/b;rm"), _TOKEN, "`--repo`"),
        ((*_ARGS, "--url", "ftp://x"), _TOKEN, "`--url`: `ftp://x` is no http or https address"),
        ((*_ARGS, "--replicas", "0"), _TOKEN, "replicas"),
        ((*_ARGS, "-n", "../x"), _TOKEN, "cannot be the name of a namespace"),
    ],
)
def test_what_cannot_be_a_pool_is_told_before_a_cluster_is_asked(
    create: Callable[..., Any], cluster: FakeCluster, args: tuple[str, ...], token: str, said: str
) -> None:
    cluster.go_away()
    result = create(*args, token=token)
    assert (result.code, said in result.err) == (2, True), result.err
    assert "x" * 5000 not in result.err


@pytest.mark.parametrize("args", [("--token", _TOKEN), ("-t", _TOKEN), ("--", _TOKEN)])
def test_a_token_on_the_command_line_is_refused_and_not_repeated(
    create: Callable[..., Any], cluster: FakeCluster, args: tuple[str, ...]
) -> None:
    result = create(*_ARGS, *args)
    assert result.code == 2
    assert "does not belong on the command line" in result.err
    assert _TOKEN not in result.err
    assert cluster.writes == []


def test_what_is_missing_is_asked_for_on_a_terminal(
    kindling: Kindling, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["ada", "ada/shop"])
    asked: list[str] = []

    def visible(text: str, **_: object) -> str:
        asked.append(text)
        return next(answers)

    def hidden(text: str, _stream: object) -> str:
        asked.append(text)
        return _TOKEN

    monkeypatch.setattr(click, "prompt", visible)
    monkeypatch.setattr(getpass, "getpass", hidden)
    typed(monkeypatch, b"", terminal=True)
    result = kindling("runners", "create")
    assert result.code == 0, result.err
    assert asked == [
        "User name at github",
        "Repository (owner/name)",
        "Access token (not shown): ",
    ]
    assert operator.stopped == 1


def test_a_second_create_changes_the_pool_in_place(
    create: Callable[..., Any], cluster: FakeCluster, operator: Operator
) -> None:
    create(*_ARGS)
    before = _get(cluster, "CIRunnerPool", _POOL)["metadata"]["uid"]
    assert create(*_ARGS, "--replicas", "2", token="another").code == 0
    pool = _get(cluster, "CIRunnerPool", _POOL)
    assert (pool["metadata"]["uid"], pool["spec"]["replicas"]) == (before, 2)
    secret = _get(cluster, "Secret", "github-runner-token")
    assert base64.b64decode(secret["data"]["github-token"]) == b"another"
    assert operator.stopped == 2


def test_two_pools_of_one_user_would_have_runners_of_one_name(
    create: Callable[..., Any], cluster: FakeCluster, operator: Operator
) -> None:
    create(*_ARGS)
    pool = _get(cluster, "CIRunnerPool", _POOL)
    cluster.remove(ObjectRef(_API, "CIRunnerPool", _POOL, "default"))
    head = {"name": "own", "namespace": "default"}
    cluster.put({**pool, "kind": "GithubActionRunnerPool", "metadata": head})
    result = create(*_ARGS)
    assert result.code == 2
    assert "GithubActionRunnerPool `own`" in result.err
    assert cluster.objects("CIRunnerPool") == ()
    assert operator.stopped == 1


def test_an_operator_that_acts_already_is_left_to_it(
    create: Callable[..., Any],
    cluster: FakeCluster,
    operator: Operator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def installed(_cluster: object, namespace: str) -> str:
        # It sees to the pool as soon as that is there.
        assert namespace == "default"
        await operator.settled()
        return "kindling-operator-7d9f"

    monkeypatch.setattr(operator_run, "holder", installed)
    result = create(*_ARGS)
    assert (result.code, operator.started) == (0, [])
    assert "the operator is `kindling-operator-7d9f`" in result.err
    assert len(cluster.objects("Deployment")) == 1


async def _pool(cluster: FakeCluster) -> tuple[Any, Pool]:
    await install_definitions(cluster)
    await create_pool(cluster, Asked("ada", "ada/shop", _TOKEN), "default", lambda _: None)
    manifest = await cluster.get(ObjectRef(_API, "CIRunnerPool", "ada-runner-pool", "default"))
    pool = read_pool(manifest)
    assert isinstance(pool, Pool)
    return manifest, pool


async def test_a_pool_that_nobody_sees_to_is_told_after_its_time() -> None:
    cluster = FakeCluster()
    _, pool = await _pool(cluster)
    told: list[str] = []
    with pytest.raises(TimeLimitError) as error:
        await wait_ready(cluster, pool, told.append, appears=0.05)
    assert "Deployment/ada-runner of the pool `ada-runner-pool` was not made" in error.value.message
    assert "no operator has seen to the pool" in error.value.details[0]
    assert "operator status" in error.value.hint
    assert told == ["waiting: NotReconciled: no operator has seen to the pool as it is now"]


async def test_the_reason_of_the_operator_is_told() -> None:
    cluster = FakeCluster()
    manifest, pool = await _pool(cluster)
    condition = {"type": "Ready", "status": "False", "reason": "SecretNotFound", "message": "none"}
    ref = ObjectRef(_API, "CIRunnerPool", "ada-runner-pool", "default")
    generation = manifest["metadata"]["generation"]
    cluster.set_status(ref, {"observedGeneration": generation, "conditions": [condition]})
    with pytest.raises(TimeLimitError) as error:
        await wait_ready(cluster, pool, lambda _: None, appears=0.05)
    assert error.value.details == ("SecretNotFound: none",)


async def test_runners_that_become_ready_while_waited_for_end_the_wait() -> None:
    cluster = FakeCluster()
    manifest, pool = await _pool(cluster)
    told: asyncio.Queue[str] = asyncio.Queue()
    operator = Operator(cluster)
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(wait_ready(cluster, pool, told.put_nowait))
        assert "NotReconciled" in await told.get()
        operator.see_to(manifest, ready=False)
        while "0 of 1 pods of `ada-runner` are available" not in await told.get():
            assert not waiting.done()
        operator.see_to(manifest, ready=True)


async def test_a_deployment_of_before_the_change_does_not_count() -> None:
    cluster = FakeCluster()
    manifest, pool = await _pool(cluster)
    Operator(cluster).see_to(manifest)
    await create_pool(
        cluster, Asked("ada", "ada/shop", _TOKEN, replicas=2), "default", lambda _: None
    )
    with pytest.raises(TimeLimitError):
        await wait_ready(cluster, pool, lambda _: None, appears=0.05, rolls=0.05)


async def test_runners_that_cannot_start_are_not_waited_for() -> None:
    cluster = FakeCluster()
    manifest, pool = await _pool(cluster)
    Operator(cluster).see_to(manifest, ready=False)
    deployment = ObjectRef("apps/v1", "Deployment", "ada-runner", "default")
    cluster.set_status(deployment, {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1})
    labels = (await cluster.get(deployment))["spec"]["template"]["metadata"]["labels"]
    head = {"name": "ada-runner-1", "namespace": "default", "labels": labels}
    containers = [{"name": "runner", "image": "no/such"}]
    cluster.put(
        {"apiVersion": "v1", "kind": "Pod", "metadata": head, "spec": {"containers": containers}}
    )
    waits = {"waiting": {"reason": "ImagePullBackOff", "message": "no/such: not found"}}
    status = {"containerStatuses": [{"name": "runner", "state": waits}]}
    cluster.set_status(ObjectRef("v1", "Pod", "ada-runner-1", "default"), status)
    with pytest.raises(ClusterError, match="cannot start: pod ada-runner-1, container runner") as e:
        await wait_ready(cluster, pool, lambda _: None)
    assert "no/such: not found" in e.value.message
    (row,) = await pool_rows(cluster, "default")
    assert (row.ready, row.reason) == (False, "ImagePullBackOff")


def test_list_shows_readiness_of_both_kinds(
    create: Callable[..., Any], kindling: Kindling, cluster: FakeCluster, operator: Operator
) -> None:
    create(*_ARGS)
    head = {"name": "old", "namespace": "default", "generation": 1}
    spec = {"githubUsername": "bob", "repository": "b/c", "tokenSecretRef": {"name": "t"}}
    cluster.put(
        {"apiVersion": _API, "kind": "GithubActionRunnerPool", "metadata": head, "spec": spec}
    )
    form = json.loads(kindling("runners", "list", "--json").out)
    assert {key: form[key] for key in ("schema", "type", "context")} == {
        "schema": 1,
        "type": "runners",
        "context": "kind-fake",
    }
    ada, bob = form["pools"]
    assert ada == {
        "name": _POOL,
        "namespace": "default",
        "kind": "CIRunnerPool",
        "provider": "github",
        "username": "Ada.L@x.org",
        "repository": "ada/shop",
        "page": "https://github.com/ada/shop/actions",
        "replicas": 1,
        "ready_runners": 1,
        "ready": True,
        "reason": "",
        "message": "",
    }
    assert (bob["kind"], bob["ready"], bob["reason"]) == (
        "GithubActionRunnerPool",
        False,
        "NotReconciled",
    )
    table = kindling("runners")
    assert table.code == 0
    assert f"{_POOL}  github" in table.out
    assert "NotReconciled: no operator" in table.out
    assert operator.stopped == 1


def test_list_in_a_cluster_that_knows_no_pools_is_empty(
    kindling: Kindling, cluster: FakeCluster
) -> None:
    result = kindling("runners", "list")
    assert (result.code, result.out) == (0, "")
    assert "no runner pools in namespace `default`" in result.err
    assert json.loads(kindling("runners", "list", "-A", "--json").out)["pools"] == []
    assert cluster.writes == []


def test_delete_takes_the_pool_and_the_token_that_no_other_has(
    create: Callable[..., Any], kindling: Kindling, cluster: FakeCluster, operator: Operator
) -> None:
    create(*_ARGS)
    result = create("-u", "bob", "-r", "ada/shop")
    assert "has its token in the same Secret" in result.err
    wrong = kindling("runners", "delete", "bob-runner-pol")
    assert (wrong.code, "Did you mean `bob-runner-pool`?" in wrong.err) == (2, True)
    assert kindling("runners", "delete", _POOL).code == 0
    assert len(cluster.objects("Secret")) == 1
    assert [one["metadata"]["name"] for one in cluster.objects("CIRunnerPool")] == [
        "bob-runner-pool"
    ]
    last = kindling("runners", "delete", "bob-runner-pool")
    assert "github-runner-token" in last.out
    assert cluster.objects("Secret") == ()
    assert cluster.objects("Deployment") == ()
    assert operator.stopped == 2
