"""The agent as bytes, for whatever a container runs on.

A released wheel brings the agents of both architectures along. A checkout does not: there the C
compiler makes them when they are first needed, and they are kept in the user's cache folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from kindling.errors import HostError
from kindling.sync.agent.binary import build, machine

__all__ = ["PREBUILT", "agent", "prebuilt_name"]

PREBUILT = Path(__file__).resolve().parent / "prebuilt"
"""Where a wheel has its agents; a checkout has no such folder."""


def prebuilt_name(architecture: str) -> str:
    """What the agent of an architecture is called in a wheel."""
    return f"kindling-agent-{architecture}"


def agent(
    architecture: str = "",
    *,
    prebuilt: Path = PREBUILT,
    environment: Mapping[str, str] | None = None,
    make: Callable[[Path, str], Path] = build,
) -> bytes:
    """The agent for an architecture by any of its names (`x86_64`, `amd64`, `arm64`), or for this
    machine. It may run a compiler, half a second: not for an event loop.

    Raises:
        HostError: The wheel has none for it and none can be built; the message says what to do.
        UsageError: There is no agent for this architecture.
    """
    wanted = machine(architecture)
    try:
        return (prebuilt / prebuilt_name(wanted)).read_bytes()
    except FileNotFoundError:
        return _built(wanted, os.environ if environment is None else environment, make)


def _built(wanted: str, environment: Mapping[str, str], make: Callable[[Path, str], Path]) -> bytes:
    target = make(_cache(environment) / "agents", wanted)
    try:
        return target.read_bytes()
    except OSError as error:
        raise HostError(
            f"The sync agent in {target} cannot be read: {error.strerror}",
            hint="Remove the file; it will be built again.",
        ) from error


def _cache(environment: Mapping[str, str]) -> Path:
    # The variable counts on every system, for tests; platformdirs knows the place of each.
    if told := environment.get("XDG_CACHE_HOME", ""):
        return Path(told) / "kindling"
    import platformdirs

    return platformdirs.user_cache_path("kindling")
