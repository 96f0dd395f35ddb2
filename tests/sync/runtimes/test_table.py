"""The one table of runtimes, beside upstream's: each difference is named here with its reason."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from kindling.sync.runtimes.names import by_language, by_name, is_python, normalised
from kindling.sync.runtimes.runtime import Check, Mode
from kindling.sync.runtimes.table import ALIASES, RUNTIMES, UPSTREAM

K, S, N, B = Mode.SUPERVISE, Mode.SIGNAL, Mode.AUTO, Mode.BUILD


def words(text: str) -> list[str]:
    return text.split()


UPSTREAMS_MODES: dict[str, tuple[Mode, str]] = {
    **dict.fromkeys(words("node deno bun ts-node tsx python python3 flask celery daphne"), (K, "")),
    **dict.fromkeys(words("waitress-serve waitress tornado sanic django grpcio"), (K, "")),
    **dict.fromkeys(words("ruby rails bundle thin falcon mix elixir iex perl lua"), (K, "")),
    **dict.fromkeys(words("luajit Rscript R julia"), (K, "")),
    **dict.fromkeys(words("nodemon php php-fpm"), (N, "")),
    **dict.fromkeys(words("uvicorn gunicorn hypercorn nginx"), (S, "HUP")),
    **dict.fromkeys(words("puma unicorn"), (S, "USR2")),
    **dict.fromkeys(words("apache2 caddy"), (S, "USR1")),
    **dict.fromkeys(words("go java kotlin dotnet cargo rustc gcc zig"), (B, "")),
}

MENDED = {
    "hypercorn": (K, "", "it handles INT and TERM alone; HUP would end it"),
    "unicorn": (S, "HUP", "USR2 leaves two masters"),
    "caddy": (Mode.STATIC, "", "version 2 ignores USR1, and files are served from disk"),
}


def test_row_55_upstreams_table_has_49_keys_and_each_is_here() -> None:
    assert len(UPSTREAM) == 49
    assert set(UPSTREAMS_MODES) == UPSTREAM
    assert set(RUNTIMES) >= UPSTREAM


@pytest.mark.parametrize("key", sorted(UPSTREAM))
def test_row_55_each_key_has_upstreams_mode_and_signal_or_a_named_mend(key: str) -> None:
    row = RUNTIMES[key]
    mode, name = MENDED[key][:2] if key in MENDED else UPSTREAMS_MODES[key]
    assert row.mode is mode
    # A runtime that reloads by itself may know a signal for the rest.
    assert row.signal == name or row.mode is Mode.AUTO


def test_row_55_four_languages_besides_are_built() -> None:
    assert {RUNTIMES[key].mode for key in ("scala", "haskell", "ocaml", "swift")} == {Mode.BUILD}


@pytest.mark.parametrize("key", sorted(RUNTIMES))
def test_each_row_is_whole(key: str) -> None:
    row = RUNTIMES[key]
    assert row.key == key
    assert row.label
    assert bool(row.signal) or row.mode is not Mode.SIGNAL
    if row.signal:
        assert signal.Signals[f"SIG{row.signal}"]
    if row.mode in (Mode.SIGNAL, Mode.SUPERVISE, Mode.BUILD):
        assert row.settle > 0
    if row.mode in (Mode.SUPERVISE, Mode.BUILD):
        assert row.check is Check.NEW_PROCESS
    assert row.sources or row.mode in (Mode.BUILD, Mode.STATIC, Mode.SIGNAL)


def test_what_is_built_and_what_serves_assets_has_no_use_for_sources() -> None:
    without = {key for key in UPSTREAM if not RUNTIMES[key].sources}
    assert without == set(words("nginx caddy go java kotlin dotnet cargo rustc gcc zig"))


def test_each_alias_leads_to_a_row_and_hides_none() -> None:
    assert set(ALIASES.values()) <= set(RUNTIMES)
    assert not set(ALIASES) & set(RUNTIMES)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("python3.12", "python3"),
        ("python3", "python3"),
        ("python2.7", "python"),
        ("python", "python"),
        ("pypy3", "python3"),
        ("nginx:", "nginx"),
        ("/usr/sbin/nginx", "nginx"),
        ("-bash", "bash"),
        ("ruby3.2", "ruby"),
        ("php-fpm8.2", "php-fpm"),
        ("php-fpm82", "php-fpm"),
        ("php8.3", "php"),
        ("lua5.4", "lua"),
        ("luajit-2.1.0-beta3", "luajit"),
        ("perl5.36.0", "perl"),
        ("gcc-12", "gcc"),
        ("gunicorn3", "gunicorn"),
        ("apache2", "apache2"),
        ("server", "server"),
        ("", ""),
    ],
)
def test_row_56_names_lose_path_colon_and_version(name: str, expected: str) -> None:
    assert normalised(name) == expected


def test_row_56_a_version_never_hides_a_runtime() -> None:
    """Upstream made `node18` of `node18.2`, and `ruby3` of `ruby3.2`, which it does not know."""
    assert by_name("node18.2") is RUNTIMES["node"]
    assert by_name("ruby3.2") is RUNTIMES["ruby"]


@pytest.mark.parametrize("name", ["pythonic", "cpython", "", "python-config", "python3x"])
def test_row_56_what_only_looks_like_python_is_none(name: str) -> None:
    assert not is_python(name)


@pytest.mark.parametrize("key", sorted(RUNTIMES))
def test_row_57_each_key_is_a_word_for_language(key: str) -> None:
    assert by_language(key) == (RUNTIMES[key], "")


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("golang", "go"),
        ("Rust", "cargo"),
        ("C++", "gcc"),
        ("c#", "dotnet"),
        ("Python", "python"),
        ("python3.12", "python3"),
        ("TypeScript", "ts-node"),
        (" node ", "node"),
        ("R", "R"),
        ("Swift", "swift"),
    ],
)
def test_row_57_languages_go_by_their_usual_names(word: str, key: str) -> None:
    assert by_language(word) == (RUNTIMES[key], "")


def test_row_57_an_unknown_language_is_answered_with_the_nearest() -> None:
    assert by_language("pyhton") == (
        None,
        "`pyhton` is no runtime that sync knows. Did you mean `python`?",
    )
    assert by_language("cobol-85x") == (None, "`cobol-85x` is no runtime that sync knows.")


def test_a_word_for_a_language_is_no_name_of_a_process() -> None:
    assert by_name("c") is None
    assert by_name("r") is None
    assert by_name("R") is RUNTIMES["R"]


def test_the_documentation_has_the_table() -> None:
    text = (Path(__file__).parents[3] / "docs/sync.md").read_text()
    table = text.split("| mode | programs |")[1].split("\n\n")[0]
    told: dict[str, str] = {}
    for line in table.splitlines()[2:]:
        _, mode, programs, _ = line.split("|")
        told |= dict.fromkeys(re.findall(r"`([^`]+)`", programs), mode.strip())
    words = {
        Mode.SIGNAL: "signal",
        Mode.SUPERVISE: "supervise and restart",
        Mode.BUILD: "local build",
        Mode.AUTO: "auto-reload",
        Mode.STATIC: "static",
    }
    assert told == {key: words[row.mode] for key, row in RUNTIMES.items()}
    assert f"({len(RUNTIMES)} in all;" in text
    signals = {key for key, row in RUNTIMES.items() if row.mode is Mode.SIGNAL}
    (line,) = (one for one in table.splitlines() if one.startswith("| signal |"))
    for key in signals:
        (said,) = re.findall(rf"`{key}`[^(]*\(([A-Z0-9]+)", line)
        assert said == RUNTIMES[key].signal
