"""`kindling completion`: the scripts that make a shell complete verbs, options and names.

The script asks the program itself, by click's protocol (`_KINDLING_COMPLETE`), so that it never
goes stale. Names come from what the last session recorded, without evaluating the Kindlingfile.
"""

from __future__ import annotations

import click

from kindling.cli.invocation import Invocation, verb

__all__ = ["command", "complete", "known_names"]


@verb(
    "completion",
    "Print the completion script of a shell.",
    "  source <(kindling completion bash)                    # in ~/.bashrc\n"
    "  source <(kindling completion zsh)                     # in ~/.zshrc\n"
    "  kindling completion fish > ~/.config/fish/completions/kindling.fish",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_obj
def command(invocation: Invocation, shell: str) -> None:
    """Print a script that makes SHELL complete kindling's verbs, options and the names of nodes and
    resources. Nothing is written anywhere."""
    from click.shell_completion import get_completion_class

    from kindling.cli.main import program
    from kindling.cli.output import emit

    invocation.no_words("completion")
    made = get_completion_class(shell)
    assert made is not None
    emit(made(program, {}, "kindling", "_KINDLING_COMPLETE").source(), "\n")
    if shell == "bash":
        # Else bash breaks `rollout:api` at its colon, and no node could be completed.
        emit("COMP_WORDBREAKS=${COMP_WORDBREAKS//:/}", "\n")


def complete(instruction: str) -> int:
    """Answer a shell that asks by `_KINDLING_COMPLETE`."""
    from click.shell_completion import shell_complete

    from kindling.cli.main import program

    return shell_complete(
        program, {"obj": Invocation()}, "kindling", "_KINDLING_COMPLETE", instruction
    )


def known_names(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names of nodes and resources that earlier sessions of this project recorded."""
    from kindling.errors import KindlingError
    from kindling.store.database import Store

    invocation = ctx.find_object(Invocation) or Invocation()
    if not invocation.state_dir.is_dir():
        return []
    try:
        with Store.open(invocation.state_dir) as store:
            nodes = list(store.records())
    except KindlingError:
        return []
    resources = [node.partition(":")[2] for node in nodes]
    return [name for name in sorted({*resources, *nodes}) if name.startswith(incomplete)]
