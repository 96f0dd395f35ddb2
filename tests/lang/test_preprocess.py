"""Rewriting changes what must change, and every line still knows where it came from."""

from __future__ import annotations

import ast

from hypothesis import given
from hypothesis import strategies as st

from kindling.lang.preprocess import preprocess


def test_an_ordinary_file_stays_as_it_is() -> None:
    text = 'x = 1\nfor y in [1]:\n    print("while")\n'
    source = preprocess(text)
    assert source.text == text
    assert source.origin == ()


def test_a_mark_at_the_beginning_and_carriage_returns_go() -> None:
    assert preprocess("\ufeffx = 1\r\ny = 2\r\n").text == "x = 1\ny = 2\n"


def test_a_loop_becomes_a_bounded_one_with_a_break() -> None:
    source = preprocess("x = 0\nwhile x < 3:\n  x += 1\ny = x\n")
    assert "while" not in source.text
    assert "  if not (x < 3): break" in source.text
    assert source.line(source.text.split("\n").index("y = x") + 1) == 4


def test_a_condition_may_span_lines_and_the_body_may_follow_the_colon() -> None:
    source = preprocess("while (a and\n       b): step()\nend()\n")
    ast.parse(source.text)
    assert source.line(source.text.split("\n").index("end()") + 1) == 3


def test_the_word_in_a_text_is_left_alone() -> None:
    text = 'x = """\nwhile True:\n"""\n'
    assert preprocess(text).text == text


def test_leading_tabs_become_spaces_but_not_in_texts() -> None:
    source = preprocess('def f():\n\treturn """\n\tkept"""\n')
    assert source.text == 'def f():\n        return """\n\tkept"""\n'


def test_differences_become_calls_where_sets_are_used() -> None:
    source = preprocess("s = set([1])\nt = (a) - (b - c) - d  # ü\n")
    assert ast.dump(ast.parse(source.text)) == ast.dump(
        ast.parse("s = set([1])\nt = kf_difference(kf_difference(a, kf_difference(b, c)), d)\n")
    )


def test_differences_are_left_alone_elsewhere() -> None:
    assert preprocess("x = 3 - 2\n").text == "x = 3 - 2\n"


def test_the_environment_is_asked_for_anew_at_the_same_width() -> None:
    source = preprocess('x = os.environ["A"] + "os.environ"\n')
    assert source.environ
    assert source.text == 'x = kf_envir()["A"] + "os.environ"\n'


_LINES = st.lists(
    st.sampled_from(
        ["x = 1", "while x:", "  x = x - 1", "  while y: y = 0", "", "# while", "\tz = 2"]
    ),
    max_size=12,
)


@given(_LINES)
def test_every_running_line_knows_its_own(lines: list[str]) -> None:
    """Lines that were not rewritten map to themselves, in order; nothing gets lost."""
    source = preprocess("\n".join(lines))
    running = source.text.split("\n")
    origins = [source.line(number + 1) for number in range(len(running))]
    assert origins == sorted(origins)
    for text, origin in zip(running, origins, strict=True):
        original = source.lines[origin - 1]
        if "while" not in original and "while" not in text and "kf_turn" not in text:
            assert text.strip() == original.strip() or "if not" in text


@given(st.text())
def test_nothing_makes_it_fail(text: str) -> None:
    preprocess(text)
