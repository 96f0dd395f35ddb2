"""`kindling reset`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import click

from kindling.cli.invocation import Invocation, verb
from kindling.cli.there import tell, wanted_cluster
from kindling.errors import UsageError

if TYPE_CHECKING:
    from kindling.engine.environments.clearing import PoolFound
    from kindling.kube.protocol import Cluster

__all__ = ["command"]


@verb(
    "reset",
    "Remove runner pools and their tokens.",
    "  kindling reset               list what would go, and ask\n"
    "  kindling reset -y -n ci      of the namespace ci, without asking",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("-n", "--namespace", default="", metavar="NS", help="Where.  [default: the target's]")
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="In all namespaces.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=60.0,
    metavar="SECONDS",
    help="How long runners may take to end.  [default: 60]",
)
@click.pass_obj
def command(
    invocation: Invocation, yes: bool, namespace: str, everywhere: bool, timeout: float
) -> None:
    """Remove runner pools of both kinds, with what belongs to them and the Secrets of their tokens,
    and wait until their pods are gone. Environments, everything else and the cluster itself stay.

    `kindling cluster reset` is another thing: it deletes the embedded cluster.
    """
    import asyncio
    import os
    import sys

    from kindling.engine.environments.clearing import clear, find_pools
    from kindling.engine.environments.reach import find_target, reach

    invocation.no_words("reset")

    async def with_pools(
        work: Callable[[Cluster, tuple[PoolFound, ...]], Coroutine[Any, Any, None]],
    ) -> tuple[PoolFound, ...]:
        async with reach(target, dict(os.environ), start=False) as reached:
            place = "" if everywhere else namespace or reached.namespace
            pools = await find_pools(reached.cluster, place)
            await work(reached.cluster, pools)
            return pools

    async def show(_: Cluster, pools: tuple[PoolFound, ...]) -> None:
        if not pools:
            where = f"in namespace {namespace or target.context.namespace}"
            tell(f"nothing to reset: no runner pools {'anywhere' if everywhere else where}")
            return
        tell("to be removed:")
        for pool in pools:
            tell(f"  {pool.ref}, runners of {pool.user} at {pool.repository}")
        for secret in dict.fromkeys(p.secret for p in pools if p.secret is not None):
            tell(f"  {secret}, their token")

    async def remove(cluster: Cluster, pools: tuple[PoolFound, ...]) -> None:
        listed = {pool.uid for pool in shown}
        await clear(cluster, [p for p in pools if p.uid in listed], tell, timeout=timeout)

    target = asyncio.run(find_target(wanted_cluster(invocation), dict(os.environ)))
    tell(f"Cluster `{target.context.name}`: {target.reason}")
    shown = asyncio.run(with_pools(show))
    if not shown:
        return
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                "`kindling reset` removes the runner pools listed above",
                hint="Say `--yes` where nobody can be asked.",
            )
        click.confirm("Remove them?", abort=True, err=True)
    asyncio.run(with_pools(remove))
