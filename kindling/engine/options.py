"""What a user asked of a session, after the command line was understood."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["STATE_DIR", "SessionOptions"]

STATE_DIR = ".kindling"
"""The folder beside the Kindlingfile that holds everything kindling writes unasked."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """One `up` or `ci`.

    `names` (before `--`) select nodes or resources; `words` (after it) go to `profile()` and
    `config`. `context` overrides the cluster of the file. `once` sessions end by themselves.
    `timeout` is in seconds; None leaves what the file or kindling says.
    """

    file: Path
    command: str = "up"
    names: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    context: str = ""
    once: bool = False
    timeout: float | None = None

    @property
    def root(self) -> Path:
        """The folder of the Kindlingfile."""
        return self.file.absolute().parent

    @property
    def state_dir(self) -> Path:
        """Where kindling keeps what it knows about this project."""
        return self.root / STATE_DIR

    @property
    def fails_fast(self) -> bool:
        """Whether the first failure ends the session (`ci`); `up --once` does all that can be
        done."""
        return self.command == "ci"
