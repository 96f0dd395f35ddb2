"""The background process: started once, found again after `kill -9`, and gone without a trace."""

from __future__ import annotations

import json
import os
import signal
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kindling.cli.main import run
from kindling.cluster import daemon
from kindling.cluster.home import ClusterHome
from kindling.errors import ClusterError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClusterHome]:
    """A cluster of the test's own, deleted after it. Pods are plain processes, so that the tests do
    the same on every machine."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "d"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    made = ClusterHome.of("t")
    try:
        yield made
    finally:
        daemon.reset(made)
        assert processes_of(made) == []


def processes_of(home: ClusterHome) -> list[str]:
    """The command lines of all processes that name the cluster's folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(home.folder) in line:
            found.append(line)
    return found


def call(home: ClusterHome, path: str, body: Any = None) -> Any:
    """One request to the API server, with the owner's certificate."""
    server = daemon.status(home).settings.server
    context = ssl.create_default_context(cafile=str(home.pki / "ca.crt"))
    context.load_cert_chain(str(home.pki / "admin.crt"), str(home.pki / "admin.key"))
    request = urllib.request.Request(
        f"{server}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:
        return json.load(answer)


def put_map(home: ClusterHome, name: str) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    call(home, "/api/v1/namespaces/default/configmaps", body)


def test_it_starts_once_and_stops_with_everything_kept(home: ClusterHome) -> None:
    assert not daemon.status(home).running
    first = daemon.start(home, isolation="none")
    assert (first.ready, first.problem) == (True, "")
    assert daemon.start(home).pid == first.pid
    put_map(home, "kept")
    assert daemon.stop(home)
    assert not daemon.stop(home)
    assert daemon.status(home).problem == "it is stopped"
    assert processes_of(home) == []
    again = daemon.start(home)
    assert again.pid != first.pid
    assert again.settings.server == first.settings.server
    assert call(home, "/api/v1/namespaces/default/configmaps/kept")["metadata"]["name"] == "kept"


def test_after_kill_9_it_starts_again_with_what_it_had_acknowledged(home: ClusterHome) -> None:
    found = daemon.start(home, isolation="none")
    for number in range(20):
        put_map(home, f"map-{number}")
    os.kill(found.pid, signal.SIGKILL)
    assert daemon.start(home).pid != found.pid
    there = call(home, "/api/v1/namespaces/default/configmaps")["items"]
    assert {f"map-{number}" for number in range(20)} <= {one["metadata"]["name"] for one in there}


def test_of_two_that_start_it_at_once_both_get_the_same_one(home: ClusterHome) -> None:
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda _: daemon.start(home, isolation="none"), range(3)))
    assert len({one.pid for one in found}) == 1
    assert all(one.ready for one in found)


def test_without_credentials_nothing_is_told(home: ClusterHome) -> None:
    server = daemon.start(home, isolation="none").settings.server
    context = ssl.create_default_context(cafile=str(home.pki / "ca.crt"))
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{server}/version", timeout=10, context=context)
    with caught.value as error:
        assert error.code == 401
    assert home.kubeconfig.stat().st_mode & 0o077 == 0
    assert home.folder.stat().st_mode & 0o077 == 0


def test_a_cluster_that_cannot_start_says_why(home: ClusterHome) -> None:
    home.folder.mkdir(parents=True, mode=0o700)
    home.database.write_text("this is no database" * 100)
    with pytest.raises(ClusterError) as caught:
        daemon.start(home, isolation="none")
    assert str(home.database) in caught.value.render()
    assert processes_of(home) == []


def test_a_folder_that_holds_no_cluster_is_not_deleted(tmp_path: Path) -> None:
    precious = tmp_path / "kindling" / "clusters" / "t"
    precious.mkdir(parents=True)
    (precious / "thesis.txt").write_text("years of work")
    with pytest.raises(ClusterError, match="left alone"):
        daemon.reset(ClusterHome("t", precious))
    assert (precious / "thesis.txt").read_text() == "years of work"


