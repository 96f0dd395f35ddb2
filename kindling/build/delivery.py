"""Images into the nodes of local clusters that pull from nowhere, by the programs that made
them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kindling.build.protocol import LineSink, Programs
from kindling.errors import ContainerError, ExecutionError, HostError

__all__ = ["LOAD_SECS", "load_command", "load_image"]

LOAD_SECS = 600.0
"""The time limit for one load; large images take minutes on slow disks."""


def load_command(tool: str, cluster: str, ref: str) -> tuple[str, ...]:
    """The command that puts the image `ref` of the Docker engine into a cluster.

    Raises:
        ContainerError: No such tool is known.
    """
    match tool:
        case "kind":
            return ("kind", "load", "docker-image", ref, "--name", cluster)
        case "k3d":
            return ("k3d", "image", "import", ref, "-c", cluster)
        case _:
            raise ContainerError(
                f"there is no way to load `{ref}` into the cluster `{cluster}`: "
                f"`{tool}` is neither `kind` nor `k3d`",
                hint="Give the cluster a registry: announce one in ConfigMap "
                "`kube-public/local-registry-hosting`, or name one with `default_registry(...)`.",
            )


async def load_image(
    programs: Programs,
    tool: str,
    cluster: str,
    ref: str,
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: LineSink,
) -> None:
    """Load the image `ref` into `cluster`.

    Raises:
        HostError: The tool is not installed.
        ExecutionError: It failed; the details are the end of what it said.
        ContainerError: The tool is none that can load.
    """
    argv = load_command(tool, cluster, ref)
    try:
        result = await programs.run(argv, cwd=cwd, env=env, log=log, timeout=LOAD_SECS)
    except HostError as error:
        raise HostError(
            f"`{tool}` is needed to load `{ref}` into the cluster `{cluster}`: {error.message}",
            hint=f"Install `{tool}`, or give the cluster a registry.",
        ) from error
    if result.code != 0:
        said = (result.stderr or result.stdout).decode("utf-8", "replace").splitlines()
        raise ExecutionError(
            f"`{' '.join(argv[:3])}` exited with code {result.code}: `{ref}` is not in the cluster",
            details=[line for line in said if line.strip()][-10:],
        )
