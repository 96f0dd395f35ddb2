"""`kindling deploy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kindling.cli.invocation import Duration, Invocation, verb
from kindling.cli.there import tell, wanted_cluster

if TYPE_CHECKING:
    from kindling.engine.environments.deploying import Deployment
    from kindling.engine.environments.manifests import Item

__all__ = ["command"]


@verb(
    "deploy",
    "Apply manifests and wait until they stand.",
    "  kindling deploy -f orders.yaml            until its environments are ready\n"
    "  kindling deploy -f k8s/ -n staging        every manifest of a folder\n"
    "  kindling deploy -f orders.yaml --dry-run  what would happen\n"
    "  cat orders.yaml | kindling deploy -f -",
    file=False,
)
@click.option(
    "-f",
    "--filename",
    "sources",
    multiple=True,
    required=True,
    type=click.Path(allow_dash=True),
    metavar="FILE|DIR|-",
    help="What to apply. May be given several times.",
)
@click.option("-n", "--namespace", default="", metavar="NS", help="Where.  [default: the target's]")
@click.option("--wait/--no-wait", default=True, help="Wait until all is ready.  [default: wait]")
@click.option(
    "--timeout",
    type=Duration(),
    default="5m",
    metavar="DURATION",
    help="How long to wait.  [default: 5m]",
)
@click.option("--dry-run", is_flag=True, help="Say what would happen, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.pass_obj
def command(
    invocation: Invocation,
    sources: tuple[str, ...],
    namespace: str,
    wait: bool,
    timeout: float,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Apply DevStagingEnvironments, and objects of any other kind beside them. Everything is
    checked before the first write. Where no operator acts, this command is one until the
    environments are ready.

    It goes to the cluster that `kindling up` would use, and says which. Exit 1 when an environment
    does not become ready, with the pod, the reason and the end of its log.
    """
    import asyncio
    import os
    import sys

    from kindling.cli.output import emit, emit_json
    from kindling.engine.environments.deploying import deploy
    from kindling.engine.environments.manifests import check, placed, read
    from kindling.engine.environments.reach import find_target, reach

    invocation.no_words("deploy")
    items: tuple[Item, ...] = read(sources, sys.stdin.read() if "-" in sources else "")
    # What is wrong in the files is told before any cluster is asked, or started.
    check(placed(items, namespace, namespace or "default"))

    async def run() -> Deployment:
        target = await find_target(wanted_cluster(invocation), dict(os.environ))
        tell(f"Cluster `{target.context.name}`: {target.reason}")
        async with reach(target, dict(os.environ), start=not dry_run) as reached:
            return await deploy(
                reached,
                items,
                namespace=namespace,
                dry_run=dry_run,
                wait=wait,
                timeout=timeout,
                say=tell,
            )

    done = asyncio.run(run())
    if as_json:
        emit_json({"schema": 1, "type": "deploy", **done.to_json()})
        return
    if dry_run:
        for step in done.steps:
            emit(str(step), "\n")
        for line in done.children:
            emit(f"  {line}", "\n")
    for one in done.environments:
        emit(f"{one.namespace}/{one.name} ready {one.url}".rstrip(), "\n")