def test_the_verbs_lead_through_its_life(
    home: ClusterHome, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def kindling(*words: str) -> tuple[int, str]:
        code = run(["cluster", *words, "--name", "t"])
        return code, capsys.readouterr().out

    code, out = kindling("status", "--json")
    assert (code, json.loads(out)["clusters"][0]["problem"]) == (1, "it was never started")
    code, out = kindling("start", "--isolation", "none")
    assert code == 0
    assert f"Context `kindling-t` added to {tmp_path / 'kubeconfig'}" in out
    assert "Pods are plain processes: " in out
    code, out = kindling("status", "--json")
    told = json.loads(out)["clusters"][0]
    assert (code, told["ready"], told["isolation"]) == (0, True, "plain processes")
    code, out = kindling("start", "--isolation", "none")
    assert (code, "runs already" in out) == (0, True)
    code, out = kindling("status")
    assert "services: their addresses and DNS names lead nowhere" in out
    assert max(len(line) for line in out.splitlines() if str(tmp_path) not in line) <= 80
    code, out = kindling("kubeconfig", "--path")
    assert Path(out.strip()) == home.kubeconfig
    assert kindling("stop") == (0, "Cluster `t` stopped\n")
    assert run(["cluster", "reset", "--name", "t"]) == 2  # nobody can be asked here
    capsys.readouterr()
    code, out = kindling("reset", "--yes")
    assert code == 0
    assert "Context `kindling-t` removed" in out
    assert not home.folder.exists()


def test_a_start_that_is_interrupted_leaves_no_process(
    home: ClusterHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(daemon, "_hear", interrupted)
    with pytest.raises(KeyboardInterrupt):
        daemon.start(home, isolation="none")
    assert processes_of(home) == []


def test_without_its_runtime_the_process_ends_and_says_so(home: ClusterHome) -> None:
    found = daemon.start(home, isolation="none")
    for path in Path("/proc").glob("[0-9]*/status"):
        rows = dict(line.split(":", 1) for line in path.read_text().splitlines())
        if int(rows["PPid"]) == found.pid:
            os.kill(int(rows["Pid"]), signal.SIGKILL)
    limit = time.monotonic() + 20
    while daemon.status(home).running and time.monotonic() < limit:
        time.sleep(0.02)
    assert daemon.status(home).problem == "it is stopped"
    assert "part=runtime" in home.log.read_text()
    assert daemon.start(home).ready


def test_the_doctor_tells_whether_it_runs_and_what_pods_get(
    home: ClusterHome,  # noqa: ARG001 - the data folder of the test
    capsys: pytest.CaptureFixture[str],
) -> None:
    def told() -> dict[str, str]:
        assert run(["doctor", "--json"]) == 0
        findings = json.loads(capsys.readouterr().out)["findings"]
        [found] = [one for one in findings if one["subject"] == "embedded"]
        return dict(found)

    assert told()["text"].startswith("it was never started; pods would be ")
    default = ClusterHome.of()
    try:
        daemon.start(default, isolation="none")
        found = told()
    finally:
        daemon.reset(default)
    assert (found["level"], found["text"]) == (
        "ok",
        "`kindling` is ready, pods plain processes",
    )
    assert "services: their addresses and DNS names lead nowhere" in found["hint"]


def test_what_cannot_be_loaded_is_named(
    home: ClusterHome,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody-here.sock")
    (tmp_path / "notes.txt").write_text("no archive at all\n" * 100)

    def load(what: str) -> str:
        assert run(["cluster", "load", "--name", "t", what]) != 0
        return capsys.readouterr().err

    assert "is not ready: it was never started" in load("app:1")
    daemon.start(home, isolation="none")
    assert "there is no image `app:1`" in load("app:1")
    assert f"There is no file `{tmp_path}/gone.tar`" in load(f"{tmp_path}/gone.tar")
    said = load(f"{tmp_path}/notes.txt")
    assert f"Cannot load `{tmp_path}/notes.txt`: " in said
    assert "not an image archive" in said
    assert "is a folder" in load(str(tmp_path))


def test_an_idle_cluster_rests(home: ClusterHome) -> None:
    """No polling: what it takes is a keep-alive of the node now and then."""
    pid = daemon.start(home, isolation="none").pid

    def spent() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    time.sleep(2)  # a stretch of time is what is measured
    before = spent()
    time.sleep(3)
    assert spent() - before < 0.15
