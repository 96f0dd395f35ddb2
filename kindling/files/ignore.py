"""Ignore patterns with the meaning that Docker gives them in `.dockerignore`.

They are not git's: a pattern is anchored to the base folder (`*.log` means files right there,
`**/*.log` those everywhere), a trailing slash means nothing, the last matching pattern wins, and a
pattern that matches a folder matches all below it. The rules are those of moby's patternmatcher
(https://github.com/moby/patternmatcher, Apache-2.0), restated here; pathspec only knows git's.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kindling.errors import ConfigError
from kindling.graph.node import IgnoreRule

__all__ = ["DEFAULT_PATTERNS", "Ignore", "parse_patterns"]

DEFAULT_PATTERNS: tuple[str, ...] = (
    "**/.git",
    "**/.kindling",
    # JetBrains: safe write, and its project folder
    "**/*___jb_old___",
    "**/*___jb_tmp___",
    "**/.idea",
    # emacs: locks and auto-saves
    "**/.#*",
    "**/#*#",
    # vim: the probe for a writable folder, backups, swap files
    "**/4913",
    "**/*~",
    "**/.*.sw[a-px]",
    # kate
    "**/.*.kate-swp",
    # go
    "**/*-go-tmp-umask",
)
"""What version control, kindling and editors write for themselves. Left out of watching and
manifests everywhere, relative to each root that is watched or read."""


class Ignore:
    """Which paths the rules drop. A path is dropped when any one rule drops it.

    Paths are POSIX and relative to `root`, and so are the bases of the rules; `..` is allowed in
    both. What does not lie below a rule's base is none of that rule's business, nor is the base
    itself.

    Raises:
        ConfigError: A pattern that Docker would refuse too.
    """

    __slots__ = ("_given", "_rules", "root")

    def __init__(self, root: Path, rules: Sequence[IgnoreRule]) -> None:
        self.root = root
        self._given = tuple(rules)
        self._rules = tuple(
            (_rebase(root, rule.base), compiled)
            for rule in dict.fromkeys(rules)
            if (compiled := _Rule(_patterns(rule.patterns))).groups
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ignore) and self.root == other.root and self._given == other._given

    def __hash__(self) -> int:
        return hash((self.root, self._given))

    def __bool__(self) -> bool:
        """Can anything be dropped at all?"""
        return bool(self._rules)

    @property
    def rules(self) -> tuple[IgnoreRule, ...]:
        return self._given

    def matches(self, path: str, is_dir: bool = False) -> bool:  # noqa: ARG002
        """Is `path` dropped? Docker has no patterns for folders alone, so `is_dir` changes
        nothing."""
        for rebase, rule in self._rules:
            inner = rebase(path)
            if inner is not None and rule.drops(inner):
                return True
        return False

    def matches_child(self, path: str, name: str) -> bool:
        """`matches` for a walk from above that enters no pruned folder; `name` is the last of
        `path`.

        Most rules have no `!` pattern, and then what lies in a folder that was not dropped can only
        be dropped by its own name or path, so that the folders above need no second look.
        """
        for rebase, rule in self._rules:
            inner = rebase(path)
            if inner is None:
                continue
            if rule.plain.matches_child(inner, name) if rule.plain else rule.drops(inner):
                return True
        return False

    def prunes(self, folder: str) -> bool:
        """Is the folder dropped, and can nothing below it come back in by a `!` pattern?"""
        for rebase, rule in self._rules:
            inner = rebase(folder)
            if inner is not None and rule.prunes(inner):
                return True
        return False


def parse_patterns(text: str) -> tuple[str, ...]:
    """The patterns of a `.dockerignore`: no comments, no blank lines, order kept."""
    lines = text.removeprefix("\ufeff").splitlines()
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


# Bases -------------------------------------------------------------------------------------------


def _rebase(root: Path, base: str) -> Callable[[str], str | None]:
    """A function from paths relative to `root` to paths relative to `base`; None when not below
    it."""
    base = posixpath.normpath(base)
    if base == ".":
        return _inside
    if not base.startswith(("..", "/")):
        prefix = base + "/"
        cut = len(prefix)
        return lambda path: path[cut:] if path.startswith(prefix) else None
    # By way of absolute paths: only they tell that `../shared` is a folder's own name again.
    top = root.as_posix()
    place = posixpath.normpath(posixpath.join(top, base)).rstrip("/") + "/"
    return lambda path: _below(posixpath.normpath(posixpath.join(top, path)), place)


def _below(path: str, place: str) -> str | None:
    return path[len(place) :] if path.startswith(place) else None


def _inside(path: str) -> str | None:
    return None if path in {".", ".."} or path.startswith("../") else path


# Patterns ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pattern:
    text: str
    again: bool
    """A `!` pattern: what it matches is in again."""


def _patterns(texts: Iterable[str]) -> list[_Pattern]:
    """Clean as Docker does: trimmed, `.` and `..` resolved, no slash at either end."""
    found: list[_Pattern] = []
    for text in texts:
        word = text.strip()
        again = word.startswith("!")
        if again:
            word = word[1:].strip()
            if not word:
                raise ConfigError(
                    f"`{text}` is no ignore pattern: nothing stands after `!`",
                    hint="Write `!path` for what is to be kept.",
                )
        if not word:
            continue
        word = posixpath.normpath(word)
        # A leading `//` is kept by normpath.
        word = word.lstrip("/") or "/"
        found.append(_Pattern(word, again))
    return found


class _Group:
    """Neighbouring patterns of one sign as one question: does any match the path or a folder above?

    The frequent shapes are answered without a regular expression, since this runs for each of
    50,000 files: whole paths, names anywhere (`**/name`), endings anywhere (`**/*.ext`).
    """

    __slots__ = ("_anchored", "_endings", "_names", "_paths", "_regex", "again")

    def __init__(self, patterns: Sequence[_Pattern]) -> None:
        self.again = patterns[0].again
        self._paths: set[str] = set()
        self._names: set[str] = set()
        endings: list[str] = []
        names: list[str] = []
        others: list[str] = []
        for pattern in patterns:
            text = pattern.text
            rest = text.removeprefix("**/")
            anywhere = rest != text and "/" not in rest and "**" not in rest
            if not _special(text):
                self._paths.add(text)
            elif anywhere and not _special(rest):
                self._names.add(rest)
            elif anywhere and rest.startswith("*") and not _special(rest[1:]):
                endings.append(rest[1:])
            elif anywhere:
                names.append(_regex(rest))
            else:
                others.append(_regex(text))
        self._endings = tuple(endings)
        self._regex = re.compile(f"(?:{'|'.join(names)})\\Z", re.DOTALL) if names else None
        self._anchored = (
            re.compile(f"(?:{'|'.join(others)})(?:/|\\Z)", re.DOTALL) if others else None
        )

    def matches(self, path: str) -> bool:
        """Does any pattern match the path or a folder above it?"""
        if self._anchored is not None and self._anchored.match(path):
            return True
        if self._names or self._endings or self._regex is not None:
            for name in path.split("/"):
                if self._matches_name(name):
                    return True
        if self._paths:
            if path in self._paths:
                return True
            at = path.rfind("/")
            while at > 0:
                if path[:at] in self._paths:
                    return True
                at = path.rfind("/", 0, at)
        return False

    def matches_child(self, path: str, name: str) -> bool:
        """`matches`, where it is known that no folder above matches."""
        return (
            self._matches_name(name)
            or path in self._paths
            or (self._anchored is not None and self._anchored.match(path) is not None)
        )

    def _matches_name(self, name: str) -> bool:
        return (
            name in self._names
            or name.endswith(self._endings)
            or (self._regex is not None and self._regex.match(name) is not None)
        )


class _Rule:
    """One list of patterns, the last match winning."""

    __slots__ = ("_below", "groups", "plain")

    def __init__(self, patterns: Sequence[_Pattern]) -> None:
        groups: list[_Group] = []
        # For each group of `!` patterns: which folders may hold a match of theirs.
        self._below: dict[int, re.Pattern[str]] = {}
        start = 0
        for at in range(1, len(patterns) + 1):
            if at < len(patterns) and patterns[at].again == patterns[start].again:
                continue
            run = patterns[start:at]
            if run[0].again:
                ways = "|".join(_above(pattern.text) for pattern in run)
                self._below[len(groups)] = re.compile(f"(?:{ways})\\Z", re.DOTALL)
            groups.append(_Group(run))
            start = at
        self.groups = tuple(groups)
        self.plain = groups[0] if len(groups) == 1 and not groups[0].again else None
        """The only group, where there is no `!` pattern."""

    def drops(self, path: str) -> bool:
        for group in reversed(self.groups):
            if group.matches(path):
                return not group.again
        return False

    def prunes(self, folder: str) -> bool:
        for at in range(len(self.groups) - 1, -1, -1):
            group = self.groups[at]
            if group.again:
                if self._below[at].match(folder) or group.matches(folder):
                    return False
            elif group.matches(folder):
                return True
        return False


def _special(text: str) -> bool:
    return any(sign in text for sign in "*?[\\")


def _regex(text: str) -> str:
    """A regular expression for one pattern, to be matched from the start of a path."""
    parts: list[str] = []
    at = 0
    while at < len(text):
        sign = text[at]
        at += 1
        if sign == "*":
            if text.startswith("*", at):
                at += 1
                if text.startswith("/", at):
                    at += 1
                # Any number of whole folders, none included; at the end, all there is.
                parts.append("(?:.*/)?" if at < len(text) else ".*")
            else:
                parts.append("[^/]*")
        elif sign == "?":
            parts.append("[^/]")
        elif sign == "[":
            end, characters = _characters(text, at)
            parts.append(characters)
            at = end
        elif sign == "\\":
            if at == len(text):
                raise _bad(text)
            parts.append(re.escape(text[at]))
            at += 1
        else:
            parts.append(re.escape(sign))
    return "".join(parts)


def _characters(text: str, at: int) -> tuple[int, str]:
    """The class that begins at `at`, just after `[`: where it ends, and its regular expression."""
    negated = text.startswith("^", at)
    at += negated
    items: list[str] = []
    while True:
        if at >= len(text) or text[at] == "/":
            raise _bad(text)
        if text[at] == "]" and items:
            return at + 1, f"(?!/)[{'^' if negated else ''}{''.join(items)}]"
        low, at = _character(text, at)
        high = low
        if text.startswith("-", at):
            high, at = _character(text, at + 1)
        if low > high:
            raise _bad(text)
        items.append(re.escape(low) if low == high else f"{re.escape(low)}-{re.escape(high)}")


def _character(text: str, at: int) -> tuple[str, int]:
    if text.startswith("\\", at):
        at += 1
    elif text[at : at + 1] in {"-", "]"}:
        raise _bad(text)
    if at >= len(text):
        raise _bad(text)
    return text[at], at + 1


def _bad(text: str) -> ConfigError:
    return ConfigError(
        f"`{text}` is no ignore pattern: a bracket or backslash is not closed",
        hint="Write `\\[` for a bracket that is part of a name.",
    )


def _above(text: str) -> str:
    """A regular expression for the folders below which a match of `text` may lie, `text`
    included."""
    ways = ""
    for part in reversed(text.split("/")):
        if "**" in part:
            # From here on it may be as deep as it likes.
            ways = "(?:.*)"
            continue
        ways = f"{_regex(part)}(?:/{ways})?" if ways else _regex(part)
    return ways
