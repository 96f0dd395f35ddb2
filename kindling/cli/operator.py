"""`kindling operator`: what sees to environments and runner pools, in this terminal or in the
cluster.

`up` and `ci` bring their own operator where none acts; these verbs are for all the rest.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click

from kindling.cli.actions import SETTINGS, Actions
from kindling.cli.invocation import Duration, Invocation
from kindling.cli.there import action
from kindling.errors import UsageError

if TYPE_CHECKING:
    from kindling.engine.environments.reach import Reached
    from kindling.kube.contexts import Target
    from kindling.operator.install.applying import Done
    from kindling.operator.install.manifests import Installation
    from kindling.operator.install.overview import Overview

__all__ = ["command"]

_PLACE = "kindling-system"


@click.group(
    "operator",
    cls=Actions,
    short_help="Run the operator here, or install it into the cluster.",
    context_settings=SETTINGS,
    epilog="\b\nExamples:\n"
    "  kindling operator status           who acts, and where\n"
    "  kindling operator run              here, until Ctrl-C\n"
    "  kindling operator install          in the cluster, for all namespaces\n"
    "  kindling operator install --only team-a --namespace team-a\n"
    "  kindling operator manifests | kubectl apply -f -\n"
    "  kindling operator uninstall        environments stay as they are",
)
def command() -> None:
    """The operator makes what a DevStagingEnvironment or a runner pool says, and keeps it so.
    Exactly one acts in a namespace; others stand by."""


_image = click.option("--image", default="", metavar="REF", help="The image of kindling to run.")
_place = click.option(
    "--namespace",
    default=_PLACE,
    metavar="NAME",
    show_default=True,
    help="Where the operator runs.",
)
_only = click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Act in this namespace alone; may be repeated.  [default: in all]",
)


@action(command, "run", "Run the operator here, until Ctrl-C.")
@click.option(
    "--namespace",
    "namespaces",
    multiple=True,
    metavar="NAME",
    help="Act in this namespace; may be repeated.",
)
@click.option("--all-namespaces", is_flag=True, help="Act in all; this is the default.")
@click.option("--image", default="", metavar="REF", help="The image of build agents.")
@click.option("--identity", default="", metavar="NAME", help="What it is called in its Lease.")
@click.option(
    "--health-port",
    type=click.IntRange(0, 65535),
    default=None,
    metavar="PORT",
    help="Serve /healthz and /readyz.",
)
@click.option(
    "--health-host",
    default="127.0.0.1",
    metavar="ADDRESS",
    show_default=True,
    help="Where to serve them.",
)
def _run(
    invocation: Invocation,
    namespaces: tuple[str, ...],
    all_namespaces: bool,
    image: str,
    identity: str,
    health_port: int | None,
    health_host: str,
) -> None:
    """Run the operator in this terminal, and say what it does, line by line.

    It acts while it holds the Lease; where another holds it, it stands by and takes over when that
    one has gone. Ctrl-C gives the Lease back.
    """
    import os

    from kindling.operator.controller.run import BUILD_IMAGE, Operation, Scope, start
    from kindling.operator.foreground import run_until_told

    invocation.no_words("operator run")
    if namespaces and all_namespaces:
        raise UsageError("`--namespace` and `--all-namespaces` contradict each other")
    for namespace in namespaces:
        _check_namespace(namespace)
    _log(invocation)

    async def begin() -> None:
        environment = dict(os.environ)
        async with _reached(invocation, environment, around=True) as there:

            async def started() -> Operation:
                return await start(
                    there.context,
                    dict(there.environment),
                    Scope(tuple(dict.fromkeys(namespaces))),
                    identity=identity or _identity(),
                    image=image or BUILD_IMAGE,
                    say=_say,
                )

            health = None if health_port is None else (health_host, health_port)
            await run_until_told(started, _say, health)

    asyncio.run(begin())


@action(command, "install", "Install the operator into the cluster.")
@_place
@_only
@_image
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it is ready.")
@click.option(
    "--timeout",
    type=Duration(),
    default="5m",
    show_default=True,
    metavar="TIME",
    help="How long to wait.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
def _install(
    invocation: Invocation,
    namespace: str,
    only: tuple[str, ...],
    image: str,
    wait: bool,
    timeout: float,
    dry_run: bool,
) -> None:
    """Make the cluster know the kinds, and run an operator there with the rights that it needs.
    What is as it should be is left alone, so a second run changes nothing, and a run of another
    version is the upgrade.

    On the embedded cluster the operator runs from this machine's own files. On others it needs an
    image that the cluster can pull: `scripts/image` builds one.
    """
    import os

    from kindling.cli.output import emit
    from kindling.operator.install.applying import apply_objects
    from kindling.operator.install.waiting import until_running

    invocation.no_words("operator install")

    async def begin() -> None:
        async with _reached(invocation, dict(os.environ)) as there:
            told = _installation(there.target, namespace, only, image)
            for line in await _definitions(there, dry_run):
                emit(line, "\n")
            done = await apply_objects(there.cluster, told, dry_run=dry_run)
            for line in _lines(done, dry_run):
                emit(line, "\n")
            if dry_run:
                return
            if not wait:
                emit("not waited for: `kindling operator status` says how it stands", "\n")
                return
            await until_running(there.cluster, told, timeout)
            emit(await _who(there, told), "\n")

    asyncio.run(begin())


@action(command, "uninstall", "Take the operator out of the cluster.")
@_place
@click.option(
    "--definitions",
    is_flag=True,
    help="Delete the kinds too, with every environment, its pods and its data.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def _uninstall(invocation: Invocation, namespace: str, definitions: bool, yes: bool) -> None:
    """Delete the operator, its account and its rights. Environments and pools stay as they are,
    and so do the kinds; `up` goes on with them. `--definitions` deletes them all."""
    import os

    from kindling.cli.output import emit
    from kindling.operator.install.applying import belonging
    from kindling.operator.install.removal import declared, remove_definitions, remove_operator

    invocation.no_words("operator uninstall")

    async def begin() -> None:
        async with _reached(invocation, dict(os.environ)) as there:
            if definitions and not yes:
                _ask([str(ref) for ref in await declared(there.cluster)], there.target)
            if definitions:
                # First, while there still is an operator to clear up behind them.
                for line in _lines(await remove_definitions(there.cluster)):
                    emit(line, "\n")
                if not await belonging(there.cluster, namespace):
                    return
            for line in _lines(await remove_operator(there.cluster, namespace)):
                emit(line, "\n")

    asyncio.run(begin())


@action(command, "status", "Show who acts, and what is installed.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def _status(invocation: Invocation, as_json: bool) -> None:
    """Say who sees to the environments of each namespace, and how an installed operator stands."""
    import os

    from kindling.cli.output import emit, emit_json
    from kindling.operator.install.overview import look

    invocation.no_words("operator status")

    async def begin() -> None:
        async with _reached(invocation, dict(os.environ), reads=True) as there:
            found = await look(there.cluster)
        if as_json:
            head = {"schema": 1, "type": "operator", "context": there.target.context.name}
            emit_json({**head, **found.to_json()})
        else:
            emit("\n".join(_table(there.target.context.name, found)), "\n")

    asyncio.run(begin())


@action(command, "manifests", "Print what `install` would apply, as YAML.")
@_place
@_only
@_image
def _manifests(invocation: Invocation, namespace: str, only: tuple[str, ...], image: str) -> None:
    """Print the definitions and the objects of an operator, for `kubectl apply` or to be kept in a
    repository. No cluster is asked."""
    import yaml

    from kindling.cli.output import emit
    from kindling.operator.controller.definitions import definitions
    from kindling.operator.install.manifests import operator_objects

    invocation.no_words("operator manifests")
    told = _installation(None, namespace, only, image)
    documents = [*definitions(), *operator_objects(told)]
    emit(yaml.safe_dump_all(documents, sort_keys=False, explicit_start=True))


@asynccontextmanager
async def _reached(
    invocation: Invocation,
    environment: dict[str, str],
    *,
    reads: bool = False,
    around: bool = False,
) -> AsyncIterator[Reached]:
    """The cluster that is meant; with `around`, the one that this process runs in, if it is a
    pod's."""
    from kindling.engine.environments.reach import Wanted, find_target, reach
    from kindling.kube.contexts import Target, read_kubeconfig
    from kindling.kube.incluster import IN_CLUSTER

    current = read_kubeconfig(environment).current if around and not invocation.context else None
    if current is not None and current.name == IN_CLUSTER:
        target = Target(current, "this is a pod of it")
    else:
        file = invocation.root / (invocation.file or "Kindlingfile")
        file = invocation.kindlingfile() if invocation.file else file
        target = await find_target(Wanted(file, invocation.context, reads), environment)
    if not (reads or around):
        print(f"Cluster `{target.context.name}`: {target.reason}", file=sys.stderr)  # noqa: T201
    async with reach(target, environment, start=False) as there:
        yield there


