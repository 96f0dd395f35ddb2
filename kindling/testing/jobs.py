"""Jobs for executors under test, in a world of a test's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from kindling.errors import ClusterError, ContainerError
from kindling.executors.protocol import Clock, Job, LogSink, ProcessRunner
from kindling.graph.node import FileSet, Kind, Node, NodeId, node_id
from kindling.graph.outcome import Output
from kindling.graph.spec import Spec
from kindling.testing.clock import FakeClock
from kindling.testing.processes import FakeProcesses

if TYPE_CHECKING:
    from kindling.build.protocol import ContainerEngine
    from kindling.kube.protocol import Cluster

__all__ = ["JobWorld", "Lines", "MemoryBlobs"]


class Lines:
    """A log sink that keeps what it takes."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []

    def __call__(self, line: str, stream: str = "stdout") -> None:
        self.all.append((stream, line))

    @property
    def text(self) -> str:
        return "\n".join(line for _, line in self.all)

    def of(self, stream: str) -> list[str]:
        """The lines of one stream."""
        return [line for name, line in self.all if name == stream]


class MemoryBlobs:
    """File contents by digest in memory, behind `BlobStore`."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    def put(self, path: Path) -> str:
        data = path.read_bytes()
        digest = "sha256:" + sha256(data).hexdigest()
        self.contents[digest] = data
        return digest

    def get(self, digest: str, path: Path) -> bool:
        if digest not in self.contents:
            return False
        path.write_bytes(self.contents[digest])
        return True


@dataclass(slots=True)
class JobWorld:
    """A `World` over a folder, and a maker of jobs in it.

    Where no engine or cluster is given, there is none, and asking for it fails as in a real
    session.
    """

    root: Path
    processes: ProcessRunner = field(default_factory=FakeProcesses)
    clock: Clock = field(default_factory=FakeClock)
    engine: ContainerEngine | None = None
    api: Cluster | None = None
    project: str = "test"
    environment: Mapping[str, str] = field(
        default_factory=lambda: {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    )
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    lines: Lines = field(default_factory=Lines)
    operator: Callable[[str], Awaitable[str]] | None = None
    """Stands in for the operator that a session would start in a namespace; who it is."""

    @property
    def state_dir(self) -> Path:
        return self.root / ".kindling"

    async def cluster(self) -> Cluster:
        if self.api is None:
            raise ClusterError("there is no cluster")
        return self.api

    async def containers(self) -> ContainerEngine:
        if self.engine is None:
            raise ContainerError("no Docker engine answers")
        return self.engine

    async def operate(self, namespace: str, name: str = "", log: LogSink | None = None) -> str:
        del name, log
        if self.operator is None:
            raise ClusterError("no operator can be started here")
        return await self.operator(namespace)

    def job(
        self,
        kind: Kind,
        spec: Spec,
        *,
        name: str = "it",
        inputs: Mapping[str, Output] | None = None,
        files: tuple[FileSet, ...] = (),
        key: str = "key",
        once: bool = False,
    ) -> Job:
        """A job for one node."""
        node = Node(node_id(kind, name), kind, name, spec, files=files)
        known = {NodeId(id_): output for id_, output in (inputs or {}).items()}
        return Job(node, key, 1, self, self.lines, known, once=once)

    def write(self, path: str, text: str = "", *, mode: int = 0o644) -> Path:
        """Write a file below the root, with the folders it needs."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
        target.chmod(mode)
        return target

    def remove(self, path: str) -> None:
        """Remove a file or a folder below the root."""
        target = self.root / path
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink()
