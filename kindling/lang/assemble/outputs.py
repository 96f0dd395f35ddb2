"""Edges that nobody wrote: a node that reads what another one promises to write comes after it."""

from __future__ import annotations

import posixpath
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from kindling.graph.node import FileSet, IgnoreRule, Kind, NodeId
from kindling.graph.spec import CommandSpec
from kindling.lang.assemble.draft import Draft

__all__ = ["Reading", "find_mentions", "find_readings", "holds", "without"]

_WORD_ENDS = re.compile(r"""[\s;&|()<>"'=`]+""")


@dataclass(frozen=True, slots=True)
class Reading:
    """`after` reads `path`, which `before` writes as its declared output `output`."""

    before: NodeId
    after: NodeId
    path: str
    output: str


def find_readings(draft: Draft) -> tuple[Reading, ...]:
    """Every node that reads another one's declared output, once for each pair of nodes."""
    writers: dict[str, NodeId] = {}
    for node in draft.nodes.values():
        if isinstance(node.spec, CommandSpec):
            for output in node.spec.outputs:
                writers.setdefault(posixpath.normpath(output), node.id)
    if not writers:
        return ()
    ordered = sorted(writers)
    found: dict[tuple[NodeId, NodeId], Reading] = {}
    for node in draft.nodes.values():
        for files in node.files:
            for path, output in _meetings(files, writers, ordered):
                before = writers[output]
                if before != node.id:
                    found.setdefault((before, node.id), Reading(before, node.id, path, output))
    return tuple(found.values())


def find_mentions(draft: Draft) -> tuple[tuple[NodeId, NodeId], ...]:
    """Pairs of a command and a node that reads a path which that command's text names.

    `go build -o bin/worker` beside an image with `deps = ["bin/worker"]`: where nobody declares
    outputs, this much can be guessed, and an edge of mere order does no harm. What a command reads
    itself does not count.
    """
    named: dict[str, NodeId] = {}
    for node in draft.nodes.values():
        if node.kind is Kind.LOCAL and isinstance(node.spec, CommandSpec) and not node.spec.outputs:
            own = [root for files in node.files for root in files.paths]
            for path in _paths_in(node.spec):
                if not any(_covers(root, path) or _covers(path, root) for root in own):
                    named.setdefault(path, node.id)
    found: dict[tuple[NodeId, NodeId], None] = {}
    for node in draft.nodes.values() if named else ():
        for files in node.files:
            for root in (*files.paths, *files.only):
                before = named.get(posixpath.normpath(root))
                if before is not None and before != node.id and node.kind is not Kind.SERVE:
                    found[before, node.id] = None
    return _without_cycles(draft, tuple(found))


def _paths_in(spec: CommandSpec) -> Iterator[str]:
    for word in spec.argv:
        for text in _WORD_ENDS.split(word):
            if text and ("/" in text or "." in text.strip(".")) and not text.startswith(("/", "-")):
                yield posixpath.normpath(posixpath.join(spec.dir, text))


def _without_cycles(
    draft: Draft, pairs: tuple[tuple[NodeId, NodeId], ...]
) -> tuple[tuple[NodeId, NodeId], ...]:
    """Those pairs whose edge closes no circle, with the edges there are and the pairs before it."""
    after: dict[NodeId, list[NodeId]] = {}
    for edge in draft.edges if pairs else ():
        after.setdefault(edge.before, []).append(edge.after)
    kept: list[tuple[NodeId, NodeId]] = []
    for before, behind in pairs:
        seen, todo = {behind}, [behind]
        while todo and before not in seen:
            fresh = [id_ for id_ in after.get(todo.pop(), ()) if id_ not in seen]
            seen.update(fresh)
            todo.extend(fresh)
        if before not in seen:
            kept.append((before, behind))
            after.setdefault(before, []).append(behind)
    return tuple(kept)


def _meetings(
    files: FileSet, writers: dict[str, NodeId], ordered: list[str]
) -> Iterator[tuple[str, str]]:
    for root in files.paths:
        path = posixpath.normpath(root)
        for at in _self_and_parents(path):
            if at in writers and (at == path or holds(files, path)):
                yield root, at
        for output in _below(path, ordered):
            if holds(files, output):
                yield root, output


def _self_and_parents(path: str) -> Iterator[str]:
    while path not in ("", ".", "/", ".."):
        yield path
        path = posixpath.dirname(path)


def _below(path: str, ordered: list[str]) -> Iterable[str]:
    if path == ".":
        return [output for output in ordered if not output.startswith(("../", "/"))]
    prefix = f"{path}/"
    start = bisect_left(ordered, prefix)
    end = start
    while end < len(ordered) and ordered[end].startswith(prefix):
        end += 1
    return ordered[start:end]


def holds(files: FileSet, path: str) -> bool:
    """Whether `path`, which lies at or below one of the roots of `files`, is not ignored.

    The rules are Docker's: patterns count from the rule's folder, the last one that matches wins,
    and a dropped folder drops what is below it.
    """
    if files.only and not any(_covers(kept, path) or _covers(path, kept) for kept in files.only):
        return False
    return not any(_dropped(rule, path) for rule in files.ignore)


def _covers(folder: str, path: str) -> bool:
    folder, path = posixpath.normpath(folder), posixpath.normpath(path)
    if folder == ".":
        return not path.startswith(("../", "/")) and path != ".."
    return folder == path or path.startswith(f"{folder}/")


def _dropped(rule: IgnoreRule, path: str) -> bool:
    below = posixpath.relpath(path, rule.base or ".")
    if below == ".." or below.startswith("../"):
        return False
    dropped = False
    for pattern in rule.patterns:
        keeps, text = pattern.startswith("!"), pattern.lstrip("!").strip()
        if not text or text.startswith("#"):
            continue
        matcher = _matcher(posixpath.normpath(text).lstrip("/"))
        if dropped == keeps and any(matcher.fullmatch(part) for part in _self_and_parents(below)):
            dropped = not keeps
    return dropped


@lru_cache(maxsize=1024)
def _matcher(pattern: str) -> re.Pattern[str]:
    """A pattern of Go's `filepath.Match`, with `**` for any number of folders."""
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if pattern.startswith("**/", at):
            parts.append("(?:.*/)?")
            at += 3
            continue
        if pattern.startswith("**", at):
            parts.append(".*")
            at += 2
            continue
        if char == "*":
            parts.append("[^/]*")
        elif char == "?":
            parts.append("[^/]")
        elif char == "[" and (end := pattern.find("]", at + 2)) > 0:
            inside = pattern[at + 1 : end].replace("\\", "\\\\")
            parts.append(f"[{inside}]")
            at = end
        elif char == "\\" and at + 1 < len(pattern):
            at += 1
            parts.append(re.escape(pattern[at]))
        else:
            parts.append(re.escape(char))
        at += 1
    try:
        return re.compile("".join(parts))
    except re.error:
        return re.compile(re.escape(pattern))


def without(files: FileSet, written: Iterable[str]) -> FileSet:
    """`files` less what a node itself writes there, or it would be due again when it is done."""
    inside: dict[str, list[str]] = {}
    for path in map(posixpath.normpath, written):
        if not any(_covers(root, path) for root in files.paths):
            continue
        base = "."
        while path.startswith("../"):
            base, path = posixpath.normpath(posixpath.join(base, "..")), path[3:]
        inside.setdefault(base, []).append(re.sub(r"([*?\[\\])", r"\\\1", path))
    rules = tuple(IgnoreRule(base, tuple(patterns)) for base, patterns in inside.items())
    return replace(files, ignore=(*files.ignore, *rules)) if rules else files
