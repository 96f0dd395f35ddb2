"""Every example does what its README says, run by the program in a copy of its folder.

Those marked `cluster` use the cluster of KUBECONFIG and leave it as they found it. The commands of
kpulse call `docker`, so its tests need a Docker engine on any cluster.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.images import need, need_to_build

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MADE = shutil.ignore_patterns(".kindling", ".cache", "generated", "out")
SESSION_KINDS = {"serve", "portforward"}
PLATFORM = "kindling-platform"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of `kindling ... --json`."""

    code: int
    events: tuple[dict[str, Any], ...]
    stderr: str

    @property
    def nodes(self) -> dict[str, dict[str, Any]]:
        """Every node as it was last."""
        last: dict[str, dict[str, Any]] = {}
        for event in self.events:
            listed = [event["node"]] if event["type"] == "node_changed" else event.get("nodes", [])
            last |= {node["id"]: node for node in listed if isinstance(node, dict)}
        return last

    @property
    def ran(self) -> set[str]:
        """The nodes that ran, but for those that every session needs anew."""
        return {
            id_
            for id_, node in self.nodes.items()
            if node["verdict"] == "ran" and node["kind"] not in SESSION_KINDS
        }

    @property
    def failures(self) -> dict[str, str]:
        """What each failed node says, in one text."""
        return {
            id_: json.dumps(node["failure"])
            for id_, node in self.nodes.items()
            if node["status"] == "failed"
        }


@dataclass(frozen=True, slots=True)
class Example:
    """A copy of an example."""

    folder: Path

    def kindling(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "kindling", *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def run(self, *arguments: str) -> Run:
        """`up --once` or `ci`, with what it said as JSON."""
        verb, *rest = arguments
        done = self.kindling(verb, "--json", *rest)
        events = tuple(json.loads(line) for line in done.stdout.splitlines())
        return Run(done.returncode, events, done.stderr)

    def graph(self, *arguments: str) -> dict[str, Any]:
        done = self.kindling("graph", "--format", "json", *arguments)
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def ids(self, *arguments: str) -> set[str]:
        return {node["id"] for node in self.graph(*arguments)["nodes"]}

    def replace(self, path: str, old: str, new: str) -> None:
        file = self.folder / path
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def example(tmp_path: Path) -> Callable[[str], Example]:
    def copy(name: str) -> Example:
        shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=MADE)
        return Example(tmp_path / name)

    return copy


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where what Go compiled is kept from test to test: its library alone takes a minute."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def deployed(
    example: Callable[[str], Example], compiled: Path
) -> Iterator[Callable[[str], Example]]:
    """As `example`; what it puts into the cluster is taken down again."""
    copies: list[Example] = []

    def copy(name: str) -> Example:
        one = example(name)
        copies.append(one)
        if (compiled / name).exists():
            (compiled / name).rename(one.folder / ".cache")
        return one

    yield copy
    for one in copies:
        one.kindling("down")
        if (one.folder / ".cache").exists():
            (one.folder / ".cache").rename(compiled / one.folder.name)


# handbook -----------------------------------------------------------------------------------------


def test_handbook_runs_what_changed(example: Callable[[str], Example]) -> None:
    """All once, then nothing, then one chapter with the book; an empty line stops early."""
    book = example("handbook")
    everything = {"local:dough", "local:oven", "local:bread", "local:book", "test:headings"}
    first = book.run("up", "--once")
    assert (first.code, first.ran) == (0, everything), first.stderr
    assert book.run("up", "--once").ran == set()
    assert book.run("ci").ran == set()

    book.replace("chapters/oven.txt", "stone", "brick")
    assert book.run("up", "--once").ran == {"local:oven", "local:book", "test:headings"}
    assert "brick" in (book.folder / "out/book.html").read_text(encoding="utf-8")

    book.replace("chapters/oven.txt", "Oven\n", "Oven\n\n")
    assert book.run("up", "--once").ran == {"local:oven"}


