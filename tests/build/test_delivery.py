"""Loading images into nodes: the command lines of kind and k3d, tried on stand-ins that take
them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kindling.build.delivery import load_command, load_image
from kindling.errors import ContainerError, ExecutionError, HostError
from kindling.executors.processes import HostProcesses
from kindling.testing.jobs import Lines

# Each parses its arguments as the real program documents them, and fails on any other.
KIND = r"""#!/bin/sh
[ "$1 $2" = "load docker-image" ] || { echo "unknown command" >&2; exit 1; }
image=$3; shift 3
[ "$1" = "--name" ] && [ -n "$2" ] && [ $# = 2 ] || { echo "unknown flag $1" >&2; exit 1; }
[ "$2" = "gone" ] && { echo 'ERROR: no nodes found for cluster "gone"' >&2; exit 1; }
echo "Image: \"$image\" not yet present on node \"$2-control-plane\", loading..."
"""
K3D = r"""#!/bin/sh
[ "$1 $2" = "image import" ] || { echo "unknown command" >&2; exit 1; }
image=$3; shift 3
[ "$1" = "-c" ] && [ -n "$2" ] && [ $# = 2 ] || { echo "unknown flag $1" >&2; exit 1; }
[ "$2" = "gone" ] && { echo 'FATA[0000] no nodes found for given cluster' >&2; exit 1; }
echo "INFO[0000] Importing image(s) into cluster '$2'"
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    for name, text in (("kind", KIND), ("k3d", K3D)):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
        path.chmod(0o755)
    return {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}


async def load(tmp_path: Path, env: dict[str, str], tool: str, cluster: str = "dev") -> Lines:
    lines = Lines()
    host = HostProcesses()
    try:
        await load_image(host, tool, cluster, "api:1", cwd=tmp_path, env=env, log=lines)
    finally:
        await host.close()
    return lines


@pytest.mark.parametrize(("tool", "says"), [("kind", "dev-control-plane"), ("k3d", "'dev'")])
async def test_each_tool_is_called_as_it_wants(
    tmp_path: Path, env: dict[str, str], tool: str, says: str
) -> None:
    assert says in (await load(tmp_path, env, tool)).text


@pytest.mark.parametrize("tool", ["kind", "k3d"])
async def test_a_load_that_fails_says_what_the_tool_said(
    tmp_path: Path, env: dict[str, str], tool: str
) -> None:
    with pytest.raises(ExecutionError, match="exited with code 1") as caught:
        await load(tmp_path, env, tool, "gone")
    assert "no nodes found" in caught.value.details[0]


async def test_a_missing_tool_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="`kind` is needed to load `api:1`") as caught:
        await load(tmp_path, {"PATH": str(tmp_path)}, "kind")
    assert "registry" in caught.value.hint


def test_a_cluster_that_no_tool_fits_is_told_what_to_do() -> None:
    with pytest.raises(ContainerError, match="`minikube` is neither `kind` nor `k3d`") as caught:
        load_command("minikube", "dev", "api:1")
    assert "default_registry" in caught.value.hint
