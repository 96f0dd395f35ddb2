"""`kindling up`."""

from __future__ import annotations

import click

from kindling.cli.faces import Faces, face_options, run_with_faces
from kindling.cli.invocation import Invocation, complete_names, verb

__all__ = ["command"]


@verb(
    "up",
    "Bring everything up, then follow file changes.",
    "  kindling up                   everything, then follow changes\n"
    "  kindling up api               the resource api and what it depends on\n"
    "  kindling up -- triggers       with profile triggers switched on\n"
    "  kindling up --once --plain    once, as lines\n"
    "  kindling up -f Tiltfile       a Tiltfile, when it is named",
)
@click.argument("names", nargs=-1, metavar="[NAME]... [-- WORD...]", shell_complete=complete_names)
@click.option("--once", is_flag=True, help="End when everything is settled.")
@face_options
@click.pass_obj
def command(
    invocation: Invocation,
    names: tuple[str, ...],
    once: bool,
    faces: Faces,
) -> int:
    """Bring up all nodes, or those named with all they depend on, and then run again whatever a
    file change makes due. Nodes whose inputs are as they were do not run.

    Ctrl-C ends servers and port-forwards in order and leaves the cluster as it is;
    `kindling down` takes it away.
    """
    from kindling.engine.options import SessionOptions

    options = SessionOptions(
        file=invocation.kindlingfile(must_exist=once),
        command="up",
        names=names,
        words=invocation.words,
        context=invocation.context,
        once=once,
    )
    return run_with_faces(invocation, options, faces)
