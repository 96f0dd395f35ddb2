"""A graph of a thousand nodes and one container that files go into."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import task_graph
from bench.peers import KINDLING
from bench.sync_children import Children
from bench.sync_peers import FOLDER, HOME
from bench.sync_pod import IMAGE, NAMESPACE, kubectl

__all__ = ["NODES", "Graph", "graph"]

NODES = 1000
_NAME = "graphed"
_DEST = "/app/graph"


class Graph:
    """A session of `kindling up` that has brought everything up."""

    source: Path
    dest = _DEST
    pod: str
    nodes: int
    """Of the whole graph, as the session counts them."""


@contextmanager
def graph(children: Children, seconds: float) -> Iterator[Graph]:
    """Have the session run, with a folder of its own for what it remembers."""
    folder = FOLDER / "graph"
    shutil.rmtree(folder, ignore_errors=True)
    task_graph.write(folder, NODES)
    found = Graph()
    found.source = folder / "www"
    found.source.mkdir()
    (found.source / "value.txt").write_text("0\n")
    with (folder / "Kindlingfile").open("a") as file:
        file.write(
            f'\nservice("{_NAME}", "{IMAGE}", 8080, namespace = "{NAMESPACE}",\n'
            f'    command = ["sh", "-c", "mkdir -p {_DEST} && exec sleep 1000000"],\n'
            f'    sync = [sync("www", "{_DEST}")])\n'
        )
    log, errors = folder / "session.jsonl", folder / "session.err"
    with log.open("wb") as out, errors.open("wb") as err:
        process = children.start(
            [KINDLING, "up", "--json"],
            stdout=out,
            stderr=err,
            cwd=folder,
            environ={"XDG_DATA_HOME": str(HOME)},
        )
    try:
        found.nodes = _until_up(process, log, errors, seconds)
        found.pod = _pod()
        yield found
    finally:
        children.end(process, seconds=60.0)


def _until_up(process: subprocess.Popen[bytes], log: Path, errors: Path, seconds: float) -> int:
    """Wait until nothing of the graph is left to do; how many nodes it has."""
    states: dict[str, str] = {}
    until = time.monotonic() + seconds
    with log.open() as lines:
        part = ""
        while time.monotonic() < until:
            part += lines.readline()
            if not part.endswith("\n"):
                if process.poll() is not None:
                    break
                time.sleep(0.02)
                continue
            notice = json.loads(part)
            part = ""
            for node in [*notice.get("nodes", ()), notice.get("node")]:
                if not isinstance(node, dict):
                    continue
                states[node["id"]] = node["status"]
                if node["status"] == "failed":
                    raise RuntimeError(f"{node['id']} failed: {node['failure']['summary']}")
            if states.get(f"sync:{_NAME}") == "done" and set(states.values()) == {"done"}:
                return len(states)
    waiting = sorted(name for name, status in states.items() if status != "done")
    said = " ".join(errors.read_text("utf-8", "replace").split())[-300:]
    raise RuntimeError(f"`kindling up` is not up: {said or waiting[:5]}")


def _pod() -> str:
    """The one pod of the service that runs and stays."""
    listed = json.loads(kubectl("-n", NAMESPACE, "get", "pods", "-o", "json"))
    (name,) = [
        one["metadata"]["name"]
        for one in listed["items"]
        if one["metadata"]["name"].startswith(f"{_NAME}-")
        and not one["metadata"].get("deletionTimestamp")
    ]
    return str(name)
