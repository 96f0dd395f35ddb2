"""What the command line of `kindling sync` says, before any cluster is asked."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from kindling.cli.sync_options import (
    Pause,
    Source,
    destination,
    source_of,
    workload_of,
)
from kindling.errors import UsageError

FOLDER = Source(Path("/here"), ".", ".")


@pytest.mark.parametrize(
    ("option", "argument", "meant"),
    [
        ("my-api", "", "my-api"),
        ("", "my-api", "my-api"),
        ("my-api", "my-api", "my-api"),
        ("deploy/my-api", "", "deploy/my-api"),
        ("", "sts/my-db", "sts/my-db"),
        ("dse/orders.eu", "", "deployment/orders-eu"),
        ("", "", ""),
        ("  ", "", ""),
    ],
)
def test_a_workload_is_named_by_option_or_argument(option: str, argument: str, meant: str) -> None:
    assert workload_of(option, argument) == meant


@pytest.mark.parametrize(
    ("option", "argument", "says"),
    [
        ("a", "b", "two workloads"),
        ("deployment/", "", "cannot be the name"),
        ("/a", "", "cannot be the name"),
        ("a/b/c", "", "cannot be the name"),
        ("My_Api", "", "cannot be the name"),
    ],
)
def test_what_is_no_workload_is_refused(option: str, argument: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        workload_of(option, argument)


def test_a_source_is_a_folder_or_one_file(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("")
    assert source_of(str(tmp_path)) == Source(tmp_path, ".", str(tmp_path))
    one = source_of(str(tmp_path / "app.py"))
    assert (one.root, one.local, one.single) == (tmp_path, "app.py", True)


def test_a_source_that_is_not_there_is_answered_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "service").mkdir()
    with pytest.raises(UsageError) as caught:
        source_of(str(tmp_path / "servise"))
    assert "Did you mean `service`?" in caught.value.hint


def test_a_source_that_is_a_link_to_nothing_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "gone").symlink_to("nowhere")
    with pytest.raises(UsageError, match="link to nothing"):
        source_of(str(tmp_path / "gone"))


@pytest.mark.parametrize(
    ("said", "meant"), [("/app", "/app"), ("/app/", "/app"), ("//srv//x/.", "/srv/x")]
)
def test_a_folder_lands_at_an_absolute_path(said: str, meant: str) -> None:
    assert destination(said, FOLDER) == meant


@pytest.mark.parametrize("said", ["/", "//", "app", "", "/app/../..", "/proc/1", "/dev"])
def test_a_folder_never_lands_on_the_root_or_what_is_no_path(said: str) -> None:
    with pytest.raises(UsageError, match="--dest"):
        destination(said, FOLDER)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("/app", "/app/"),
        ("/app/", "/app/"),
        ("/app/app.py", "/app/app.py"),
        ("/app/main.py", "/app/main.py"),
        ("/app/app.py/", "/app/app.py/"),
        ("/", "/"),
    ],
)
def test_one_file_lands_in_a_folder_and_never_in_its_place(said: str, meant: str) -> None:
    assert destination(said, Source(Path("/here"), "app.py", "app.py")) == meant


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("0.5s", 0.5), ("2", 2.0), (".25", 0.25), ("1m", 60.0)]
)
def test_a_pause_is_written_in_milliseconds_or_seconds(text: str, seconds: float) -> None:
    assert Pause().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 h", "-1s", "2m", "1s2"])
def test_what_is_no_pause_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Pause().convert(text, None, None)
