"""Logs, commands, ports and proxies of pods, asked for by kubectl, reach the node and come back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kindling.cluster.model.resource import builtin
from kindling.cluster.model.status import ApiError
from kindling.cluster.model.streams import ContainerProcess, ExecRequest, LogRequest
from tests.cluster.apiserver.serve import Cluster, serving

POD = "/api/v1/namespaces/default/pods/web"


class Node:
    """Runs commands as processes of this machine, and connects to its own loopback."""

    def __init__(self) -> None:
        self.asked: list[LogRequest] = []
        self.refusal: ApiError | None = None
        self.more = asyncio.Event()
        self.processes: list[asyncio.subprocess.Process] = []

    async def exec(
        self, namespace: str, pod: str, container: str, request: ExecRequest
    ) -> ContainerProcess:
        assert (namespace, pod, container) == ("default", "web", "main")
        if self.refusal is not None:
            raise self.refusal
        process = await asyncio.create_subprocess_exec(
            *request.command,
            stdin=asyncio.subprocess.PIPE if request.stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self.processes.append(process)

        async def end() -> None:
            if process.returncode is None:
                process.kill()
                await process.wait()

        return ContainerProcess(
            process.stdin, process.stdout, process.stderr, process.wait, lambda _: None, end
        )

    attach = exec  # noqa: A003

    async def logs(self, namespace: str, pod: str, request: LogRequest) -> AsyncIterator[bytes]:
        assert (namespace, pod) == ("default", "web")
        self.asked.append(request)

        async def lines() -> AsyncIterator[bytes]:
            yield b"one\n"
            if request.follow:
                await self.more.wait()
                yield b"two\n"

        return lines()

    async def connect(
        self, namespace: str, pod: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        assert (namespace, pod) == ("default", "web")
        return await asyncio.open_connection("127.0.0.1", port)


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
async def cluster(tmp_path: Path, node: Node) -> AsyncIterator[Cluster]:
    async with serving_a_pod(tmp_path, node) as running:
        yield running


@asynccontextmanager
async def serving_a_pod(folder: Path, node: Node) -> AsyncIterator[Cluster]:
    async with serving(folder, node) as running:
        account = {"metadata": {"name": "default", "namespace": "default"}}
        await running.api.create(builtin("serviceaccounts"), account, "default")
        container = {"name": "main", "image": "i", "ports": [{"name": "http", "containerPort": 1}]}
        pod = {
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"nodeName": "n", "containers": [container]},
        }
        made = await running.api.create(builtin("pods"), pod, "default")
        status = {"phase": "Running", "containerStatuses": []}
        await running.api.update(builtin("pods"), made | {"status": status}, "status")
        yield running


async def echo_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers a request with its own head."""
    head = await reader.readuntil(b"\r\n\r\n")
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nx-from: pod\r\n\r\n" % len(head)
    writer.write(answer + head)
    await writer.drain()
    writer.close()


@pytest.fixture(params=["websocket", "spdy"])
def spoken(request: pytest.FixtureRequest, cluster: Cluster) -> None:
    """Once as kubectl is since 1.31, and once as it was before."""
    if request.param == "spdy":
        cluster.environment["KUBECTL_REMOTE_COMMAND_WEBSOCKETS"] = "false"
        cluster.environment["KUBECTL_PORT_FORWARD_WEBSOCKETS"] = "false"