# Graphs without a cluster -------------------------------------------------------------------------


def test_hello_is_one_chain(example: Callable[[str], Example]) -> None:
    """The graph can be drawn on a machine without a cluster."""
    assert example("hello").ids() >= {
        "image:hello",
        "apply:hello",
        "rollout:hello",
        "portforward:hello-8090",
        "test:smoke",
    }


def test_live_carries_files_and_has_a_way_back(example: Callable[[str], Example]) -> None:
    """Nothing is built, and the smoke test comes after what is carried."""
    ids = example("live").ids()
    assert ids >= {"operator:live", "rollout:live", "sync:live", "rollback:live", "test:smoke"}
    assert not any(id_.startswith("image:") for id_ in ids)


@pytest.mark.parametrize("file", ["Kindlingfile", "Tiltfile"])
def test_kpulse_has_its_triggers_by_profile(example: Callable[[str], Example], file: str) -> None:
    """The four broken workloads are there when asked for, by our file and by the Tiltfile."""
    kpulse = example("kpulse")
    plain = kpulse.ids("-f", file)
    assert plain >= {
        "local:go-build",
        "image:kpulse",
        "apply:kpulse",
        "rollout:kpulse",
        "portforward:kpulse-8080",
        "portforward:webhook-sink-8081",
    }
    added = kpulse.ids("-f", file, "--", "triggers") - plain
    assert added >= {
        "rollout:crash-loop",
        "rollout:missing-image",
        "rollout:out-of-memory",
        "rollout:failing-job",
    }


def test_monorepo_edges_come_from_dockerfiles(example: Callable[[str], Example]) -> None:
    """Base images that no manifest names are part of the graph, since a `FROM` line names them."""
    monorepo = example("monorepo")
    _generate(monorepo, 5)
    graph = Example(monorepo.folder / "generated").graph()
    edges = {(edge["before"], edge["after"]) for edge in graph["edges"]}
    assert edges >= {
        ("image:monorepo-base", "image:monorepo-web"),
        ("image:monorepo-web", "image:web-01"),
        ("image:monorepo-base", "image:worker-02"),
    }


def test_monorepo_generator_repeats_itself(example: Callable[[str], Example]) -> None:
    """The same number gives the same files, and leaves them alone the second time."""
    monorepo = example("monorepo")
    _generate(monorepo, 4)
    made = monorepo.folder / "generated"
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()}
    _generate(monorepo, 4)
    after = {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()}
    assert before == after
    assert len(list(made.glob("services/*/main.py"))) == 4


def _generate(monorepo: Example, count: int) -> None:
    subprocess.run(
        [sys.executable, str(monorepo.folder / "generate.py"), str(count)],
        check=True,
        capture_output=True,
    )


def test_microservices_come_with_what_they_need(example: Callable[[str], Example]) -> None:
    """Four environments; the queue is built here only where it is asked for."""
    shop = example("microservices")
    plain = shop.ids()
    services = {"gateway", "inventory", "orders", "worker"}
    assert plain >= {
        f"{kind}:{one}" for kind in ("image", "operator", "rollout") for one in services
    }
    assert plain >= {"portforward:gateway-8070", "test:smoke"}
    assert shop.ids("--", "offline") - plain >= {"image:queue"}


# The stand-in for k3d -----------------------------------------------------------------------------


def test_the_k3d_stand_in_passes_images_on() -> None:
    """`k3d image import` hands the images, and nothing else, to KINDLING_LOAD_COMMAND."""
    done = _k3d("image", "import", "a:1", "b:2", "-c", "kpulse-test")
    assert (done.returncode, done.stdout) == (0, "load a:1 b:2\n")


@pytest.mark.parametrize("arguments", [("cluster", "create"), ("image", "import"), ("image",)])
def test_the_k3d_stand_in_refuses_the_rest(arguments: tuple[str, ...]) -> None:
    """It is no k3d, and says so."""
    done = _k3d(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("k3d: ")


def _k3d(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(EXAMPLES / "kpulse/dev/bin/k3d"), *arguments],
        env={**os.environ, "KINDLING_LOAD_COMMAND": "echo load"},
        capture_output=True,
        text=True,
        check=False,
    )


