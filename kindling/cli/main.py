"""The program: chooses the verb, and turns how it ended into an exit code.

    0    done
    1    the user's world failed (a build, a rollout, a test, a time limit)
    2    wrong usage, or a Kindlingfile that says something wrong
    130  interrupted

A `KindlingError` prints what it says and nothing more. Any other exception is a fault of kindling
and prints its traceback.
"""

from __future__ import annotations

import errno
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from kindling.cli.invocation import Invocation, common_options
from kindling.errors import HostError, InterruptError, KindlingError, UsageError, nearest

__all__ = ["VERBS", "main", "program", "run"]

_NEW_OBJECTS = 10_000
"""So many new objects come before the youngest are looked through for garbage."""

VERBS: dict[str, str] = {
    "up": "Bring everything up, then follow file changes.",
    "ci": "Bring everything up once, to an exit code.",
    "down": "Undo what up did, in reverse order.",
    "plan": "Show what would run, and why.",
    "why": "Explain why a node would run, or would not.",
    "graph": "Draw the graph.",
    "trigger": "Ask the running session to run something now.",
    "status": "Show where every node stands.",
    "logs": "Show what nodes have written.",
    "deploy": "Apply manifests and wait until they stand.",
    "sync": "Carry files into running containers as they are saved.",
    "env": "Show and change variables of what runs.",
    "reset": "Remove runner pools and their tokens.",
    "operator": "Run the operator here, or install it into the cluster.",
    "build-agent": "Serve builds to the CI jobs of a runner pod.",
    "secrets": "Keep secrets in the cluster, and a sealed backup of them.",
    "runners": "Create, list and delete pools of CI runners.",
    "cluster": "Start, stop and look at the embedded cluster.",
    "doctor": "Check this machine and say what to mend.",
    "replay": "Repeat the decisions of a recorded session.",
    "version": "Print the version.",
    "completion": "Print the completion script of a shell.",
}
"""Every verb with its line of help, so that listing them imports none of them."""

_EPILOG = """\b
Examples:
  kindling up                  bring everything up and follow changes
  kindling up api -- triggers  the resource api, profile triggers switched on
  kindling ci --junit out.xml  once, for a pipeline
  kindling why rollout:api     which input made it run

Names before `--` select nodes or resources with all they depend on; words after
it go to the Kindlingfile (profile() and config.parse()).
"""


class _Verbs(click.Group):
    """Imports a verb's module when it is asked for, and knows the nearest word to a wrong one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's name)
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        module = cmd_name.replace("-", "_")
        command = importlib.import_module(f"kindling.cli.{module}").command
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS:
            raise UsageError(
                f"there is no command `{args[0]}`",
                hint=nearest(args[0], VERBS) or "`kindling --help` lists all commands.",
            )
        return super().resolve_command(ctx, args)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(
    cls=_Verbs,
    epilog=_EPILOG,
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.option("--version", "show_version", is_flag=True, help="Print the version.")
@common_options
@click.pass_context
def program(ctx: click.Context, show_version: bool) -> int | None:
    """kindling turns one Kindlingfile into one graph of images, objects, rollouts, commands and
    tests, and keeps a Kubernetes cluster equal to it, running only what changed."""
    if show_version:
        from kindling.cli.version import version_line

        click.echo(version_line())
    elif ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        return UsageError.exit_code
    return None


def main() -> None:
    """The entry point of `kindling` and of `python -m kindling`."""
    if instruction := os.environ.get("_KINDLING_COMPLETE"):
        from kindling.cli.completion import complete

        sys.exit(complete(instruction))
    # What a command imports, and a tree of 10,000 files, are many objects that stay: to look among
    # them for garbage again and again takes a tenth of the time of a short command.
    gc.set_threshold(_NEW_OBJECTS)
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Carry out one command line; its exit code."""
    args, words = _split(argv)
    invocation = Invocation(words=words)
    try:
        # Not `program.main`: that has ideas of its own about pipes that close.
        with program.make_context("kindling", args, obj=invocation) as ctx:
            code = program.invoke(ctx)
        return code if isinstance(code, int) else 0
    except KindlingError as error:
        return _fail(error, invocation.color)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else error.format_message(), err=True)
        return UsageError.exit_code
    except click.UsageError as error:
        return _fail(_usage_error(error), invocation.color)
    except click.ClickException as error:
        return _fail(UsageError(error.format_message()), invocation.color)
    except (KeyboardInterrupt, click.Abort):
        return InterruptError.exit_code
    except BrokenPipeError:
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return _bug()
        return _fail(HostError(f"cannot write: {error.strerror}"), invocation.color)
    except Exception:
        return _bug()
    finally:
        _flush()


def _split(argv: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """What stands before the first `--`, and the words after it."""
    if "--" not in argv:
        return list(argv), ()
    at = list(argv).index("--")
    return list(argv[:at]), tuple(argv[at + 1 :])


def _fail(error: KindlingError, color: str) -> int:
    text = error.render()
    if color == "always" or (color == "auto" and _colours(sys.stderr)):
        head, _, rest = text.partition("\n")
        text = f"\x1b[31m{head}\x1b[0m{_}{rest}"
    _say(text)
    return error.exit_code


def _usage_error(error: click.UsageError) -> UsageError:
    where = error.ctx.command_path if error.ctx else "kindling"
    if isinstance(error, click.NoSuchOption):
        known = [
            name
            for parameter in (error.ctx.command.params if error.ctx else ())
            for name in (*parameter.opts, *parameter.secondary_opts)
        ]
        return UsageError(
            f"`{where}` has no option `{error.option_name}`",
            hint=nearest(error.option_name, known) or f"`{where} --help` lists its options.",
        )
    message = error.format_message().rstrip(".")
    return UsageError(
        f"`{where}`: {message[:1].lower()}{message[1:]}",
        hint=f"`{where} --help` says what it takes.",
    )


def _bug() -> int:
    import traceback

    _say(traceback.format_exc().rstrip())
    _say("this is a bug in kindling; the lines above are what its authors need to mend it")
    return 1


def _say(text: str) -> None:
    encoding = sys.stderr.encoding or "utf-8"
    try:
        print(text.encode(encoding, "replace").decode(encoding), file=sys.stderr)  # noqa: T201
    except OSError:
        _discard(sys.stderr)


def _colours(stream: Any) -> bool:
    return bool(
        stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )


def _flush() -> None:
    """Where what is left cannot be written (its reader has gone), the interpreter must not try
    again when it ends, or it complains."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _discard(stream)


def _discard(stream: Any) -> None:
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
