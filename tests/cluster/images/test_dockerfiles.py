"""What a Dockerfile says, by Docker's own grammar."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kindling.cluster.images.dockerfile import DockerfileError, parse_dockerfile, words
from kindling.cluster.images.expansion import ExpansionError, expand


def only(text: str) -> list[tuple[str, str]]:
    [stage] = parse_dockerfile(f"FROM scratch\n{text}").stages
    return [(step.word, step.rest) for step in stage.steps]


def test_lines_are_continued_over_comments_and_blank_lines() -> None:
    text = "RUN a \\\n  # not part of it\n\n  && b \\\n && c\ncopy x y"
    assert only(text) == [("RUN", "a   && b  && c"), ("COPY", "x y")]


def test_the_escape_character_can_be_another() -> None:
    parsed = parse_dockerfile("# escape=`\nFROM scratch\nRUN a `\n b\nCOPY c:\\ d:\\\n")
    assert [step.rest for step in parsed.stages[0].steps] == ["a  b", "c:\\ d:\\"]


def test_flags_are_taken_off() -> None:
    parsed = parse_dockerfile("FROM --platform=linux/amd64 a AS B\nCOPY --from=b --chown=1:2 x y")
    [stage] = parsed.stages
    assert (stage.base, stage.name, stage.origin.flag("platform")) == ("a", "b", "linux/amd64")
    assert stage.steps[0].flag("chown") == "1:2"
    assert stage.steps[0].rest == "x y"


def test_here_documents_belong_to_their_instruction() -> None:
    parsed = parse_dockerfile(
        'FROM a\nRUN <<EOF\necho $x\n# kept\nEOF\nCOPY <<-"A" <<B /d/\n\tone\n\tA\ntwo\nB\nUSER x'
    )
    run, copy, user = parsed.stages[0].steps
    assert [(it.text, it.expand) for it in run.heredocs] == [("echo $x\n# kept\n", True)]
    assert [(it.name, it.text, it.expand) for it in copy.heredocs] == [
        ("A", "one\n", False),
        ("B", "two\n", True),
    ]
    assert (user.word, user.line) == ("USER", 11)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "file with no instructions"),
        ("RUN x", "dockerfile parse error line 1: no build stage in current context"),
        ("FROM a\nRUNN x", "line 2: unknown instruction: RUNN. Did you mean `RUN`?"),
        ("FROM a b", "line 1: FROM requires either one argument, or three"),
        ("FROM a as 1x", "invalid name for build stage"),
        ("FROM a\n\nCOPY --form=b x y", "line 3: unknown or unsupported flag of COPY: --form. Did"),
        ("FROM a\nRUN <<X\nno end", "line 2: unterminated heredoc"),
        ("FROM a\nRUN", "line 2: RUN requires at least one argument"),
        ("# escape=x\nFROM a", "invalid ESCAPE"),
    ],
)
def test_errors_name_the_line_and_the_nearest_right_thing(text: str, said: str) -> None:
    with pytest.raises(DockerfileError) as raised:
        parse_dockerfile(text)
    assert said in str(raised.value)


VALUES = {"x": "1", "empty": "", "dir": "/a b"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$x", "1"),
        ("${x}y", "1y"),
        ("$nope", ""),
        ("${nope:-d}", "d"),
        ("${empty:-d}", "d"),
        ("${empty-d}", ""),
        ("${nope-${x}}", "1"),
        ("${x:+set}", "set"),
        ("${empty:+set}", ""),
        ("${empty+set}", "set"),
        ("'$x'", "$x"),
        ('"$x"', "1"),
        (r"\$x", "$x"),
        (r'"\$x \n"', r"$x \n"),
        ('a"$dir"b', "a/a bb"),
        ("$", "$"),
        ("100$ ", "100$ "),
    ],
)
def test_variables_are_expanded_as_a_shell_does(text: str, value: str) -> None:
    assert expand(text, VALUES) == value


@pytest.mark.parametrize("text", ["${x", "${}", "${x:?}", "${x:*}", "'", '"', "${nope:?why}"])
def test_a_bad_expansion_is_refused(text: str) -> None:
    with pytest.raises(ExpansionError):
        expand(text if "x:?" not in text else "${y:?}", VALUES)


@given(st.text(alphabet="abc $x{}\"'\\:-+", max_size=20))
def test_any_text_expands_or_is_refused(text: str) -> None:
    try:
        expanded = expand(text, VALUES)
    except ExpansionError:
        return
    if not set(text) & set("$\"'\\"):
        assert expanded == text


def test_words_are_split_outside_of_quotes() -> None:
    assert words("a=\"b c\" d='e f' g\\ h", "\\") == ['a="b c"', "d='e f'", "g\\ h"]
