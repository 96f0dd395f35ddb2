"""Whatever is sent, the answer is a Status of ours or a closed connection, and the server lives."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kindling.cluster.apiserver import protocol
from kindling.cluster.apiserver.exchange import BODY_LIMIT
from kindling.cluster.model.resource import BUILTIN
from tests.cluster.apiserver.serve import Cluster, serving

WORDS = sorted(
    {row.plural for row in BUILTIN.values()}
    | {row.group for row in BUILTIN.values()}
    | {name for row in BUILTIN.values() for name in row.subresources}
    | {
        "api",
        "apis",
        "v1",
        "v2",
        "namespaces",
        "default",
        "x",
        "watch",
        "openapi",
        "version",
        "healthz",
        "..",
        "%",
        "%2f",
        "%00",
    }
)
KINDS = sorted(BUILTIN)
PARAMETERS = [
    "watch",
    "limit",
    "continue",
    "timeoutSeconds",
    "resourceVersion",
    "resourceVersionMatch",
    "labelSelector",
    "fieldSelector",
    "dryRun",
    "fieldManager",
    "fieldValidation",
    "force",
    "pretty",
    "sendInitialEvents",
    "gracePeriodSeconds",
    "propagationPolicy",
    "includeObject",
    "container",
    "tailLines",
    "command",
]
SAMPLES = [
    "true",
    "false",
    "0",
    "1",
    "-1",
    "99999999999999999999",
    "Strict",
    "Warn",
    "All",
    "Exact",
    "NotOlderThan",
    "metadata.name=x",
    "a=b",
    "!a",
    "(,)",
    "Orphan",
    "Object",
    "None",
    "%",
    "é",
]
BODY_TYPES = (
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "text/plain",
    "",
    ";;;",
)
ACCEPTS = (
    "application/json",
    "application/yaml",
    "*/*",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    "application/vnd.kubernetes.protobuf",
    "text/html",
    ",;=,q=x",
)

CUT = b"k8s\x00\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x03\xff\xff\xff"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["metadata", "spec", "name", "kind", "apiVersion", "data", "op", "path"]
            )
            | st.text(max_size=8),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """Objects that come near to real ones, and bytes that do not."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=200))
    value = draw(json_values)
    if isinstance(value, dict) and draw(st.booleans()):
        value["metadata"] = {"name": draw(st.sampled_from(["x", "y", "Not A Name", "", 1]))}
    return json.dumps(value).encode()


@st.composite
def targets(draw: st.DrawFn) -> str:
    if draw(st.booleans()):
        group, version, plural = draw(st.sampled_from(KINDS))
        base = f"/apis/{group}/{version}" if group else f"/api/{version}"
        if BUILTIN[group, version, plural].namespaced:
            base += "/namespaces/default"
        tail = draw(st.sampled_from(["", "/x", "/x/status", "/x/scale", "/x/log", "/x/proxy/a"]))
        path = f"{base}/{plural}{tail}"
    else:
        path = "/" + "/".join(draw(st.lists(st.sampled_from(WORDS), max_size=8)))
    pairs = draw(
        st.lists(
            st.tuples(st.sampled_from(PARAMETERS), st.sampled_from(SAMPLES) | st.text(max_size=10)),
            max_size=4,
        )
    )
    return path + ("?" + "&".join(f"{name}={value}" for name, value in pairs) if pairs else "")


async def ask(
    cluster: Cluster, method: str, target: str, body: bytes, headers: dict[str, str]
) -> tuple[int, bytes]:
    """One request, put to the application itself as the protocol would put it."""
    path, _, query = target.partition("?")
    sent = {"host": "127.0.0.1", "authorization": f"Bearer {cluster.tokens.admin}"} | headers
    scope = {
        "type": "http",
        "method": method,
        "raw_path": path.encode("utf-8", "replace"),
        "query_string": query.encode("utf-8", "replace"),
        "headers": [
            (name.encode(), value.encode("utf-8", "replace")) for name, value in sent.items()
        ],
        "state": {},
    }
    incoming = [{"type": "http.request", "body": body, "more_body": False}]
    status, answer = 0, b""
    started = asyncio.Event()

    async def receive() -> MutableMapping[str, Any]:
        if incoming:
            return incoming.pop()
        # Whoever streams is hung up on once it has begun.
        await started.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status, answer
        if message["type"] == "http.response.start":
            status = message["status"]
            started.set()
        else:
            answer += message.get("body", b"")

    async with asyncio.timeout(10):
        await cluster.app(scope, receive, send)
    return status, answer


def test_no_request_is_answered_by_accident(tmp_path: Path) -> None:
    """Below 500, or a 500 of our own that is no crash, and always a Status for a refusal."""
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        cluster = runner.run(stack.enter_async_context(serving(tmp_path)))

        @given(
            method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]),
            target=targets(),
            body=objects(),
            content=st.sampled_from(BODY_TYPES),
            accept=st.sampled_from(ACCEPTS),
        )
        @settings(max_examples=200, deadline=None)
        def fuzz(method: str, target: str, body: bytes, content: str, accept: str) -> None:
            headers = {"content-type": content, "accept": accept}
            status, answer = runner.run(ask(cluster, method, target, body, headers))
            assert 200 <= status < 500 or status in (503, 504), (status, answer)
            # Of a group that it does not have a real server says it in plain words.
            if status >= 400 and (status, answer) != (404, b"404 page not found\n"):
                assert json.loads(answer)["kind"] == "Status"

        try:
            fuzz()
        finally:
            runner.run(stack.aclose())


