"""What the checklist's rows of builds and signals leave open: a program that its own user may not
replace, and a server that does not mind its signal."""

from __future__ import annotations

from pathlib import Path

import pytest

from kindling.graph.spec import ObjectRef
from kindling.kube.protocol import Cluster
from kindling.sync.agent.binaries import agent
from kindling.sync.protocol import Container
from kindling.sync.transport.connecting import connect
from tests.images import need
from tests.sync.world.stage import IMAGES, Stage, Workload, eventually
from tests.sync.world.syncing import Syncing

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

_CLOSED = {"securityContext": {"readOnlyRootFilesystem": True}}
_FOREIGN = Workload(
    "foreign",
    "kindling-test-sync-go:1",
    container=_CLOSED,
    # The program and its folder are 65532's.
    pod={"securityContext": {"runAsUser": 1001, "runAsGroup": 1001}},
)


def _main(source: Path, text: str) -> None:
    code = (IMAGES / "go/app/main.go").read_text()
    assert '"one"' in code
    (source / "main.go").write_text(code.replace('"one"', text))


async def test_a_program_that_its_user_may_not_replace_runs_from_the_sessions_volume(
    cluster: Cluster, ns: str, tmp_path: Path
) -> None:
    need(_FOREIGN.image)
    stage = Stage(cluster, ns)
    await stage.open()
    await stage.deploy(_FOREIGN)
    before = await stage.template(_FOREIGN)
    source = tmp_path / "source"
    source.mkdir()
    (source / "go.mod").write_bytes((IMAGES / "go/app/go.mod").read_bytes())
    _main(source, '"two"')
    words = ("-d", "foreign", "-n", ns, "--src", str(source), "--restart", "--language", "go")
    # Not a folder of the image: a volume over it would be of no use.
    syncing = Syncing(tmp_path, (*words, "--dest", "/elsewhere"))
    try:
        await stage.serves(_FOREIGN, "two", syncing.assert_runs)
        assert "`/app/server` cannot be replaced" in syncing.said
        (pod,) = await stage.ready(_FOREIGN)
        assert "initContainers" not in pod["spec"]

        _main(source, '"broken" +')
        await syncing.says("syntax error")
        await stage.serves(_FOREIGN, "two", syncing.assert_runs)

        # Its first process is told to end, which no supervisor survives.
        name = str(pod["metadata"]["name"])
        container = Container(ns, name, "main", supervised=True, mounted=True)
        link = await connect(cluster, container, agent)
        try:
            await link.signal(1, "TERM")
        finally:
            await link.close()

        async def again() -> tuple[bool, object]:
            (now,) = await stage.pods(_FOREIGN)
            (status,) = now["status"]["containerStatuses"]
            return status["restartCount"] > 0 and bool(status.get("ready")), status

        await eventually(again, "the container runs again")
        await stage.serves(_FOREIGN, "two", syncing.assert_runs)

        _main(source, '"three"')
        await stage.serves(_FOREIGN, "three", syncing.assert_runs)
        assert [one["metadata"]["name"] for one in await stage.pods(_FOREIGN)] == [name]
        await syncing.stop()
    except AssertionError as error:
        raise AssertionError(f"{error}\n--- kindling sync said:\n{syncing.said}") from error
    finally:
        await syncing.close()
    await stage.assert_restored(_FOREIGN, before)
    await stage.serves(_FOREIGN, "one")


_DEAF = """\
cat >/tmp/gunicorn <<'END'
import http.server, os, signal

signal.signal(signal.SIGHUP, signal.SIG_IGN)
path = "/tmp/code/answer.txt"
answer = open(path, "rb").read() if os.path.exists(path) else b"one"

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)

http.server.HTTPServer(("", 8080), Page).serve_forever()
END
exec python3 /tmp/gunicorn wsgi:app
"""
_DEAF_SERVER = Workload("deaf", "kindling-test-sync-python:1", ("sh", "-c", _DEAF))


async def test_a_server_that_does_not_mind_its_signal_is_supervised_and_put_back(
    cluster: Cluster, ns: str, tmp_path: Path
) -> None:
    """It calls itself gunicorn, and is none."""
    need(_DEAF_SERVER.image)
    stage = Stage(cluster, ns)
    await stage.open()
    await stage.deploy(_DEAF_SERVER)
    before = await stage.template(_DEAF_SERVER)
    source = tmp_path / "source"
    source.mkdir()
    (source / "answer.txt").write_text("two")
    words = ("-d", "deaf", "-n", ns, "--src", str(source), "--dest", "/tmp/code", "--restart")
    syncing = Syncing(tmp_path, words)
    try:
        await stage.serves(_DEAF_SERVER, "two", syncing.assert_runs)
        said = " ".join(syncing.said.split())
        assert "signal reload (SIGHUP)" in said, said
        assert "SIGHUP had no effect within 2 s" in said, said
        assert "is rolled out once" in said, said

        # What was there is on record, here and there, since before the template was touched.
        (record,) = (tmp_path / ".kindling/sync").glob("*.json")
        config_map = f"kindling-sync-{record.stem}"
        held = await cluster.get(ObjectRef("v1", "ConfigMap", config_map, ns))
        assert "agent" in held["binaryData"]
        assert await stage.template(_DEAF_SERVER) != before

        (source / "answer.txt").write_text("three")
        await stage.serves(_DEAF_SERVER, "three", syncing.assert_runs)
        await syncing.stop()
    except AssertionError as error:
        raise AssertionError(f"{error}\n--- kindling sync said:\n{syncing.said}") from error
    finally:
        await syncing.close()
    await stage.assert_restored(_DEAF_SERVER, before)
    await stage.serves(_DEAF_SERVER, "one")
