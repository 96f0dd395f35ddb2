"""Laws of detection that hold for any command."""

from __future__ import annotations

import shlex
import string

from hypothesis import given, settings
from hypothesis import strategies as st

from kindling.sync.runtimes.detect import detect
from kindling.sync.runtimes.table import RUNTIMES
from tests.sync.runtimes.vectors import MENDED, UPSTREAMS, WRAPPINGS

COMMANDS = [shlex.split(line) for line, key in (*UPSTREAMS, *MENDED) if key]

# A shell's text and `env -S` take all that follows them as arguments of another kind, and so do
# tools whose last word is a subcommand.
APPENDABLE = [words for words in COMMANDS if words[0] not in ("sh", "su", "busybox")]

commands = st.sampled_from(COMMANDS)
words = st.one_of(
    st.sampled_from(sorted(RUNTIMES)),
    st.sampled_from(["/bin/go", "R", "node_modules", "--", "a b", "", "$HOME", "x=y", "'", ";"]),
    st.text(alphabet=string.printable, max_size=12),
)


def shelled(command: list[str], form: int) -> list[str]:
    text = shlex.join(command)
    return [
        ["sh", "-c", text],
        ["bash", "-lc", f"exec {text}"],
        ["/bin/sh", "-ec", f"cd /app && exec {text}"],
        ["sh", "-c", f"A=b {text} 2>&1"],
    ][form]


@settings(max_examples=300, deadline=None)
@given(commands, st.lists(st.sampled_from(WRAPPINGS), max_size=4))
def test_wrapping_a_command_changes_nothing(
    command: list[str], around: list[tuple[str, ...]]
) -> None:
    wrapped = [word for wrapping in around for word in wrapping] + command
    assert detect(wrapped).runtime == detect(command).runtime


@settings(max_examples=300, deadline=None)
@given(commands, st.lists(st.integers(0, 3), min_size=1, max_size=3))
def test_a_shell_around_a_command_changes_nothing(command: list[str], forms: list[int]) -> None:
    wrapped = command
    for form in forms:
        wrapped = shelled(wrapped, form)
    assert detect(wrapped).runtime == detect(command).runtime


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(APPENDABLE), st.lists(words, min_size=1, max_size=3))
def test_an_unrelated_argument_changes_nothing(command: list[str], further: list[str]) -> None:
    assert detect([*command, *further]).runtime == detect(command).runtime


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=80), st.text(max_size=10))
def test_any_bytes_are_answered(command: bytes, exe: str) -> None:
    found = detect(command, exe, scripts={"a": "exec a", "b": "#!/bin/sh\nb"})
    assert found.runtime.label


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=" \t\n'\"\\$();&|<>#=ab@-{}`", max_size=40))
def test_any_text_of_a_shell_is_answered(text: str) -> None:
    assert detect(["sh", "-c", text]).runtime.label


@given(words)
def test_a_program_of_unknown_name_stays_unknown(argument: str) -> None:
    assert detect(["/app/my-server", argument]).runtime.key == ""
