"""`kindling plan`, `why` and `graph`: what is known before anything runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kindling.engine.notices import Level
from kindling.engine.options import SessionOptions
from kindling.engine.owned import OWNERS
from kindling.engine.project import Loaded, LoadFailed
from kindling.engine.run import REAL, Connections, Tools, open_tools
from kindling.engine.standstill import SETTLING, Standstill, environment_digests, keep
from kindling.engine.survey import Survey, survey
from kindling.errors import KindlingError
from kindling.executors.protocol import Forecaster, Job
from kindling.graph.key import Manifest
from kindling.graph.node import Kind, NodeId, Where
from kindling.graph.plan import CheckState, Plan, plan
from kindling.graph.why import Evidence, Explanation, why
from kindling.kube.contexts import kubeconfig_paths

__all__ = ["Planned", "explain_node", "load_graph", "make_plan"]


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and what was said on the way to it (what the file printed, warnings)."""

    plan: Plan
    target: str
    remarks: tuple[tuple[Level, str], ...]


async def load_graph(
    options: SessionOptions,
    environment: Mapping[str, str],
    *,
    need_target: bool = False,
) -> tuple[Loaded, tuple[tuple[Level, str], ...]]:
    """Evaluate and assemble, and nothing else. Without `need_target` no cluster need exist.

    Raises:
        KindlingError: The file is wrong.
    """
    said: list[tuple[Level, str]] = []
    opened = open_tools(options, environment=environment, say=_keep(said), need_target=need_target)
    async with opened as tools:
        return await _load(tools, said), tuple(said)


async def make_plan(
    options: SessionOptions,
    environment: Mapping[str, str],
    *,
    touched: Sequence[Path] = (),
    connections: Connections = REAL,
) -> Planned:
    """What `up` would do now. Writes nothing to the cluster.

    Raises:
        KindlingError: The file is wrong, or no cluster can be chosen.
    """
    said: list[tuple[Level, str]] = []
    opened = open_tools(options, environment=environment, say=_keep(said), connections=connections)
    async with opened as tools:
        began = time.time_ns()
        loaded = await _load(tools, said)
        found = await survey(tools, loaded, loaded.selected, touched=touched)
        objects = await _objects(tools, loaded, found)
        said += [
            (Level.INFO, f"{id_}: {held}") for id_ in found.checks if (held := _held(found, id_))
        ]
        made = plan(
            loaded.graph,
            loaded.selected,
            found.checks,
            tools.store.seconds(),
            max_parallel=loaded.max_parallel,
            objects=objects,
        )
        if made.is_empty and not touched:
            _keep_standstill(tools, loaded, found, said, began, environment)
        return Planned(made, loaded.target, tuple(said))


async def explain_node(
    options: SessionOptions,
    name: str,
    environment: Mapping[str, str],
    *,
    connections: Connections = REAL,
) -> tuple[Explanation, ...]:
    """Why the node (or each node of the resource) of that name is due; of one that is not due, why
    it last ran.

    Raises:
        KindlingError: The file is wrong, or nothing has that name.
    """
    said: list[tuple[Level, str]] = []
    opened = open_tools(options, environment=environment, say=_keep(said), connections=connections)
    async with opened as tools:
        loaded = await _load(tools, said)
        ids = loaded.graph.find(name)
        found = await survey(tools, loaded, loaded.graph.ancestors(ids))
        present = {id_: _present(found, id_) for id_ in found.checks}
        last = {id_: _last(found, id_) for id_ in found.records}
        explained: list[Explanation] = []
        for id_ in ids:
            now = why(loaded.graph, id_, present)
            if held := _held(found, id_):
                explained.append(replace(now, held=held))
                continue
            due = now.is_dirty or bool(now.chains) or id_ not in last
            if loaded.graph[id_].kind is Kind.SYNC and id_ in last:
                due = False  # it is never due for long; what it carried last is of interest
            explained.append(now if due else why(loaded.graph, id_, last))
        return tuple(explained)


