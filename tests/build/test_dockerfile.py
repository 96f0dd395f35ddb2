"""Dockerfiles: bases put in the place of names, and what needs BuildKit."""

from __future__ import annotations

import pytest

from kindling.build.dockerfile import needs_buildkit, substitute_bases

BUILT = {"base": "base:kindling-1", "localhost:5000/lib": "lib:kindling-2"}


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("FROM base\n", "FROM base:kindling-1\n"),
        ("from base as build\n", "from base:kindling-1 as build\n"),
        ("FROM base AS base\n", "FROM base:kindling-1 AS base\n"),
        ("FROM --platform=linux/amd64 base\n", "FROM --platform=linux/amd64 base:kindling-1\n"),
        ("FROM \\\n  base \\\n  AS x\n", "FROM \\\n  base:kindling-1 \\\n  AS x\n"),
        ("FROM localhost:5000/lib\n", "FROM lib:kindling-2\n"),
        ("FROM other\nCOPY --from=base /a /b\n", "FROM other\nCOPY --from=base:kindling-1 /a /b\n"),
        ("FROM other\nCOPY --chown=1 --from=base /a /b", None),
        ("FROM o\nRUN --mount=type=bind,from=base,target=/b x\n", None),
        ("ARG B=base\nFROM $B\n", "ARG B=base\nFROM base:kindling-1\n"),
        ('ARG B="base"\nFROM ${B}\n', 'ARG B="base"\nFROM base:kindling-1\n'),
        ("ARG B\nFROM ${B:-base}\n", "ARG B\nFROM base:kindling-1\n"),
        ("FROM base", "FROM base:kindling-1"),
        ("FROM base\r\nRUN x\r\n", "FROM base:kindling-1\r\nRUN x\r\n"),
    ],
)
def test_references_to_images_of_ours_are_replaced(text: str, becomes: str | None) -> None:
    if becomes is None:
        becomes = text.replace("from=base", "from=base:kindling-1")
    assert substitute_bases(text, BUILT, {}) == becomes


@pytest.mark.parametrize(
    "text",
    [
        "FROM base-two\n",
        "FROM other AS base\nFROM base\n",
        "FROM other AS base\nCOPY --from=base /a /b\n",
        "# FROM base\nFROM other\n",
        "FROM other\nRUN echo FROM base\n",
        "FROM other\nRUN <<EOF\nFROM base\nEOF\n",
        "FROM other\nRUN echo \\\n# FROM base\n  FROM base\n",
        "FROM other\nCOPY base /base\n",
    ],
)
def test_nothing_else_is_touched(text: str) -> None:
    assert substitute_bases(text, BUILT, {}) == text


def test_given_build_arguments_go_over_defaults() -> None:
    text = "ARG B=base\nFROM $B\n"
    assert substitute_bases(text, BUILT, {"B": "other"}) == text
    assert substitute_bases("ARG B=other\nFROM $B\n", BUILT, {"B": "base"}).endswith(
        "FROM base:kindling-1\n"
    )


def test_an_argument_after_the_first_from_does_not_count() -> None:
    text = "FROM other\nARG B=base\nFROM $B\n"
    assert substitute_bases(text, BUILT, {}) == text


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("FROM a\nRUN x\n", False),
        ("FROM a\nCOPY --from=b --chown=1 x y\n", False),
        ("FROM a\nRUN cat <<<word\n", False),
        ("FROM a\nRUN echo --mount\n", False),
        ("# comment\n# syntax=x\nFROM a\n", False),
        ("# syntax=docker/dockerfile:1\nFROM a\n", True),
        ("#syntax = docker/dockerfile:1\nFROM a\n", True),
        ("# escape=`\n# syntax=docker/dockerfile:1\nFROM a\n", True),
        ("FROM a\nRUN --mount=type=cache,target=/c x\n", True),
        ("FROM a\nrun --network=none x\n", True),
        ("FROM a\nCOPY --link x y\n", True),
        ("FROM a\nCOPY --from=b --chmod=755 x y\n", True),
        ("FROM a\nRUN <<EOF\nx\nEOF\n", True),
        ("FROM a\nCOPY <<-'END' /x\ny\nEND\n", True),
    ],
)
def test_what_only_buildkit_can_build(text: str, needed: bool) -> None:
    assert needs_buildkit(text) is needed
