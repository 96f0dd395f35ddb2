"""What verbs share that act on a cluster without a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kindling.cli.actions import add_action
from kindling.cli.invocation import DEFAULT_FILE, Invocation, common_options

if TYPE_CHECKING:
    from kindling.engine.environments.reach import Wanted

__all__ = ["action", "cluster_options", "tell", "wanted_cluster"]

F = TypeVar("F", bound=Callable[..., Any])


def action(
    group: click.Group, name: str, help_line: str
) -> Callable[[Callable[..., Any]], click.Command]:
    """One action of such a verb, with the options that all verbs share."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        return add_action(group, function, name, help_line, common_options)

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
