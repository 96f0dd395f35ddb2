"""`kindling deploy`: manifests checked, written, and their environments brought to be ready, by the
operator that acts there or else by one that lives as long as the command."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from kindling.engine.clock import SystemClock
from kindling.engine.environments.applying import Step, intended, write
from kindling.engine.environments.manifests import Item, check, placed
from kindling.engine.environments.overview import Staged, routes_of, staged_of
from kindling.engine.environments.reach import Reached
from kindling.engine.environments.standing import await_ready
from kindling.executors.protocol import Clock
from kindling.kube.protocol import Cluster
from kindling.operator.controller.definitions import install_definitions
from kindling.operator.controller.preview import preview
from kindling.operator.controller.run import Operation, Scope, holder, start

__all__ = ["Deployment", "Operators", "deploy"]


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a deployment did, or with `dry` would do; `children` are lines about the objects that an
    operator makes of it."""

    steps: tuple[Step, ...]
    children: tuple[str, ...] = ()
    environments: tuple[Staged, ...] = ()
    dry: bool = False

    def to_json(self) -> dict[str, Any]:
        """As docs/json.md has it."""
        verbs = {"create": "created", "change": "changed", "same": "unchanged"}
        return {
            "dry_run": self.dry,
            "objects": [
                {
                    "api_version": step.ref.api_version,
                    "kind": step.ref.kind,
                    "namespace": step.ref.namespace,
                    "name": step.ref.name,
                    "result": step.verb if self.dry else verbs[step.verb],
                    "fields": list(step.fields),
                }
                for step in self.steps
            ],
            "children": list(self.children),
            "environments": [
                {"namespace": one.namespace, "name": one.name, "ready": one.ready, "url": one.url}
                for one in self.environments
            ],
        }


class Operators(Protocol):
    """Who acts in a namespace, and how an operator of ours is begun; tests hand in their own."""

    async def holder(self, cluster: Cluster, namespace: str) -> str: ...

    async def begin(
        self, reached: Reached, namespaces: tuple[str, ...], say: Callable[[str], None]
    ) -> Operation: ...


class _Real:
    async def holder(self, cluster: Cluster, namespace: str) -> str:
        return await holder(cluster, namespace)

    async def begin(
        self, reached: Reached, namespaces: tuple[str, ...], say: Callable[[str], None]
    ) -> Operation:
        identity = f"kindling deploy on {socket.gethostname()}, process {os.getpid()}"
        environment = dict(reached.environment)
        scope = Scope(namespaces)
        return await start(reached.context, environment, scope, identity=identity, say=say)


async def deploy(
    reached: Reached,
    items: Sequence[Item],
    *,
    namespace: str = "",
    dry_run: bool = False,
    wait: bool = True,
    timeout: float = 300.0,
    say: Callable[[str], None],
    operators: Operators | None = None,
    clock: Clock | None = None,
) -> Deployment:
    """See the module. `say` takes lines for people.

    Raises:
        ConfigError: The manifests say something wrong; nothing was written.
        ExecutionError: An environment does not become ready.
    """
    operators, cluster = operators or _Real(), reached.cluster
    items = placed(items, namespace, reached.namespace)
    for line in check(items):
        say(f"warning: {line}")
    steps, missing = await intended(cluster, items)
    if dry_run:
        return Deployment(steps, await _children(cluster, items), dry=True)
    if any(item.is_ours for item in items):
        for name in await install_definitions(cluster):
            say(f"CustomResourceDefinition/{name} installed")
    await write(cluster, steps, missing, say)
    ours = [step.ref for step in steps if step.item.is_ours]
    refs = [step.ref for step in steps if step.item.is_environment]
    spaces = tuple(sorted({ref.namespace for ref in ours}))
    if not wait or not refs:
        await _nobody(cluster, spaces, operators, say)
        return Deployment(steps)
    async with _acting(reached, spaces, operators, say) as own:
        live = await await_ready(
            cluster, refs, timeout=timeout, clock=clock or SystemClock(), say=say
        )
        ingresses = [
            one
            for space in spaces
            for one in (
                await cluster.list("networking.k8s.io/v1", "Ingress", namespace=space)
            ).items
        ]
    if own:
        say(f"nobody acts in [{', '.join(own)}] from now on: {_GO_ON}")
    return Deployment(steps, environments=staged_of(live, routes_of(ingresses)))


_GO_ON = (
    "`kindling operator install` puts an operator into the cluster, and `kindling up` is one while "
    "it runs"
)


async def _children(cluster: Cluster, items: Sequence[Item]) -> tuple[str, ...]:
    lines: list[str] = []
    for item in items:
        for change in await preview(cluster, item.manifest) if item.is_ours else ():
            fields = f": {', '.join(change.fields)}" if change.fields else ""
            lines.append(f"{change.verb} {change.ref}{fields}")
    return tuple(lines)


async def _nobody(
    cluster: Cluster, spaces: Sequence[str], operators: Operators, say: Callable[[str], None]
) -> None:
    """Say where nobody makes anything of what was written."""
    idle = [space for space in spaces if not await operators.holder(cluster, space)]
    if idle:
        say(f"no operator acts in [{', '.join(idle)}], so nothing comes of it yet: {_GO_ON}")


@asynccontextmanager
async def _acting(
    reached: Reached,
    spaces: Sequence[str],
    operators: Operators,
    say: Callable[[str], None],
) -> AsyncIterator[tuple[str, ...]]:
    """An operator acts in every one of the namespaces for as long as the context is open. Where
    nobody does, one of ours is begun; in which namespaces, is what is yielded."""
    idle: list[str] = []
    for space in spaces:
        who = await operators.holder(reached.cluster, space)
        if who:
            say(f"{who} acts in {space}")
        else:
            idle.append(space)
    async with AsyncExitStack() as stack:
        if idle:
            say(f"no operator acts in [{', '.join(idle)}]: this command is one until all is ready")
            operation = await operators.begin(reached, tuple(idle), say)
            stack.push_async_callback(operation.stop)
            await operation.settled()
        yield tuple(idle)
