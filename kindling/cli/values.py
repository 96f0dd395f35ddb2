"""Secret values as they come in: from a prompt that does not show them, standard input or a file.

Never from the command line, which every user of the machine can read while the program runs, and
which the shell keeps in its history.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from kindling.errors import HostError, UsageError, nearest
from kindling.objects.secretnames import secret_name

__all__ = ["asked", "check_names", "on_a_terminal", "token_from_input", "values_of"]

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


def on_a_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


def asked(prompt: str) -> bytes:
    """What somebody types, which is not shown.

    Raises:
        HostError: The terminal would show it.
        click.Abort: They left without an answer.
    """
    import getpass
    import warnings

    import click

    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(f"{prompt}: ", sys.stderr).encode("utf-8", "surrogateescape")
        except getpass.GetPassWarning as error:
            raise HostError(
                "This terminal would show what you type",
                hint="Give the value on standard input, or by `--from-file PATH`.",
            ) from error
        except UnicodeDecodeError:
            raise UsageError("What was typed is no text in this terminal's encoding") from None
        except EOFError:
            raise click.Abort from None


def check_names(names: Sequence[str], words: Sequence[str] = ()) -> None:
    """Refuse values that stand where names belong. They are not repeated: a log may keep it."""
    why = (
        "Other users of this machine can see it there, and the shell keeps it: make a new one,\n"
        "then `kindling secrets set NAME` asks for it, and `kindling secrets set NAME < FILE`"
        " reads it."
    )
    if words:
        raise UsageError("A value does not belong on the command line", hint=why)
    given = [name for name in names if name != "-"]
    for name in given:
        if "=" in name:
            raise UsageError("A value does not belong on the command line", hint=why)
    if len(given) > 1 and not all(_VARIABLE.fullmatch(name) for name in given):
        raise UsageError(
            "One of several names looks like a value, which does not belong on the command line",
            details=["Several names at once are those of variables, such as `STRIPE_KEY`."],
            hint=why,
        )
    _no_twins(given)


def _no_twins(names: Sequence[str]) -> None:
    known: dict[str, str] = {}
    for name in names:
        first = known.setdefault(secret_name(name), name)
        if first != name:
            raise UsageError(f"`{first}` and `{name}` are one secret")


def values_of(names: Sequence[str], from_file: str, env_file: str) -> dict[str, bytes]:
    """The values of these secrets, from where the command line says they are.

    Raises:
        UsageError: It says nothing, too much, or something that is not there.
    """
    from kindling.engine.usersecrets import LARGEST

    given = list(dict.fromkeys(name for name in names if name != "-"))
    said = [
        word
        for word, is_said in (
            ("`-`", "-" in names),
            ("`--from-file`", from_file),
            ("`--from-env-file`", env_file),
        )
        if is_said
    ]
    if len(said) > 1:
        raise UsageError(f"{' and '.join(said)} cannot be said together")
    if env_file:
        return _of_env_file(env_file, given)
    if not given:
        raise UsageError(
            "`kindling secrets set` needs the name of a secret", hint="For example `STRIPE_KEY`."
        )
    if not said and on_a_terminal():
        return {name: asked(f"Value of {name} (not shown)") for name in given}
    if len(given) > 1:
        raise UsageError(
            f"One value cannot be that of {len(given)} secrets: [{', '.join(given)}]",
            hint="Set them one by one, or by `--from-env-file`.",
        )
    value = _from_file(from_file, LARGEST) if from_file else _from_input(LARGEST)
    return {given[0]: value}


def _of_env_file(path: str, names: Sequence[str]) -> dict[str, bytes]:
    from kindling.engine.usersecrets import LARGEST
    from kindling.lang.native.parts import parse_dotenv

    content = _from_file(path, most := 16 * LARGEST)
    if len(content) > most:
        raise UsageError(f"`{path}` has more than {most:,} bytes: is it a file of NAME=VALUE?")
    try:
        found = parse_dotenv(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise UsageError(f"`{path}` is no text") from None
    for name in names:
        if name not in found:
            raise UsageError(f"`{path}` has no `{name}`", hint=nearest(name, found))
    if not found:
        raise UsageError(f"`{path}` has no lines of the form NAME=VALUE")
    wanted = list(names) or list(found)
    _no_twins(wanted)
    return {name: found[name].encode() for name in wanted}


def _from_input(limit: int) -> bytes:
    """Standard input to its end, or one byte more than `limit`. The line end behind a single line
    is left out: it is the shell's, as in `echo`. Of several lines, as in a key, all is kept."""
    value = _read(sys.stdin.buffer, limit)
    line = value.removesuffix(b"\n").removesuffix(b"\r")
    return value if b"\n" in line else line


def token_from_input() -> str:
    """A token on standard input; what is no text is no token."""
    return _from_input(2**16).decode("utf-8", "replace")


def _from_file(path: str, limit: int) -> bytes:
    """A file byte for byte, or one byte more than `limit`.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return _read(file, limit)
    except OSError as error:
        raise UsageError(f"Cannot read `{path}`: {error.strerror or error}") from error


def _read(stream: BinaryIO, limit: int) -> bytes:
    """Read to the end, whatever pieces it comes in, but never without bound."""
    pieces, left = [], limit + 1
    while left > 0 and (piece := stream.read(left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
