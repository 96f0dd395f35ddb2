"""What a node's result depends on, read from the world just now."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from kindling.files.tree import TreeReader
from kindling.graph.key import Manifest, manifest
from kindling.graph.node import FileSet, Node, NodeId
from kindling.graph.outcome import Output

__all__ = ["InputReader"]


class InputReader:
    """Reads files, environment and tools of a node into its manifest."""

    def __init__(self, root: Path, tree: TreeReader, environment: Mapping[str, str]) -> None:
        self._root = root
        self._tree = tree
        self._environment = environment

    async def manifest(
        self, node: Node, inputs: Mapping[NodeId, Output], target: str = ""
    ) -> Manifest:
        """The manifest of a node whose content predecessors produced `inputs`.

        Raises:
            HostError: A file cannot be read.
        """
        files = await asyncio.to_thread(self.files, node) if node.files else {}
        return self.manifest_of(
            node, files, {id_: out.digest for id_, out in inputs.items()}, target
        )

    def files(self, node: Node) -> Mapping[str, str]:
        """Every file the node reads, with its digest. Blocking."""
        found: dict[str, str] = {}
        for fileset in node.files:
            found.update(self._tree.read(fileset).entries)
        return found

    def entries(self, fileset: FileSet) -> Mapping[str, str]:
        """Every file of a file set, with its digest. Blocking."""
        return self._tree.read(fileset).entries

    def paths(self, fileset: FileSet) -> tuple[str, ...]:
        """Every path of a file set. Blocking."""
        return tuple(self._tree.read(fileset).entries)

    def manifest_of(
        self, node: Node, files: Mapping[str, str], inputs: Mapping[NodeId, str], target: str = ""
    ) -> Manifest:
        """The manifest, when the files were read already."""
        return manifest(
            node,
            files=files,
            env={name: self._environment.get(name) for name in node.env},
            tools={name: self._tool(name) for name in node.tools},
            inputs=inputs,
            target=target,
        )

    def _tool(self, name: str) -> str:
        """Which program a name means, by path, size and modification time.

        Asking it for its version would cost a process per node and key.
        """
        path = shutil.which(name, path=self._environment.get("PATH"))
        if path is None:
            return ""
        stat = Path(path).stat()
        text = f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
