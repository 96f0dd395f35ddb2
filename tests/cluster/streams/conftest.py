"""A server with one pod whose processes are this machine's own, for real clients to talk to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import uvicorn
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from uvicorn.server import ServerState

from kindling.cluster.apiserver.protocol import HttpProtocol
from kindling.cluster.apiserver.streams.channels import Message, Receive, Send
from kindling.cluster.apiserver.streams.exec import serve_exec
from kindling.cluster.apiserver.streams.portforward import serve_portforward
from kindling.cluster.apiserver.streams.upgrade import wants_spdy
from kindling.cluster.model.status import ApiError
from kindling.cluster.model.streams import ContainerProcess, TerminalSize

POD = "/api/v1/namespaces/default/pods/web"
DOCUMENTS: dict[str, Any] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.0"},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {
                "name": "pods",
                "singularName": "pod",
                "namespaced": True,
                "kind": "Pod",
                "verbs": ["get", "list", "watch", "create"],
            }
        ],
    },
    POD: {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default", "uid": "u"},
        "spec": {"containers": [{"name": "web", "image": "x"}], "nodeName": "n"},
        "status": {"phase": "Running"},
    },
}


@dataclass
class Pod:
    """What happened to the processes and ports of the pod."""

    ended: list[int] = field(default_factory=list)
    sizes: list[TerminalSize] = field(default_factory=list)
    running: set[asyncio.subprocess.Process] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    errors: list[BaseException] = field(default_factory=list)
    spoken: set[str] = field(default_factory=set)
    """How clients asked for streams: `websocket` and `spdy`."""

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                self.changed.clear()
                await self.changed.wait()

    async def exec(self, query: dict[str, list[str]], *, attach: bool) -> ContainerProcess:
        command = ["sh", "-c", "cat"] if attach else query["command"]
        wanted = {name for name in ("stdin", "stdout", "stderr") if query.get(name) == ["true"]}
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE if "stdin" in wanted else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if "stdout" in wanted else asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE if "stderr" in wanted else asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        self.running.add(process)

        async def wait() -> int:
            code = await exit_code(process)
            return code if code >= 0 else 128 - code

        async def end() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            self.ended.append(await exit_code(process))
            self.running.discard(process)
            self.changed.set()
            # A child that was left behind may hold the pipes, which keep the transport open.
            process._transport.close()  # type: ignore[attr-defined]

        def resize(size: TerminalSize) -> None:
            self.sizes.append(size)
            self.changed.set()

        return ContainerProcess(process.stdin, process.stdout, process.stderr, wait, resize, end)


async def exit_code(process: asyncio.subprocess.Process) -> int:
    """How a process ended; its own `wait` waits for children that hold its pipes too."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(process.pid)
        ended = asyncio.Event()
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
    for _ in range(1000):  # asyncio's own watcher is about to notice
        if process.returncode is not None:
            break
        await asyncio.sleep(0.001)
    assert process.returncode is not None
    return process.returncode


class StandIn:
    """The few paths that clients ask for."""

    def __init__(self, pod: Pod) -> None:
        self.pod = pod

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        path = str(scope["path"])
        spdy = scope["type"] == "http" and wants_spdy(scope)
        if scope["type"] == "http" and not spdy:
            await self._document(path, send)
            return
        self.pod.spoken.add("spdy" if spdy else "websocket")
        try:
            await receive() if spdy else None
            await self._stream(path, scope, receive, send)
        except ApiError as error:
            prefix = "" if spdy else "websocket."
            if not spdy:
                await receive()
            await send(
                {"type": f"{prefix}http.response.start", "status": error.code, "headers": []}
            )
            body = json.dumps(error.status()).encode()
            await send({"type": f"{prefix}http.response.body", "body": body})
        except ConnectionResetError:
            assert spdy  # it went before it had its answer
        except Exception as error:
            self.pod.errors.append(error)
            raise

    async def _stream(self, path: str, scope: Message, receive: Receive, send: Send) -> None:
        query = parse_qs(scope["query_string"].decode())
        if path in (f"{POD}/exec", f"{POD}/attach"):
            process = await self.pod.exec(query, attach=path.endswith("attach"))
            await serve_exec(scope, receive, send, process)
        elif path == f"{POD}/portforward":
            await serve_portforward(scope, receive, send, connect)

    async def _document(self, path: str, send: Send) -> None:
        found = DOCUMENTS.get(path)
        body = json.dumps(found if found is not None else {"kind": "Status", "code": 404}).encode()
        await send(
            {
                "type": "http.response.start",
                "status": 404 if found is None else 200,
                "headers": [(b"content-type", b"application/json")],
            }
        )
        await send({"type": "http.response.body", "body": body})


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


@dataclass
class Site:
    """The server while it runs."""

    pod: Pod
    host: str
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    """For kubectl."""

    @property
    def websocket(self) -> str:
        return f"ws://{self.host}{POD}"

    @property
    def kubeconfig(self) -> str:
        path = self.folder / "kubeconfig"
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "c", "cluster": {"server": f"http://{self.host}"}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
                    "users": [{"name": "c", "user": {}}],
                    "current-context": "c",
                }
            )
        )
        return str(path)

    async def kubectl(self, *words: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        """Run it to its end."""
        async with self.kubectl_process(*words) as process:
            async with asyncio.timeout(30):
                out, err = await process.communicate(stdin)
            assert process.returncode is not None
            return process.returncode, out, err

    @asynccontextmanager
    async def kubectl_process(self, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
        program = shutil.which("kubectl")
        assert program is not None
        process = await asyncio.create_subprocess_exec(
            program,
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={
                "KUBECONFIG": self.kubeconfig,
                "HOME": str(self.folder),
                "PATH": "/usr/bin:/bin",
                **self.environment,
            },
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    pod = Pod()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    loop = asyncio.get_running_loop()
    config = uvicorn.Config(StandIn(pod), ws=WSProtocol, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    server = await loop.create_server(
        lambda: HttpProtocol(config, state, app_state={}), sock=listener
    )
    try:
        yield Site(pod, f"127.0.0.1:{listener.getsockname()[1]}", tmp_path)
    finally:
        server.close()
        for connection in list(state.connections):
            connection.shutdown()
        async with asyncio.timeout(10):
            while state.tasks:
                await asyncio.wait(state.tasks)
    assert not pod.errors
    assert not pod.running, "a process outlived its client"


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """A port that says what it hears, and ends when it hears the end."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield int(server.sockets[0].getsockname()[1])
    server.close()
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def unused() -> int:
    """A port where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
