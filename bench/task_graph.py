"""One graph of local commands, written for kindling, make, ninja and doit.

The graph is chains of ten nodes and one node that joins all chains. A node reads a source file of
its own and the output of the node before it; the head of a chain reads `src/common`, which all
chains share. So a change to one source makes a tail of one chain and the join dirty, and a change
to `src/common` everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CHAIN", "TaskNode", "changed_source", "nodes", "write"]

CHAIN = 10


@dataclass(frozen=True, slots=True)
class TaskNode:
    """A command that writes `output` from `inputs`."""

    name: str
    inputs: tuple[str, ...]
    output: str


def nodes(count: int) -> Iterator[TaskNode]:
    """`count` nodes in chains of ten, then the join."""
    ends: list[str] = []
    for number in range(count):
        chain, step = divmod(number, CHAIN)
        before = "src/common" if step == 0 else f"out/{chain}_{step - 1}"
        output = f"out/{chain}_{step}"
        yield TaskNode(f"t{chain}_{step}", (f"src/{chain}_{step}", before), output)
        if step == CHAIN - 1 or number == count - 1:
            ends.append(output)
    yield TaskNode("join", tuple(ends), "out/join")


def changed_source(count: int) -> str:
    """A source whose change makes a whole chain and the join dirty: eleven nodes."""
    return f"src/{count // CHAIN // 2}_0"


def write(folder: Path, count: int) -> None:
    """Write sources and the four build files to a new folder."""
    (folder / "src").mkdir(parents=True)
    (folder / "out").mkdir()
    graph = list(nodes(count))
    (folder / "src/common").write_text("common\n", encoding="utf-8")
    for node in graph[:-1]:
        (folder / node.inputs[0]).write_text(f"source of {node.name}\n", encoding="utf-8")

    lines = [".PHONY: all", "all: out/join"]
    for node in graph:
        lines += [f"{node.output}: {' '.join(node.inputs)}", "\t@cat $^ > $@"]
    _write(folder / "Makefile", lines)

    lines = ["rule cat", "  command = cat $in > $out"]
    lines += [f"build {node.output}: cat {' '.join(node.inputs)}" for node in graph]
    _write(folder / "build.ninja", [*lines, "default out/join"])

    # The two that are programs say it as their users would: by a loop.
    chains, rest = divmod(count, CHAIN)
    lengths = [CHAIN] * chains + ([rest] if rest else [])
    _write(
        folder / "dodo.py",
        [
            "DOIT_CONFIG = {'default_tasks': ['join']}",
            f"LENGTHS = {lengths!r}",
            "",
            "def task_chain():",
            "    for chain, length in enumerate(LENGTHS):",
            "        for step in range(length):",
            "            before = f'out/{chain}_{step - 1}' if step else 'src/common'",
            "            inputs = [f'src/{chain}_{step}', before]",
            "            output = f'out/{chain}_{step}'",
            "            yield {'name': f't{chain}_{step}',",
            "                   'file_dep': inputs, 'targets': [output],",
            "                   'actions': [f'cat {inputs[0]} {inputs[1]} > {output}']}",
            "",
            "def task_join():",
            "    ends = [f'out/{chain}_{length - 1}' for chain, length in enumerate(LENGTHS)]",
            "    return {'file_dep': ends, 'targets': ['out/join'],",
            "            'actions': ['cat ' + ' '.join(ends) + ' > out/join']}",
        ],
    )
    _write(
        folder / "Kindlingfile",
        [
            "update_settings(max_parallel_updates = 2)",
            f"LENGTHS = {lengths!r}",
            "",
            "for chain, length in enumerate(LENGTHS):",
            "    for step in range(length):",
            '        before = "out/%d_%d" % (chain, step - 1) if step else "src/common"',
            '        inputs = ["src/%d_%d" % (chain, step), before]',
            '        output = "out/%d_%d" % (chain, step)',
            '        local_resource("t%d_%d" % (chain, step), allow_parallel = True,',
            '                       cmd = "cat " + " ".join(inputs) + " > " + output,',
            "                       deps = inputs, outputs = [output])",
            "",
            'ends = ["out/%d_%d" % (chain, length - 1) for chain, length in enumerate(LENGTHS)]',
            'local_resource("join", allow_parallel = True, deps = ends, outputs = ["out/join"],',
            '               cmd = "cat " + " ".join(ends) + " > out/join")',
        ],
    )


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