@pytest.mark.usefixtures("kubectl", "spoken")
class TestKubectl:
    async def test_a_command_runs_and_its_end_is_told(self, cluster: Cluster) -> None:
        script = "read x; echo out $x; echo err >&2; exit 7"
        out = await cluster.kubectl(
            "exec", "-i", "web", "--", "sh", "-c", script, stdin="hello\n", code=7
        )
        assert set(out.splitlines()) >= {"out hello", "err"}

    async def test_a_refusal_by_the_node_is_told_in_its_words(
        self, cluster: Cluster, node: Node
    ) -> None:
        node.refusal = ApiError(400, "BadRequest", 'container "main" is not running')
        out = await cluster.kubectl("exec", "web", "--", "ls", code=1)
        assert 'container "main" is not running' in out

    async def test_a_pod_that_is_not_there_is_told_of(self, cluster: Cluster) -> None:
        out = await cluster.kubectl("exec", "none", "--", "ls", code=1)
        assert out == 'Error from server (NotFound): pods "none" not found\n'
        out = await cluster.kubectl("exec", "web", "-c", "x", "--", "ls", code=1)
        assert "container x is not valid for pod web" in out

    async def test_logs_come_with_what_was_asked(self, cluster: Cluster, node: Node) -> None:
        args = ["--tail=5", "--timestamps", "--previous", "--limit-bytes=99"]
        assert await cluster.kubectl("logs", "web", *args) == "one\n"
        (asked,) = node.asked
        assert (asked.container, asked.tail, asked.timestamps) == ("main", 5, True)
        assert (asked.previous, asked.limit_bytes, asked.follow) == (True, 99, False)

    async def test_a_port_is_forwarded(self, cluster: Cluster) -> None:
        server = await asyncio.start_server(echo_http, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            "kubectl",
            "port-forward",
            "web",
            f":{port}",
            env={
                "KUBECONFIG": str(cluster.kubeconfig),
                "HOME": str(cluster.kubeconfig.parent),
                "PATH": "/usr/bin:/bin:/usr/local/bin",
                **cluster.environment,
            },
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(20):
                line = (await process.stdout.readline()).decode()
                local = int(line.split(":")[1].split()[0])
                reader, writer = await asyncio.open_connection("127.0.0.1", local)
                writer.write(b"GET /x HTTP/1.1\r\n\r\n")
                assert b"x-from: pod" in await reader.readuntil(b"\r\n\r\n")
                writer.close()
        finally:
            process.terminate()
            await process.wait()
            server.close()


async def test_a_followed_log_is_sent_line_by_line_until_the_server_ends(
    cluster: Cluster, node: Node
) -> None:
    import aiohttp

    connector = aiohttp.TCPConnector(ssl=cluster.authority.client_context())
    headers = {"authorization": f"Bearer {cluster.tokens.admin}"}
    url = f"https://127.0.0.1:{cluster.port}{POD}/log?follow=true"
    async with (
        aiohttp.ClientSession(connector=connector, headers=headers) as session,
        session.get(url) as answer,
        asyncio.timeout(10),
    ):
        assert answer.content_type == "text/plain"
        assert await answer.content.readline() == b"one\n"
        node.more.set()
        assert await answer.content.readline() == b"two\n"
        assert await answer.content.read() == b""


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("tailLines=-1", 422, "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ("limitBytes=0", 422, "limitBytes: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=0", 422, "sinceSeconds: Invalid value: 0: must be greater than 0"),
        ("sinceTime=then", 400, 'parsing time "then"'),
        ("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", 422, "at most one of"),
        ("container=x", 400, "container x is not valid for pod web"),
        ("tailLines=x", 400, "strconv.ParseInt"),
    ],
)
async def test_wrong_questions_about_logs_are_told(
    cluster: Cluster, query: str, code: int, message: str
) -> None:
    status, _, body = await cluster.request("GET", f"{POD}/log?{query}")
    assert status == code
    assert message in json.loads(body)["message"]


async def test_streams_need_an_upgrade_that_we_know(cluster: Cluster, node: Node) -> None:
    path = f"{POD}/exec?command=ls&stdout=true"
    status, _, body = await cluster.request("POST", path, headers=upgrade("h2c"))
    assert (status, json.loads(body)["message"]) == (400, "Upgrade request required")
    status, _, body = await cluster.request("POST", path, "body", headers=upgrade("SPDY/3.1"))
    assert (status, json.loads(body)["reason"]) == (413, "RequestEntityTooLarge")
    assert not node.processes


def upgrade(protocol: str) -> dict[str, str]:
    version = "v4.channel.k8s.io"
    return {
        "connection": "Upgrade",
        "upgrade": protocol,
        "x-stream-protocol-version": version,
    }


@pytest.mark.parametrize("token", ["", "wrong"])
async def test_nobody_is_upgraded_without_credentials(
    cluster: Cluster, node: Node, token: str
) -> None:
    path = f"{POD}/exec?command=ls&stdout=true"
    sent = upgrade("SPDY/3.1")
    status, headers, body = await cluster.request("POST", path, headers=sent, token=token)
    assert (status, json.loads(body)["reason"]) == (401, "Unauthorized")
    assert headers["connection"] == "close"
    for way in ("portforward", "attach"):
        path = f"{POD}/{way}?stdout=true"
        status, _, _ = await cluster.request("POST", path, headers=sent, token=token)
        assert status == 401
    assert not node.processes


