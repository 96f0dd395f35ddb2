"""What a Dockerfile takes from other images."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kindling.errors import ConfigError
from kindling.lang.assemble.dockerfile import image_references, parse_dockerfile


def refs(text: str, target: str = "", **args: str) -> tuple[str, ...]:
    return image_references(parse_dockerfile(text, args), target)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM golang:1.22", ("golang:1.22",)),
        ("from golang", ("golang",)),
        ("FROM --platform=$BUILDPLATFORM golang AS build\nFROM build", ("golang",)),
        ("FROM a AS Build\nFROM b\nCOPY --from=build /x /x\nCOPY --from=0 /x /x", ("a", "b")),
        ("FROM scratch\nCOPY --chown=1 --from=tools:1 /x /x", ("tools:1",)),
        ("FROM a\nRUN --mount=type=bind,from=cache,target=/c true", ("a", "cache")),
        ("ARG V=1\nFROM a:$V", ("a:1",)),
        ("ARG V=1\nFROM a:${V}-x", ("a:1-x",)),
        ("FROM a:${V:-2}", ("a:2",)),
        ("ARG V=1\nFROM a:${V:+set}", ("a:set",)),
        ('ARG V="1"\nFROM "a:$V"', ("a:1",)),
        ("ARG R=x\nARG I=$R/a\nFROM ${I}", ("x/a",)),
        ("ARG I=b\nFROM a\nARG I\nCOPY --from=$I /x /x", ("a", "b")),
        ("FROM a\nENV I=b\nCOPY --from=$I /x /x", ("a", "b")),
        ("# syntax=docker/dockerfile:1\n# escape=`\nFROM a AS x\nRUN echo `\n FROM b", ("a",)),
        ("FROM a\nRUN one \\\n# a comment\n\n  two \\\n  FROM b\nFROM c", ("a", "c")),
        ("FROM a\nRUN <<EOF\nFROM b\nEOF\nFROM c", ("a", "c")),
        ("FROM a\nRUN <<-'END' cat\n\tFROM b\n\tEND\nFROM c", ("a", "c")),
        ("FROM a\nCOPY <<one <<two /d/\nFROM b\none\nFROM c\ntwo\nFROM d", ("a", "d")),
        ("FROM a\nRUN x <<EOF\nFROM b", ("a", "b")),
        ("\ufeff# comment FROM z\n\n  FROM   a   AS   b  \n", ("a",)),
        ("FROM a\r\nFROM b\r\n", ("a", "b")),
        ("", ()),
        ("nonsense", ()),
        ("FROM", ()),
    ],
)
def test_which_images_a_dockerfile_is_built_from(text: str, expected: tuple[str, ...]) -> None:
    assert refs(text) == expected


def test_given_build_arguments_win_over_defaults_where_they_are_declared() -> None:
    assert refs("ARG V=1\nFROM a:$V", V="9") == ("a:9",)
    assert refs("FROM a:${V:-1}", V="9") == ("a:1",), "without ARG it is not put in"


def test_a_variable_that_nobody_knows_leaves_no_reference() -> None:
    assert refs("FROM $BASE") == ()


def test_a_target_needs_the_stages_up_to_it() -> None:
    text = "FROM a AS one\nFROM b AS two\nFROM c"
    assert refs(text, "two") == ("a", "b")
    assert refs(text, "0") == ("a",)
    with pytest.raises(ConfigError, match="no stage `tow`") as caught:
        refs(text, "tow")
    assert caught.value.hint == "Did you mean `two`?"


@given(st.text(alphabet="FROMCOPYRUNARG<->=$ {}\\\n#\"'abE:", max_size=200))
def test_no_text_breaks_the_parser(text: str) -> None:
    parse_dockerfile(text)
