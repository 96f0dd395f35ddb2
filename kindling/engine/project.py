"""The project: its Kindlingfile evaluated and assembled into a graph for one target.

Evaluation and assembly block and run in a thread. What the target announces (a registry, its
product) decides how images travel, so the facts learnt at the last connection are kept in the
store: without any, a first guess is made from the context's name, and `learn_target` says when the
guess was wrong.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kindling.engine.options import SessionOptions
from kindling.errors import ConfigError, KindlingError
from kindling.executors.protocol import Clock
from kindling.graph.dag import Graph
from kindling.graph.node import FileSet, IgnoreRule, NodeId, Where
from kindling.graph.outcome import Output
from kindling.kube.contexts import Kubeconfig, Product, Target, choose_target, read_kubeconfig
from kindling.lang.assemble.assembly import assemble
from kindling.lang.assemble.reader import DiskReader
from kindling.lang.assemble.target import AnnouncedRegistry, TargetFacts
from kindling.lang.declared import CiSettings, Declarations, Remark
from kindling.lang.diagnose import located
from kindling.lang.evaluate import attempt
from kindling.lang.inputs import CommandMemo, ContextInfo, EvaluationInputs
from kindling.store.database import Store

__all__ = ["DEFAULT_MAX_PARALLEL", "LoadFailed", "Loaded", "Project"]

DEFAULT_MAX_PARALLEL = 3


@dataclass(frozen=True, slots=True)
class Loaded:
    """A graph and what belongs to it.

    `scope` names the file and the profiles it was made with: garbage of another scope is not ours
    to collect. `target` is the sentence that says which cluster was chosen and why.
    """

    graph: Graph
    selected: frozenset[NodeId]
    reads: FileSet
    context: str
    target: str
    project: str
    scope: str
    seconds: float
    max_parallel: int = DEFAULT_MAX_PARALLEL
    secrets: tuple[tuple[str, str], ...] = ()
    remarks: tuple[Remark, ...] = ()
    watch_ignores: tuple[IgnoreRule, ...] = ()
    ci: CiSettings = field(default_factory=CiSettings)
    environment: tuple[tuple[str, str], ...] = ()
    glances: tuple[tuple[str, str], ...] = ()
    repeatable: bool = False
    """Whether the same reads, environment and glances would give the same graph again."""


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """An evaluation or assembly that failed, and what must change before it is worth another
    try."""

    error: KindlingError
    reads: FileSet


class _Contexts:
    """The language's view of the kubeconfig: names and whether they are local, nothing else."""

    def __init__(self, kubeconfig: Callable[[], Kubeconfig], override: str) -> None:
        self._kubeconfig = kubeconfig
        self._override = override

    def context(self, name: str = "") -> ContextInfo | None:
        kubeconfig = self._kubeconfig()
        wanted = name or self._override
        found = (
            next((c for c in kubeconfig.contexts if c.name == wanted), None)
            if wanted
            else kubeconfig.current
        )
        return ContextInfo(found.name, found.namespace, found.local) if found else None


