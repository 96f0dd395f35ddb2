"""What a pod can see of the machine and of the cluster that runs it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.faults.bed import PODS, Bed, eventually, made, needs_root

pytestmark = needs_root


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with made(tmp_path_factory.mktemp("harm"), "") as bed:
        yield bed


def said(bed: Bed, name: str, script: str, **spec: Any) -> str:
    """What a script says on this machine's own files."""
    bed.pod(name, f"({script}\n) 2>&1; echo END; exec sleep 1000", **spec)
    return str(eventually(lambda: "END" in bed.log(name) and bed.log(name)))


@pytest.mark.parametrize("link", [False, True], ids=["by its path", "by a link"])
def test_the_clusters_own_files_cannot_be_seen_on_the_machines_root(
    cluster: Bed, link: bool, tmp_path: Path
) -> None:
    secret = (cluster.home.pki / "ca.key").read_text().splitlines()[1]
    folder = cluster.home.folder
    if link:
        folder = tmp_path / "link"
        folder.symlink_to(cluster.home.folder)
    text = said(
        cluster,
        f"spy-{link}".lower(),
        f"cat {folder}/pki/ca.key; ls -a {folder.parent if not link else folder}; "
        f"ls /proc/1/root{folder}/pki; umount {cluster.home.folder.parent}; cat {folder}/pki/*;"
        f"unshare -Urm sh -c 'umount {cluster.home.folder.parent}; cat {folder}/pki/ca.key';"
        f"cd /proc/self/root/{cluster.home.folder.parent} && cd .. && find . -name '*.key'",
    )
    assert secret not in text
    assert "ca.key\n" not in text.replace("/ca.key", "")
    assert "objects.db" not in text


def test_it_reaches_no_engine_and_no_door_of_the_machine(cluster: Bed) -> None:
    reach = (
        "python3 - <<'E'\n"
        "import socket\n"
        "def ask(family, address):\n"
        "    s = socket.socket(family); s.settimeout(2)\n"
        "    try: s.connect(address); print('REACHED', address)\n"
        "    except OSError as error: print(type(error).__name__)\n"
        f"ask(socket.AF_UNIX, {str(cluster.home.engine_socket)!r})\n"
        f"ask(socket.AF_INET, ('127.0.0.1', {cluster.port}))\n"
        f"ask(socket.AF_INET, ('10.199.0.1', {cluster.port}))\n"
        "E"
    )
    text = said(cluster, "caller", reach)
    assert "REACHED" not in text
    assert text.count("\n") >= 4


def test_one_pod_sees_neither_the_volumes_nor_the_processes_of_another(cluster: Bed) -> None:
    cluster.post(
        "/api/v1/namespaces/default/secrets",
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "s"},
            "stringData": {"word": "xyzzy-4711"},
        },
    )
    cluster.pod(
        "owner",
        "test $(cat /s/word) && exec sleep 1000",
        container={"volumeMounts": [{"name": "s", "mountPath": "/s"}]},
        volumes=[{"name": "s", "secret": {"secretName": "s"}}],
    )
    text = said(
        cluster,
        "thief",
        f"grep -rs xyzzy {cluster.home.folder.parent} /s; ls /proc | grep -c '^[0-9]';"
        "cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep -c HOSTNAME=owner",
    )
    assert "xyzzy" not in text
    assert text.splitlines()[-2] == "0"
    assert any("xyzzy" in path.read_text() for path in cluster.home.pods.rglob("word"))


def test_links_in_a_volume_lead_nowhere_on_the_machine(cluster: Bed) -> None:
    """A link that a container leaves in a volume is not followed when the next one mounts below
    it."""
    cluster.post(
        PODS,
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "linker"},
            "spec": {
                "initContainers": [
                    {
                        "name": "a",
                        "image": "kindling.dev/host",
                        "command": ["ln", "-s", str(cluster.home.pki), "/v/sub"],
                        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                    }
                ],
                "containers": [
                    {
                        "name": "c",
                        "image": "kindling.dev/host",
                        "command": ["sh", "-c", "ls /w; sleep 1000"],
                        "volumeMounts": [{"name": "v", "mountPath": "/w", "subPath": "sub"}],
                    }
                ],
                "volumes": [{"name": "v", "emptyDir": {}}],
            },
        },
    )

    def refused() -> Any:
        status = cluster.get(f"{PODS}/linker").get("status", {})
        for one in status.get("containerStatuses", ()):
            if "failed to prepare subPath" in one["state"].get("waiting", {}).get("message", ""):
                return one["state"]["waiting"]["reason"]
        return None

    assert eventually(refused) == "CreateContainerConfigError"


def test_a_log_that_is_endless_fills_no_memory_and_no_disk(cluster: Bed) -> None:
    before = cluster.memory()
    cluster.pod(
        "loud",
        "yes a line that says nothing new, again and again | head -c 60000000;"
        " echo; echo DONE; exec sleep 1000",
    )
    eventually(lambda: "DONE" in tail(cluster, "loud"), 40)
    kept = sum(
        path.stat().st_size
        for path in cluster.home.pods.rglob("*")
        if path.is_file() and os.path.basename(path).endswith((".log", ".log.1"))
    )
    assert kept < 40_000_000
    assert cluster.memory() - before < 100 << 20


def tail(bed: Bed, name: str) -> str:
    with bed.client() as client:
        return client.call("GET", f"{PODS}/{name}/log?tailLines=2")[1].decode()
