"""Variables and quotes in Dockerfiles: `$x`, `${x:-y}`, and what quoting keeps of them."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ExpansionError", "expand", "expand_document"]


class ExpansionError(Exception):
    """A `$` that makes no sense, or a variable that had to be set (`${x:?why}`)."""


def expand(text: str, values: Mapping[str, str], escape: str = "\\") -> str:
    """A word without its quotes, variables in place; nothing is expanded in single quotes."""
    return _Reader(text, values, escape, quotes=True).read()


def expand_document(text: str, values: Mapping[str, str]) -> str:
    """A here-document with its variables in place; quotes mean nothing there."""
    return _Reader(text, values, "\\", quotes=False).read()


class _Reader:
    def __init__(self, text: str, values: Mapping[str, str], escape: str, *, quotes: bool) -> None:
        self._text = text
        self._values = values
        self._escape = escape
        self._quotes = quotes
        self._at = 0

    def read(self, end: str = "") -> str:
        """To the end, or to a bare sign `end`, which is left unread."""
        out: list[str] = []
        while self._at < len(self._text):
            sign = self._text[self._at]
            if end and sign == end:
                break
            if sign == "'" and self._quotes:
                out.append(self._single())
            elif sign == '"' and self._quotes:
                out.append(self._double())
            elif sign == "$":
                out.append(self._variable())
            elif sign == self._escape:
                out.append(self._escaped())
            else:
                out.append(sign)
                self._at += 1
        return "".join(out)

    def _escaped(self) -> str:
        following = self._text[self._at + 1 : self._at + 2]
        if not self._quotes and following not in ("$", self._escape):
            self._at += 1
            return self._escape
        self._at += 2
        return following

    def _single(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise ExpansionError(
                "unexpected end of statement while looking for matching single-quote"
            )
        found = self._text[self._at + 1 : end]
        self._at = end + 1
        return found

    def _double(self) -> str:
        self._at += 1
        out: list[str] = []
        while self._at < len(self._text):
            sign = self._text[self._at]
            if sign == '"':
                self._at += 1
                return "".join(out)
            if sign == "$":
                out.append(self._variable())
                continue
            if sign == self._escape and self._text[self._at + 1 : self._at + 2] in (
                '"',
                "$",
                self._escape,
            ):
                self._at += 1
                sign = self._text[self._at]
            out.append(sign)
            self._at += 1
        raise ExpansionError("unexpected end of statement while looking for matching double-quote")

    def _variable(self) -> str:
        self._at += 1
        if self._text[self._at : self._at + 1] == "{":
            self._at += 1
            return self._braced()
        name = self._name()
        return self._values.get(name, "") if name else "$"

    def _name(self) -> str:
        start = self._at
        while self._at < len(self._text) and (
            self._text[self._at] == "_"
            or (self._text[self._at].isascii() and self._text[self._at].isalnum())
        ):
            if self._at == start and self._text[start].isdigit():
                self._at += 1
                break
            self._at += 1
        return self._text[start : self._at]

    def _braced(self) -> str:
        name = self._name()
        if not name:
            raise ExpansionError("bad substitution")
        colon = self._text.startswith(":", self._at)
        self._at += colon
        sign = self._text[self._at : self._at + 1]
        if sign == "}" and not colon:
            self._at += 1
            return self._values.get(name, "")
        if sign not in ("-", "+", "?") or not sign:
            raise ExpansionError(
                f"unsupported modifier ({':' if colon else ''}{sign}) in substitution"
            )
        self._at += 1
        other = self.read("}")
        if not self._text.startswith("}", self._at):
            raise ExpansionError("syntax error: missing '}'")
        self._at += 1
        value = self._values.get(name)
        there = bool(value) if colon else value is not None
        if sign == "+":
            return other if there else ""
        if there:
            return value or ""
        if sign == "?":
            raise ExpansionError(f"{name}: {other or 'not allowed to be unset'}")
        return other
