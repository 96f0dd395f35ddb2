"""Where a cluster keeps its state, and the names of what lies there.

One folder a cluster below the user's data folder (`$XDG_DATA_HOME/kindling/clusters/NAME` on
Linux), private to the user. Nothing of a cluster is anywhere else, but its kubeconfig entry.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from kindling.errors import UsageError

__all__ = ["DEFAULT_NAME", "ClusterHome"]

DEFAULT_NAME = "kindling"
_LONGEST_SOCKET = 103
"""Bytes; macOS has room for 104, Linux for 108, with a zero at the end."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class ClusterHome:
    """The state folder of the cluster `name`."""

    name: str
    folder: Path

    @classmethod
    def of(
        cls, name: str = DEFAULT_NAME, environment: Mapping[str, str] | None = None
    ) -> ClusterHome:
        """The home of a cluster of this user, whether it exists or not. Raises `UsageError` for a
        name that is not a DNS label of at most 40 characters, which it must be to name a folder, a
        kubeconfig context and a node."""
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"`{name}` cannot name a cluster: use at most 40 lower-case letters, digits and"
                " dashes, with a letter or digit at both ends"
            )
        return cls(name, _clusters(environment) / name)

    @classmethod
    def all(cls, environment: Mapping[str, str] | None = None) -> tuple[ClusterHome, ...]:
        """Every cluster of this user that was ever started and not reset, by name."""
        base = _clusters(environment)
        try:
            names = sorted(path.name for path in base.iterdir() if _NAME.fullmatch(path.name))
        except FileNotFoundError:
            return ()
        return tuple(home for name in names if (home := cls(name, base / name)).exists)

    @property
    def exists(self) -> bool:
        """Whether it was started before: there is state of it."""
        return self.settings.is_file()

    @property
    def context(self) -> str:
        """The kubeconfig context, cluster and user of it."""
        return f"kindling-{self.name}"

    @property
    def database(self) -> Path:
        return self.folder / "objects.db"

    @property
    def pki(self) -> Path:
        """Keys and certificates of the cluster's own authority, and its tokens."""
        return self.folder / "pki"

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def pods(self) -> Path:
        """A folder for each pod, by UID: volumes, logs, private layers."""
        return self.folder / "pods"

    @property
    def volumes(self) -> Path:
        """Persistent volumes."""
        return self.folder / "volumes"

    @property
    def log(self) -> Path:
        """What the background process says."""
        return self.folder / "cluster.log"

    @property
    def settings(self) -> Path:
        """JSON: what stays the same from start to start, such as ports."""
        return self.folder / "cluster.json"

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig that knows this cluster alone."""
        return self.folder / "kubeconfig"

    @property
    def secret_folders(self) -> tuple[Path, ...]:
        """What a pod must not see of a user's home: keys, objects and sockets, of this cluster and
        of those beside it."""
        base = self.folder.parent if self.folder.parent.name == "clusters" else self.folder
        socket = self.engine_socket.parent
        return (base,) if base in (socket, *socket.parents) else (base, socket)

    @property
    def engine_socket(self) -> Path:
        """Where the image builder answers Docker's API. A state folder too deep for the name of a
        socket has it in a folder of this user's below the system's temporary one."""
        path = self.folder / "engine.sock"
        if len(os.fsencode(path)) <= _LONGEST_SOCKET:
            return path
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"kindling-{os.getuid()}" / f"{name}.sock"


def _clusters(environment: Mapping[str, str] | None) -> Path:
    told = (os.environ if environment is None else environment).get("XDG_DATA_HOME", "")
    # platformdirs knows the place of each system; the variable counts on all of them, for tests.
    data = Path(told) / "kindling" if told else platformdirs.user_data_path("kindling")
    return data / "clusters"
