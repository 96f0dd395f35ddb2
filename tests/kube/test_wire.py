"""The wire against a small HTTP server of ours: tokens that rotate, watches that break, time
limits."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kindling.kube.contexts import KubeContext
from kindling.kube.errors import AuthenticationError, TimeLimitError, UnreachableError
from kindling.kube.protocol import EventKind, Resource
from kindling.kube.watch import follow, list_objects
from kindling.kube.wire import Wire

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PODS = Resource("v1", "Pod", "pods", namespaced=True)


class Server:
    """Answers every request with `handler`, and gives wires that lead to it."""

    def __init__(self) -> None:
        self.handler: Handler
        self.user: dict[str, Any] = {"token": "first"}
        self.url = ""
        self.wires: list[Wire] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        return await self.handler(request)

    def wire(self, now: Callable[[], float] = lambda: 0.0) -> Wire:
        context = KubeContext("test", "test", self.url, user="me")
        wire = Wire(context, self._raw, {"PATH": "/usr/bin:/bin"}, now=now)
        self.wires.append(wire)
        return wire

    def _raw(self) -> dict[str, Any]:
        return {
            "clusters": [{"name": "test", "cluster": {"server": self.url}}],
            "users": [{"name": "me", "user": self.user}],
        }


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    for wire in made.wires:
        await wire.close()
    await runner.cleanup()


async def no_pause(_seconds: float) -> None:
    await asyncio.sleep(0)


async def test_a_token_that_was_rotated_is_fetched_again(server: Server) -> None:
    """A session outlives the token it began with."""
    seen: list[str] = []

    async def only_second(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers["Authorization"])
        good = seen[-1] == "Bearer second"
        return web.json_response({"ok": good}, status=200 if good else 401)

    server.handler = only_second
    wire = server.wire()
    with pytest.raises(AuthenticationError):
        await wire.request("GET", "/version", "reach it", timeout=5)
    server.user = {"token": "second"}
    answer = await wire.request("GET", "/version", "reach it", timeout=5)
    assert answer.json() == {"ok": True}
    assert seen == ["Bearer first", "Bearer first", "Bearer first", "Bearer second"]


async def test_a_token_file_is_read_again_as_time_passes(server: Server, tmp_path: Path) -> None:
    seen: list[str] = []

    async def note(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers["Authorization"])
        return web.json_response({})

    server.handler = note
    file = tmp_path / "token"
    server.user = {"token": "stale", "tokenFile": str(file)}
    now = [0.0]
    wire = server.wire(lambda: now[0])
    for moment, token in ((0.0, "one"), (30.0, "two"), (90.0, "three")):
        file.write_text(token)
        now[0] = moment
        await wire.request("GET", "/", "ask", timeout=5)
    assert seen == ["Bearer one", "Bearer one", "Bearer three"]


async def test_a_login_program_gives_the_token(server: Server, tmp_path: Path) -> None:
    program = tmp_path / "login"
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "from-plugin"},
    }
    program.write_text(f"#!/bin/sh\necho '{json.dumps(credential)}'\n")
    program.chmod(0o755)
    server.user = {
        "exec": {"command": str(program), "apiVersion": "client.authentication.k8s.io/v1"}
    }

    async def echo(request: web.Request) -> web.StreamResponse:
        return web.json_response({"got": request.headers["Authorization"]})

    server.handler = echo
    answer = await server.wire().request("GET", "/", "ask", timeout=10)
    assert answer.json() == {"got": "Bearer from-plugin"}
    program.write_text("#!/bin/sh\necho 'please log in' >&2; exit 3\n")
    with pytest.raises(AuthenticationError) as caught:
        await server.wire().request("GET", "/", "ask", timeout=10)
    assert caught.value.details == ("please log in",)


async def test_a_server_that_never_answers_meets_the_time_limit(server: Server) -> None:
    release = asyncio.Event()

    async def never(_request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    server.handler = never
    wire = server.wire()
    await wire._connected(None)  # the import of the client is not what is timed here
    with pytest.raises(TimeLimitError) as caught:
        await wire.request("GET", "/", "list pods", timeout=0.05)
    assert caught.value.transient
    release.set()


async def test_a_server_that_is_not_there_is_named() -> None:
    wire = Wire(
        KubeContext("gone", "gone", "http://127.0.0.1:1", user="me"),
        lambda: {
            "clusters": [{"name": "gone", "cluster": {"server": "http://127.0.0.1:1"}}],
            "users": [],
        },
        {},
    )
    try:
        with pytest.raises(UnreachableError, match="refuses connections"):
            await wire.request("GET", "/", "reach the cluster", timeout=5)
    finally:
        await wire.close()


def pod(name: str, version: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name, "resourceVersion": version}}


async def test_lists_are_read_page_by_page(server: Server) -> None:
    async def pages(request: web.Request) -> web.StreamResponse:
        second = request.query.get("continue") == "more"
        return web.json_response(
            {
                "metadata": {"resourceVersion": "9", "continue": "" if second else "more"},
                "items": [pod("b" if second else "a", "1")],
            }
        )

    server.handler = pages
    listing = await list_objects(server.wire(), PODS, "ns", [], 5)
    assert [item["metadata"]["name"] for item in listing.items] == ["a", "b"]
    assert {item["kind"] for item in listing.items} == {"Pod"}


async def test_a_watch_goes_on_where_it_broke_and_lists_anew_when_it_must(server: Server) -> None:
    """A cut connection resumes at the last version, a bookmark's too; 410 lists again."""
    asked: list[str] = []

    async def story(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            asked.append("list")
            version = "10" if asked.count("list") == 1 else "50"
            body = {"metadata": {"resourceVersion": version}, "items": [pod("a", version)]}
            return web.json_response(body)
        asked.append(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)

        async def send(kind: str, body: dict[str, Any]) -> None:
            await response.write(json.dumps({"type": kind, "object": body}).encode() + b"\n")

        match request.query["resourceVersion"]:
            case "10":
                await send("ADDED", pod("b", "11"))
                await send("BOOKMARK", {"metadata": {"resourceVersion": "20"}})
                await response.write(b'{"type": "MODIF')  # cut in the middle of a line
            case "20":
                await send("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})
            case _:
                await send("DELETED", pod("a", "51"))
        return response

    server.handler = story
    seen: list[tuple[EventKind, str]] = []
    events = follow(server.wire(), PODS, "ns", [], sleep=no_pause)
    async with asyncio.timeout(20), aclosing(events):
        async for event in events:
            names = [item["metadata"]["name"] for item in event.items or (event.object,)]
            seen.append((event.kind, ",".join(names)))
            if event.kind is EventKind.DELETED:
                break
    assert seen == [
        (EventKind.SYNCED, "a"),
        (EventKind.ADDED, "b"),
        (EventKind.SYNCED, "a"),
        (EventKind.DELETED, "a"),
    ]
    assert asked == ["list", "10", "20", "list", "50"]


async def test_a_server_that_stays_away_is_told_once_and_tried_again(server: Server) -> None:
    answers = iter([503, 503, 503, 200])

    async def limping(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return web.Response(status=503)
        code = next(answers)
        body = {"metadata": {"resourceVersion": "1"}, "items": []}
        return web.json_response(body, status=code)

    server.handler = limping
    kinds: list[EventKind] = []
    events = follow(server.wire(), PODS, "ns", [], sleep=no_pause)
    async with asyncio.timeout(20), aclosing(events):
        async for event in events:
            kinds.append(event.kind)
            if event.kind is EventKind.SYNCED:
                break
    assert kinds == [EventKind.AWAY, EventKind.SYNCED]


def test_the_room_is_imported_without_the_client() -> None:
    """The import costs 400 ms: only who talks to a cluster pays for it."""
    import subprocess

    code = (
        "import sys, kindling.kube.client, kindling.executors.rollout, kindling.kube.contexts;"
        "sys.exit(any(name.partition('.')[0] in ('kubernetes', 'aiohttp') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
