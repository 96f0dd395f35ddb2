"""What verbs share that act on a cluster without a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kindling.cli.invocation import DEFAULT_FILE, Invocation, common_options
from kindling.errors import UsageError, nearest

if TYPE_CHECKING:
    from kindling.engine.environments.reach import Wanted

__all__ = ["action", "cluster_options", "tell", "verb_group", "wanted_cluster"]

F = TypeVar("F", bound=Callable[..., Any])

_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 80}


class _Actions(click.Group):
    """Knows the nearest word to a wrong one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            raise UsageError(
                f"there is no command `{self.name} {args[0]}`",
                hint=nearest(args[0], self.commands) or f"`kindling {self.name} --help` lists all.",
            )
        return super().resolve_command(ctx, args)


def verb_group(name: str, help_line: str, text: str, examples: str) -> click.Group:
    """A verb that has actions below it."""
    return _Actions(
        name=name,
        help=text,
        short_help=help_line,
        epilog=f"\b\nExamples:\n{examples}",
        context_settings=_SETTINGS,
    )


def action(
    group: click.Group, name: str, help_line: str
) -> Callable[[Callable[..., Any]], click.Command]:
    """One action of such a verb, with the options that all verbs share."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        own = function.__dict__.pop("__click_params__", [])
        common_options(function)
        function.__dict__["__click_params__"] += own
        made = click.command(name, short_help=help_line, context_settings=_SETTINGS)(
            click.pass_obj(function)
        )
        group.add_command(made)
        return made

    return decorate


def cluster_options(function: F) -> F:
    """`--namespace`, of verbs that work in one."""
    option = click.option(
        "-n", "--namespace", default="", metavar="NS", help="Where.  [default: the target's]"
    )
    return option(function)


def wanted_cluster(invocation: Invocation, *, reads: bool = False) -> Wanted:
    """The cluster that the command line means: of its `--context`, else of the Kindlingfile here,
    else the one that `up` would choose.

    Raises:
        UsageError: A Kindlingfile was named that is not there.
    """
    from kindling.engine.environments.reach import Wanted

    file = Path(DEFAULT_FILE)
    if invocation.file or file.is_file():
        file = invocation.kindlingfile()
    return Wanted(file, invocation.context, reads)


def tell(line: str) -> None:
    """One line on standard error, in its encoding."""
    import sys

    encoding = sys.stderr.encoding or "utf-8"
    sys.stderr.write(f"{line}\n".encode(encoding, "replace").decode(encoding))
    sys.stderr.flush()
