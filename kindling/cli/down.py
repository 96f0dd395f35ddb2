"""`kindling down`."""

from __future__ import annotations

import click

from kindling.cli.invocation import Invocation, complete_names, verb

__all__ = ["command"]


@verb(
    "down",
    "Undo what up did, in reverse order.",
    "  kindling down               everything of this project\n"
    "  kindling down api           only what the resource api did\n"
    "  kindling down -- triggers   as the file declares it with that profile",
)
@click.argument("names", nargs=-1, metavar="[NAME]... [-- WORD...]", shell_complete=complete_names)
@click.option("--plain", is_flag=True, help="Lines instead of the live view.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per notice (docs/json.md).")
@click.pass_obj
def command(invocation: Invocation, names: tuple[str, ...], plain: bool, as_json: bool) -> int:
    """Delete from the cluster what this project put there, dependents first. What is written once
    (secrets), namespaces and other owners' objects stay, and are named."""
    import asyncio
    import os

    from kindling.cli.faces import Faces, closing
    from kindling.engine.down import run_down
    from kindling.engine.listeners import Fan
    from kindling.engine.options import SessionOptions

    options = SessionOptions(
        file=invocation.kindlingfile(),
        command="down",
        names=names,
        words=invocation.words,
        context=invocation.context,
        once=True,
    )
    with closing(Faces(plain=plain, json=as_json).listeners(invocation)) as listeners:
        return asyncio.run(run_down(options, Fan(listeners), dict(os.environ)))
