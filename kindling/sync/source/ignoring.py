"""What a session leaves out, as rules of its context.

    the image's own rules      as the Kindlingfile was evaluated: `.dockerignore` or
                               `<Dockerfile>.dockerignore`, and `ignore=`
    `.dockerignore`            of each folder of a file set without rules, as for `kindling sync`
                               of a folder: read here, and again when it changes
    `sync(ignore=)`            the step's own
    `--exclude`, and what local builds leave behind

All hold for the first copy, for each batch, for the repair of drift and for the watch.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kindling.files.ignore import parse_patterns
from kindling.graph.node import FileSet, IgnoreRule
from kindling.sync.rules.landing import Context

__all__ = ["ignore_files", "with_ignores"]

_NAMES = ("Dockerfile.dockerignore", ".dockerignore")
"""Docker takes the first that is there."""


def with_ignores(context: Context, patterns: Sequence[str], top: str) -> Context:
    """The context with `patterns`, which are relative to its root, and the rules of the ignore
    files that it has to be read with.

    Raises:
        ConfigError: One of the patterns is none.
    """
    # A rule of its own for each list: a `!` of one takes nothing back of another.
    more = (IgnoreRule(".", tuple(patterns)),) if patterns else ()
    files = tuple(
        replace(one, ignore=(*one.ignore, *_own_rules(one, top), *more)) for one in context.files
    )
    return replace(context, files=files)


def ignore_files(context: Context) -> tuple[str, ...]:
    """The files whose change changes the rules, whether they are there or not."""
    return tuple(
        dict.fromkeys(
            posixpath.normpath(posixpath.join(folder, name))
            for files in context.files
            for folder in _folders(files)
            for name in _NAMES
        )
    )


def _own_rules(files: FileSet, top: str) -> Iterator[IgnoreRule]:
    for folder in _folders(files):
        for name in _NAMES:
            try:
                text = Path(top, folder, name).read_text("utf-8", "surrogateescape")
            except OSError:
                # None there, or a folder of that name; one that may not be read is told as a file
                # of the tree that cannot be.
                continue
            yield IgnoreRule(folder, parse_patterns(text))
            break


def _folders(files: FileSet) -> tuple[str, ...]:
    return () if files.ignore else files.paths
