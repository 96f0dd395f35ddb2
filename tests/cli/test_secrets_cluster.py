"""`kindling secrets` on a cluster: what pods are given, and a terminal that shows nothing."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from select import select
from time import monotonic

import pytest

from kindling.cli.main import run
from kindling.graph.spec import ObjectRef
from kindling.kube.contexts import read_kubeconfig
from kindling.kube.protocol import Cluster, EventKind
from tests.cli.clusters import typed
from tests.cli.conftest import Outcome
from tests.target import embedded

pytestmark = pytest.mark.cluster

_LIMIT = 120.0
_VALUE = "sk-live-0123456789"

Run = Callable[..., Awaitable[Outcome]]


@pytest.fixture
def project(tmp_path: Path, ns: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose namespace is the test's, with a data folder of its own for keys, and a
    kubeconfig that knows this cluster alone: the embedded one is then found as any other is."""
    kubeconfig = read_kubeconfig(os.environ)
    assert kubeconfig.current is not None
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig.minified(kubeconfig.current.name)))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Kindlingfile").write_text(f'cluster(namespace="{ns}")\n')
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def secrets(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    """`await secrets("set", "NAME", value=b"...")` in that project."""
    assert project.is_dir()

    async def call(*args: str, value: bytes = b"") -> Outcome:
        typed(monkeypatch, value)
        capfd.readouterr()
        # The command has an event loop of its own.
        code = await asyncio.to_thread(run, ["secrets", *args])
        caught = capfd.readouterr()
        return Outcome(code, caught.out, caught.err)

    return call


async def _values(cluster: Cluster, ns: str) -> dict[str, bytes]:
    labels = (("app.kubernetes.io/managed-by", "kindling"),)
    found = await cluster.list("v1", "Secret", namespace=ns, labels=labels)
    return {one["metadata"]["name"]: base64.b64decode(one["data"]["value"]) for one in found.items}


async def test_rows_86_to_88_set_lose_and_restore(cluster: Cluster, ns: str, secrets: Run) -> None:
    given = {
        "STRIPE_KEY": _VALUE.encode(),
        "TLS_KEY": b"-----BEGIN-----\nabc\n-----END-----\n",
        "BINARY": bytes(range(256)),
        "LARGE": b"x" * (512 * 1024),
    }
    kept = {f"kindling-secret-{name.lower().replace('_', '-')}": v for name, v in given.items()}
    ref = ObjectRef("v1", "Secret", "kindling-secret-stripe-key", ns)
    for name, value in given.items():
        done = await secrets("set", name, value=value)
        assert (done.code, ": created (" in done.out) == (0, True), done.err
    assert await _values(cluster, ns) == kept
    before = (await cluster.get(ref))["metadata"]
    assert ": changed (" in (await secrets("set", "STRIPE_KEY", value=b"another")).out
    assert ": unchanged (" in (await secrets("set", "STRIPE_KEY", value=b"another")).out
    after = (await cluster.get(ref))["metadata"]
    assert after["uid"] == before["uid"]
    assert after["labels"] == {"app.kubernetes.io/managed-by": "kindling"}
    kept[ref.name] = b"another"
    assert await _standings(secrets) == dict.fromkeys(given, "both")
    for name in kept:
        assert await cluster.delete(ObjectRef("v1", "Secret", name, ns))
    assert await _standings(secrets) == dict.fromkeys(given, "backup")
    restored = await secrets("restore")
    assert (restored.code, restored.out.count(": restored (")) == (0, 4)
    assert await _values(cluster, ns) == kept
    assert (await secrets("delete", *given)).code == 0
    assert await _values(cluster, ns) == {}
    assert await _standings(secrets) == {}


async def _standings(secrets: Run) -> dict[str, str]:
    listed = json.loads((await secrets("list", "--json")).out)
    return {one["name"]: one["standing"] for one in listed["secrets"]}


async def test_a_refusal_of_the_server_does_not_quote_the_value(
    cluster: Cluster, ns: str, secrets: Run
) -> None:
    """An immutable Secret is the server's to refuse, and its answers quote what was sent."""
    assert (await secrets("set", "STRIPE_KEY", value=b"first")).code == 0
    ref = ObjectRef("v1", "Secret", "kindling-secret-stripe-key", ns)
    await cluster.patch(ref, {"immutable": True})
    refused = await secrets("set", "STRIPE_KEY", "--verbose", value=_VALUE.encode())
    assert refused.code == 1
    assert ref.name in refused.err
    for hidden in (_VALUE, base64.b64encode(_VALUE.encode()).decode()):
        assert hidden not in refused.out + refused.err
    assert await _values(cluster, ns) == {ref.name: b"first"}


async def test_a_pod_reads_the_value_that_was_set(cluster: Cluster, ns: str, secrets: Run) -> None:
    """By the key `value` as a variable, and by `envFrom` under its own name."""
    assert (await secrets("set", "STRIPE_KEY", value=b"line one\nline two")).code == 0
    name = "kindling-secret-stripe-key"
    reference = {"secretKeyRef": {"name": name, "key": "value"}}
    container = {
        "name": "reads",
        "image": "busybox:1.36",
        "command": ["sh", "-c", '[ "$MINE" = "$STRIPE_KEY" ] && echo "$MINE" | wc -l'],
        "env": [{"name": "MINE", "valueFrom": reference}],
        "envFrom": [{"secretRef": {"name": name}}],
    }
    await cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "reads", "namespace": ns},
            "spec": {"containers": [container], "restartPolicy": "Never"},
        }
    )
    await _ended(cluster, ns, "reads")
    assert [line async for line in cluster.logs(ns, "reads", "reads")] == ["2"]


