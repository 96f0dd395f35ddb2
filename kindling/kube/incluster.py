"""The cluster that a pod runs in, as a kubeconfig would name it.

A pod needs no kubeconfig: the kubelet tells it where the API server is and mounts a token, which it
writes anew before the old one ends. Where there is no kubeconfig file, this takes its place, as it
does for every Kubernetes client.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["IN_CLUSTER", "in_cluster"]

IN_CLUSTER = "in-cluster"
"""The context of the cluster that this process runs in."""

_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"


def in_cluster(environment: Mapping[str, str]) -> dict[str, Any] | None:
    """A kubeconfig document with the one context `in-cluster`; None outside of pods.

    `KINDLING_SERVICE_ACCOUNT` may say where the token is mounted: where pods are plain processes,
    each has its own folder for it.
    """
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    folder = Path(environment.get("KINDLING_SERVICE_ACCOUNT") or _FOLDER)
    token, authority = folder / "token", folder / "ca.crt"
    if not host or not token.is_file():
        return None
    if ":" in host:
        host = f"[{host}]"
    port = environment.get("KUBERNETES_SERVICE_PORT") or "443"
    cluster = {"server": f"https://{host}:{port}", "certificate-authority": os.fspath(authority)}
    context = {"cluster": IN_CLUSTER, "user": IN_CLUSTER, "namespace": _namespace(folder)}
    return {
        "current-context": IN_CLUSTER,
        "clusters": [{"name": IN_CLUSTER, "cluster": cluster}],
        "users": [{"name": IN_CLUSTER, "user": {"tokenFile": os.fspath(token)}}],
        "contexts": [{"name": IN_CLUSTER, "context": context}],
    }


def _namespace(folder: Path) -> str:
    try:
        return (folder / "namespace").read_text("utf-8").strip() or "default"
    except OSError:
        return "default"
