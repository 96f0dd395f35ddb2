"""`kindling plan`."""

from __future__ import annotations

from pathlib import Path

import click

from kindling.cli.invocation import Invocation, complete_names, verb

__all__ = ["command"]


@verb(
    "plan",
    "Show what would run, and why.",
    "  kindling plan                  what `kindling up` would do now\n"
    "  kindling plan api              for the resource api and what it depends on\n"
    "  kindling plan --touch app.py   as if that file had changed\n"
    "  kindling plan --json           for programs (docs/json.md)",
)
@click.argument("names", nargs=-1, metavar="[NAME]... [-- WORD...]", shell_complete=complete_names)
@click.option(
    "--touch",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Take this file as changed. May be given several times.",
)
@click.option("--all", "everything", is_flag=True, help="List also what would be skipped.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.pass_obj
def command(
    invocation: Invocation,
    names: tuple[str, ...],
    touch: tuple[Path, ...],
    everything: bool,
    as_json: bool,
) -> None:
    """Show what would run, what would come from the cache and what would be skipped; why; what
    would happen to which object of the cluster; and how long it would take by its history.
    Nothing is changed.

    A node that is `maybe` runs only if the output of one before it turns out to be another.
    """
    import os

    from kindling.cli.output import emit, emit_json, ink_for, tell_remarks
    from kindling.engine.options import SessionOptions
    from kindling.engine.standstill import recall

    options = SessionOptions(
        file=invocation.kindlingfile(),
        command="up",
        names=names,
        words=invocation.words,
        context=invocation.context,
    )
    if not (touch or everything or as_json):
        still = recall(options, dict(os.environ))
        if still is not None:
            from kindling.engine.notices import Level
            from kindling.report.words import nothing_to_run

            tell_remarks((Level(level), text) for level, text in still.remarks)
            emit(nothing_to_run(still.nodes), "\n")
            return
    import asyncio

    from kindling.engine.planning import make_plan

    planned = asyncio.run(make_plan(options, dict(os.environ), touched=touch))
    tell_remarks(planned.remarks)
    if as_json:
        emit_json({**planned.plan.to_json(), "target": planned.target})
        return
    from kindling.report.plan import plan_text

    ink = ink_for(invocation)
    emit(plan_text(planned.plan, target=planned.target, skipped=everything, ink=ink))
