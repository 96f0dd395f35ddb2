"""Secrets' values are cut out of everything that leaves the engine.

Rule (facts taken from Tilt's behaviour): values of five characters and more, and their base64
forms, become `[redacted secret NAME:KEY]`. Shorter ones would tear holes into ordinary text.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import replace

from kindling.graph.outcome import Failure

__all__ = ["Redactor"]

_SHORTEST = 5


class Redactor:
    """Knows every secret value seen in this session; once known, a value stays redacted."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None

    def learn(self, secrets: Iterable[tuple[str, str]]) -> None:
        """Add pairs of (`NAME:KEY`, value)."""
        before = len(self._names)
        for name, value in secrets:
            for form in _forms(value):
                self._names.setdefault(form, name)
        if len(self._names) != before:
            longest_first = sorted(self._names, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def text(self, text: str) -> str:
        """`text` without any known value."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda m: f"[redacted secret {self._names[m[0]]}]", text)

    def lines(self, lines: Iterable[str]) -> tuple[str, ...]:
        """Every line without any known value."""
        return tuple(self.text(line) for line in lines)

    def failure(self, failure: Failure) -> Failure:
        """`failure` without any known value."""
        return replace(
            failure,
            summary=self.text(failure.summary),
            details=self.lines(failure.details),
            hint=self.text(failure.hint),
        )


def _forms(value: str) -> Iterable[str]:
    """The value, each long line of it (logs come by the line), and its base64 spelling."""
    if len(value) < _SHORTEST:
        return
    yield value
    if "\n" in value:
        yield from (line for line in value.splitlines() if len(line) >= _SHORTEST)
    yield base64.b64encode(value.encode()).decode()
