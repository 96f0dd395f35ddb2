"""`kindling secrets`: a user's secrets in the cluster, and the sealed backup of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click

from kindling.cli.actions import action_group
from kindling.cli.invocation import Invocation
from kindling.errors import ClusterError, KindlingError, UsageError

if TYPE_CHECKING:
    from kindling.engine.secretrows import Row
    from kindling.engine.usersecrets import UserSecrets
    from kindling.store.sealed import Kept, SealedSecrets

__all__ = ["command"]

command = action_group(
    "secrets",
    "Keep secrets in the cluster, and a sealed backup of them.",
    'Secrets that services read by `secret("NAME")`: in the cluster as the Secret'
    " `kindling-secret-<name>`, and sealed in `.kindling/secrets.yaml`, from where a new cluster"
    " gets them. Values come from a prompt, standard input or a file, and are never shown.",
    "  kindling secrets set STRIPE_KEY              asks for the value\n"
    "  kindling secrets set STRIPE_KEY < key.txt    or reads it\n"
    "  kindling secrets set --from-env-file .env    or many at once\n"
    "  kindling secrets list\n"
    "  kindling secrets restore                     all of them, into a new cluster",
)


@command.action("set", "Create or update secrets.")
@click.argument("names", nargs=-1, metavar="[NAME]... [-]")
@click.option("--from-file", default="", metavar="PATH", help="Take the value of one from a file.")
@click.option(
    "--from-env-file",
    "env_file",
    default="",
    metavar="PATH",
    help="Take NAME=VALUE lines; only the names given, if any.",
)
def _set(
    invocation: Invocation, namespace: str, names: tuple[str, ...], from_file: str, env_file: str
) -> int:
    """Create secrets, or change them in place, and keep them in the backup.

    The value is asked for, or read from standard input (`-` says so expressly; the line end behind
    a single line is left out). A value on the command line is refused: other users can see it, and
    the shell keeps it.
    """
    import asyncio

    from kindling.cli.values import check_names, values_of
    from kindling.engine.usersecrets import check_value

    check_names(names, invocation.words)
    _backup(invocation).check()
    values = values_of(names, from_file, env_file)
    for name, value in values.items():
        check_value(name, value)
    return asyncio.run(_write_all(invocation, namespace, values))


async def _write_all(invocation: Invocation, namespace: str, values: Mapping[str, bytes]) -> int:
    from kindling.cli.output import emit
    from kindling.cli.there import tell
    from kindling.objects.secretnames import secret_name

    async with _opened(invocation, start=True) as (secrets, own):
        for name, value in values.items():
            space = namespace or own
            done = await secrets.set(space, name, value, make_namespace=not namespace)
            where = f"`{secret_name(name)}` in namespace `{space}` of `{secrets.context}`"
            emit(f"{name}: {done.value} ({where})", "\n")
            if not _is_text(value):
                tell(f"warning: `{name}` is no text: mount it, it cannot be a variable")
    return 0


def _is_text(value: bytes) -> bool:
    try:
        return "\0" not in value.decode()
    except UnicodeDecodeError:
        return False


@command.action("list", "Show names, times and where each secret is; no values.")
@click.option(
    "-A",
    "--all",
    "everything",
    is_flag=True,
    help="All namespaces, and all clusters of the backup.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object (docs/json.md).")
def _list(invocation: Invocation, namespace: str, everything: bool, as_json: bool) -> int:
    """List the secrets of a namespace, and which of them are only in the backup or only in the
    cluster. Exit 1 when the cluster does not answer; the backup is listed then."""
    import asyncio

    from kindling.cli.output import emit, emit_json
    from kindling.cli.there import tell
    from kindling.report.secrets import secrets_form, secrets_table

    invocation.no_words("secrets list")
    found, target, problem = asyncio.run(_survey(invocation, namespace, everything))
    if as_json:
        emit_json(secrets_form(found, target, reachable=problem is None))
    elif found:
        emit(secrets_table(found, places=everything))
    else:
        tell("no secrets: `kindling secrets set NAME` makes one")
    if problem is not None:
        tell(f"warning: the cluster was not asked: {problem.render()}")
    return 0 if problem is None else ClusterError.exit_code


async def _survey(
    invocation: Invocation, namespace: str, everything: bool
) -> tuple[tuple[Row, ...], str, KindlingError | None]:
    from kindling.cli.there import tell
    from kindling.engine.secretrows import rows

    backup = _backup(invocation)
    entries = backup.entries()
    live, context, own, problem = None, "", "", None
    try:
        async with _opened(invocation, start=False, reads=True) as (secrets, own):
            context = secrets.context
            live = await secrets.live("" if everything else namespace or own)
    except ClusterError as error:
        problem = error
    space = namespace or own
    here = [
        one
        for one in entries
        if everything
        or (
            (not context or one.place.context == context)
            and (not space or one.place.namespace == space)
        )
    ]
    found, unread = rows(live, context, here, backup.value)
    if unread is not None:
        tell(f"warning: values are not compared with the backup: {unread.render()}")
    if len(here) < len(entries):
        more = sorted({f"{e.place.context}/{e.place.namespace}" for e in entries if e not in here})
        tell(f"the backup has more, of [{', '.join(more)}]: `kindling secrets list --all`")
    return found, context, problem


@command.action("delete", "Remove secrets from the cluster and the backup.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--backup-only", is_flag=True, help="Leave the cluster alone, which need not be there."
)
def _delete(
    invocation: Invocation, namespace: str, names: tuple[str, ...], backup_only: bool
) -> int:
    """Remove secrets from the cluster and from the backup. Pods that read them keep what they have
    until they start anew, and do not start without them."""
    import asyncio

    from kindling.objects.secretnames import secret_name

    invocation.no_words("secrets delete")
    for name in names:
        secret_name(name)
    if backup_only:
        return _forget(invocation, namespace, names)
    return asyncio.run(_delete_all(invocation, namespace, names))


def _forget(invocation: Invocation, namespace: str, names: Sequence[str]) -> int:
    from kindling.cli.output import emit
    from kindling.objects.secretnames import secret_name

    backup = _backup(invocation)
    for name in names:
        places = [
            one.place
            for one in backup.entries()
            if secret_name(one.place.name) == secret_name(name)
            and invocation.context in ("", one.place.context)
            and namespace in ("", one.place.namespace)
        ]
        if not places:
            raise UsageError(f"The backup has no secret `{name}`")
        if len(places) > 1:
            raise UsageError(
                f"The backup has `{name}` of several places",
                details=[f"{place.context}: namespace {place.namespace}" for place in places],
                hint="Say which by `--context` and `--namespace`.",
            )
        backup.forget(places)
        where = f"namespace `{places[0].namespace}` of `{places[0].context}`"
        emit(f"{name}: deleted from the backup of {where}", "\n")
    return 0


async def _delete_all(invocation: Invocation, namespace: str, names: Sequence[str]) -> int:
    from kindling.cli.output import emit
    from kindling.engine.secretrows import rows
    from kindling.errors import nearest

    async with _opened(invocation, start=False) as (secrets, own):
        space = namespace or own
        for name in names:
            there, kept = await secrets.delete(space, name)
            if not there and not kept:
                live = rows(await secrets.live(space), secrets.context, (), secrets.backup.value)
                known = [row.place.name for row in live[0]]
                raise UsageError(
                    f"There is no secret `{name}` in namespace `{space}` of `{secrets.context}`",
                    hint=nearest(name, known) or "`kindling secrets list --all` shows all.",
                )
            parts = [word for word, was in (("the cluster", there), ("the backup", kept)) if was]
            where = f"namespace `{space}` of `{secrets.context}`"
            emit(f"{name}: deleted from {' and '.join(parts)} ({where})", "\n")
    return 0


@command.action("restore", "Bring secrets from the backup into a cluster.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--from", "source", default="", metavar="CONTEXT", help="Those of another cluster.")
@click.option("--from-namespace", default="", metavar="NAME", help="Those of this namespace alone.")
@click.option("-y", "--yes", is_flag=True, help="Overwrite values that differ without asking.")
def _restore(
    invocation: Invocation,
    namespace: str,
    names: tuple[str, ...],
    source: str,
    from_namespace: str,
    yes: bool,
) -> int:
    """Bring all secrets of the backup, or those named, into the cluster: each into its namespace,
    which is made where it is missing. A value that the cluster has already and that differs is
    overwritten only after a yes.

    Exit 1 when one was not restored.
    """
    import asyncio

    from kindling.objects.secretnames import secret_name

    invocation.no_words("secrets restore")
    for name in names:
        secret_name(name)
    wanted = (source, from_namespace, namespace)
    return asyncio.run(_restore_all(invocation, names, wanted, yes=yes))


async def _restore_all(
    invocation: Invocation, names: Sequence[str], wanted: tuple[str, str, str], *, yes: bool
) -> int:
    from kindling.cli.output import emit
    from kindling.cli.there import tell
    from kindling.cli.values import on_a_terminal
    from kindling.engine.secretrows import to_restore
    from kindling.engine.usersecrets import Restored

    source, source_namespace, namespace = wanted
    backup = _backup(invocation)
    entries = backup.entries()
    if entries:
        backup.check()
    unsaid, failed = 0, 0

    async def replace(kept: Kept) -> bool:
        if yes or not on_a_terminal():
            return yes
        question = f"{kept.place.name}: the cluster has another value. Overwrite it?"
        return click.confirm(question, default=False, err=True)

    async with _opened(invocation, start=True) as (secrets, _):
        chosen = to_restore(
            entries,
            secrets.context,
            names,
            source=source,
            source_namespace=source_namespace,
            namespace=namespace,
        )
        for kept, space in chosen:
            name, where = kept.place.name, f"namespace `{space}` of `{secrets.context}`"
            try:
                done = await secrets.restore(kept, space, replace)
            except ClusterError as error:
                failed += 1
                tell(f"{name}: not restored into {where}: {error.render()}")
                continue
            unsaid += done is Restored.DIFFERS
            emit(f"{name}: {_RESTORED[done.value]} ({where})", "\n")
    if unsaid:
        tell("values that differ were left alone; `kindling secrets restore -y` overwrites them")
    return ClusterError.exit_code if unsaid or failed else 0


_RESTORED = {
    "restored": "restored",
    "replaced": "replaced",
    "kept": "kept, the cluster has it already",
    "differs": "left alone, the cluster has another value",
}


def _backup(invocation: Invocation) -> SealedSecrets:
    import os

    from kindling.engine.usersecrets import backup_of

    return backup_of(invocation.state_dir, os.environ)


@asynccontextmanager
async def _opened(
    invocation: Invocation, *, start: bool, reads: bool = False
) -> AsyncIterator[tuple[UserSecrets, str]]:
    """The secrets of the cluster that is meant, and the namespace that nobody needs to name."""
    import os

    from kindling.cli.there import tell, wanted_cluster
    from kindling.engine.environments.reach import find_target, reach
    from kindling.engine.usersecrets import UserSecrets

    environment = dict(os.environ)
    target = await find_target(wanted_cluster(invocation, reads=reads), environment)
    if not invocation.context:
        tell(f"Cluster `{target.context.name}`: {target.reason}")
    async with reach(target, environment, start=start) as there:
        backup = _backup(invocation)
        yield UserSecrets(there.cluster, target.context.name, backup), there.namespace
