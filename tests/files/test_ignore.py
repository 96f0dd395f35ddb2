"""Ignore patterns: Docker's meaning, found by a fast way and by a slow one alike."""

from __future__ import annotations

import posixpath
import re
from fnmatch import translate
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kindling.errors import ConfigError
from kindling.files.ignore import DEFAULT_PATTERNS, Ignore, parse_patterns
from kindling.graph.node import IgnoreRule

ROOT = Path("/project")


def ignore(*patterns: str, base: str = ".") -> Ignore:
    return Ignore(ROOT, (IgnoreRule(base, patterns),))


@pytest.mark.parametrize(
    ("patterns", "dropped", "kept"),
    [
        # From Docker's own description of .dockerignore.
        (
            ["*/temp*"],
            ["somedir/temporary.txt", "somedir/temp", "somedir/temp/x"],
            ["temp", "a/b/temp"],
        ),
        (["*/*/temp*"], ["somedir/subdir/temporary.txt"], ["somedir/temp", "temp"]),
        (["temp?"], ["tempa", "tempb", "tempb/x"], ["temp", "tempab", "x/tempa"]),
        (["**/*.go"], ["a.go", "x/a.go", "x/y/z.go"], ["a.gone", "go"]),
        (["*.md", "!README.md"], ["a.md"], ["README.md", "x/a.md"]),
        (
            ["*.md", "!README*.md", "README-secret.md"],
            ["a.md", "README-secret.md"],
            ["README.md", "README-x.md"],
        ),
        (["*.md", "README-secret.md", "!README*.md"], ["a.md"], ["README-secret.md", "README.md"]),
        # Anchored to the base, wherever slashes stand.
        (
            ["node_modules"],
            ["node_modules", "node_modules/a/b"],
            ["x/node_modules", "node_modules2"],
        ),
        (["/foo/bar/"], ["foo/bar", "foo/bar/x"], ["x/foo/bar", "foo"]),
        (["./foo//bar/../baz"], ["foo/baz/x"], ["foo/bar"]),
        (["**"], ["a", "a/b"], []),
        (["*"], ["a", "a/b"], []),
        (["*", "!src", "src/gen"], ["a", "src/gen/x"], ["src", "src/x"]),
        (["dir/**"], ["dir/a", "dir/a/b"], ["dir"]),
        (["dir/**/x"], ["dir/x", "dir/a/b/x"], ["dir/a/b/y"]),
        (["a/**/b/**/c"], ["a/b/c", "a/1/b/2/3/c/d"], ["a/c", "a/b"]),
        (["**/secret"], ["secret", "a/secret", "a/secret/b"], ["a/secrets"]),
        (["[a-c]x"], ["ax", "bx"], ["dx"]),
        (["[^a-c]x"], ["dx"], ["ax", "/x"]),
        (["\\*x"], ["*x"], ["ax"]),
        (["a.b+(c)|{d}$"], ["a.b+(c)|{d}$"], ["axb+(c)|{d}$"]),
        ([" padded "], ["padded"], []),
        (["."], [], ["a"]),
        (["!a"], [], ["a"]),
        # A folder that is dropped and a file below it that is not.
        (["dir", "!dir/keep/*.txt"], ["dir", "dir/keep", "dir/keep/a.md"], ["dir/keep/a.txt"]),
        (["**/*.pyc", "!**/keep.pyc"], ["a/b.pyc"], ["a/keep.pyc"]),
    ],
)
def test_docker_meaning(patterns: list[str], dropped: list[str], kept: list[str]) -> None:
    rules = ignore(*patterns)
    assert [path for path in dropped if not rules.matches(path)] == []
    assert [path for path in kept if rules.matches(path)] == []


def test_a_rule_speaks_of_what_lies_below_its_base() -> None:
    rules = ignore("*.log", base="services/api")
    assert rules.matches("services/api/a.log")
    assert not rules.matches("a.log")
    assert not rules.matches("services/api")
    assert not rules.matches("services/api/x/a.log")


def test_a_base_outside_the_root_and_paths_outside_it() -> None:
    assert ignore("lib/*.o", base="..").matches("../lib/a.o")
    assert ignore("project/*.o", base="..").matches("a.o")
    assert ignore("*.o", base="../shared").matches("../shared/a.o")
    assert not ignore("**/*.o").matches("../shared/a.o")


def test_any_one_rule_drops() -> None:
    """A `!` pattern brings back only what its own list dropped."""
    rules = Ignore(ROOT, (IgnoreRule(".", ("*.log",)), IgnoreRule(".", ("a.*", "!a.log"))))
    assert rules.matches("a.log")
    assert rules.matches("a.txt")