# On a real cluster --------------------------------------------------------------------------------


@pytest.mark.cluster
def test_live_serves_what_was_carried_and_leaves_no_trace(
    deployed: Callable[[str], Example],
) -> None:
    """The smoke test compares what is served with the file; `ci` carries and puts back."""
    live = deployed("live")
    first = live.run("ci")
    assert first.code == 0, first.stderr or first.failures
    assert {"sync:live", "test:smoke"} <= first.ran
    assert not [path for path in (live.folder / ".kindling/sync").iterdir() if path.is_file()]


@pytest.mark.cluster
def test_hello_serves_and_follows(deployed: Callable[[str], Example]) -> None:
    """Up once and tested; `up` and `ci` again run nothing; an edit runs that chain alone."""
    hello = deployed("hello")
    first = hello.run("up", "--once")
    assert first.code == 0, first.stderr or first.failures
    assert first.ran >= {"image:hello", "apply:hello", "rollout:hello", "test:smoke"}

    assert hello.run("up", "--once").ran == set()
    again = hello.run("ci")
    assert (again.code, again.ran) == (0, set())

    (hello.folder / "app/page.html").touch()
    assert hello.run("up", "--once").ran == set()

    hello.replace("app/page.html", "from Kubernetes", "once more from Kubernetes")
    edited = hello.run("up", "--once")
    assert edited.code == 0, edited.stderr or edited.failures
    assert {id_.partition(":")[0] for id_ in edited.ran} - {"push", "load"} == {
        "image",
        "apply",
        "rollout",
        "test",
    }


@pytest.mark.cluster
@pytest.mark.docker
def test_kpulse_keeps_a_patched_secret_and_names_what_is_broken(
    deployed: Callable[[str], Example],
) -> None:
    """Credentials survive every `up`; each broken workload is named with its reason."""
    kpulse = deployed("kpulse")
    first = kpulse.run("up", "--once")
    assert first.code == 0, first.stderr or first.failures

    _kubectl(
        "-n",
        "kpulse",
        "patch",
        "secret",
        "kpulse-secrets",
        "-p",
        '{"stringData": {"WEBHOOK_TOKEN": "real"}}',
    )
    kpulse.replace("cmd/kpulse/main.go", '"kpulse 1"', '"kpulse 2"')
    edited = kpulse.run("up", "--once")
    assert edited.code == 0, edited.stderr or edited.failures
    assert edited.ran == {"local:go-build", "image:kpulse", "apply:kpulse", "rollout:kpulse"}
    assert "WEBHOOK_TOKEN" in _kubectl(
        "-n", "kpulse", "get", "secret", "kpulse-secrets", "-o", "jsonpath={.data}"
    )

    broken = kpulse.run("up", "--once", "--", "triggers")
    kpulse.kindling("down", "--", "triggers")
    assert broken.code == 1
    reasons = {
        "rollout:missing-image": "ImagePull",
        "rollout:out-of-memory": "OOMKilled",
        "rollout:failing-job": "exit code 3",
    }
    for id_, reason in reasons.items():
        assert reason in broken.failures.get(id_, ""), (broken.nodes[id_], broken.failures)
    # A pod without a probe is ready for the moment it runs; it never ends well.
    assert broken.nodes["rollout:crash-loop"]["status"] in ("failed", "unready")
    assert set(broken.failures) <= {*reasons, "rollout:crash-loop"}


