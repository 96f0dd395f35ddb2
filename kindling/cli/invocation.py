"""What every verb shares: the options before and after its name, and the file they lead to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from kindling.engine.options import STATE_DIR
from kindling.errors import UsageError, nearest

__all__ = ["DEFAULT_FILE", "Duration", "Invocation", "common_options", "complete_names", "verb"]

DEFAULT_FILE = "Kindlingfile"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class Invocation:
    """The command line as far as all verbs share it; filled in while words are parsed."""

    words: tuple[str, ...] = ()
    """What stands after `--`."""
    file: str = ""
    context: str = ""
    verbose: bool = False
    color: str = "auto"

    @property
    def root(self) -> Path:
        """The folder of the Kindlingfile, whether or not there is one."""
        given = Path(self.file or DEFAULT_FILE)
        return (given if given.is_dir() else given.parent).absolute()

    @property
    def state_dir(self) -> Path:
        """Where kindling keeps what it knows about this project."""
        return self.root / STATE_DIR

    def kindlingfile(self, *, must_exist: bool = True) -> Path:
        """The file to evaluate. One that need not exist is waited for by whoever evaluates it.

        Raises:
            UsageError: There is none. A Tiltfile is used only when it is named.
        """
        given = Path(self.file or DEFAULT_FILE)
        if given.is_dir():
            given = given / DEFAULT_FILE
            if not self.file or given.is_dir():
                raise UsageError(f"`{given if self.file else DEFAULT_FILE}` is a folder, no file")
        folder = given.parent
        if given.is_file() or (not must_exist and folder.is_dir()):
            return given
        try:
            others = sorted(path.name for path in folder.iterdir() if path.is_file())
        except OSError:
            raise UsageError(f"there is no folder `{folder}`") from None
        if self.file:
            raise UsageError(f"there is no file `{given}`", hint=nearest(given.name, others))
        hint = "`kindling up -f PATH` uses a file of another name or place."
        if "Tiltfile" in others:
            hint = "There is a Tiltfile: `kindling up -f Tiltfile` uses it."
        raise UsageError(f"there is no `{DEFAULT_FILE}` in `{folder.absolute()}`", hint=hint)

    def no_words(self, verb: str) -> None:
        """Refuse words after `--` where nothing would hear them."""
        if self.words:
            raise UsageError(
                f"`kindling {verb}` takes no words after `--`: [{', '.join(self.words)}]"
            )


class Duration(click.ParamType[float]):
    """A time in seconds as people write it: `90`, `90s`, `5m`, `1h30m`."""

    name = "duration"
    _units = {"h": 3600.0, "m": 60.0, "s": 1.0}  # noqa: RUF012

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip().lower()
        total, number, seen = 0.0, "", False
        for sign in text:
            if sign.isdigit() or sign == ".":
                number += sign
                continue
            if sign not in self._units or not _is_number(number):
                self.fail(f"{value!r} is no duration; write 90s, 5m or 1h30m", param, ctx)
            total += float(number) * self._units[sign]
            number, seen = "", True
        if number:
            if seen or not _is_number(number):
                self.fail(f"{value!r} is no duration; write 90s, 5m or 1h30m", param, ctx)
            return float(number)
        if not seen:
            self.fail(f"{value!r} is no duration; write 90s, 5m or 1h30m", param, ctx)
        return total


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _remember(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        if value not in (None, False):
            setattr(ctx.ensure_object(Invocation), name, value)

    return callback


def common_options(function: F, *, file: bool = True) -> F:
    """`--verbose` and `--color`, the options of every verb, beside those that lead to a project.
    Without `file`, `-f` is free for something else; before the verb it names the Kindlingfile."""
    for option in (
        click.option(
            "--color",
            type=click.Choice(["auto", "always", "never"]),
            expose_value=False,
            callback=_remember("color"),
            help="When to use colour.  [default: auto]",
        ),
        click.option(
            "--verbose",
            is_flag=True,
            expose_value=False,
            callback=_remember("verbose"),
            help="Tell on stderr what kindling does inside.",
        ),
        click.option(
            "--context",
            metavar="NAME",
            expose_value=False,
            callback=_remember("context"),
            help="Use this kubeconfig context, whatever the file says.",
        ),
    ):
        function = option(function)
    return _file_option(function) if file else function


_file_option = click.option(
    "-f",
    "--file",
    metavar="PATH",
    expose_value=False,
    callback=_remember("file"),
    help=f"The file to use, or its folder.  [default: {DEFAULT_FILE}]",
)


def complete_names(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names for the shell, looked up only when it asks."""
    from kindling.cli.completion import known_names

    return known_names(ctx, parameter, incomplete)


def verb(
    name: str, help_line: str, examples: str, *, file: bool = True
) -> Callable[[Callable[..., Any]], click.Command]:
    """A verb: a command with the options that all verbs share and examples below its help. `file`:
    see `common_options`."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        # click shows the options that were attached last first: those of the verb belong on top.
        own = function.__dict__.pop("__click_params__", [])
        common_options(function, file=file)
        function.__dict__["__click_params__"] += own
        made: click.Command = click.command(
            name=name,
            short_help=help_line,
            epilog=f"\b\nExamples:\n{examples}",
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
        )(function)
        return made

    return decorate
