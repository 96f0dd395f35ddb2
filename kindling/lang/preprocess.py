"""Small rewritings that let this Starlark run files written for Tilt's.

Tilt's dialect has `while`, tabs and `set`, ours has none of them. Only files that need it are
touched: leading tabs become spaces, `while c:` becomes a `for` over a range that no file ever
exhausts with a `break`, and in files that call `set()` (a dict here) `a - b` becomes a call. Every
line of the result knows the line it came from.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from dataclasses import dataclass

__all__ = ["Source", "preprocess"]

_WHILE = re.compile(r"^\s*while\b", re.MULTILINE)
_SET = re.compile(r"\bset\s*\(")
_TAB = re.compile(r"^ *\t", re.MULTILINE)
_ENDLESS = 10**9


@dataclass(frozen=True, slots=True)
class Source:
    """A file as its user wrote it (`lines`) and as it runs (`text`).

    `origin[n]` is the user's line (from 1) of line n + 1 of `text`; empty where nothing moved.
    """

    text: str
    lines: tuple[str, ...]
    origin: tuple[int, ...] = ()
    environ: bool = False
    """`os.environ` occurs, and is a call of `kf_envir` in `text`."""

    def line(self, running: int) -> int:
        """The user's line of a line of `text`, both counted from 1."""
        if not self.origin:
            return running
        return self.origin[min(max(running, 1), len(self.origin)) - 1]


def preprocess(text: str) -> Source:
    """Make `text` runnable. Never fails: what it does not understand it leaves to the parser."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").replace("\f", " ")
    lines = tuple(text.split("\n"))
    if _TAB.search(text):
        text = _expand_tabs(text)
    if _SET.search(text):
        text = _rewrite_differences(text)
    origin: tuple[int, ...] = ()
    if _WHILE.search(text):
        text, origin = _rewrite_loops(text)
    environ = False
    if "os.environ" in text:
        text, environ = _rewrite_environ(text)
    return Source(text, lines, origin, environ)


def _rewrite_environ(text: str) -> tuple[str, bool]:
    """`os.environ` as a call of the same width, which gives the environment of that moment."""
    lines = text.split("\n")
    tokens = _tokens(text)
    found = False
    for os_, dot, environ in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if (os_.string, dot.string, environ.string) == ("os", ".", "environ"):
            (row, begin), (last, end) = os_.start, environ.end
            if row == last and end - begin == len("os.environ"):
                line = lines[row - 1]
                lines[row - 1] = line[:begin] + "kf_envir()" + line[end:]
                found = True
    return "\n".join(lines), found


def _tokens(text: str) -> list[tokenize.TokenInfo]:
    try:
        return list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError, ValueError):
        return []


def _expand_tabs(text: str) -> str:
    inside = {
        line
        for token in _tokens(text)
        if token.type == tokenize.STRING
        for line in range(token.start[0] + 1, token.end[0] + 1)
    }
    out = []
    for number, line in enumerate(text.split("\n"), 1):
        body = line.lstrip(" \t")
        indent = line[: len(line) - len(body)]
        if "\t" in indent and number not in inside:
            line = indent.expandtabs(8) + body
        out.append(line)
    return "\n".join(out)


def _rewrite_loops(text: str) -> tuple[str, tuple[int, ...]]:
    tokens = _tokens(text)
    lines = text.split("\n")
    starts = {tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.NL, tokenize.COMMENT}
    edits: list[
        tuple[int, int, int, int]
    ] = []  # first line, column, last line, column of the colon
    for at, token in enumerate(tokens):
        if token.string != "while" or token.type != tokenize.NAME:
            continue
        if at and tokens[at - 1].type not in starts:
            continue
        depth = 0
        for other in tokens[at + 1 :]:
            if other.string in {"(", "[", "{"}:
                depth += 1
            elif other.string in {")", "]", "}"}:
                depth -= 1
            elif other.string == ":" and not depth:
                edits.append((*token.start, *other.start))
                break
    replaced: dict[int, list[tuple[str, int]]] = {}
    skip: set[int] = set()
    for first, column, last, colon in edits:
        block = lines[first - 1 : last]
        condition = "\n".join(block)
        tail = len(lines[last - 1]) - colon
        condition = condition[column + len("while") : len(condition) - tail].strip()
        rest = lines[last - 1][colon + 1 :]
        indent = " " * column
        body_line = rest.split("#")[0].strip()
        inner = indent + "    " if body_line else _indent_of_body(lines, last, indent)
        new = [(f"{indent}for kf_turn in range({_ENDLESS}):", first)]
        check = f"{inner}if not ({condition}): break".split("\n")
        new += [(line, min(first + offset, last)) for offset, line in enumerate(check)]
        if body_line:
            new.append((inner + rest.strip(), last))
        replaced[first] = new
        skip.update(range(first, last + 1))
    out: list[tuple[str, int]] = []
    for number, line in enumerate(lines, 1):
        if number in replaced:
            out += replaced[number]
        elif number not in skip:
            out.append((line, number))
    return "\n".join(line for line, _ in out), tuple(number for _, number in out)


def _indent_of_body(lines: list[str], after: int, indent: str) -> str:
    for line in lines[after:]:
        body = line.lstrip(" ")
        if body and not body.startswith("#"):
            found = line[: len(line) - len(body)]
            return found if len(found) > len(indent) else indent + "    "
    return indent + "    "


def _rewrite_differences(text: str) -> str:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return text
    # Positions of `ast` count bytes.
    data = text.encode()
    starts = [0]
    for line in data.split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    edits: list[tuple[int, int, int, bytes]] = []  # position, order at one position, length, new
    for node in ast.walk(tree):
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Sub):
            continue
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or 1) - 1] + (node.end_col_offset or 0)
        left = starts[(node.left.end_lineno or 1) - 1] + (node.left.end_col_offset or 0)
        minus = data.find(b"-", left)
        width = end - begin
        edits.append((begin, -width, 0, b"kf_difference("))
        edits.append((minus, 0, 1, b","))
        edits.append((end, width - 10**9, 0, b")"))
    for position, _, length, new in sorted(edits, reverse=True):
        data = data[:position] + new + data[position + length :]
    return data.decode()