class _Memo:
    """`local(deps=...)` remembered in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def recall(self, key: str) -> str | None:
        return self._store.fact(f"local/{key}")

    def remember(self, key: str, output: str) -> None:
        self._store.set_fact(f"local/{key}", output)


class Project:
    """Loads one Kindlingfile, as often as it changes.

    `say` is told every line that the file prints, and `guard` is entered around every command that
    it runs, both from the evaluating thread.
    """

    def __init__(
        self,
        options: SessionOptions,
        *,
        store: Store,
        clock: Clock,
        environment: Mapping[str, str],
        say: Callable[[Where, str], None],
        subcommand: str = "",
        need_target: bool = True,
        guard: Callable[[], AbstractContextManager[Mapping[str, str]]] | None = None,
    ) -> None:
        self._options = options
        self._store = store
        self._clock = clock
        self._environment = environment
        self._say = say
        self._subcommand = subcommand or options.command
        self._need_target = need_target
        self._guard = guard or (lambda: nullcontext({}))
        self._cancelled = threading.Event()
        self._declarations: Declarations | None = None
        self._facts: TargetFacts | None = None
        self.target: Target | None = None
        """The cluster of the last load; None when the graph needs none."""

    def cancel(self) -> None:
        """Cut off an evaluation that is under way."""
        self._cancelled.set()

    async def load(self) -> Loaded | LoadFailed:
        """Evaluate and assemble. Never raises `KindlingError`."""
        return await asyncio.to_thread(self.load_now)

    def load_now(self) -> Loaded | LoadFailed:
        """`load`, on the thread that calls."""
        started = self._clock.monotonic()
        evaluation = attempt(self._options.file, self._inputs())
        if evaluation.error is not None:
            return LoadFailed(evaluation.error, evaluation.reads)
        assert evaluation.declarations is not None
        try:
            return self._loaded(evaluation.declarations, started)
        except KindlingError as error:
            reader = DiskReader(Path(evaluation.root))
            return LoadFailed(located(error, reader.read), evaluation.reads)

    async def choose(self) -> Target:
        """Evaluate, and choose the cluster of the file, whether or not its graph uses one.

        Raises:
            KindlingError: The file is wrong, or no cluster can be chosen.
        """
        evaluation = await asyncio.to_thread(attempt, self._options.file, self._inputs())
        if evaluation.error is not None:
            raise evaluation.error
        assert evaluation.declarations is not None
        target, problem = self._choose(evaluation.declarations)
        if target is None:
            assert problem is not None
            raise problem
        return target

    def _inputs(self) -> EvaluationInputs:
        memo: CommandMemo = _Memo(self._store)
        return EvaluationInputs(
            args=self._options.words,
            subcommand=self._subcommand,
            names=self._options.names,
            contexts=_Contexts(self._kubeconfig, self._options.context),
            environment=self._environment,
            cancelled=self._cancelled.is_set,
            memo=memo,
            output=self._say,
            guard=self._guard,
        )

    def _kubeconfig(self) -> Kubeconfig:
        return read_kubeconfig(self._environment)

    def _loaded(self, declarations: Declarations, started: float) -> Loaded:
        target, problem = self._choose(declarations)
        facts = self._facts_of(target) if target else None
        reader = DiskReader(Path(declarations.root))
        assembly = assemble(declarations, facts, reader, self._options.names)
        used = assembly.cluster is not None and assembly.cluster in assembly.selected
        if used and problem is not None and self._need_target:
            raise problem
        self.target = target if used else None
        settings = declarations.settings
        return Loaded(
            graph=assembly.graph,
            selected=assembly.selected,
            reads=declarations.reads,
            context=self.target.context.name if self.target else "",
            target=_sentence(self.target),
            project=_owner(declarations),
            scope=_scope(declarations),
            seconds=self._clock.monotonic() - started,
            max_parallel=settings.max_parallel_updates or DEFAULT_MAX_PARALLEL,
            secrets=tuple((f"{s.secret}:{s.key}", s.value) for s in assembly.secrets),
            remarks=assembly.warnings,
            watch_ignores=tuple(IgnoreRule(i.base, i.patterns) for i in settings.watch_ignores),
            ci=settings.ci,
            environment=tuple((e.name, e.digest) for e in declarations.environment),
            glances=tuple((g.path, g.digest) for g in declarations.glances),
            repeatable=declarations.repeatable,
        )

    def _choose(self, declarations: Declarations) -> tuple[Target | None, KindlingError | None]:
        """The cluster of the file, or why there is none. That matters only to a graph that uses
        one."""
        wanted = declarations.cluster
        provider, name = wanted.provider, "" if wanted.provider == "auto" else wanted.name
        if self._options.context:
            provider, name = "context", self._options.context
        try:
            target = choose_target(
                self._kubeconfig(), provider, name, declarations.settings.allowed_contexts
            )
        except KindlingError as error:
            said_in_file = wanted.where is not None and not self._options.context
            if said_in_file and isinstance(error, ConfigError):
                error = ConfigError(
                    f"{wanted.where}: {error.message}", details=error.details, hint=error.hint
                )
            return None, error
        if wanted.namespace:
            context = replace(target.context, namespace=wanted.namespace)
            target = replace(target, context=context)
        return target, None

    def _facts_of(self, target: Target) -> TargetFacts:
        context = target.context
        known = self._store.fact(_fact_name(context.name, context.server))
        # The embedded cluster announces a registry too, and needs none: images are at its node.
        embedded = context.product is Product.EMBEDDED
        registry = json.loads(known) if known and not embedded else None
        self._facts = TargetFacts(
            context=context.name,
            product=context.product.value,
            cluster=context.cluster.removeprefix(f"{context.product.value}-"),
            namespace=context.namespace,
            registry=AnnouncedRegistry(*registry) if registry else None,
            provider="context",
            registry_known=embedded or known is not None,
        )
        return self._facts

    def learn_target(self, output: Output) -> bool:
        """Take note of what a cluster node found out; True when the graph must be made anew."""
        data: Mapping[str, Any] = output.data
        announced = data.get("registry") or None
        found = (
            AnnouncedRegistry(announced["host"], announced.get("host_from_cluster", ""))
            if announced
            else None
        )
        value = json.dumps([found.host, found.host_from_cluster] if found else None)
        self._store.set_fact(_fact_name(data["context"], data["server"]), value)
        facts = self._facts
        if facts is not None and facts.product == Product.EMBEDDED.value:
            return False  # its images are at the node, whatever it announces
        # Images for an unknown cluster wait for a registry that may be announced; it is not.
        without = found is None and facts is not None and facts.product == "unknown"
        return facts is not None and (
            facts.registry != found or (without and not facts.registry_known)
        )


def _fact_name(context: str, server: str) -> str:
    return f"registry of {context} at {server}"


def _sentence(target: Target | None) -> str:
    return f"Cluster `{target.context.name}`: {target.reason}" if target else ""


def _scope(declarations: Declarations) -> str:
    """The file and the profiles that are on: what garbage is told apart by."""
    active = sorted(profile.name for profile in declarations.profiles if profile.active)
    return json.dumps([declarations.file, *active])


def _owner(declarations: Declarations) -> str:
    """What marks objects as this project's: the namespace or name that `cluster()` gives, else the
    folder's name. A context's name does not count, since many projects share a context.

    The text is a label's value: 63 characters at most, letters, digits, `-`, `_` and `.` between
    letters or digits.
    """
    said = declarations.cluster
    own_name = said.name if said.provider not in ("auto", "context") else ""
    name = said.namespace or own_name or Path(declarations.root).name
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:63]
    return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9]+$", "", plain) or "project"
