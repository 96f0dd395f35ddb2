"""Verbs that have actions, such as `kindling secrets set`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

from kindling.cli.invocation import common_options
from kindling.errors import UsageError, nearest

__all__ = ["Actions", "action_group"]

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SETTINGS: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 80,
}


class Actions(click.Group):
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

    def action(
        self, name: str, help_line: str
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Make a function an action, with the options of all verbs and `--namespace`. It is given
        the invocation first."""

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            own = function.__dict__.pop("__click_params__", [])
            common_options(function)
            click.option(
                "-n",
                "--namespace",
                default="",
                metavar="NAME",
                callback=_namespace,
                help="Where.  [default: the namespace of the Kindlingfile or the context]",
            )(function)
            function.__dict__["__click_params__"] += own
            made = click.command(name, short_help=help_line, context_settings=_SETTINGS)
            self.add_command(made(click.pass_obj(function)))
            return function

        return decorate


def action_group(
    name: str, help_line: str, text: str, examples: str, *, default: str = ""
) -> Actions:
    """The verb `name`, to which its actions are added. `default` is the one that it does by
    itself."""

    @click.pass_context
    def alone(ctx: click.Context) -> Any:
        if ctx.invoked_subcommand is None:
            return ctx.invoke(made.commands[default], namespace="")
        return None

    made = Actions(
        name,
        callback=alone if default else None,
        invoke_without_command=bool(default),
        help=text,
        short_help=help_line,
        epilog=f"\b\nExamples:\n{examples}",
        context_settings=_SETTINGS,
    )
    return made


def _namespace(ctx: click.Context, _: click.Parameter, value: str) -> str:
    if value and not _LABEL.fullmatch(value):
        raise click.BadParameter(f"{value!r} cannot be the name of a namespace", ctx)
    return value
