"""`kindling runners` on a cluster: a pool whose runners cannot start is told with the reason, and
its deletion leaves nothing."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from kindling.cli.main import run
from kindling.graph.spec import ObjectRef
from kindling.kube.contexts import read_kubeconfig
from kindling.kube.protocol import Cluster
from tests.cli.clusters import typed

pytestmark = pytest.mark.cluster

_CHILDREN = (
    ("apps/v1", "Deployment"),
    ("v1", "Pod"),
    ("v1", "ServiceAccount"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
)


async def test_a_pool_is_made_by_this_command_told_and_taken_away_whole(
    cluster: Cluster,
    ns: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """No runner's image can be had here: one without bash cannot start, which is no reason to wait
    for the time to be over."""
    kubeconfig = read_kubeconfig(os.environ)
    assert kubeconfig.current is not None
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig.minified(kubeconfig.current.name)))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns}})

    async def runners(*args: str) -> tuple[int, str, str]:
        typed(monkeypatch, b"ghp-0123456789\n")
        capfd.readouterr()
        code = await asyncio.to_thread(run, ["runners", *args, "-n", ns])
        caught = capfd.readouterr()
        return code, caught.out, caught.err

    image = "busybox:1.36"
    code, out, err = await runners(
        *("create", "-u", "Ada.L", "-r", "ada/shop", "--image", image, "--agent-image", image)
    )
    assert code == 1, out + err
    assert "The runners of `ada-l-runner-pool` cannot start: pod ada-l-runner-" in err
    assert "ghp-0123456789" not in out + err
    assert [len(await _named(cluster, ns, *kind)) for kind in _CHILDREN] == [1] * len(_CHILDREN)
    code, out, _ = await runners("list", "--json")
    (pool,) = json.loads(out)["pools"]
    assert (code, pool["name"], pool["ready"]) == (0, "ada-l-runner-pool", False)
    assert pool["reason"]
    code, out, err = await runners("delete", "ada-l-runner-pool")
    assert code == 0, err
    assert "Secret/github-runner-token" in out
    for api_version, kind in _CHILDREN[2:]:  # the cluster collects them in its own time
        await cluster.wait_deleted(ObjectRef(api_version, kind, "ada-l-runner", ns), timeout=120)
    left = [await _named(cluster, ns, *kind) for kind in (*_CHILDREN[:2], ("v1", "Secret"))]
    assert left == [[], [], []]


async def _named(cluster: Cluster, ns: str, api_version: str, kind: str) -> list[str]:
    """Those that the pool has brought; an account's own token is the cluster's doing."""
    found = await cluster.list(api_version, kind, namespace=ns)
    names = [str(one["metadata"]["name"]) for one in found.items]
    return [n for n in names if n.startswith(("ada-l-runner", "github-")) and "-token-" not in n]
