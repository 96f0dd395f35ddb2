"""Blobs keep what they are on the way through the interpreter, and nothing else becomes one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kindling.lang.blob import Blob, is_marked, mark, unmark


@given(st.text())
def test_a_blob_comes_back_as_a_blob_of_the_same_text(text: str) -> None:
    if "\ue000" in text:
        return
    back = unmark(mark(text))
    assert back == text
    assert isinstance(back, Blob)


@given(st.text(), st.text(min_size=1))
def test_a_text_with_a_blob_in_it_is_a_text(text: str, more: str) -> None:
    if "\ue000" in text + more:
        return
    for joined in (mark(text) + more, more + mark(text)):
        back = unmark(joined)
        assert not isinstance(back, Blob)
        assert back in (text + more, more + text)


def test_values_inside_lists_and_dicts_are_unmarked() -> None:
    assert unmark([{"a": mark("x")}]) == [{"a": "x"}]


def test_an_ordinary_text_is_not_marked() -> None:
    assert not is_marked("x")
    assert not is_marked("\ue0002\ue001x")