async def raw(cluster: Cluster, data: bytes, *, wait: float = 5.0) -> bytes:
    """What the server says to bytes that are sent over TLS, until it closes or a while is over."""
    context = cluster.authority.client_context()
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.port, ssl=context)
    try:
        writer.write(data)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.drain()
            writer.transport.set_write_buffer_limits(0)
        answer = b""
        try:
            async with asyncio.timeout(wait):
                while piece := await reader.read(65536):
                    answer += piece
        except (TimeoutError, ConnectionError, ssl.SSLError):
            pass
        return answer
    finally:
        writer.transport.abort()


async def assert_alive(cluster: Cluster) -> None:
    assert (await cluster.request("GET", "/readyz"))[2] == b"ok"


def test_bytes_that_are_no_http_close_their_connection_alone(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        cluster = runner.run(stack.enter_async_context(serving(tmp_path)))

        @given(
            st.binary(min_size=1, max_size=300)
            | st.builds(
                lambda method, path, rest: method + b" " + path + b" HTTP/1.1\r\n" + rest,
                st.sampled_from([b"GET", b"POST", b"XX", b"PRI"]),
                st.binary(max_size=40),
                st.binary(max_size=80),
            )
        )
        @settings(max_examples=60, deadline=None)
        def fuzz(data: bytes) -> None:
            answer = runner.run(raw(cluster, data + b"\r\n\r\n", wait=0.05))
            assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 401")), answer

        try:
            fuzz()
            runner.run(assert_alive(cluster))
        finally:
            runner.run(stack.aclose())


@pytest.mark.parametrize(
    "data",
    [
        b"GET /version HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * (2 << 20) + b"\r\n\r\n",
        b"GET /" + b"a" * (2 << 20) + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: y\r\n" % n for n in range(120_000)) + b"\r\n",
    ],
    ids=["one huge header", "a huge path", "very many headers"],
)
async def test_a_huge_head_is_refused_before_it_is_kept(cluster: Cluster, data: bytes) -> None:
    answer = await raw(cluster, data)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400"))
    await assert_alive(cluster)


async def test_a_slow_head_is_not_waited_for(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT", 0.05)
    answer = await raw(cluster, b"GET /version HTT")
    assert answer == b""
    await assert_alive(cluster)


async def test_a_large_body_is_refused_by_its_length_and_by_its_bytes(cluster: Cluster) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    sent = {"content-type": "application/json"}
    status, _, body = await cluster.request("POST", path, b" " * (BODY_LIMIT + 1), sent)
    assert status == 413
    assert json.loads(body)["message"] == "Request entity too large: limit is 3145728"
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {cluster.tokens.admin}\r\ntransfer-encoding: chunked\r\n"
        "connection: close\r\n\r\n"
    )
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    answer = await raw(cluster, head.encode() + chunk * 4 + b"0\r\n\r\n", wait=2)
    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("body", "content"),
    [
        (b"[" * 1_000_000, "application/json"),
        (b'{"a":' * 400_000 + b"1" + b"}" * 400_000, "application/json"),
        (b'{"metadata":' * 300 + b"1" + b"}" * 300, "application/json"),
        (b"[" * 1_000_000, "application/yaml"),
        (b"a: " * 1_000_000, "application/yaml"),
        (b"&a [*a]", "application/yaml"),
        (
            b"a: &a [1,1,1,1,1,1,1,1,1]\n"
            + b"".join(
                b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n"
                % (n + 1, n + 1, n, n, n, n, n, n, n, n, n)
                for n in range(97, 106)
            ),
            "application/yaml",
        ),
        (b"!!python/object/apply:os.system ['true']", "application/yaml"),
        (b"k8s\x00" + b"\x0a" * 1000, "application/vnd.kubernetes.protobuf"),
        (CUT, "application/vnd.kubernetes.protobuf"),
    ],
    ids=[
        "deep arrays", "deep objects", "deep enough", "deep yaml", "bad yaml", "a yaml loop",
        "a yaml bomb", "a yaml object", "no protobuf", "cut protobuf",
    ],
)  # fmt: skip
async def test_bodies_that_explode_are_refused(cluster: Cluster, body: bytes, content: str) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    status, _, answer = await cluster.request("POST", path, body, {"content-type": content})
    assert status in (400, 413)
    assert json.loads(answer)["kind"] == "Status"
    await assert_alive(cluster)


async def test_a_client_that_hangs_up_within_its_body_is_forgotten(cluster: Cluster) -> None:
    head = (
        "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: localhost\r\n"
        f"authorization: Bearer {cluster.tokens.admin}\r\ncontent-length: 1000\r\n\r\nabc"
    )
    await raw(cluster, head.encode(), wait=0.05)
    await assert_alive(cluster)