async def test_elsewhere_an_upgrade_is_not_heard(cluster: Cluster) -> None:
    status, _, body = await cluster.request("GET", POD, headers=upgrade("SPDY/3.1"))
    assert (status, json.loads(body)["kind"]) == (200, "Pod")


async def test_the_end_of_the_server_ends_what_was_upgraded(tmp_path: Path, node: Node) -> None:
    async with serving_a_pod(tmp_path, node) as cluster:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", cluster.port, ssl=cluster.authority.client_context()
        )
        sent = upgrade("SPDY/3.1") | {
            "host": f"127.0.0.1:{cluster.port}",
            "authorization": f"Bearer {cluster.tokens.admin}",
            "content-length": "0",
        }
        lines = [f"POST {POD}/exec?command=sleep&command=99&stdout=true HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in sent.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        (process,) = node.processes
        assert process.returncode is None
    assert process.returncode == -9
    assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("command=ls", "you must specify at least 1 of stdin, stdout, stderr"),
        ("stdout=1", "you must specify at least one command for the container"),
    ],
)
async def test_a_command_needs_words_and_streams(
    cluster: Cluster, query: str, message: str
) -> None:
    status, _, body = await cluster.request("GET", f"{POD}/exec?{query}")
    assert (status, json.loads(body)["message"]) == (400, message)


@pytest.fixture
async def program() -> AsyncIterator[int]:
    """A port of this machine where something answers HTTP."""
    server = await asyncio.start_server(echo_http, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_a_request_passes_to_the_pod_without_the_callers_token(
    cluster: Cluster, program: int
) -> None:
    path = f"/api/v1/namespaces/default/pods/web:{program}/proxy/a%20b/c?x=1&y"
    status, headers, body = await cluster.request("GET", path, headers={"x-mine": "1"})
    assert (status, headers["x-from"]) == (200, "pod")
    head = body.decode()
    assert head.startswith("GET /a%20b/c?x=1&y HTTP/1.1\r\n")
    assert "x-mine: 1" in head
    assert "authorization" not in head.lower()


async def test_a_service_leads_to_a_ready_pod_behind_it(cluster: Cluster, program: int) -> None:
    meta: dict[str, Any] = {"name": "svc", "namespace": "default"}
    spec = {"ports": [{"name": "http", "port": 80}], "clusterIP": "None"}
    await cluster.api.create(builtin("services"), {"metadata": meta, "spec": spec}, "default")
    target = {"kind": "Pod", "name": "web", "namespace": "default"}
    found = {
        "metadata": {
            "name": "svc-1",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "svc"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": program}],
        "endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "targetRef": target}
        ],
    }
    base = "/api/v1/namespaces/default/services"
    status, _, body = await cluster.request("GET", f"{base}/svc:http/proxy/")
    assert (status, json.loads(body)["message"]) == (
        503,
        'no endpoints available for service "svc"',
    )
    await cluster.api.create(builtin("endpointslices", "discovery.k8s.io"), found, "default")
    for name in ("svc:http", "svc:80", "svc", "http:svc:80"):
        assert (await cluster.request("GET", f"{base}/{name}/proxy/"))[0] == 200
    status, _, _ = await cluster.request("GET", f"{base}/svc:other/proxy/")
    assert status == 503


async def test_a_port_that_nobody_listens_on_is_told(cluster: Cluster) -> None:
    path = "/api/v1/namespaces/default/pods/web:1/proxy/"
    status, _, body = await cluster.request("GET", path)
    found = json.loads(body)
    assert (status, found["reason"]) == (503, "ServiceUnavailable")
    assert found["message"].startswith("error trying to reach service: dial tcp web:1")


async def test_evicting_and_binding_answer_as_the_real_server(cluster: Cluster) -> None:
    sent = {"content-type": "application/json"}
    binding = {"target": {"kind": "Node", "name": "other"}}
    status, _, body = await cluster.request("POST", f"{POD}/binding", json.dumps(binding), sent)
    assert (status, json.loads(body)["reason"]) == (409, "Conflict")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}}
    status, _, body = await cluster.request("POST", f"{POD}/eviction", json.dumps(eviction), sent)
    assert (status, json.loads(body)["status"]) == (201, "Success")
    pod = cluster.api.get(builtin("pods"), "web", "default")
    assert pod is None or pod["metadata"]["deletionTimestamp"]
