"""From what the interpreter says to what a user can use: place, excerpt, caret, nearest name, next
step."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from kindling.errors import ConfigError, GraphError, KindlingError, nearest
from kindling.graph.node import Where
from kindling.lang.prelude import prelude, public_name, wrappers
from kindling.lang.preprocess import Source

__all__ = ["Report", "diagnose", "excerpt", "located", "parse_report", "placed"]

_FRAME = re.compile(r"^  \* (.+):(\d+), in (.+)$", re.MULTILINE)
_SPAN = re.compile(r"^ *--> (.+):(\d+):(\d+)$", re.MULTILINE)
_CALLEE = re.compile(r"call to `?(?:(<[^>]+>|.*)\.)?([A-Za-z_]\w*)`?$")
_MAX_FRAMES = 5
_PLACE = re.compile(r"(?P<file>[^:\n]+):(?P<line>\d+)(?::(?P<column>\d+))?: ")
_WIDTH = 120


@dataclass(frozen=True, slots=True)
class Report:
    """What the text of an interpreter's error says. Lines are those of the running text."""

    message: str
    file: str
    line: int
    column: int
    width: int
    frames: tuple[tuple[str, int], ...]


def parse_report(text: str) -> Report:
    """Take an error text apart. Frames of the prelude are left out, and never are the place."""
    frames = [(file, int(line), name) for file, line, name in _FRAME.findall(text)]
    message = text.rpartition("\nerror: ")[2] if "\nerror: " in text else text
    message = message.removeprefix("error: ").partition("\n")[0].strip()
    users = tuple((file, line) for file, line, _ in frames if not file.startswith("<"))
    file, line, column, width = "", 0, 0, 0
    for match in _SPAN.finditer(text):
        file, line, column = match[1], int(match[2]), int(match[3])
        carets = re.search(r"\| +(\^+)", text[match.end() :])
        width = len(carets[1]) if carets else 0
    if file.startswith("<") or not file:
        file, line = users[-1] if users else ("", 0)
        column = width = 0
    return Report(message, file, line, column, width, users)


def excerpt(source: Source | None, where: Where, width: int = 0) -> tuple[str, ...]:
    """The line of `where` and a caret below its column. Nothing where the line is not known."""
    return _excerpt(source.lines if source else (), where, width)


def _excerpt(lines: Sequence[str], where: Where, width: int = 0) -> tuple[str, ...]:
    if not 0 < where.line <= len(lines):
        return ()
    line = lines[where.line - 1].replace("\t", " ").rstrip()
    if not line:
        return ()
    number = str(where.line)
    shown = line if len(line) <= _WIDTH else line[: _WIDTH - 3] + "..."
    out = [f"{number} | {shown}"]
    if 0 < where.column <= _WIDTH - 3:
        at = min(where.column, len(line) + 1)
        carets = max(1, min(width, len(shown) - at + 1))
        out.append(f"{' ' * len(number)} | {' ' * (at - 1)}{'^' * carets}")
    return tuple(out)


def placed(
    error: KindlingError,
    where: Where,
    source: Source | None,
    *,
    width: int = 0,
    callers: Iterable[Where] = (),
) -> KindlingError:
    """The same error with its place, an excerpt, and who called."""
    called = [f"called from {caller}" for caller in callers][:_MAX_FRAMES]
    return type(error)(
        f"{where}: {error.message}",
        details=[*excerpt(source, where, width), *error.details, *called],
        hint=error.hint,
    )


def located(error: KindlingError, read: Callable[[str], str | None]) -> KindlingError:
    """An error of assembling with what an error of evaluating has: a column and an excerpt.

    Its message begins with its place; `read` gives the text of a project file. Where only the line
    is known, the column is where its text begins.
    """
    match = _PLACE.match(error.message)
    text = read(match["file"]) if match else None
    if match is None or text is None or not isinstance(error, ConfigError | GraphError):
        return error
    lines = text.splitlines()
    number = int(match["line"])
    if not 0 < number <= len(lines):
        return error
    line = lines[number - 1]
    column = int(match["column"] or len(line) - len(line.lstrip()) + 1)
    where = Where(match["file"], number, column)
    return type(error)(
        f"{where}: {error.message[match.end() :]}",
        details=[*_excerpt(lines, where), *error.details],
        hint=error.hint,
    )


def diagnose(text: str, sources: Mapping[str, Source], known: Iterable[str]) -> KindlingError:
    """The error a user sees for an interpreter's error text. `known` are names of the user's
    file."""
    report = parse_report(text)
    source = sources.get(report.file)
    line = source.line(report.line) if source else report.line
    column = report.column
    if not column and source and 0 < line <= len(source.lines):
        column = len(source.lines[line - 1]) - len(source.lines[line - 1].lstrip()) + 1
    where = Where(report.file, line, column)
    if source is not None and report.message.startswith("Parse error: unexpected "):
        return _unparsed(report, where, source)
    undefined = re.fullmatch(r"Variable `(\w+)` not found.*", report.message)
    if undefined and source is not None:
        return _undefined(undefined[1], where, source, known, report.width)
    callers = []
    for file, running in reversed(report.frames):
        caller_source = sources.get(file)
        caller = Where(file, caller_source.line(running) if caller_source else running)
        if (caller.file, caller.line) != (where.file, where.line) and caller not in callers:
            callers.append(caller)
    error = reworded(report.message)
    if source is not None and not error.hint:
        error.hint = _slip(report, source)
    return placed(error, where, source, width=report.width, callers=callers)


