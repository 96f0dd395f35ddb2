"""Places: where a user declared something, and which files a node reads."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FileSet", "IgnoreRule", "Where"]


@dataclass(frozen=True, slots=True)
class Where:
    """The place in a user's file that declared something. Lines and columns count from 1; 0:
    unknown."""

    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        parts = [self.file or "Kindlingfile", *(str(n) for n in (self.line, self.column) if n)]
        return ":".join(parts)


@dataclass(frozen=True, slots=True)
class IgnoreRule:
    """Patterns in `.dockerignore` syntax, relative to `base` (itself relative to the graph's
    root)."""

    base: str
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileSet:
    """Files that a node reads: `paths` (files, or folders with all they hold) less what `ignore`
    drops.

    Paths are POSIX paths relative to the graph's root, `..` allowed, so that neither keys nor
    recorded state depend on where a project lies. A path that does not exist yet is an input all
    the same. `only`, when given, keeps just these paths below the roots (Tilt's `only=`: paths, not
    patterns).
    """

    paths: tuple[str, ...]
    ignore: tuple[IgnoreRule, ...] = ()
    only: tuple[str, ...] = ()
