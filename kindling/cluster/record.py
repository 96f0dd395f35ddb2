"""What is known of a cluster between processes: its ports, and the process that runs it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kindling.cluster.home import ClusterHome
from kindling.cluster.kubeconfig import write_private
from kindling.errors import ClusterError

__all__ = ["LOCK_TAKEN", "Settings", "read_settings", "write_settings"]

LOCK_TAKEN = "another process runs this cluster already"
"""What a background process says when it finds the lock taken, and ends."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What stays from start to start, unless a port is taken by then. 0 is a port not chosen yet.

    `isolation` is `auto` or `none`. `missing` says what the last start could not keep apart.
    """

    api_port: int = 0
    ingress_port: int = 0
    registry_port: int = 0
    isolation: str = "auto"
    runtime: str = ""
    missing: tuple[str, ...] = ()

    @property
    def server(self) -> str:
        """The address that the kubeconfig names."""
        return f"https://127.0.0.1:{self.api_port}"


def read_settings(home: ClusterHome) -> Settings:
    """The settings of a cluster, or those of one that was never started.

    Raises:
        ClusterError: The file cannot be read.
    """
    return _parsed(home.settings)


def write_settings(home: ClusterHome, settings: Settings) -> None:
    write_private(home.settings, json.dumps(asdict(settings), indent=2).encode() + b"\n")


def _parsed(path: Path) -> Settings:
    try:
        form: Any = json.loads(path.read_text("utf-8"))
        return Settings(
            int(form["api_port"]),
            int(form["ingress_port"]),
            int(form["registry_port"]),
            str(form.get("isolation", "auto")),
            str(form.get("runtime", "")),
            tuple(str(line) for line in form.get("missing", ())),
        )
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            f"Cannot read the cluster's settings in `{path}`: {error}",
            hint="`kindling cluster reset` makes a new, empty cluster.",
        ) from error
