"""Tokens of service accounts: asked for, used from outside, reviewed, and of no use afterwards."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kindling.cluster.pki.tokens import Tokens
from tests.clients.packages import ApiException, client
from tests.clients.pods import Pods

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("embedded")]
Fresh = Callable[[str], str]


@contextmanager
def bearing(api: Any, token: str) -> Iterator[Any]:
    """A client that has the token and nothing else."""
    settings: Any = client.Configuration()
    settings.host = api.configuration.host
    settings.ssl_ca_cert = api.configuration.ssl_ca_cert
    settings.api_key = {"authorization": f"Bearer {token}"}
    settings.api_key_prefix = {}
    settings.cert_file = settings.key_file = None
    settings.refresh_api_key_hook = None
    with client.ApiClient(settings) as found:
        yield found
        found.rest_client.pool_manager.clear()


def issue(core: Any, namespace: str, name: str, **spec: Any) -> Any:
    body = {"spec": {"audiences": [], "expirationSeconds": 600, **spec}}
    return core.create_namespaced_service_account_token(name, namespace, body)


def claims(token: str) -> Any:
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def _past(seconds: float) -> float:
    return time.time() - seconds


def review(api: Any, token: str, *audiences: str) -> Any:
    return (
        client.AuthenticationV1Api(api)
        .create_token_review({"spec": {"token": token, "audiences": list(audiences) or None}})
        .status
    )


@pytest.fixture
def account(core: Any, namespace: str, fresh: Fresh) -> str:
    name = fresh("account")
    core.create_namespaced_service_account(namespace, {"metadata": {"name": name}})
    return name


def test_a_token_says_who_its_bearer_is(api: Any, core: Any, namespace: str, account: str) -> None:
    asked = issue(core, namespace, account)
    assert 590 < asked.status.expiration_timestamp.timestamp() - time.time() < 610
    name = f"system:serviceaccount:{namespace}:{account}"
    with bearing(api, asked.status.token) as bearer:
        me = client.AuthenticationV1Api(bearer).create_self_subject_review({})
        assert me.status.user_info.username == name
        assert f"system:serviceaccounts:{namespace}" in me.status.user_info.groups
        assert "system:authenticated" in me.status.user_info.groups
        client.CoreV1Api(bearer).create_namespaced_config_map(
            namespace, {"metadata": {"name": account}}
        )
    told = review(api, asked.status.token)
    assert told.authenticated
    assert (told.user.username, told.user.uid) == (
        name,
        core.read_namespaced_service_account(account, namespace).metadata.uid,
    )
    body = claims(asked.status.token)
    assert body["sub"] == name
    assert body["kubernetes.io"]["serviceaccount"]["name"] == account


def test_a_token_for_another_audience_is_not_for_the_server(
    api: Any, core: Any, namespace: str, account: str
) -> None:
    token = issue(core, namespace, account, audiences=["vault"]).status.token
    assert claims(token)["aud"] == ["vault"]
    with bearing(api, token) as bearer, pytest.raises(ApiException) as caught:
        client.CoreV1Api(bearer).list_namespaced_config_map(namespace)
    assert caught.value.status == 401
    assert not review(api, token).authenticated
    told = review(api, token, "vault", "other")
    assert (told.authenticated, told.audiences) == (True, ["vault"])


def test_a_token_dies_with_its_account(api: Any, core: Any, namespace: str, account: str) -> None:
    token = issue(core, namespace, account).status.token
    with bearing(api, token) as bearer:
        there = client.CoreV1Api(bearer)
        there.list_namespaced_config_map(namespace)
        core.delete_namespaced_service_account(account, namespace)
        core.create_namespaced_service_account(namespace, {"metadata": {"name": account}})
        with pytest.raises(ApiException) as caught:
            there.list_namespaced_config_map(namespace)
    assert caught.value.status == 401
    assert not review(api, token).authenticated


def test_a_token_that_is_bound_dies_with_its_pod(
    api: Any, core: Any, namespace: str, account: str, pods: Pods, fresh: Fresh
) -> None:
    name = fresh("bound")
    core.create_namespaced_pod(
        namespace,
        {
            "metadata": {"name": name},
            "spec": {
                "serviceAccountName": account,
                "nodeSelector": {"kindling.dev/none": "such"},
                "containers": [{"name": "main", "image": "busybox:1.36"}],
            },
        },
    )
    reference = {"kind": "Pod", "apiVersion": "v1", "name": name}
    token = issue(core, namespace, account, boundObjectRef=reference).status.token
    assert claims(token)["kubernetes.io"]["pod"]["name"] == name
    assert review(api, token).authenticated
    core.delete_namespaced_pod(name, namespace, grace_period_seconds=0)
    assert not review(api, token).authenticated
    _ = pods


def test_a_token_that_was_changed_is_refused(
    api: Any, core: Any, namespace: str, account: str
) -> None:
    head, body, signature = issue(core, namespace, account).status.token.split(".")
    forged = claims(f"{head}.{body}.")
    forged["sub"] = "system:serviceaccount:kube-system:default"
    other = base64.urlsafe_b64encode(json.dumps(forged).encode()).decode().rstrip("=")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    for token in (f"{head}.{other}.{signature}", f"{none}.{body}.", f"{head}.{body}."):
        with bearing(api, token) as bearer, pytest.raises(ApiException) as caught:
            client.CoreV1Api(bearer).list_namespaced_config_map(namespace)
        assert caught.value.status == 401
        assert not review(api, token).authenticated


def test_a_short_life_is_refused_and_a_long_one_cut(
    core: Any, namespace: str, account: str
) -> None:
    with pytest.raises(ApiException) as caught:
        issue(core, namespace, account, expirationSeconds=5)
    assert caught.value.status == 422
    assert "may not specify a duration less than 10 minutes" in str(caught.value.body)


def test_a_secret_of_the_token_kind_is_filled(
    api: Any, core: Any, namespace: str, account: str
) -> None:
    name = f"{account}-token"
    core.create_namespaced_secret(
        namespace,
        {
            "metadata": {
                "name": name,
                "annotations": {"kubernetes.io/service-account.name": account},
            },
            "type": "kubernetes.io/service-account-token",
        },
    )
    until = time.monotonic() + 10
    data: dict[str, str] = {}
    while not data.get("token"):
        assert time.monotonic() < until, "nobody filled the secret"
        data = core.read_namespaced_secret(name, namespace).data or {}
    assert set(data) == {"ca.crt", "namespace", "token"}
    token = base64.b64decode(data["token"]).decode()
    assert review(api, token).user.username.endswith(f":{account}")


def test_a_token_whose_time_is_over_is_refused(
    api: Any, core: Any, namespace: str, account: str
) -> None:
    # Nobody waits for ten minutes: it was signed with the cluster's own key, two hours ago.
    keys = Path(os.environ["KUBECONFIG"]).parent / "pki"
    if not (keys / "service-accounts.key").is_file():
        pytest.skip("the cluster's keys are not beside its kubeconfig")
    uid = core.read_namespaced_service_account(account, namespace).metadata.uid
    for ago, status in ((0, 200), (7200, 401)):
        tokens = Tokens(keys, now=partial(_past, ago))
        token = tokens.issue(namespace, account, uid=uid, lifetime=3600)
        with bearing(api, token) as bearer:
            try:
                client.CoreV1Api(bearer).list_namespaced_config_map(namespace)
                found = 200
            except ApiException as error:
                found = error.status
        assert found == status
        assert bool(review(api, token).authenticated) == (status == 200)


def test_a_secrets_token_ends_with_the_secret(
    api: Any, core: Any, namespace: str, account: str
) -> None:
    name = f"{account}-brief"
    core.create_namespaced_secret(namespace, {"metadata": {"name": name}})
    reference = {"kind": "Secret", "apiVersion": "v1", "name": name}
    token = issue(core, namespace, account, boundObjectRef=reference).status.token
    assert review(api, token).authenticated
    core.delete_namespaced_secret(name, namespace)
    assert not review(api, token).authenticated
