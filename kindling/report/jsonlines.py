"""One JSON object a line for each notice: the face for programs (docs/json.md)."""

from __future__ import annotations

import json
from typing import IO

from kindling.engine.notices import Notice
from kindling.report.jsonform import notice_json

__all__ = ["JsonLinesReporter"]


class JsonLinesReporter:
    """Writes every notice at once, in ASCII whatever the locale. A reader that left silences it."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._gone = False

    def notice(self, notice: Notice) -> None:
        if self._gone:
            return
        try:
            self._stream.write(json.dumps(notice_json(notice), separators=(",", ":")) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._gone = True

    def close(self) -> None:
        """Nothing is held back, so there is nothing to do."""
