"""`kindling env`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import click

from kindling.cli.actions import verb_group
from kindling.cli.invocation import Invocation, complete_names
from kindling.cli.there import action, cluster_options, tell, wanted_cluster
from kindling.errors import UsageError, nearest

if TYPE_CHECKING:
    from kindling.engine.environments.reach import Reached
    from kindling.engine.environments.variables import Edited, Holder

__all__ = ["command"]


command = verb_group(
    "env",
    "Show and change variables of what runs.",
    "Show, set and unset environment variables of a DevStagingEnvironment, or else of a Deployment "
    "or StatefulSet. Of an environment its `deployment.env` is edited, and its operator rolls it "
    "out. Values of Secrets are never shown; `kindling secrets` sets them.",
    "  kindling env list orders\n"
    "  kindling env set orders LOG_LEVEL=debug GREETING='hello you'\n"
    "  kindling env unset orders LOG_LEVEL -n staging",
)


@action(command, "set", "Set variables.")
@click.argument("name", shell_complete=complete_names)
@click.argument("words", nargs=-1, required=True, metavar="NAME=VALUE...")
@cluster_options
@click.option("--container", default="", metavar="NAME", help="Of which one.  [default: the first]")
def _set(
    invocation: Invocation, name: str, words: tuple[str, ...], namespace: str, container: str
) -> None:
    """Set variables. Those that have the value already are left alone; without a difference nothing
    is written."""
    from kindling.engine.environments.variables import assignments, change

    put = assignments(words)

    async def edit(reached: Reached, holder: Holder) -> Edited:
        return await change(reached.cluster, holder, put=put)

    _edit(invocation, name, namespace, container, edit, "set", "has that value already")


@action(command, "unset", "Remove variables.")
@click.argument("name", shell_complete=complete_names)
@click.argument("words", nargs=-1, required=True, metavar="NAME...")
@cluster_options
@click.option("--container", default="", metavar="NAME", help="Of which one.  [default: the first]")
def _unset(
    invocation: Invocation, name: str, words: tuple[str, ...], namespace: str, container: str
) -> None:
    """Remove variables. One that is not set is no error."""
    from kindling.engine.environments.variables import change, listed, names

    drop = names(words)

    async def edit(reached: Reached, holder: Holder) -> Edited:
        known = {one.name: one for one in listed(holder)}
        for word in drop:
            brought = known.get(word)
            if brought is not None and brought.source.startswith("dependency "):
                raise UsageError(
                    f"`{word}` of `{name}` comes from its {brought.source}",
                    hint="Set it to another value, or give the dependency an `envVarName`.",
                )
            if brought is None:
                tell(f"`{word}` is not set. {nearest(word, known)}".rstrip())
        return await change(reached.cluster, holder, drop=drop)

    _edit(invocation, name, namespace, container, edit, "unset")


@action(command, "list", "List variables.")
@click.argument("name", shell_complete=complete_names)
@cluster_options
@click.option("--container", default="", metavar="NAME", help="Of which one.  [default: the first]")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def _list(invocation: Invocation, name: str, namespace: str, container: str, as_json: bool) -> None:
    """List variables, as `NAME=value`. Of those that are taken from elsewhere, the place is shown
    and not the value."""
    from kindling.cli.output import emit, emit_json
    from kindling.engine.environments.variables import find, listed
    from kindling.report.safetext import plain

    async def read(reached: Reached) -> Holder:
        return await find(reached.cluster, namespace or reached.namespace, name, container)

    holder = _with_cluster(invocation, read, reads=True)
    found = listed(holder)
    if as_json:
        ref = holder.ref
        head = {"schema": 1, "type": "env", "kind": ref.kind, "namespace": ref.namespace}
        forms = [{"name": v.name, "value": v.value, "source": v.source} for v in found]
        emit_json({**head, "name": ref.name, "container": holder.container, "variables": forms})
        return
    for one in found:
        text = f"{one.name}={one.value}" if one.value is not None else f"{one.name} ({one.source})"
        emit(plain(text), "\n")


def _edit(
    invocation: Invocation,
    name: str,
    namespace: str,
    container: str,
    edit: Callable[[Reached, Holder], Coroutine[Any, Any, Edited]],
    done: str,
    already: str = "",
) -> None:
    """`already` is said of names that needed no change."""
    from kindling.engine.environments.declared import declared_here
    from kindling.engine.environments.variables import find
    from kindling.operator.controller.run import holder as actor

    async def work(reached: Reached) -> None:
        place = namespace or reached.namespace
        holder = await find(reached.cluster, place, name, container)
        where = await declared_here(invocation.state_dir, holder.ref, holder.live)
        if where:
            raise UsageError(
                f"`{name}` is declared by the session that runs here ({where}), which would put "
                "it back",
                hint=f"Change its `env` in {where}; the session follows.",
            )
        edited = await edit(reached, holder)
        what = "environment" if holder.is_environment else holder.ref.kind
        for word in edited.same if already else ():
            tell(f"`{word}` {already}")
        if edited.changed:
            tell(f"{done} [{', '.join(edited.changed)}] of the {what} `{name}` in {place}")
            if holder.project:
                tell(
                    f"it belongs to the project `{holder.project}`: the next `kindling up` there "
                    "puts back what its Kindlingfile says"
                )
            if holder.is_environment and not await actor(reached.cluster, place):
                tell(
                    f"no operator acts in {place}, so its pods stay as they are: `kindling up`, "
                    "`operator run` and `operator install` roll it out"
                )
        else:
            tell(f"nothing to change in the {what} `{name}`")

    _with_cluster(invocation, work)


def _with_cluster(
    invocation: Invocation,
    work: Callable[[Reached], Coroutine[Any, Any, Any]],
    *,
    reads: bool = False,
) -> Any:
    """Do something in the cluster that the command line means, which is said before."""
    import asyncio
    import os

    from kindling.engine.environments.reach import find_target, reach

    invocation.no_words("env")

    async def run() -> Any:
        target = await find_target(wanted_cluster(invocation, reads=reads), dict(os.environ))
        if not reads:
            tell(f"Cluster `{target.context.name}`: {target.reason}")
        async with reach(target, dict(os.environ), start=False) as reached:
            return await work(reached)

    return asyncio.run(run())