def _slip(report: Report, source: Source) -> str:
    """For a parameter that is missing: the argument of the same call that was meant to be it."""
    match = _MISSING.fullmatch(report.message)
    if match is None:
        return ""
    try:
        tree = ast.parse(source.text)
    except (SyntaxError, ValueError, RecursionError):
        return ""
    _, parameters = _function(match[2])
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        if (call.lineno, call.col_offset + 1) != (report.line, report.column):
            continue
        for argument in call.keywords:
            word = argument.arg or ""
            if word not in parameters and nearest(word, [match[1]]):
                return f"It has no `{word}`. Did you mean `{match[1]}`?"
    return ""


# What does not parse ------------------------------------------------------------------------------

_OPENING = {")": "(", "]": "[", "}": "{"}


def _unparsed(report: Report, where: Where, source: Source) -> KindlingError:
    """The error for a text that breaks off or goes on where nothing can.

    The parser gives the end of the file as line 1, column 1. What was left open is what helps.
    """
    ended = "here" not in report.message or (
        report.line == 1 and report.column == 1 and "unexpected new line" in report.message
    )
    before = (len(source.text.split("\n")) + 1, 0) if ended else (report.line, report.column)
    opened = _left_open(source.text, before)
    if opened is not None:
        bracket, row, column = opened
        place = Where(where.file, source.line(row), column)
        if ended:
            return placed(ConfigError(f"This `{bracket}` is never closed"), place, source)
        if row < report.line:
            error = reworded(report.message)
            hint = f"Is the `{bracket}` at {place} closed, or is a comma missing?"
            return placed(ConfigError(error.message, hint=hint), where, source, width=report.width)
    if ended:
        last = max((n for n, line in enumerate(source.lines, 1) if line.strip()), default=1)
        end = Where(where.file, last, len(source.lines[last - 1].rstrip()) + 1)
        hint = "After a `:` come lines that are indented more; `pass` does nothing."
        return placed(ConfigError("The file ends too early", hint=hint), end, source)
    return placed(reworded(report.message), where, source, width=report.width)


def _left_open(text: str, before: tuple[int, int]) -> tuple[str, int, int] | None:
    """The innermost bracket that is open before a line and column: itself and where it is."""
    stack: list[tuple[str, int, int]] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            row, column = token.start
            if (row, column + 1) >= before:
                break
            if token.string in _OPENING.values() and token.type == tokenize.OP:
                stack.append((token.string, row, column + 1))
            elif token.string in _OPENING and token.type == tokenize.OP and stack:
                stack.pop()
    except (tokenize.TokenError, SyntaxError):
        pass
    return stack[-1] if stack else None


# Undefined names ----------------------------------------------------------------------------------


def _undefined(
    name: str, where: Where, source: Source, known: Iterable[str], width: int
) -> KindlingError:
    names = {*prelude().names, *known, *_bound(source.text)}
    lines: list[str] = []
    for other, line, column in _unresolved(source.text, names):
        if (other, line) != (name, where.line) and other != name:
            there = Where(where.file, source.line(line), column)
            lines.append(f"{there}: `{other}` is not defined. {nearest(other, names)}".rstrip())
    details = [*excerpt(source, where, width), *lines]
    hint = nearest(name, names)
    return ConfigError(f"{where}: `{name}` is not defined", details=details, hint=hint)


def _bound(text: str) -> set[str]:
    """Every name that is bound anywhere in a file, whatever its scope."""
    bound: set[str] = set()
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return bound
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound.add(node.id)
        elif isinstance(node, ast.FunctionDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "load"
        ):
            bound.update(
                arg.value
                for arg in node.args[1:]
                if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            )
            bound.update(keyword.arg for keyword in node.keywords if keyword.arg)
    return bound


_STARLARK = frozenset(
    {"abs", "all", "any", "bool", "chr", "dict", "dir", "enumerate", "fail", "float", "getattr"}
    | {"hasattr", "hash", "int", "len", "list", "load", "max", "min", "ord", "print", "range"}
    | {"repr", "reversed", "sorted", "str", "struct", "tuple", "type", "zip"}
    | {"None", "True", "False"}
)


