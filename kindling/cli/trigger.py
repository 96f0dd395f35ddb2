"""`kindling trigger`."""

from __future__ import annotations

import click

from kindling.cli.invocation import Invocation, complete_names, verb
from kindling.errors import GraphError

__all__ = ["command"]


@verb(
    "trigger",
    "Ask the running session to run something now.",
    "  kindling trigger lint            a node or resource that waits to be asked\n"
    "  kindling trigger api --force     although nothing changed",
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_names)
@click.option("--force", is_flag=True, help="Run even if nothing changed.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.pass_obj
def command(invocation: Invocation, names: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Ask the session that runs in this project (`kindling up` in another terminal) to run these
    nodes or resources now. Drift in the cluster is repaired on the way."""
    import asyncio

    from kindling.cli.output import emit, emit_json
    from kindling.engine.control import ask

    invocation.no_words("trigger")
    request = {"ask": "trigger", "names": list(names), "force": force}
    reply = asyncio.run(ask(invocation.state_dir, request))
    if error := reply.get("error"):
        raise GraphError(str(error), hint=str(reply.get("hint") or ""))
    nodes = [str(node) for node in reply.get("nodes", names)]
    if as_json:
        emit_json({"schema": 1, "type": "trigger", "nodes": nodes, "force": force})
    else:
        emit(f"triggered {', '.join(nodes)}", "\n")
