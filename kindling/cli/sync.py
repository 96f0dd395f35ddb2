"""`kindling sync`."""

from __future__ import annotations

import click

from kindling.cli.invocation import Invocation, complete_names, verb
from kindling.cli.sync_options import Pause
from kindling.errors import KindlingError, UsageError

__all__ = ["command"]


def _complete_workloads(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Names of resources that earlier sessions of this project recorded: nodes are no workloads."""
    return [name for name in complete_names(ctx, parameter, incomplete) if ":" not in name]


@verb(
    "sync",
    "Carry files into running containers as they are saved.",
    "  kindling sync -d my-api --restart         this folder to where my-api runs\n"
    "  kindling sync sts/my-db --src conf --dest /etc/db --once\n"
    "  kindling sync -d my-api --restart --logs  with the pods' logs beside it\n"
    "  kindling sync worker --restart --build-cmd make --build-output bin/worker\n"
    "  kindling sync --restore                   put back what dead sessions left",
)
@click.argument("name", default="", metavar="[NAME|KIND/NAME]", shell_complete=_complete_workloads)
@click.option(
    "-d",
    "--deployment",
    default="",
    metavar="NAME|KIND/NAME",
    help="The Deployment, StatefulSet or DevStagingEnvironment.",
    shell_complete=_complete_workloads,
)
@click.option("-n", "--namespace", default="", metavar="NS", help="Where.  [default: the target's]")
@click.option("-c", "--container", default="", metavar="NAME", help="Which one of its pods.")
@click.option(
    "--src",
    default=".",
    metavar="PATH",
    type=click.Path(),
    help="The folder, or one file, to carry.  [default: .]",
)
@click.option(
    "--dest",
    default="",
    metavar="PATH",
    help="Where in the container.  [default: the `workingDir` of its pod template, else /app]",
)
@click.option(
    "--restart/--no-restart",
    default=False,
    help="Let the program take the files up: signal, restart, or local build, as its runtime needs."
    "  [default: files only]",
)
@click.option("--once", is_flag=True, help="Once, to an exit code. What was carried stays.")
@click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Leave out what matches, as in .dockerignore. May be given several times.",
)
@click.option(
    "--debounce",
    type=Pause(),
    metavar="DURATION",
    help="How long it must be quiet before a batch goes out, such as 500ms.  [default: 10 ms after "
    "a lone save, longer in a storm]",
)
@click.option(
    "--language",
    default="",
    metavar="NAME",
    help="The runtime, whatever the container seems to run.",
)
@click.option("--build-cmd", default="", metavar="COMMAND", help="What builds here, by `sh -c`.")
@click.option("--build-output", default="", metavar="PATH", help="What that makes, to be carried.")
@click.option("--logs", is_flag=True, help="Show the pods' logs beside it.")
@click.option(
    "--restore",
    is_flag=True,
    help="Put back what sessions left that are gone, of one workload or all.",
)
@click.option(
    "--force",
    is_flag=True,
    help="With --restore: also over what others changed meanwhile.",
)
@click.option(
    "--keep",
    is_flag=True,
    help="With --restore: keep what others changed, and take out only what was ours.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line (docs/json.md).")
@click.pass_obj
def command(
    invocation: Invocation,
    name: str,
    deployment: str,
    namespace: str,
    container: str,
    src: str,
    dest: str,
    restart: bool,
    once: bool,
    exclude: tuple[str, ...],
    debounce: float | None,
    language: str,
    build_cmd: str,
    build_output: str,
    logs: bool,
    restore: bool,
    force: bool,
    keep: bool,
    as_json: bool,
) -> int:
    """Keep a folder of a running container equal to one here: what is saved, renamed or deleted is
    there some milliseconds later, in every ready pod. With --restart the program runs the new code
    as well. The container needs no shell, no tar and no root for it.

    Ctrl-C puts everything back: the pod template exactly as it was, and fresh pods. After a crash
    the next `kindling sync` of the workload does, or `kindling sync --restore`.
    """
    from kindling.cli.sync_options import destination, source_of, workload_of

    invocation.no_words("sync")
    workload = workload_of(deployment, name)
    if restore:
        _alone("--restore", click.get_current_context())
        if force and keep:
            raise UsageError("`--force` and `--keep` exclude each other")
        from kindling.cli.sync_restore import Wish, restore_left

        wish = Wish.FORCE if force else Wish.KEEP if keep else Wish.ASK
        return restore_left(invocation, workload, namespace, wish, as_json=as_json)
    if force or keep:
        raise UsageError(f"`{'--force' if force else '--keep'}` is for `kindling sync --restore`")
    if not workload:
        raise UsageError(
            "`kindling sync` needs a workload",
            hint="For example `kindling sync -d my-api`; `kindling status` lists what runs.",
        )
    source = source_of(src)
    if dest:
        destination(dest, source)
    if bool(build_cmd) != bool(build_output):
        from kindling.sync.runtimes.build import own_build

        try:
            own_build(build_cmd, build_output)
        except KindlingError as error:
            raise UsageError(error.message, hint=error.hint) from error
    if build_cmd and not restart:
        raise UsageError(
            "`--build-cmd` builds only with `--restart`",
            hint="Add `--restart`: the program has to be started again for what was built.",
        )
    from kindling.cli.sync_run import Asked, run_sync

    return run_sync(
        invocation,
        Asked(
            workload=workload,
            namespace=namespace,
            container=container,
            source=source,
            dest=dest,
            restart=restart,
            once=once,
            exclude=exclude,
            debounce=debounce,
            language=language,
            build_cmd=build_cmd,
            build_output=build_output,
            logs=logs,
            as_json=as_json,
        ),
    )


_WITH_RESTORE = frozenset(
    ("name", "deployment", "namespace", "restore", "force", "keep", "as_json", "context", "file")
)


def _alone(option: str, ctx: click.Context) -> None:
    """Refuse options that mean nothing beside `option`."""
    for parameter in ctx.command.params:
        said = parameter.name and ctx.get_parameter_source(parameter.name)
        if (
            said is click.core.ParameterSource.COMMANDLINE
            and parameter.name not in _WITH_RESTORE
            and parameter.expose_value
        ):
            raise UsageError(f"`{parameter.opts[0]}` means nothing beside `{option}`")