@pytest.mark.cluster
@pytest.mark.docker
def test_the_tiltfile_of_kpulse_runs_as_it_stands(deployed: Callable[[str], Example]) -> None:
    """The calls that Tilt users write, by way of the stand-ins for `go` and `k3d`."""
    kpulse = deployed("kpulse")
    done = kpulse.run("up", "--once", "-f", "Tiltfile")
    assert done.code == 0, done.stderr or done.failures
    assert done.ran >= {"local:go-build", "image:kpulse", "apply:kpulse", "rollout:kpulse"}
    kpulse.kindling("down", "-f", "Tiltfile")


@pytest.mark.cluster
def test_monorepo_rebuilds_what_shares_a_base(deployed: Callable[[str], Example]) -> None:
    """A change to one base image reaches the services built on it and no others."""
    monorepo = deployed("monorepo")
    _generate(monorepo, 3)
    services = Example(monorepo.folder / "generated")
    try:
        first = services.run("up", "--once")
        assert first.code == 0, first.stderr or first.failures
        services.replace("web/server.py", "serves on port", "listens on port")
        edited = services.run("up", "--once")
        assert edited.code == 0, edited.stderr or edited.failures
        assert {id_ for id_ in edited.ran if id_.startswith("rollout:")} == {
            "rollout:web-01",
            "rollout:web-03",
        }
    finally:
        services.kindling("down")


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_microservices_ship_an_order(deployed: Callable[[str], Example]) -> None:
    """Through all four services, Postgres, Redis and the queue; then an edit reaches one of them,
    and what was ordered is still there."""
    need_to_build("python:3.12-slim", "node:20-slim", "golang:1.19", "debian:bookworm-slim")
    need("postgres:15", "redis:7")
    shop = deployed("microservices")
    words = ("--", "offline")
    try:
        first = shop.run("up", "--once", *words)
        assert first.code == 0, first.stderr or first.failures
        assert first.ran >= {"image:queue", "operator:orders", "rollout:gateway", "test:smoke"}
        assert shop.run("up", "--once", *words).ran == set()

        shop.replace("orders/server.py", "LIMIT 20", "LIMIT 10")
        edited = shop.run("ci", *words)
        assert edited.code == 0, edited.stderr or edited.failures
        assert edited.ran >= {"image:orders", "operator:orders", "rollout:orders", "test:smoke"}
        others = ("inventory", "worker", "gateway")
        assert not {id_ for id_ in edited.ran if id_.endswith(others)}
    finally:
        down = shop.kindling("down", *words)
    assert down.returncode == 0, down.stderr


@pytest.mark.cluster
@pytest.mark.timeout(400)
def test_the_environment_of_platform_stands_by_one_command(
    deployed: Callable[[str], Example],
) -> None:
    """`deploy` waits until it is ready, writes nothing the second time, and names a mistake's
    line."""
    need("python:3.12-slim", "postgres:15", "redis:7")
    platform = deployed("platform")
    command = ("deploy", "-f", "dev-environment.yaml", "-n", PLATFORM)
    try:
        _kubectl("create", "namespace", PLATFORM)
        done = platform.kindling(*command)
        assert done.returncode == 0, done.stderr
        page = _kubectl(
            *("-n", PLATFORM, "exec", "deploy/notes", "-c", "notes", "--", "python3", "-c"),
            "from urllib.request import urlopen as ask; print(ask('http://notes').read().decode())",
        )
        assert "REDIS_URL=redis://notes-redis:6380/0" in page
        assert "sslmode=disable&application_name=audit" in page
        again = platform.kindling(*command)
        assert (again.returncode, "unchanged" in again.stderr) == (0, True), again.stderr

        platform.replace("dev-environment.yaml", "port: 80\n", "port: 0\n")
        refused = platform.kindling(*command)
        assert refused.returncode == 2
        assert "dev-environment.yaml:48" in refused.stderr
    finally:
        _kubectl("delete", "namespace", PLATFORM, "--ignore-not-found")


def _kubectl(*arguments: str) -> str:
    if shutil.which("kubectl") is None:
        pytest.skip("there is no `kubectl` program")
    done = subprocess.run(["kubectl", *arguments], capture_output=True, text=True, check=True)
    return done.stdout
