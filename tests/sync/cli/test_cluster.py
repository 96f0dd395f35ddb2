"""The real program on a real cluster: what it says, what is served, and that all is put back."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from kindling.errors import ClusterError
from kindling.graph.spec import ObjectRef
from kindling.kube.protocol import Cluster
from kindling.sync.template.normal import template_bytes
from tests.images import need
from tests.sync.cli.running import LIMIT, Running

pytestmark = pytest.mark.cluster

_SERVER = """\
import http.server, os

place = "/app/word.txt"
word = open(place, "rb").read() if os.path.exists(place) else b"image"

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(word)))
        self.end_headers()
        self.wfile.write(word)
        print("asked for", self.path, flush=True)

    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer(("", 8000), Answer).serve_forever()
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "api"
    folder.mkdir()
    (folder / "word.txt").write_text("one")
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    """Records of its own. An embedded cluster that is the target is found by KUBECONFIG."""
    return {"XDG_DATA_HOME": str(tmp_path / "data")}


@pytest.fixture
async def api(cluster: Cluster, ns: str) -> ObjectRef:
    """A server that answers with the word it found when it started."""
    need("python:3.12-slim")
    await cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns}},
    )
    ref = ObjectRef("apps/v1", "Deployment", "api", ns)
    labels = {"app": "api"}
    container = {
        "name": "app",
        "image": "python:3.12-slim",
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-u", "-c", _SERVER],
        "readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1},
    }
    await cluster.create(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "api", "namespace": ns},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "enableServiceLinks": False,
                        "containers": [container],
                    },
                },
            },
        }
    )
    await _answers(cluster, ref, b"image")
    return ref


async def _answers(cluster: Cluster, ref: ObjectRef, word: bytes) -> None:
    """Wait until some pod of the workload answers so, and none answers otherwise."""
    said: dict[str, bytes | str] = {}
    try:
        async with asyncio.timeout(LIMIT):
            while not said or set(said.values()) != {word}:
                said = {}
                pods = await cluster.list("v1", "Pod", namespace=ref.namespace)
                for pod in pods.items:
                    if not pod["metadata"].get("deletionTimestamp"):
                        name = str(pod["metadata"]["name"])
                        said[name] = await _asked(cluster, ref.namespace, name)
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{ref.name} does not answer {word!r} alone: {said}") from None


async def _asked(cluster: Cluster, namespace: str, pod: str) -> bytes | str:
    try:
        port = await cluster.open_port(namespace, pod, 8000)
        try:
            await port.write(b"GET / HTTP/1.0\r\n\r\n")
            got = b""
            while piece := await port.read():
                got += piece
        finally:
            await port.close()
    except ClusterError as error:
        return error.message
    return got.partition(b"\r\n\r\n")[2]


async def _template(cluster: Cluster, ref: ObjectRef) -> bytes:
    live = await cluster.get(ref)
    return template_bytes(live["spec"]["template"])


Sync = Callable[..., Running]


@pytest.fixture
def sync(source: Path, environment: Mapping[str, str], ns: str) -> Sync:
    """`sync("--restart")`: the program beside the test, in the source folder."""

    def start(*args: str, folder: Path = source) -> Running:
        return Running(folder, "api", "-n", ns, *args, environment=environment)

    return start


async def _in_thread(work: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Wait for the program without holding up the connections of the test."""
    return await asyncio.to_thread(work, *args, **named)


async def test_a_save_is_served_and_ctrl_c_puts_everything_back(
    cluster: Cluster, api: ObjectRef, source: Path, sync: Sync
) -> None:
    """Rows 68 and 71: a second session is refused by the first one's name."""
    before = await _template(cluster, api)
    with sync("--restart", "--logs") as program:
        await _in_thread(program.wait_for, "/app: 1 file")
        assert await _template(cluster, api) != before
        await _answers(cluster, api, b"one")
        await _in_thread(program.wait_for, "app | asked for /")

        # A second session is refused, and names the first.
        with sync("--restart") as second:
            assert await _in_thread(second.end) == 2
            assert any(f"process {program.pid}" in line for line in second.lines)

        told = len(program.lines)
        (source / "word.txt").write_text("two")
        line = await _in_thread(program.wait_for, "word.txt", after=told)
        assert " ms" in line
        assert "restart" in line
        await _answers(cluster, api, b"two")

        program.send(signal.SIGINT)
        assert await _in_thread(program.end) == 0
        lines = program.lines
    assert await _template(cluster, api) == before
    assert "own pod template again" in lines[-1]
    for beginning in ("Detected runtime: Python", "Strategy: supervise", f"Watching {source} "):
        assert any(beginning in line for line in lines)
    await _answers(cluster, api, b"image")


async def test_a_killed_session_is_put_back_by_restore_and_by_the_next_one(
    cluster: Cluster, api: ObjectRef, sync: Sync
) -> None:
    """Row 68: `--restore` after a `kill -9`."""
    before = await _template(cluster, api)
    with sync("--restart") as program:
        await _in_thread(program.wait_for, "/app: 1 file")
        program.send(signal.SIGKILL)
        await _in_thread(program.end)
    assert await _template(cluster, api) != before
    with sync("--restore") as restoring:
        assert await _in_thread(restoring.end) == 0, restoring.lines
    assert await _template(cluster, api) == before
    await _answers(cluster, api, b"image")


async def test_once_brings_everything_to_an_exit_code_and_restore_makes_fresh_pods(
    cluster: Cluster, api: ObjectRef, sync: Sync
) -> None:
    """Rows 68 and 69: files alone leave the template as it is."""
    before = await _template(cluster, api)
    with sync("--once") as program:
        assert await _in_thread(program.end) == 0, program.lines
    assert await _template(cluster, api) == before
    (pod,) = (await cluster.list("v1", "Pod", namespace=api.namespace)).items
    name = str(pod["metadata"]["name"])
    read = ["cat", "/app/word.txt"]
    assert (await cluster.exec(api.namespace, name, "app", read)).stdout == b"one"
    with sync("--restore") as restoring:
        assert await _in_thread(restoring.end) == 0, restoring.lines
    await _answers(cluster, api, b"image")
    pods = (await cluster.list("v1", "Pod", namespace=api.namespace)).items
    alive = [one for one in pods if not one["metadata"].get("deletionTimestamp")]
    assert pod["metadata"]["uid"] not in {one["metadata"]["uid"] for one in alive}
