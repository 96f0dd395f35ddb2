"""`kindling ci`."""

from __future__ import annotations

import click

from kindling.cli.faces import Faces, face_options, run_with_faces
from kindling.cli.invocation import Duration, Invocation, complete_names, verb

__all__ = ["command"]


@verb(
    "ci",
    "Bring everything up once, to an exit code.",
    "  kindling ci                       everything, once\n"
    "  kindling ci smoke                 the test smoke and what it depends on\n"
    "  kindling ci --timeout 10m         fail after ten minutes\n"
    "  kindling ci --junit out/junit.xml --report out/report.json",
)
@click.argument("names", nargs=-1, metavar="[NAME]... [-- WORD...]", shell_complete=complete_names)
@click.option(
    "--timeout",
    type=Duration(),
    metavar="DURATION",
    help="Fail after this long: 90s, 10m, 1h30m; 0 for never.  [default: the file's, else 30m]",
)
@face_options
@click.pass_obj
def command(
    invocation: Invocation,
    names: tuple[str, ...],
    timeout: float | None,
    faces: Faces,
) -> int:
    """Bring up all nodes, or those named with all they depend on, once. Exit 0 when all of them are
    done and healthy; exit 1 at the first failure, with pod, container, reason and the end of the
    log; exit 2 when the Kindlingfile is wrong.

    Graph and cache are those of `kindling up`: what that has done already is not done again.
    """
    from kindling.engine.options import SessionOptions

    options = SessionOptions(
        file=invocation.kindlingfile(),
        command="ci",
        names=names,
        words=invocation.words,
        context=invocation.context,
        once=True,
        timeout=timeout,
    )
    return run_with_faces(invocation, options, faces)
