"""`kindling why`."""

from __future__ import annotations

import click

from kindling.cli.invocation import Invocation, complete_names, verb

__all__ = ["command"]


@verb(
    "why",
    "Explain why a node would run, or would not.",
    "  kindling why rollout:api     one node\n"
    "  kindling why api             every node of the resource api\n"
    "  kindling why api --json      for programs (docs/json.md)",
)
@click.argument("name", metavar="NAME [-- WORD...]", shell_complete=complete_names)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.pass_obj
def command(invocation: Invocation, name: str, as_json: bool) -> None:
    """Name the exact inputs that make a node due, old digest and new, and the first cause up the
    graph. Of a node that is up to date, say why it ran last."""
    import asyncio
    import os

    from kindling.cli.output import emit, emit_json, ink_for
    from kindling.engine.options import SessionOptions
    from kindling.engine.planning import explain_node

    options = SessionOptions(
        file=invocation.kindlingfile(),
        command="up",
        words=invocation.words,
        context=invocation.context,
    )
    explained = asyncio.run(explain_node(options, name, dict(os.environ)))
    if as_json:
        emit_json({"schema": 1, "type": "why", "nodes": [one.to_json() for one in explained]})
        return
    from kindling.report.why import why_text

    emit(why_text(explained, ink=ink_for(invocation)))
