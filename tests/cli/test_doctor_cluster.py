"""`kindling doctor` where there is a cluster, an engine and a registry."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.cluster
@pytest.mark.docker
def test_doctor_reaches_what_there_is(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kindling", "doctor", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    findings = json.loads(done.stdout)["findings"]
    levels = {one["subject"]: one["level"] for one in findings}
    for subject in ("python", "state", "docker", "kubeconfig", "target", "cluster", "registry"):
        assert levels[subject] == "ok", findings
    assert list(tmp_path.iterdir()) == []
