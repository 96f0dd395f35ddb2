"""What every test has, and what is left out on this machine.

Nothing here is faked. A test has a workbench in a folder of its own, and a run has a cache folder
of its own. KUBECONFIG of a test that is not marked `cluster` names a file that does not exist, so
that none touches a cluster by accident; a cluster is only ever the one that KUBECONFIG named at the
start, never that of `~/.kube`.

Tests marked `docker` or `cluster` use a real engine and a real cluster, and are skipped where there
is none. The cluster may be the embedded one, which builds images itself; any other needs a Docker
engine besides. The last lines of a run name what was skipped, so that it is not taken for a full
one.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import yaml

if TYPE_CHECKING:
    from kindling.kube.protocol import Cluster
    from kindling.testing.workbench import Workbench

_SKIPPED: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _no_ambient_cluster(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if "cluster" not in request.keywords:
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "no-kubeconfig"))
        # The embedded clusters of whoever runs the tests are no business of theirs.
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    """A workbench. Tests marked `cluster` see the cluster of the environment."""
    from kindling.testing.workbench import Workbench

    names = ("KUBECONFIG", "XDG_DATA_HOME")
    return Workbench(tmp_path, {name: os.environ[name] for name in names if name in os.environ})


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """A connection to the cluster of KUBECONFIG, for tests marked `cluster`."""
    from kindling.kube.client import connect
    from kindling.kube.contexts import read_kubeconfig

    context = read_kubeconfig(os.environ).current
    assert context is not None
    client = await connect(context, os.environ)
    yield client
    await client.close()


@pytest.fixture
async def ns(cluster: Cluster) -> AsyncIterator[str]:
    """The name of a namespace of the test's own, which goes with the test."""
    from kindling.graph.spec import ObjectRef

    name = f"kindling-test-{secrets.token_hex(4)}"
    yield name
    await cluster.delete(ObjectRef("v1", "Namespace", name))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder of the run's own, for what tests and the programs they start keep. Go's own
    stays where it is: without it every build takes a minute."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    with pytest.MonkeyPatch.context() as patch:
        if "GOCACHE" not in os.environ:
            patch.setenv("GOCACHE", str(Path(cache) / "go-build"))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _images(request: pytest.FixtureRequest) -> None:
    """Put the images that cluster tests run, and build upon, into the cluster's node.

    `KINDLING_LOAD_COMMAND` takes their names, as `kind load docker-image` does.
    """
    marked = any("cluster" in item.keywords for item in request.session.items)
    command = os.environ.get("KINDLING_LOAD_COMMAND", "").split()
    if marked and command and not _cluster_missing():
        subprocess.run([*command, "busybox:1.36"], check=True, stdout=subprocess.DEVNULL)


@cache
def _docker_missing() -> str:
    """Why tests marked `docker` cannot run here; empty when they can."""
    program = shutil.which("docker")
    if program is None:
        return "there is no `docker` program"
    try:
        done = subprocess.run([program, "version"], capture_output=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return "the Docker engine does not answer"
    return "" if done.returncode == 0 else "no Docker engine answers"


def _builder_missing() -> str:
    """Why no images can be built for the cluster of KUBECONFIG; empty when they can."""
    from tests.target import embedded

    return _docker_missing() if embedded() is None else ""


@cache
def _cluster_missing() -> str:
    """Why tests marked `cluster` cannot run here; empty when they can."""
    paths = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    if not paths:
        return "KUBECONFIG is not set"
    config = next((path for path in paths if path.is_file()), None)
    if config is None:
        return "KUBECONFIG names no file"
    document = yaml.safe_load(config.read_text(encoding="utf-8"))
    for entry in document.get("clusters") or []:
        server = urlsplit(entry["cluster"]["server"])
        try:
            with socket.create_connection((server.hostname, server.port or 443), timeout=5):
                return _builder_missing()
        except OSError:
            continue
    return "the cluster of KUBECONFIG does not answer"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark, missing in (("cluster", _cluster_missing), ("docker", _docker_missing)):
            if item.get_closest_marker(mark) is None:
                continue
            reason = missing()
            if reason:
                item.add_marker(pytest.mark.skip(reason=f"marked `{mark}`: {reason}"))
                break


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and isinstance(report.longrepr, tuple):
        _SKIPPED[str(report.longrepr[2]).removeprefix("Skipped: ")] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for reason, count in sorted(_SKIPPED.items()):
        terminalreporter.write_line(f"not run: {count} x {reason}")
