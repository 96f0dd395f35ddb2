"""The table of executors: each runs the kind it stands for."""

from __future__ import annotations

import sys
from subprocess import run

import pytest

from kindling.executors.table import Executors
from kindling.graph.node import Kind

OURS = (
    Kind.LOCAL,
    Kind.SERVE,
    Kind.TEST,
    Kind.IMAGE,
    Kind.PUSH,
    Kind.LOAD,
    Kind.REGISTRY,
    Kind.OPERATOR,
)


@pytest.mark.parametrize("kind", OURS)
def test_each_executor_is_of_its_kind(kind: Kind) -> None:
    assert Executors()[kind].kind is kind


def test_heavy_packages_wait_until_they_are_used() -> None:
    """Knowing every executor of ours costs neither the Docker SDK nor the cluster client."""
    kinds = ", ".join(f"Kind.{kind.name}" for kind in OURS)
    code = (
        "import sys; from kindling.graph.node import Kind; "
        f"from kindling.executors.table import Executors; [Executors()[k] for k in ({kinds})]; "
        "print([name for name in ('docker', 'kubernetes', 'requests') if name in sys.modules])"
    )
    done = run((sys.executable, "-c", code), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
