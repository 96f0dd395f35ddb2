"""`kindling version`."""

from __future__ import annotations

import os

import click

from kindling import __version__
from kindling.cli.invocation import Invocation, verb

__all__ = ["command", "version_line"]


@verb(
    "version",
    "Print the version.",
    "  kindling version          kindling 0.1.0 (linux/amd64)\n"
    '  kindling version --json   {"version": "0.1.0", ...}',
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.pass_obj
def command(invocation: Invocation, as_json: bool) -> None:
    """Print the version of kindling, and the system and architecture it runs on."""
    invocation.no_words("version")
    if not as_json:
        click.echo(version_line())
        return
    import json
    import platform

    system, machine = _platform()
    form = {
        "schema": 1,
        "type": "version",
        "version": __version__,
        "os": system,
        "arch": machine,
        "python": platform.python_version(),
    }
    click.echo(json.dumps(form))


def version_line() -> str:
    """`kindling 0.1.0 (linux/amd64)`: the names that container images use."""
    system, machine = _platform()
    return f"kindling {__version__} ({system}/{machine})"


def _platform() -> tuple[str, str]:
    names = os.uname()
    machine = names.machine.lower()
    known = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
    return names.sysname.lower(), known.get(machine, machine)