async def _ended(cluster: Cluster, ns: str, pod: str) -> None:
    events = cluster.watch("v1", "Pod", namespace=ns, fields=(("metadata.name", pod),))
    async with asyncio.timeout(_LIMIT), aclosing(events):
        async for event in events:
            found = event.items if event.kind is EventKind.SYNCED else (event.object,)
            phases = {(one.get("status") or {}).get("phase") for one in found}
            if phases & {"Succeeded", "Failed"}:
                assert phases == {"Succeeded"}
                return


@pytest.mark.usefixtures("project")
async def test_what_is_typed_at_a_terminal_is_not_shown(cluster: Cluster, ns: str) -> None:
    prompt = b"Value of STRIPE_KEY (not shown): "
    shown, code = await asyncio.to_thread(_at_a_terminal, ["set", "STRIPE_KEY"], prompt, _VALUE)
    assert code == 0, shown
    assert _VALUE.encode() not in shown
    assert await _values(cluster, ns) == {"kindling-secret-stripe-key": _VALUE.encode()}


def _at_a_terminal(args: list[str], prompt: bytes, answer: str) -> tuple[bytes, int]:
    """Run on a terminal of its own and answer one prompt; all that the terminal showed."""
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "kindling", "secrets", *args],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
        ) as process:
            os.close(theirs)
            theirs = -1
            shown, until, answered = b"", monotonic() + _LIMIT, False
            while monotonic() < until:
                if not select([ours], [], [], 1.0)[0]:
                    continue
                piece = b""
                with suppress(OSError):  # EIO: the other side has closed
                    piece = os.read(ours, 65536)
                if not piece:
                    break
                shown += piece
                if not answered and prompt in shown:
                    os.write(ours, f"{answer}\n".encode())
                    answered = True
            assert answered, shown
            return shown, process.wait(_LIMIT)
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)


async def test_row_88_a_destroyed_cluster_loses_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An embedded cluster of the test's own is reset and started anew between `set` and
    `restore`; `set` and `restore` start it by themselves."""
    if embedded() is None:
        pytest.skip("the embedded cluster alone can be destroyed and made anew here")
    project = tmp_path / "p"
    project.mkdir()
    (project / "Kindlingfile").write_text('cluster(provider="embedded")\n')
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "d"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))

    def kindling(*args: str, value: bytes = b"") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "kindling", *args],
            cwd=project,
            input=value,
            capture_output=True,
            timeout=_LIMIT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    try:
        assert "created" in kindling("secrets", "set", "STRIPE_KEY", value=_VALUE.encode())
        kindling("cluster", "reset", "--yes")
        assert "restored" in kindling("secrets", "restore")
        assert '"standing": "both"' in kindling("secrets", "list", "--json")
    finally:
        kindling("cluster", "reset", "--yes")