@pytest.mark.parametrize("pattern", ["[", "[]", "[a", "x[^", "[b-a]", "!", "a\\", "[-a]"])
def test_a_pattern_that_docker_refuses_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match="is no ignore pattern"):
        ignore(pattern)


def test_dockerignore_text_is_read_as_docker_reads_it() -> None:
    text = "\ufeff# comment\n\n  *.md  \n!README.md\r\n # not a comment\n"
    assert parse_patterns(text) == ("*.md", "!README.md", "# not a comment")


@pytest.mark.parametrize(
    ("patterns", "folder", "pruned"),
    [
        (["node_modules"], "node_modules", True),
        (["node_modules"], "node_modules/x", True),
        (["node_modules"], "src", False),
        (["*", "!src/app/main.py"], "src", False),
        (["*", "!src/app/main.py"], "src/app", False),
        (["*", "!src/app/main.py"], "src/lib", True),
        (["*", "!src/app/main.py"], "docs", True),
        (["*", "!**/keep"], "docs/deep/down", False),
        (["*", "!docs/**/keep"], "src", True),
        (["*", "!docs/**/keep"], "docs/a/b", False),
        (["*", "!docs", "docs"], "docs", True),
        (["!docs/keep", "docs"], "docs", True),
        (["*", "!a*/b"], "abc", False),
        (["*", "!a*/b"], "xbc", True),
    ],
)
def test_a_folder_is_pruned_when_nothing_below_can_come_back(
    patterns: list[str], folder: str, pruned: bool
) -> None:
    assert ignore(*patterns).prunes(folder) is pruned


@pytest.mark.parametrize(
    "path",
    [
        ".git/index",
        "sub/.git",
        ".kindling/state.db",
        "a/4913",
        "a/main.py~",
        ".main.py.swp",
        "a/.main.py.swx",
        "x/#main.py#",
        "x/.#main.py",
        ".idea/workspace.xml",
        "main.py___jb_tmp___",
        ".main.py.kate-swp",
    ],
)
def test_what_editors_and_git_write_is_dropped_by_default(path: str) -> None:
    assert ignore(*DEFAULT_PATTERNS).matches(path)


@pytest.mark.parametrize(
    "path", ["main.py", ".gitignore", ".github/x", "a.swift", "sw", ".env", "#x"]
)
def test_what_people_write_is_kept_by_default(path: str) -> None:
    assert not ignore(*DEFAULT_PATTERNS).matches(path)


# Against a model ---------------------------------------------------------------------------------
#
# The model knows one thing: does a pattern match a path, part by part, with `**` for any number of
# parts.

names = st.text("ab.", min_size=1, max_size=3).filter(lambda name: set(name) != {"."})
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
parts = st.one_of(names, st.sampled_from(["*", "**", "?", "a*", "*.a", "*b", "?b"]))
bodies = st.lists(parts, min_size=1, max_size=4).map("/".join)
patterns_ = st.lists(st.tuples(st.booleans(), bodies), max_size=6).map(
    lambda items: [("!" if again else "") + body for again, body in items]
)


@cache
def _part_matches(pattern: str, name: str) -> bool:

    return re.match(translate(pattern), name) is not None


def _exactly(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        if len(pattern) == 1:
            return len(path) > 0
        return any(_exactly(pattern[1:], path[at:]) for at in range(len(path) + 1))
    return bool(path) and _part_matches(pattern[0], path[0]) and _exactly(pattern[1:], path[1:])


def model(patterns: list[str], path: str) -> bool:
    dropped = False
    whole = tuple(path.split("/"))
    for pattern in patterns:
        again = pattern.startswith("!")
        body = tuple(posixpath.normpath(pattern.removeprefix("!")).split("/"))
        if any(_exactly(body, whole[:length]) for length in range(1, len(whole) + 1)):
            dropped = not again
    return dropped


@given(patterns_, paths)
def test_every_shape_of_pattern_means_what_the_model_says(patterns: list[str], path: str) -> None:
    assert ignore(*patterns).matches(path) is model(patterns, path)


@given(patterns_, paths, st.lists(paths, max_size=20))
def test_a_pruned_folder_holds_nothing_that_is_kept(
    patterns: list[str], folder: str, below: list[str]
) -> None:
    rules = ignore(*patterns)
    if rules.prunes(folder):
        assert rules.matches(folder)
        for path in below:
            assert rules.matches(f"{folder}/{path}")


@given(patterns_, paths)
def test_a_walk_from_above_finds_the_same(patterns: list[str], path: str) -> None:
    rules = ignore(*patterns)
    at = 0
    while (at := path.find("/", at + 1)) > 0:
        if rules.prunes(path[:at]):
            return
    assert rules.matches_child(path, path.rpartition("/")[2]) is rules.matches(path)
