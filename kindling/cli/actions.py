"""Verbs that have actions, such as `kindling secrets set`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

from kindling.cli.invocation import common_options
from kindling.errors import UsageError, nearest

__all__ = ["SETTINGS", "Actions", "action_group", "add_action", "verb_group"]

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SETTINGS: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 80,
}
"""How every verb with actions, and every action, speaks to a terminal."""


class Actions(click.Group):
    """A verb with actions. Knows the nearest word to a wrong one."""

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
            add_action(self, function, name, help_line, common_options, _namespaced)
            return function

        return decorate


def add_action(
    group: click.Group,
    function: Callable[..., Any],
    name: str,
    help_line: str,
    *shared: Callable[[Callable[..., Any]], Callable[..., Any]],
) -> click.Command:
    """Make a function an action of a verb. Its help shows its own options before the `shared`
    ones. It is given the invocation first."""
    own = function.__dict__.pop("__click_params__", [])
    for options in shared:
        options(function)
    function.__dict__["__click_params__"] += own
    made = click.command(name, short_help=help_line, context_settings=SETTINGS)(
        click.pass_obj(function)
    )
    group.add_command(made)
    return made


def verb_group(name: str, help_line: str, text: str, examples: str) -> Actions:
    """A verb that does nothing by itself, to which its actions are added."""
    return Actions(
        name,
        help=text,
        short_help=help_line,
        epilog=f"\b\nExamples:\n{examples}",
        context_settings=SETTINGS,
    )


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
        context_settings=SETTINGS,
    )
    return made


def _namespace(ctx: click.Context, _: click.Parameter, value: str) -> str:
    if value and not _LABEL.fullmatch(value):
        raise click.BadParameter(f"{value!r} cannot be the name of a namespace", ctx)
    return value


_namespaced = click.option(
    "-n",
    "--namespace",
    default="",
    metavar="NAME",
    callback=_namespace,
    help="Where.  [default: the namespace of the Kindlingfile or the context]",
)
