"""`kindling doctor`."""

from __future__ import annotations

import click

from kindling.cli.invocation import Invocation, verb

__all__ = ["command"]


@verb(
    "doctor",
    "Check this machine and say what to mend.",
    "  kindling doctor                      what there is, and what to do\n"
    "  kindling doctor --context kind-dev   for this cluster\n"
    "  kindling doctor --json               for bug reports",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.pass_obj
def command(invocation: Invocation, as_json: bool) -> None:
    """Look at Python, the Docker engine and its BuildKit client, the kubeconfig and the cluster
    that `kindling up` would choose, its registry, limits on watching files, disk space, the state
    folder and helper programs. Each is ok, or warn, or missing with what to do. Nothing is
    changed.

    Exit 0, whatever it finds: what is missing matters only to a Kindlingfile that uses it.
    """
    import asyncio
    import os

    from kindling.cli.checkup import Level, examine
    from kindling.cli.output import emit, emit_json, ink_for
    from kindling.cli.version import version_line
    from kindling.report.ink import wrapped
    from kindling.report.narrator import Tone

    invocation.no_words("doctor")
    findings = asyncio.run(examine(invocation.root, invocation.context, dict(os.environ)))
    if as_json:
        forms = [finding.to_json() for finding in findings]
        head = {"schema": 1, "type": "doctor", "version": version_line()}
        emit_json({**head, "findings": forms})
        return
    ink = ink_for(invocation)
    tones = {Level.OK: Tone.GOOD, Level.WARN: Tone.WARN, Level.MISSING: Tone.DIM}
    emit(ink.bold(version_line()), "\n")
    width = max(len(finding.subject) for finding in findings)
    indent = " " * (width + 11)
    for finding in findings:
        first, *rest = wrapped(finding.text, ink.width - len(indent))
        word = ink(f"{finding.level.value:<7}", tones[finding.level])
        emit(f"{word}  {finding.subject:<{width}}  {first}", "\n")
        hint = [
            line
            for part in finding.hint.splitlines()
            for line in wrapped(part, ink.width - len(indent))
        ]
        for line in [*rest, *(ink(line, Tone.DIM) for line in hint)]:
            emit(f"{indent}{line}", "\n")
