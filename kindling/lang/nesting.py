"""How deep brackets are nested, before a parser that has no limit of its own sees them.

Both the Starlark parser and libyaml recurse once a level, and overflow the stack of the process.
"""

from __future__ import annotations

import io
import re
import tokenize

from kindling.graph.node import Where
from kindling.lang.preprocess import Source

__all__ = ["MAX_BRACKETS", "depth", "too_deep", "yaml_too_deep"]

MAX_BRACKETS = 200
_OPENING, _CLOSING = "([{", ")]}"
_BRACKET = re.compile(r"[()\[\]{}]")
_DASHES = re.compile(r"(?:^|[\n ])(?:[-?] +){200}")


def depth(text: str, brackets: re.Pattern[str] = _BRACKET) -> int:
    """The depth as if every bracket counted, those in texts and comments too."""
    now = deepest = 0
    for match in brackets.finditer(text):
        if match[0] in _OPENING:
            now += 1
            deepest = max(deepest, now)
        elif now:
            now -= 1
    return deepest


def too_deep(source: Source, file: str) -> Where | None:
    """Where a file nests brackets deeper than `MAX_BRACKETS`; None nearly always."""
    if depth(source.text) <= MAX_BRACKETS:
        return None
    now = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
            if token.type != tokenize.OP:
                continue
            if token.string in _OPENING:
                now += 1
            elif token.string in _CLOSING:
                now -= 1
            if now > MAX_BRACKETS:
                return Where(file, source.line(token.start[0]), token.start[1] + 1)
    except (tokenize.TokenError, SyntaxError):
        return None if now <= MAX_BRACKETS else Where(file, 1, 1)
    return None


def yaml_too_deep(text: str) -> bool:
    """Whether a YAML text may be nested deeper than any manifest is."""
    if _DASHES.search(text):
        return True
    return text.count("[") + text.count("{") > MAX_BRACKETS and depth(text) > 5 * MAX_BRACKETS
