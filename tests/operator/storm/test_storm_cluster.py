"""The storm on a real cluster, where the operator is a process that is killed without warning. With
two hundred environments: `bench/run operator --storm 200`."""

from __future__ import annotations

from pathlib import Path

import pytest

from kindling.kube.protocol import Cluster
from kindling.operator.controller.definitions import install_definitions
from tests.operator.storm.killing import forbid_pods, weather

pytestmark = pytest.mark.cluster


async def test_after_a_storm_on_a_cluster_nothing_is_wrong_and_nothing_is_left_over(
    cluster: Cluster, ns: str, tmp_path: Path
) -> None:
    await install_definitions(cluster)
    await cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns}})
    await forbid_pods(cluster, ns)
    await weather(cluster, ns, tmp_path, 20, seed=5, lives=3)
