"""Nobody gets in without credentials of this cluster, by any door."""

from __future__ import annotations

import base64
import json
import ssl

import aiohttp
import pytest

from kindling.cluster.model.resource import BUILTIN, builtin
from tests.cluster.apiserver.serve import Cluster

DOORS = [
    "/",
    "/api",
    "/api/v1",
    "/apis",
    "/apis/apps",
    "/apis/apps/v1",
    "/version",
    "/healthz",
    "/livez",
    "/readyz",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/api/v1",
    "/.well-known/openid-configuration",
    "/openid/v1/jwks",
    "/nothing",
    "/api/v1/watch/pods",
    "/api/v1/nothing",
    "/apis/none/v1/x",
]


def paths() -> list[str]:
    """Every door, every resource, and every subresource."""
    found = list(DOORS)
    for row in BUILTIN.values():
        base = f"/apis/{row.group}/{row.version}" if row.group else f"/api/{row.version}"
        place = f"{base}/namespaces/default" if row.namespaced else base
        found += [f"{place}/{row.plural}", f"{place}/{row.plural}/x"]
        found += [f"{place}/{row.plural}/x/{name}" for name in row.subresources]
    return found


async def test_every_path_is_closed_without_credentials(cluster: Cluster) -> None:
    connector = aiohttp.TCPConnector(ssl=cluster.authority.client_context())
    async with aiohttp.ClientSession(connector=connector) as session:
        for path in paths():
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
                url = f"https://127.0.0.1:{cluster.port}{path}"
                async with session.request(method, url) as answer:
                    assert answer.status == 401, (method, path)
                    status = await answer.json()
                    assert status["message"] == "Unauthorized"
                    assert (status["kind"], status["code"]) == ("Status", 401)


@pytest.mark.parametrize(
    "header",
    ["Bearer x", "Bearer ", "Basic YTpi", "bearer", "Token abc", "Bearer é", "Bearer a.b.c"],
)
async def test_wrong_credentials_are_as_good_as_none(cluster: Cluster, header: str) -> None:
    sent = {"authorization": header}
    status, _, _ = await cluster.request("GET", "/version", headers=sent)
    assert status == 401


async def test_a_websocket_without_credentials_is_refused(cluster: Cluster) -> None:
    connector = aiohttp.TCPConnector(ssl=cluster.authority.client_context())
    url = f"https://127.0.0.1:{cluster.port}/api/v1/namespaces/default/pods/x/exec?command=ls"
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(url)
    assert refused.value.status == 401


async def test_a_browser_may_name_its_token_among_the_subprotocols(cluster: Cluster) -> None:
    connector = aiohttp.TCPConnector(ssl=cluster.authority.client_context())
    url = f"https://127.0.0.1:{cluster.port}/api/v1/namespaces/default/pods/x/exec?command=ls"
    token = base64.urlsafe_b64encode(cluster.tokens.admin.encode()).decode().rstrip("=")
    offered = [f"base64url.bearer.authorization.k8s.io.{token}", "v4.channel.k8s.io"]
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(url, protocols=offered)
    assert refused.value.status == 404, "let in, and told that there is no such pod"


async def test_the_owners_certificate_opens(cluster: Cluster) -> None:
    context = cluster.authority.client_context(certificate=True)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
        session.post(
            f"https://127.0.0.1:{cluster.port}/apis/authentication.k8s.io/v1/selfsubjectreviews",
            json={},
        ) as answer,
    ):
        assert answer.status == 201
        user = (await answer.json())["status"]["userInfo"]
    assert user == {
        "username": "kubernetes-admin",
        "groups": ["system:masters", "system:authenticated"],
    }


async def test_a_bad_token_beside_a_good_certificate_is_refused(cluster: Cluster) -> None:
    context = cluster.authority.client_context(certificate=True)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
        session.get(
            f"https://127.0.0.1:{cluster.port}/version", headers={"authorization": "Bearer no"}
        ) as answer,
    ):
        assert answer.status == 401


async def test_plain_http_is_not_served(cluster: Cluster) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
            await session.get(f"http://127.0.0.1:{cluster.port}/version")


async def test_a_pods_token_ends_with_the_pod_and_with_its_account(cluster: Cluster) -> None:
    accounts, maps = builtin("serviceaccounts"), builtin("configmaps")
    meta = {"name": "web", "namespace": "default"}
    account = await cluster.api.create(accounts, {"metadata": meta}, "default")
    uid = account["metadata"]["uid"]
    token = cluster.tokens.issue("default", "web", uid=uid)
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    sent = {"content-type": "application/json"}
    status, _, body = await cluster.request("POST", path, "{}", sent, token=token)
    assert status == 201
    user = json.loads(body)["status"]["userInfo"]
    assert user["username"] == "system:serviceaccount:default:web"
    bound = cluster.tokens.issue("default", "web", uid=uid, pod=("gone", "p"))
    assert (await cluster.request("GET", "/version", token=bound))[0] == 401
    stale = cluster.tokens.issue("default", "web", uid="of the one before")
    assert (await cluster.request("GET", "/version", token=stale))[0] == 401
    await cluster.api.delete(accounts, "web", "default")
    assert (await cluster.request("GET", "/version", token=token))[0] == 401
    assert maps


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "https://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
    ],
)
async def test_pages_of_other_origins_are_refused(
    cluster: Cluster, headers: dict[str, str]
) -> None:
    status, _, body = await cluster.request("GET", "/version", headers=headers)
    assert (status, json.loads(body)["reason"]) == (403, "Forbidden")


async def test_our_own_names_and_origin_are_taken(cluster: Cluster) -> None:
    for host in ("localhost", "kubernetes.default.svc:443", "[::1]:6443", "10.198.0.1"):
        assert (await cluster.request("GET", "/version", headers={"host": host}))[0] == 200
    own = {"origin": f"https://127.0.0.1:{cluster.port}"}
    assert (await cluster.request("GET", "/version", headers=own))[0] == 200


async def test_the_user_of_a_token_is_told_to_whoever_asks(cluster: Cluster) -> None:
    async def review(spec: dict[str, object]) -> dict[str, object]:
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        sent = {"content-type": "application/json"}
        _, _, body = await cluster.request("POST", path, json.dumps({"spec": spec}), sent)
        found = json.loads(body)["status"]
        assert isinstance(found, dict)
        return found

    good = await review({"token": cluster.tokens.admin})
    assert good["authenticated"] is True
    bad = await review({"token": "x"})
    assert bad == {"authenticated": False, "user": {}, "error": "invalid bearer token"}