def _unresolved(text: str, names: set[str]) -> list[tuple[str, int, int]]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return []
    found: dict[str, tuple[str, int, int]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            name = node.id
            if name not in names and name not in _STARLARK and name not in found:
                found[name] = (name, node.lineno, node.col_offset + 1)
    return sorted(found.values(), key=lambda item: item[1:])


# Other words --------------------------------------------------------------------------------------


def _function(callee: str) -> tuple[str, list[str]]:
    """The public name of what was called, and its parameters when it is a builtin."""
    match = _CALLEE.search(callee)
    if match is None:
        return callee, []
    name = public_name(match[2]) if (match[1] or "").startswith("<") else match[2]
    wrapper = wrappers().get(name) if (match[1] or "").startswith("<") else None
    return name, [p.name for p in wrapper.parameters if p.kind == "normal"] if wrapper else []


def _extra_named(match: re.Match[str]) -> ConfigError:
    name, parameters = _function(match[2])
    words = re.findall(r"`?(\w+)`?", match[1])
    what = "parameter" if len(words) == 1 else "parameters"
    return ConfigError(
        f"`{name}` has no {what} {', '.join(f'`{word}`' for word in words)}",
        details=[f"known: [{', '.join(parameters)}]"] if parameters else [],
        hint=nearest(words[0], parameters),
    )


def _extra_positional(match: re.Match[str]) -> ConfigError:
    name, parameters = _function(match[2])
    limit = f", it takes {len(parameters)}" if parameters else ""
    return ConfigError(f"`{name}` was given {match[1]} argument(s) too many by position{limit}")


def _missing(match: re.Match[str]) -> ConfigError:
    name, _ = _function(match[2])
    return ConfigError(f"`{name}` needs `{match[1]}`, which is not given")


def _no_attribute(match: re.Match[str]) -> ConfigError:
    type_, attribute = match[1], match[2]
    if attribute.startswith(("_native", "kf_")):
        return ConfigError("This is private to kindling")
    hint = f"Did you mean `{match[3]}`?" if match[3] else ""
    if type_ == "NoneType":
        return ConfigError(f"`None` has no attribute `{attribute}`", hint=hint)
    return ConfigError(f"A {_type(type_)} has no attribute `{attribute}`", hint=hint)


def _type(name: str) -> str:
    return {"string": "text", "NoneType": "None", "int": "number", "float": "number"}.get(
        name, name
    )


def _parse(match: re.Match[str]) -> ConfigError:
    found, expected = match[1], match[2] or ""
    hint = ""
    if "indentation" in found:
        return ConfigError("This line is indented more than the one before it")
    if "new line" in found:
        found = "end of the line"
        if expected == '":"':
            hint = "Does it want a `:` at its end?"
    elif expected.endswith('"INDENT"'):
        hint = "After a `:` come lines that are indented more."
    return ConfigError(f"Unexpected {found}", hint=hint)


_RESERVED = {
    "import": '`load("FILE", "NAME")` takes names from another file.',
    "from": '`load("FILE", "NAME")` takes names from another file.',
    "is": "Compare with `==`.",
    "raise": '`fail("...")` stops with a message.',
}


def _reserved(match: re.Match[str]) -> ConfigError:
    return ConfigError(f"Starlark has no `{match[1]}`", hint=_RESERVED.get(match[1], ""))


def _overflow(_: re.Match[str]) -> ConfigError:
    return ConfigError(
        "Calls are nested more than 1,000 deep", hint="Does a function call itself without end?"
    )


def _no_symbol(match: re.Match[str]) -> ConfigError:
    hint = f"Did you mean `{match[2]}`?" if match[2] else ""
    return ConfigError(f"The file that is loaded has no `{match[1]}`", hint=hint)


def _private(match: re.Match[str]) -> ConfigError:
    return ConfigError(
        f"`{match[1]}` is private to the file that is loaded",
        hint="Names that begin with an underscore cannot be loaded.",
    )


def _serialize(match: re.Match[str]) -> ConfigError:
    return ConfigError(
        f"A {match[1]} cannot be an argument here",
        hint="Call it, or make a list of it." if match[1] in {"function", "range"} else "",
    )


_MISSING = re.compile(
    r"Missing (?:named-only |positional-only )?parameter `(\w+)` for (call to .+)"
)

_REWORDINGS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], ConfigError]], ...] = (
    (re.compile(r"Found (.+) extra named parameter\(s\) for (call to .+)"), _extra_named),
    (re.compile(r"Found (\d+) extra positional argument\(s\) for (call to .+)"), _extra_positional),
    (_MISSING, _missing),
    (
        re.compile(r"Object of type `(\w+)` has no attribute `(\w+)`(?:, did you mean `(\w+)`\?)?"),
        _no_attribute,
    ),
    (re.compile(r"Parse error: unexpected (.+?) here(?:, expected one of (.*))?"), _parse),
    (re.compile(r"Parse error: cannot use reserved keyword `(\w+)`"), _reserved),
    (re.compile(r"Module has no symbol `(\w+)`(?:, did you mean `(\w+)`\?)?"), _no_symbol),
    (re.compile(r"Cannot import private symbol `(\w+)`"), _private),
    (re.compile(r"Starlark call stack overflow"), _overflow),
    (
        re.compile(r".*Operation `serde::serialize` not supported on type `(\w+)`"),
        _serialize,
    ),
)


def reworded(message: str) -> ConfigError:
    """A message of the interpreter's in words that a user knows."""
    for pattern, build in _REWORDINGS:
        if match := pattern.fullmatch(message):
            return build(match)
    message = message.removeprefix("Parse error: ")
    return ConfigError(message.rstrip(".") or "The file cannot be evaluated")
