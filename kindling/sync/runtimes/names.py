"""From the name of a process or the word of a user to a row of the table."""

from __future__ import annotations

import re

from kindling.errors import nearest
from kindling.sync.runtimes.runtime import Runtime
from kindling.sync.runtimes.table import ALIASES, RUNTIMES

__all__ = ["basename", "by_language", "by_name", "is_python", "normalised"]

_VERSIONED = re.compile(r"(?P<name>.*?[^\d.@-])(?:-|@)?v?\d+(?:\.\w+)*(?:-\w+)*\Z")
"""`ruby3.2`, `php-fpm82`, `gcc-12`, `luajit-2.1.0-beta3`: a name, then a version."""

_LONGEST = 64

_PYTHON = re.compile(r"(python|pypy)(\d+(\.\d+)*)?\Z")

# Words that name a language to a user and something else as a process.
_LANGUAGES = "py javascript js typescript ts golang rust c c++ cpp csharp c# .net r apache"
_WORDS_ONLY = frozenset(_LANGUAGES.split())


def basename(path: str) -> str:
    """The last part of a path, without the colon of a process title or a login shell's dash."""
    return path.rstrip("/").rpartition("/")[2].rstrip(":").removeprefix("-")


def is_python(name: str) -> bool:
    """Whether this is a Python interpreter: `python3.12` is, `pythonic` is not."""
    return _PYTHON.match(basename(name)) is not None


def normalised(name: str) -> str:
    """The name of a process without path, version and colon; the Pythons stay two."""
    name = basename(name)
    if name in RUNTIMES or name in ALIASES:
        return name
    if is_python(name):
        return "python" if name.startswith(("python2", "python.")) else "python3"
    # Longer than any name: a title, which may be as long as a process likes.
    found = _VERSIONED.match(name) if len(name) <= _LONGEST else None
    return found["name"] if found else name


def by_name(name: str) -> Runtime | None:
    """The row for a process of this name, if there is one."""
    key = normalised(name)
    if key in _WORDS_ONLY:
        return None
    return RUNTIMES.get(ALIASES.get(key, key))


def by_language(word: str) -> tuple[Runtime | None, str]:
    """The row that `--language WORD` means, or a warning that names the nearest word."""
    for candidate in (word.strip(), word.strip().lower()):
        row = RUNTIMES.get(ALIASES.get(candidate, candidate))
        if row is not None:
            return row, ""
    row = by_name(word.strip())
    if row is not None:
        return row, ""
    near = nearest(word.strip().lower(), sorted({*RUNTIMES, *ALIASES}))
    return None, " ".join(filter(None, (f"`{word}` is no runtime that sync knows.", near)))
