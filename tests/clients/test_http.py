"""What clients of every language rely on beneath the verbs: connections, coding, discovery."""

from __future__ import annotations

import asyncio
import base64
import gzip
import http.client
import json
import os
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import yaml

from tests.clients.packages import client

pytestmark = pytest.mark.cluster
Fresh = Callable[[str], str]
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@pytest.fixture(scope="module")
def context(api: Any) -> ssl.SSLContext:
    settings = api.configuration
    made = ssl.create_default_context(cafile=settings.ssl_ca_cert)
    if settings.cert_file:
        made.load_cert_chain(settings.cert_file, settings.key_file)
    return made


@pytest.fixture(scope="module")
def headers(api: Any) -> dict[str, str]:
    token = api.configuration.get_api_key_with_prefix("authorization")
    return {"Authorization": token} if token else {}


@pytest.fixture
def connection(api: Any, context: ssl.SSLContext) -> Iterator[http.client.HTTPSConnection]:
    server = urlsplit(api.configuration.host)
    assert server.hostname
    made = http.client.HTTPSConnection(
        server.hostname, server.port or 443, context=context, timeout=30
    )
    yield made
    made.close()


def test_one_connection_serves_many_requests(
    connection: http.client.HTTPSConnection, headers: dict[str, str]
) -> None:
    connection.connect()
    used = connection.sock
    for path, status in [("/version", 200), ("/none", 404), ("/api/v1/nodes", 200)] * 5:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        assert answer.status == status
        assert answer.version == 11
        answer.read()
        assert connection.sock is used, "the server closed the connection"


def test_a_long_answer_is_packed_only_for_those_who_ask(
    core: Any,
    namespace: str,
    fresh: Fresh,
    connection: http.client.HTTPSConnection,
    headers: dict[str, str],
) -> None:
    name = fresh("long")
    core.create_namespaced_config_map(
        namespace, {"metadata": {"name": name}, "data": {"text": "a line of it\n" * 50_000}}
    )
    path = f"/api/v1/namespaces/{namespace}/configmaps/{name}"
    bodies = {}
    for coding in ("identity", "gzip"):
        connection.request("GET", path, headers={**headers, "Accept-Encoding": coding})
        answer = connection.getresponse()
        assert answer.headers.get("Content-Encoding", "identity") == coding
        bodies[coding] = answer.read()
    assert len(bodies["gzip"]) * 10 < len(bodies["identity"])
    assert gzip.decompress(bodies["gzip"]) == bodies["identity"]


def test_discovery_tells_the_same_in_both_forms(
    connection: http.client.HTTPSConnection, headers: dict[str, str], embedded: None
) -> None:
    _ = embedded  # the aggregated form came in 1.26

    def get(path: str, accept: str) -> tuple[Any, str]:
        connection.request("GET", path, headers={**headers, "Accept": accept})
        answer = connection.getresponse()
        return json.loads(answer.read()), str(answer.headers["Content-Type"])

    for root in ("/api", "/apis"):
        document, kind = get(root, AGGREGATED)
        assert kind == AGGREGATED
        assert document["kind"] == "APIGroupDiscoveryList"
        for group in document["items"]:
            name = group["metadata"].get("name", "")
            for version in group["versions"]:
                path = f"/apis/{name}" if name else "/api"
                legacy, _kind = get(f"{path}/{version['version']}", "application/json")
                flat = {
                    (item["name"], item["kind"], tuple(sorted(item["verbs"])))
                    for item in legacy["resources"]
                }
                told = set()
                for item in version["resources"]:
                    verbs = tuple(sorted(item["verbs"]))
                    told.add((item["resource"], item["responseKind"]["kind"], verbs))
                    for sub in item.get("subresources", ()):
                        verbs = tuple(sorted(sub["verbs"]))
                        full = f"{item['resource']}/{sub['subresource']}"
                        told.add((full, sub["responseKind"]["kind"], verbs))
                assert told == flat


def test_who_asks_for_the_newest_discovery_gets_what_the_server_has(
    connection: http.client.HTTPSConnection, headers: dict[str, str]
) -> None:
    accept = f"{AGGREGATED},{AGGREGATED.replace('v=v2', 'v=v2beta1')},application/json"
    connection.request("GET", "/apis", headers={**headers, "Accept": accept})
    answer = connection.getresponse()
    kind = json.loads(answer.read())["kind"]
    assert kind in ("APIGroupDiscoveryList", "APIGroupList")
    assert ("APIGroupDiscoveryList" in answer.headers["Content-Type"]) == (
        kind == "APIGroupDiscoveryList"
    )


def test_documents_are_sent_once_to_clients_that_keep_them(
    connection: http.client.HTTPSConnection, headers: dict[str, str], is_embedded: bool
) -> None:
    asked = [("/openapi/v2", "application/json")]
    if is_embedded:  # newer than the other
        asked += [("/apis", AGGREGATED), ("/openapi/v3", "application/json")]
    for path, accept in asked:
        sent = {**headers, "Accept": accept}
        connection.request("GET", path, headers=sent)
        answer = connection.getresponse()
        assert (answer.status, len(answer.read()) > 1000) == (200, True)
        connection.request("GET", path, headers={**sent, "If-None-Match": answer.headers["ETag"]})
        again = connection.getresponse()
        assert (again.status, again.read()) == (304, b"")