def _installation(
    target: Target | None, namespace: str, only: tuple[str, ...], image: str
) -> Installation:
    from kindling.cluster.images.protocol import HOST_IMAGE
    from kindling.kube.contexts import Product
    from kindling.operator.controller.run import BUILD_IMAGE
    from kindling.operator.install.manifests import Installation

    for one in (namespace, *only):
        _check_namespace(one)
    embedded = target is not None and target.context.product is Product.EMBEDDED
    image = image or (HOST_IMAGE if embedded else BUILD_IMAGE)
    machine = image == HOST_IMAGE
    if machine and target is not None and not embedded:
        raise UsageError(f"`{HOST_IMAGE}` is an image of the embedded cluster alone")
    return Installation(
        image,
        namespace,
        tuple(sorted(set(only))),
        command=(sys.executable, "-m", "kindling") if machine else (),
        machine=machine,
        scratch=_scratch() if machine else "/tmp",
    )


def _scratch() -> str:
    """A folder of this machine that kindling itself does not lie in: a volume will cover it."""
    from pathlib import Path

    needed = [Path(sys.executable), Path(sys.base_prefix), Path(__file__)]
    folders = ("/tmp", "/var/tmp", "/mnt")
    free = [one for one in folders if not any(path.is_relative_to(one) for path in needed)]
    return free[0]


