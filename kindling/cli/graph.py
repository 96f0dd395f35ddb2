"""`kindling graph`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from kindling.cli.invocation import Invocation, complete_names, verb

__all__ = ["command"]


@verb(
    "graph",
    "Draw the graph.",
    "  kindling graph                        as a list\n"
    "  kindling graph api --format mermaid   the resource api and what it needs\n"
    "  kindling graph --format svg -o graph.svg\n"
    "  kindling graph -f Tiltfile --json",
)
@click.argument("names", nargs=-1, metavar="[NAME]... [-- WORD...]", shell_complete=complete_names)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "dot", "mermaid", "json", "svg"]),
    default="text",
    help="What to write.  [default: text]",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH",
    help="Write to this file instead of standard output.",
)
@click.pass_obj
def command(
    invocation: Invocation,
    names: tuple[str, ...],
    form: str,
    as_json: bool,
    output: Path | None,
) -> None:
    """Evaluate the Kindlingfile and show the graph it declares. Nothing runs, and no cluster need
    exist."""
    import asyncio
    import os

    from kindling.cli.output import emit, ink_for, tell_remarks
    from kindling.engine.options import SessionOptions
    from kindling.engine.planning import load_graph
    from kindling.graph.export import subgraph, to_dot, to_json, to_mermaid

    options = SessionOptions(
        file=invocation.kindlingfile(),
        command="up",
        names=names,
        words=invocation.words,
        context=invocation.context,
    )
    loaded, remarks = asyncio.run(load_graph(options, dict(os.environ)))
    tell_remarks(remarks)
    graph = loaded.graph
    if names:
        graph = subgraph(graph, loaded.selected)
    match "json" if as_json else form:
        case "json":
            text = json.dumps(to_json(graph), indent=2)
        case "dot":
            text = to_dot(graph)
        case "mermaid":
            text = to_mermaid(graph)
        case "svg":
            from kindling.graph.svg import to_svg

            text = to_svg(graph)
        case _:
            from kindling.report.graph import graph_text
            from kindling.report.ink import Ink

            ink = ink_for(invocation) if output is None else Ink()
            text = graph_text(graph, graph.nodes, ink=ink)
    text = text.rstrip("\n") + "\n"
    if output is None:
        emit(text)
        return
    from kindling.report.files import write_whole

    write_whole(output, text.encode())