def test_what_a_client_caches_holds_until_a_kind_is_defined(api: Any, core: Any) -> None:
    _ = core
    names = {group.name for group in client.ApisApi(api).get_api_versions().groups}
    assert {"apps", "batch", "networking.k8s.io", "apiextensions.k8s.io"} <= names
    first = client.AppsV1Api(api).get_api_resources()
    again = client.AppsV1Api(api).get_api_resources()
    assert first == again
    by_name = {item.name: item for item in first.resources}
    assert by_name["deployments"].short_names == ["deploy"]
    assert by_name["deployments/scale"].kind == "Scale"


@pytest.mark.parametrize(
    ("authorization", "statuses"),
    [
        ("Bearer nonsense", {401}),
        ("Bearer a.b.c", {401}),
        ("Basic eDp5", {401, 403}),  # a real server may take who says nothing for somebody
        ("", {401, 403}),
    ],
)
def test_who_has_no_credentials_gets_nothing(
    api: Any, is_embedded: bool, authorization: str, statuses: set[int]
) -> None:
    server = urlsplit(api.configuration.host)
    assert server.hostname
    bare = ssl.create_default_context(cafile=api.configuration.ssl_ca_cert)
    connection = http.client.HTTPSConnection(
        server.hostname, server.port or 443, context=bare, timeout=30
    )
    headers = {"Authorization": authorization} if authorization else {}
    connection.request("GET", "/api/v1/namespaces", headers=headers)
    answer = connection.getresponse()
    status = json.loads(answer.read())
    connection.close()
    assert answer.status in ({401} if is_embedded else statuses)
    assert (status["kind"], status["code"]) == ("Status", answer.status)


async def test_an_idle_watch_stays_open_and_wakes(
    api: Any, core: Any, namespace: str, context: ssl.SSLContext, headers: dict[str, str]
) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets"
    version = core.list_namespaced_secret(namespace).metadata.resource_version
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(
            f"{api.configuration.host}{path}",
            params={"watch": "1", "resourceVersion": version},
            ssl=context,
        ) as answer,
    ):
        assert answer.headers["Transfer-Encoding"] == "chunked"
        with pytest.raises(TimeoutError):
            # Longer than uvicorn's keep-alive, which must not count while an answer goes on.
            await asyncio.wait_for(answer.content.readline(), 8)
        await asyncio.to_thread(
            core.create_namespaced_secret, namespace, {"metadata": {"name": "wakes"}}
        )
        began = time.monotonic()
        event = json.loads(await asyncio.wait_for(answer.content.readline(), 10))
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "wakes")
        assert time.monotonic() - began < 5


async def test_a_list_can_be_streamed_as_a_watch(
    api: Any,
    core: Any,
    namespace: str,
    context: ssl.SSLContext,
    headers: dict[str, str],
    embedded: None,
) -> None:
    _ = embedded  # on by default since 1.32
    core.create_namespaced_limit_range(
        namespace, {"metadata": {"name": "one"}, "spec": {"limits": []}}
    )
    params = {
        "watch": "1",
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    path = f"{api.configuration.host}/api/v1/namespaces/{namespace}/limitranges"
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession(headers=headers) as session,
        session.get(path, params=params, ssl=context) as answer,
    ):
        first = json.loads(await answer.content.readline())
        last = json.loads(await answer.content.readline())
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "one")
    assert last["type"] == "BOOKMARK"
    assert last["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_two_hundred_watches_of_one_client_each_see_each_change(
    api: Any, core: Any, namespace: str, context: ssl.SSLContext, headers: dict[str, str]
) -> None:
    path = f"{api.configuration.host}/api/v1/namespaces/{namespace}/endpoints"
    version = core.list_namespaced_endpoints(namespace).metadata.resource_version
    params = {"watch": "1", "resourceVersion": version}
    opened = asyncio.Semaphore(0)

    async def see(session: aiohttp.ClientSession, count: int) -> list[str]:
        async with session.get(path, params=params, ssl=context) as answer:
            assert answer.status == 200
            opened.release()
            lines = [await answer.content.readline() for _ in range(count)]
            return [json.loads(line)["object"]["metadata"]["name"] for line in lines]

    connector = aiohttp.TCPConnector(limit=0)
    async with (
        asyncio.timeout(60),
        aiohttp.ClientSession(headers=headers, connector=connector) as session,
        asyncio.TaskGroup() as group,
    ):
        watches = [group.create_task(see(session, 5), name=f"watch {n}") for n in range(200)]
        for _ in watches:
            await opened.acquire()
        names = [f"seen-{number}" for number in range(5)]
        for name in names:
            async with session.post(path, json={"metadata": {"name": name}}, ssl=context) as answer:
                assert answer.status == 201
    assert [watch.result() for watch in watches] == [names] * 200


def test_the_kubeconfig_holds_all_that_a_client_needs() -> None:
    with open(os.environ["KUBECONFIG"], encoding="utf-8") as file:
        document = yaml.safe_load(file)
    context = next(
        item["context"]
        for item in document["contexts"]
        if item["name"] == document["current-context"]
    )
    cluster = next(
        item["cluster"] for item in document["clusters"] if item["name"] == context["cluster"]
    )
    authority = base64.b64decode(cluster["certificate-authority-data"])
    assert b"BEGIN CERTIFICATE" in authority
    assert cluster["server"].startswith("https://")
