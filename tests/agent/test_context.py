"""A build context is used only when it is whole and stays within itself."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kindling.agent.context import CutShortError, examine
from kindling.agent.orders import RefusedError
from tests.agent.archives import archive, member


def test_files_are_listed() -> None:
    found = examine(io.BytesIO(archive({"./Dockerfile": b"FROM x", "src/a.py": b"1"})))
    assert found.files == {"Dockerfile", "src/a.py"}
    assert found.size == 7


WHOLE = archive({"Dockerfile": b"FROM x\n", "data": bytes(range(256)) * 40})


@given(st.integers(0, len(WHOLE) - 1))
def test_a_context_that_is_cut_anywhere_is_cut_short(at: int) -> None:
    with pytest.raises(CutShortError):
        examine(io.BytesIO(WHOLE[:at]))


@given(st.integers(10, len(WHOLE) - 1), st.integers(1, 255))
def test_a_context_with_a_wrong_byte_is_never_taken_for_another(at: int, bits: int) -> None:
    """It is refused or cut short, or the byte was one of those that mean nothing."""
    broken = bytearray(WHOLE)
    broken[at] ^= bits
    try:
        found = examine(io.BytesIO(bytes(broken)))
    except (CutShortError, RefusedError):
        return
    assert found == examine(io.BytesIO(WHOLE))


def test_what_is_no_gzip_is_refused() -> None:
    with pytest.raises(RefusedError, match="no gzip"):
        examine(io.BytesIO(b"PK\x03\x04 and more"))
    with pytest.raises(RefusedError, match="cannot be unpacked"):
        examine(io.BytesIO(gzip.compress(b"no tar at all" * 100)))


def test_an_empty_archive_is_a_context_without_files() -> None:
    assert examine(io.BytesIO(archive({}))).files == frozenset()


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", ".."])
def test_members_outside_are_refused(name: str) -> None:
    with pytest.raises(RefusedError, match="outside"):
        examine(io.BytesIO(archive({}, member(name))))


def test_nothing_is_written_through_a_link() -> None:
    link = member("out", tarfile.SYMTYPE, "/etc")
    with pytest.raises(RefusedError, match="below the link `out`"):
        examine(io.BytesIO(archive({}, link, member("out/passwd"))))


def test_links_themselves_may_point_where_they_like() -> None:
    link = member("bin/python", tarfile.SYMTYPE, "/usr/bin/python3")
    examine(io.BytesIO(archive({"a": b""}, link)))


def test_hard_links_and_devices_are_refused() -> None:
    with pytest.raises(RefusedError, match="link"):
        examine(io.BytesIO(archive({}, member("a", tarfile.LNKTYPE, "../../etc/shadow"))))
    with pytest.raises(RefusedError, match="device"):
        examine(io.BytesIO(archive({}, member("a", tarfile.CHRTYPE))))
