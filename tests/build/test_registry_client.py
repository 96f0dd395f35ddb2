"""The registry client, against small servers that answer, refuse and hang up."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Mapping

import pytest

from kindling.build.registry import LoginNeededError, RegistryClient, is_loopback
from kindling.errors import ContainerError

MANIFEST = json.dumps({"config": {"digest": "sha256:abc"}}).encode()


@contextlib.asynccontextmanager
async def registry(answers: Mapping[str, bytes | None]) -> AsyncIterator[str]:
    """A server whose answer depends on the path; None hangs up, a missing path is a 404."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            request = await reader.readuntil(b"\r\n\r\n")
            path = request.split()[1].decode()
            answer = answers.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            if answer is not None:
                writer.write(answer)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        await listening.wait_closed()


def answer(status: str, body: bytes = b"", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized"])
async def test_a_registry_that_answers_is_there(status: str) -> None:
    """One that wants a login first is there too: the engine has it."""
    async with registry({"/v2/": answer(status)}) as host:
        await RegistryClient(f"{host}/some/path").check()


@pytest.mark.parametrize(
    ("said", "means", "transient"),
    [
        (answer("403 Forbidden"), "the registry refuses", False),
        (answer("500 Internal Server Error"), "the registry failed", True),
        (answer("503 Service Unavailable"), "the registry failed", True),
        (None, "the registry cannot be reached", True),
        (b"hello\r\n", "the registry cannot be reached", True),
        (answer("404 Not Found"), "404", False),
    ],
    ids=["403", "500", "503", "hang-up", "no-http", "404"],
)
async def test_what_is_wrong_is_said(said: bytes | None, means: str, transient: bool) -> None:
    async with registry({"/v2/": said}) as host:
        with pytest.raises(ContainerError, match=means) as caught:
            await RegistryClient(host).check()
    assert caught.value.message.startswith(f"cannot use the registry `{host}`")
    assert caught.value.transient is transient


async def test_nobody_there() -> None:
    async with registry({}) as host:
        pass
    with pytest.raises(ContainerError, match="the registry cannot be reached") as caught:
        await RegistryClient(host).check()
    assert caught.value.transient


async def test_a_silent_registry_runs_into_the_time_limit() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    host = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    with pytest.raises(ContainerError, match="cannot be reached") as caught:
        await RegistryClient(host, timeout=0.05).check()
    assert "timed out" in caught.value.details[0]
    listening.close()
    await listening.wait_closed()


async def test_a_manifest_is_known_by_its_image() -> None:
    digest = "Docker-Content-Digest: sha256:def\r\n"
    async with registry({"/v2/a/b/manifests/t": answer("200 OK", MANIFEST, digest)}) as host:
        held = await RegistryClient(host).manifest("a/b", "t")
    assert held is not None
    assert held.is_image("sha256:abc"), "an id that is the configuration's digest"
    assert held.is_image("sha256:def"), "an id that is the manifest's digest"
    assert not held.is_image("sha256:other")


async def test_a_registry_that_tells_no_digest_is_computed_for() -> None:
    async with registry({"/v2/a/manifests/t": answer("200 OK", MANIFEST)}) as host:
        held = await RegistryClient(host).manifest("a", "t")
    assert held is not None
    assert held.digest == "sha256:" + hashlib.sha256(MANIFEST).hexdigest()


async def test_a_tag_that_is_not_there_is_none() -> None:
    async with registry({}) as host:
        assert await RegistryClient(host).manifest("a", "t") is None


async def test_a_login_is_told_from_a_refusal() -> None:
    async with registry({"/v2/a/manifests/t": answer("401 Unauthorized")}) as host:
        with pytest.raises(LoginNeededError):
            await RegistryClient(host).manifest("a", "t")


async def test_what_is_no_manifest_is_refused() -> None:
    async with registry({"/v2/a/manifests/t": answer("200 OK", b"<html>")}) as host:
        with pytest.raises(ContainerError, match="what answers there is not a registry"):
            await RegistryClient(host).manifest("a", "t")


@pytest.mark.parametrize(
    ("host", "means_us"),
    [
        ("localhost:5000", True),
        ("registry.localhost:5000/path", True),
        ("127.0.0.1", True),
        ("127.8.9.1:5000", True),
        ("[::1]:5000", True),
        ("ghcr.io", False),
        ("10.0.0.1:5000", False),
        ("localhost.example.com", False),
    ],
)
def test_this_machine_is_spoken_to_in_plain_http(host: str, means_us: bool) -> None:
    assert is_loopback(host) is means_us
