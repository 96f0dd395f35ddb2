"""Nothing changed since the last look: the short way to that answer.

After a plan that found every node up to date, what it looked at is kept: the state of every file it
read (as `stat` gives it), the environment and the paths the Kindlingfile looked at. While all of
that is as it was, the answer is still the same, and neither the language nor the graph need be
loaded to give it. Anything else, and the long way is taken; this module never says what would run.

Only for graphs of local commands: what a cluster or an engine holds can change unseen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kindling import __version__
from kindling.engine.options import SessionOptions
from kindling.lang.glance import still, text_digest
from kindling.store.database import Store

__all__ = ["SETTLING", "Standstill", "environment_digests", "forget", "keep", "recall"]

_NAME = "standstill"
SETTLING = 2_000_000_000
"""Nanoseconds after which any file system's clock has ticked (FAT counts by twos)."""


@dataclass(frozen=True, slots=True)
class Standstill:
    """What the last plan looked at, all of it up to date. `remarks` are lines that were said then,
    each with its level."""

    nodes: int
    environment: tuple[tuple[str, str], ...]
    glances: tuple[tuple[str, str], ...]
    paths: tuple[str, ...]
    remarks: tuple[tuple[str, str], ...] = ()


def keep(store: Store, options: SessionOptions, seen: Standstill, *, settled_before: int) -> bool:
    """Remember a standstill. False when some file changed so lately (after `settled_before`, in
    nanoseconds) that a change to come might not show in what `stat` says."""
    stats: list[list[int] | None] = []
    paths = [os.path.join(options.root, path) for path in seen.paths]
    for path in paths:
        state = _state(path)
        if state is not None and max(state[1], state[2]) >= settled_before:
            return False
        stats.append(state)
    form = {
        "request": _request(options),
        "nodes": seen.nodes,
        "environment": seen.environment,
        "glances": seen.glances,
        "remarks": seen.remarks,
        "paths": paths,
        "stats": stats,
    }
    store.save_snapshot(json.dumps(form, separators=(",", ":")).encode(), _NAME)
    return True


def forget(store: Store) -> None:
    """Something is about to run: what was found no longer counts."""
    if store.snapshot(_NAME):
        store.save_snapshot(b"", _NAME)


def recall(options: SessionOptions, environment: Mapping[str, str]) -> Standstill | None:
    """The last standstill, if everything is still as it was then; None takes the long way."""
    if not options.state_dir.is_dir():
        return None
    with Store.open(options.state_dir) as store:
        kept = store.snapshot(_NAME)
    if not kept:
        return None
    form = json.loads(kept)
    if form["request"] != _request(options):
        return None
    for name, digest in form["environment"]:
        if _environment_digest(environment.get(name)) != digest:
            return None
    root = options.root
    if any(not still(root / path, digest) for path, digest in form["glances"]):
        return None
    if any(_state(path) != known for path, known in zip(form["paths"], form["stats"], strict=True)):
        return None
    return Standstill(
        nodes=form["nodes"],
        environment=(),
        glances=(),
        paths=(),
        remarks=tuple((level, text) for level, text in form["remarks"]),
    )


def environment_digests(
    names: Iterable[str], environment: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """What the standstill must know of these environment variables, which may be secret."""
    return tuple((name, _environment_digest(environment.get(name))) for name in sorted(set(names)))


def _environment_digest(value: str | None) -> str:
    return "" if value is None else text_digest(value)


def _request(options: SessionOptions) -> list[object]:
    return [
        __version__,
        str(options.root),
        options.file.name,
        list(options.names),
        list(options.words),
        options.context,
    ]


def _state(path: str) -> list[int] | None:
    try:
        seen = os.lstat(path)
    except OSError:
        return None
    return [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, seen.st_mode]