def _keep_standstill(
    tools: Tools,
    loaded: Loaded,
    found: Survey,
    said: Sequence[tuple[Level, str]],
    began: int,
    given: Mapping[str, str],
) -> None:
    """Keep what was looked at, where looking at it again is enough to know that nothing changed.
    `given` is the environment as the user has it, which is what the next look has to compare."""
    nodes = [loaded.graph[id_] for id_ in loaded.selected]
    filesets = [loaded.reads, *(fileset for node in nodes for fileset in node.files)]
    reopened = any(p.startswith("!") for f in filesets for rule in f.ignore for p in rule.patterns)
    local = all(node.kind in (Kind.LOCAL, Kind.TEST) and not node.tools for node in nodes)
    if not (local and loaded.repeatable) or reopened:
        return
    environment = tools.world.environment
    read = [name for node in nodes for name in node.env] + ["KUBECONFIG", "HOME", "PATH"]
    outputs = [path for id_ in found.manifests for path in _output_paths(found, id_)]
    keep(
        tools.store,
        tools.options,
        Standstill(
            nodes=len(nodes),
            environment=(*loaded.environment, *environment_digests(read, given)),
            glances=loaded.glances,
            paths=tuple(
                dict.fromkeys(
                    (
                        *tools.inputs.paths(loaded.reads),
                        *(path for id_ in found.manifests for path in _input_paths(found, id_)),
                        *outputs,
                        *map(str, kubeconfig_paths(environment)),
                    )
                )
            ),
            remarks=tuple((level.value, text) for level, text in said),
        ),
        settled_before=began - SETTLING,
    )


def _input_paths(found: Survey, id_: NodeId) -> Iterable[str]:
    labels = (label for label, _ in found.manifests[id_].entries)
    return (label.removeprefix("file:") for label in labels if label.startswith("file:"))


def _output_paths(found: Survey, id_: NodeId) -> Iterable[str]:
    record = found.records.get(id_)
    outputs = record.output.data.get("outputs") if record else None
    return outputs or ()


def _held(found: Survey, id_: NodeId) -> str:
    """Which sync session has the workload of a rollout, that is not due for as long."""
    check = found.checks[id_]
    return check.text if check.state is CheckState.CLEAN and id_.startswith("rollout:") else ""


def _present(found: Survey, id_: NodeId) -> Evidence:
    check, record = found.checks[id_], found.records.get(id_)
    current = found.manifests[id_]
    alike = record is not None and record.key == current.key
    if check.state is CheckState.CLEAN and (_held(found, id_) or not alike):
        # It lives with the session, so that its inputs say nothing about whether it is due.
        return Evidence(current, current)
    before = Manifest(tuple(record.manifest.lines.items())) if record else None
    return Evidence(before, current, note=check.text)


def _last(found: Survey, id_: NodeId) -> Evidence:
    record = found.records[id_]
    before = Manifest(tuple(record.previous.lines.items())) if record.previous.lines else None
    current = Manifest(tuple(record.manifest.lines.items()))
    told = {difference.text for difference in Evidence(before, current).differences}
    note = ", ".join(reason for reason in record.reasons if reason not in told)
    return Evidence(before, current, record.verdict, note if before is not None else "")


async def _objects(tools: Tools, loaded: Loaded, found: Survey) -> dict[NodeId, tuple[str, ...]]:
    """For every node that writes objects and is not clean, what it would do to which object."""
    lines: dict[NodeId, tuple[str, ...]] = {}
    for id_, check in found.checks.items():
        node = loaded.graph[id_]
        if node.kind not in OWNERS or check.state is CheckState.CLEAN:
            continue
        executor = tools.executors[node.kind]
        assert isinstance(executor, Forecaster)
        record = found.records.get(id_)
        inputs = {
            before: found.records[before].output
            for before in loaded.graph.predecessors(id_)
            if before in found.records
        }
        job = Job(
            node=node,
            key="",
            attempt=0,
            world=tools.world,
            log=lambda line, stream="stdout": None,  # noqa: ARG005
            inputs=inputs,
            previous=record.output if record else None,
        )
        try:
            lines[id_] = await executor.diff(job)
        except KindlingError as error:
            lines[id_] = (f"its objects could not be compared: {error.message}",)
    return lines


async def _load(tools: Tools, said: list[tuple[Level, str]]) -> Loaded:
    loaded = await tools.project.load()
    if isinstance(loaded, LoadFailed):
        raise loaded.error
    tools.redactor.learn(loaded.secrets)
    tools.world.project = loaded.project
    said += [
        (Level.WARNING if remark.warning else Level.INFO, str(remark)) for remark in loaded.remarks
    ]
    return loaded


def _keep(said: list[tuple[Level, str]]) -> Callable[[Where, str], None]:
    return lambda _where, line: said.append((Level.INFO, line))
