"""`kindling runners`: pools of CI runners in the cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click

from kindling.cli.actions import action_group
from kindling.cli.invocation import Invocation
from kindling.errors import UsageError

if TYPE_CHECKING:
    from kindling.engine.environments.reach import Reached
    from kindling.engine.runnerpools import Asked, PoolRow

__all__ = ["command"]

command = action_group(
    "runners",
    "Create, list and delete pools of CI runners.",
    "Self-hosted runners of GitHub or GitLab in the cluster, which build and deploy what is pushed."
    " Without an action, the pools are listed.",
    "  kindling runners create --username ada --repo ada/shop\n"
    "  kindling runners create -u ada -r ada/shop < token.txt\n"
    "  kindling runners create --ci-provider gitlab -u ada -r group/shop\n"
    "  kindling runners list\n"
    "  kindling runners delete ada-runner-pool",
    default="list",
)


@command.action("create", "Create a pool, or change it.")
@click.option("-u", "--username", default="", metavar="NAME", help="The user at the provider.")
@click.option("-r", "--repo", default="", metavar="OWNER/NAME", help="The repository it serves.")
@click.option(
    "-t",
    "--token",
    default="",
    metavar="-",
    help="`-`: read it from standard input, as happens without a terminal.",
)
@click.option(
    "--ci-provider",
    default="github",
    metavar="NAME",
    help="`github` or `gitlab`.  [default: github]",
)
@click.option("--url", default="", metavar="URL", help="Of a GitHub or GitLab of your own.")
@click.option(
    "--replicas", type=click.IntRange(1), default=1, show_default=True, help="How many runners."
)
@click.option(
    "--labels",
    multiple=True,
    metavar="LABEL[,LABEL]",
    help="What jobs ask for, beside `self-hosted` and the user.  [default: kindling]",
)
@click.option("--image", default="", metavar="REF", help="The runners' image.")
@click.option(
    "--agent-image",
    default="",
    metavar="REF",
    help="The build agent's image, where no other operator acts that has its own.",
)
@click.option("--no-wait", is_flag=True, help="Do not wait until the runners are ready.")
def _create(
    invocation: Invocation,
    namespace: str,
    username: str,
    repo: str,
    token: str,
    ci_provider: str,
    url: str,
    replicas: int,
    labels: tuple[str, ...],
    image: str,
    agent_image: str,
    no_wait: bool,
) -> int:
    """Write the Secret of the token and the pool `<user>-runner-pool`, wait until its runners are
    ready, and print the page of the jobs. What is missing is asked for on a terminal; the token is
    never an argument, which other users can see."""
    import asyncio

    from kindling.engine.runnerpools import Asked, pool_manifest

    if invocation.words or token not in ("", "-"):
        raise UsageError(
            "A token does not belong on the command line",
            hint="Other users of this machine can see it there, and the shell keeps it: revoke it,"
            "\nand give a new one on standard input, or when you are asked for it.",
        )
    asked = Asked(
        username=username.strip(),
        repository=repo.strip(),
        token="",
        provider=ci_provider,
        url=url,
        replicas=replicas,
        labels=tuple(
            dict.fromkeys(
                label.strip() for one in labels for label in one.split(",") if label.strip()
            )
        )
        or ("kindling",),
        image=image,
    )
    asked = _completed(asked, from_input=token == "-")
    pool_manifest(asked, namespace or "default")  # what is wrong is told before a cluster is asked
    return asyncio.run(_make(invocation, asked, namespace, agent_image, wait=not no_wait))


def _completed(asked: Asked, *, from_input: bool) -> Asked:
    """With what is missing, from a terminal or standard input.

    Raises:
        UsageError: Something is still missing, or is no token.
    """
    from dataclasses import replace

    from kindling.cli.values import asked as ask
    from kindling.cli.values import on_a_terminal, token_from_input
    from kindling.engine.runnerpools import pool_manifest

    terminal = on_a_terminal()
    # A wrong provider is told before anything is asked for.
    pool_manifest(replace(asked, username="x", repository="x/x", url=""), "default")
    if terminal and not asked.username:
        asked = replace(asked, username=_prompt(f"User name at {asked.provider}"))
    if terminal and not asked.repository:
        asked = replace(asked, repository=_prompt("Repository (owner/name)"))
    missing = [
        word
        for word, is_there in (("--username", asked.username), ("--repo", asked.repository))
        if not is_there
    ]
    if missing:
        raise UsageError(
            f"A pool of runners needs a user, a repository and a token: no {' and '.join(missing)}",
            hint="`kindling runners create --help` says what it takes.",
        )
    if terminal and not from_input:
        token = ask("Access token (not shown)").decode("utf-8", "replace")
    else:
        token = token_from_input()
    token = token.strip()
    if not token:
        raise UsageError(
            "A pool of runners needs a user, a repository and a token: no token",
            hint="Give it on standard input: `kindling runners create ... < token.txt`.",
        )
    if len(token) > 4096 or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError("That is no token: one is a single word of letters, digits and signs")
    return replace(asked, token=token)


def _prompt(text: str) -> str:
    answer: str = click.prompt(text, err=True)
    return answer.strip()


async def _make(
    invocation: Invocation, asked: Asked, namespace: str, agent_image: str, *, wait: bool
) -> int:
    from kindling.cli.output import emit
    from kindling.cli.there import tell
    from kindling.engine.runnerpools import ci_page, create_pool
    from kindling.engine.runnerwait import wait_ready
    from kindling.operator.controller.definitions import install_definitions

    async with _opened(invocation, start=True) as there:
        space = namespace or there.namespace
        for name in await install_definitions(there.cluster):
            tell(f"CustomResourceDefinition/{name} written")
        pool = await create_pool(there.cluster, asked, space, tell)
        if wait:
            async with _operated(there, space, agent_image):
                await wait_ready(there.cluster, pool, tell)
            tell(f"the runners of `{pool.name}` are ready")
        emit(ci_page(pool), "\n")
    return 0


@asynccontextmanager
async def _operated(there: Reached, namespace: str, agent_image: str) -> AsyncIterator[None]:
    """With an operator in the namespace: the one that acts there, else one of our own."""
    import os
    import socket

    from kindling.cli.there import tell
    from kindling.operator.controller.run import BUILD_IMAGE, Scope, holder, start

    who = await holder(there.cluster, namespace)
    if who:
        tell(f"the operator is `{who}`")
        yield
        return
    tell("no operator acts there: this command does until the runners are ready")
    operation = await start(
        there.context,
        dict(there.environment),
        Scope((namespace,)),
        image=agent_image or BUILD_IMAGE,
        identity=f"runners-{os.getpid()}@{socket.gethostname()}",
        say=tell,
    )
    try:
        await operation.settled()
        yield
        tell("`kindling operator install` keeps pools as they are declared from now on")
    finally:
        await operation.stop()


@command.action("list", "Show the pools and whether their runners are ready.")
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="Of all namespaces.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object (docs/json.md).")
def _list(
    invocation: Invocation, namespace: str, everywhere: bool = False, as_json: bool = False
) -> int:
    """List the pools of a namespace, of both kinds, as their runners are just now."""
    import asyncio

    from kindling.cli.output import emit, emit_json
    from kindling.cli.there import tell
    from kindling.report.runners import runners_form, runners_table

    invocation.no_words("runners list")
    rows, context, space = asyncio.run(_rows(invocation, namespace, everywhere))
    if as_json:
        emit_json(runners_form(rows, context))
    elif rows:
        emit(runners_table(rows, namespaces=everywhere))
    else:
        tell(f"no runner pools {'anywhere' if everywhere else f'in namespace `{space}`'}")
    return 0


async def _rows(
    invocation: Invocation, namespace: str, everywhere: bool
) -> tuple[Sequence[PoolRow], str, str]:
    from kindling.engine.runnerpools import pool_rows

    async with _opened(invocation, start=False, reads=True) as there:
        space = namespace or there.namespace
        rows = await pool_rows(there.cluster, "" if everywhere else space)
        return rows, there.target.context.name, space


@command.action("delete", "Delete pools, with their runners and tokens.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def _delete(invocation: Invocation, namespace: str, names: tuple[str, ...]) -> None:
    """Delete pools by name and wait until their runners have signed off and are gone. The Secret of
    a token goes with the last pool that has it."""
    import asyncio

    invocation.no_words("runners delete")
    asyncio.run(_remove(invocation, namespace, names))


async def _remove(invocation: Invocation, namespace: str, names: Sequence[str]) -> None:
    from kindling.cli.output import emit
    from kindling.engine.runnerpools import delete_pools

    async with _opened(invocation, start=False) as there:
        space = namespace or there.namespace
        await delete_pools(there.cluster, space, names, lambda line: emit(line, "\n"))


@asynccontextmanager
async def _opened(
    invocation: Invocation, *, start: bool, reads: bool = False
) -> AsyncIterator[Reached]:
    import os

    from kindling.cli.there import tell, wanted_cluster
    from kindling.engine.environments.reach import find_target, reach

    environment = dict(os.environ)
    target = await find_target(wanted_cluster(invocation, reads=reads), environment)
    if not invocation.context:
        tell(f"Cluster `{target.context.name}`: {target.reason}")
    async with reach(target, environment, start=start) as there:
        yield there
