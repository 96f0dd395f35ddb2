"""A cluster's entry comes and goes in a kubeconfig without disturbing what else is there."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from kindling.cluster.kubeconfig import add_entry, document_for, remove_entry
from kindling.errors import ClusterError

THEIRS = """\
apiVersion: v1
kind: Config
current-context: prod
clusters: [{name: prod, cluster: {server: https://prod}}]
users: [{name: me, user: {token: secret}}]
contexts: [{name: prod, context: {cluster: prod, user: me, namespace: shop}}]
extensions: [{name: x, extension: {kept: true}}]
"""


def entry(name: str = "kindling-demo", port: int = 4000) -> dict[str, Any]:
    return document_for(name, f"https://127.0.0.1:{port}", b"CA", b"CERT", b"KEY")


def test_a_new_file_is_private_and_leads_to_the_cluster(tmp_path: Path) -> None:
    path = tmp_path / ".kube" / "config"
    assert add_entry(path, entry())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert yaml.safe_load(path.read_text())["current-context"] == "kindling-demo"


def test_what_others_wrote_stays(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(THEIRS)
    path.chmod(0o640)
    add_entry(path, entry())
    found = yaml.safe_load(path.read_text())
    assert found["current-context"] == "prod"
    assert [one["name"] for one in found["contexts"]] == ["prod", "kindling-demo"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    remove_entry(path, "kindling-demo")
    assert yaml.safe_load(path.read_text()) == yaml.safe_load(THEIRS)


def test_the_same_entry_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "config"
    add_entry(path, entry())
    before = path.stat().st_mtime_ns
    assert not add_entry(path, entry())
    assert path.stat().st_mtime_ns == before
    assert add_entry(path, entry(port=5000))
    assert len(yaml.safe_load(path.read_text())["clusters"]) == 1


def test_the_namespace_that_a_user_chose_for_the_context_stays(tmp_path: Path) -> None:
    path = tmp_path / "config"
    add_entry(path, entry())
    document = yaml.safe_load(path.read_text())
    document["contexts"][0]["context"]["namespace"] = "mine"
    path.write_text(yaml.safe_dump(document))
    add_entry(path, entry(port=5000))
    (context,) = yaml.safe_load(path.read_text())["contexts"]
    assert context["context"]["namespace"] == "mine"


def test_a_linked_file_stays_linked(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "config"
    real.write_text(THEIRS)
    link.symlink_to(real)
    add_entry(link, entry())
    assert link.is_symlink()
    assert "kindling-demo" in real.read_text()


@pytest.mark.parametrize("text", ["[1, 2]", "contexts: {}\n a: [", "clusters: text"])
def test_a_file_that_is_no_kubeconfig_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(ClusterError, match="left alone"):
        add_entry(path, entry())
    assert path.read_text() == text
    assert os.listdir(tmp_path) == ["config"]


def test_the_current_context_does_not_outlive_its_cluster(tmp_path: Path) -> None:
    path = tmp_path / "config"
    add_entry(path, entry())
    assert remove_entry(path, "kindling-demo")
    assert yaml.safe_load(path.read_text())["current-context"] == ""
    assert not remove_entry(path, "kindling-demo")


def test_a_locked_file_is_waited_for_and_then_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kindling.cluster.kubeconfig._LOCK_SECS", 0.05)
    path = tmp_path / "config"
    (tmp_path / "config.lock").touch()
    with pytest.raises(ClusterError, match="locked by another program"):
        add_entry(path, entry())