def _check_namespace(name: str) -> None:
    import re

    if len(name) > 63 or not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name):
        raise UsageError(
            f"`{name}` cannot be the name of a namespace",
            hint="Lower-case letters, digits and hyphens, at most 63.",
        )


async def _definitions(there: Reached, dry_run: bool) -> list[str]:
    from kindling.kube.errors import NotFoundError
    from kindling.operator.controller.definitions import definitions, install_definitions
    from kindling.operator.install.applying import reference

    if not dry_run:
        written = await install_definitions(there.cluster)
        return [f"written CustomResourceDefinition/{name}" for name in written]
    lines = []
    for manifest in definitions():
        try:
            await there.cluster.get(reference(manifest))
        except NotFoundError:
            lines.append(f"would be created {reference(manifest)}")
    return lines


def _lines(done: tuple[Done, ...], dry_run: bool = False) -> list[str]:
    from kindling.operator.install.applying import Verb

    lines: list[str] = []
    for one in done:
        if one.verb is Verb.KEPT:
            lines += [f"kept {one.ref}: {one.why}"] if one.why else []
            continue
        fields = f" ({', '.join(one.fields)})" if one.fields else ""
        lines.append(f"{'would be ' if dry_run else ''}{one.verb.value} {one.ref}{fields}")
    same = sum(1 for one in done if one.verb is Verb.KEPT and not one.why)
    if same:
        lines.append(f"as it should be: {same} of {len(done)} objects")
    return lines


async def _who(there: Reached, told: Installation) -> str:
    from kindling.operator.controller.run import holder

    acting = [f"{await holder(there.cluster, one)} in {one}" for one in told.only]
    if not acting:
        acting = [f"{await holder(there.cluster, _PLACE)} in all namespaces"]
    return f"the operator is ready; acting: {', '.join(acting)}"


def _ask(names: list[str], target: Target) -> None:
    text = f"Every environment and pool of `{target.context.name}` goes, with its pods and data"
    if not sys.stdin.isatty():
        raise UsageError(
            f"{text}: {len(names)} of them",
            hint="Say `--yes` where nobody can be asked.",
        )
    for name in names:
        click.echo(f"  {name}", err=True)
    click.confirm(f"{text} ({len(names)} of them). Delete them?", abort=True, err=True)


def _table(context: str, found: Overview) -> list[str]:
    rows = [("cluster", context)]
    rows += [("missing", f"the kind {kind}") for kind in found.missing]
    if found.missing:
        rows += [("", "`kindling operator install` and `kindling up` install kinds")]
    for one in found.installed:
        where = f"for {', '.join(one.only)}" if one.only else "for all namespaces"
        rows += [("installed", f"in {one.namespace}, {where}: {one.image}")]
        rows += [("", one.part.message)]
    if not found.installed:
        rows += [("installed", "nowhere in this cluster")]
    if found.everywhere:
        rows += [("acts", f"{found.everywhere}, in all namespaces")]
    for here in found.namespaces:
        counts = f"{_count(here.environments, 'environment')}, {_count(here.pools, 'pool')}"
        rows += [("", f"{here.namespace}: {counts}; {here.actor or 'nobody'} acts")]
    if not found.everywhere and not any(here.actor for here in found.namespaces):
        rows += [("acts", "nobody: `kindling up`, `operator run` and `operator install` do")]
    return [f"{key:<11}{text}" for key, text in rows]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _identity() -> str:
    """Who this is, for people who read the Lease."""
    import getpass
    import os
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "kindling"
    return f"{user}@{socket.gethostname()}:{os.getpid()}"


def _say(line: str) -> None:
    from datetime import UTC, datetime

    # Threads write whole lines.
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    sys.stderr.write(f"{now} {line}\n")
    sys.stderr.flush()


def _log(invocation: Invocation) -> None:
    if invocation.verbose:
        from kindling.cli.verbose import log_to_stderr

        log_to_stderr()
