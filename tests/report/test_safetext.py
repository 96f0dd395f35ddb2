"""Output of programs cannot harm the terminal."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from kindling.report.safetext import coloured, encodable, plain, xml_text


def test_a_progress_line_keeps_its_last_state() -> None:
    assert plain("10%\r50%\r100%") == "100%"
    assert plain("done\r\n") == "done"


def test_escape_sequences_vanish_and_colours_may_stay() -> None:
    text = "\x1b[2J\x1b]0;title\x07\x1b[31mred\x1b[0m\x07 tail"
    assert plain(text) == "red tail"
    assert coloured(text) == "\x1b[31mred\x1b[0m tail\x1b[0m"


@given(st.text())
def test_no_control_character_survives(text: str) -> None:
    for clean in (plain(text), coloured(text)):
        assert not any(ord(sign) < 32 and sign != "\x1b" for sign in clean)
        assert "\x7f" not in clean
    assert "\x1b" not in plain(text)


@given(st.text())
def test_any_text_can_be_xml(text: str) -> None:
    element = ElementTree.Element("x")
    element.text = xml_text(text)
    ElementTree.fromstring(ElementTree.tostring(element))


def test_what_an_encoding_lacks_is_replaced() -> None:
    assert encodable("✓ ok", "ascii") == "? ok"
    assert encodable("✓ \udcff", "utf-8") == "✓ ?"
