"""The sealed backup of secrets (row 88): what is on the disk, and what is left when the key is
not."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kindling.errors import StoreError
from kindling.store.sealed import FILE, Place, SealedSecrets

_STRIPE = Place("kind-dev", "default", "STRIPE_KEY")
_TOKEN = Place("kind-dev", "default", "TOKEN")
_VALUE = b"sk-live-0123456789"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data" / "kindling"


@pytest.fixture
def backup(tmp_path: Path, data: Path) -> SealedSecrets:
    return SealedSecrets(tmp_path / "project" / ".kindling", data)


def _values(backup: SealedSecrets) -> dict[Place, bytes]:
    return {one.place: backup.value(one) for one in backup.entries()}


def _key(data: Path) -> Path:
    (path,) = (data / "keys").iterdir()
    return path


def test_what_is_kept_is_found_again_by_another_process(
    backup: SealedSecrets, tmp_path: Path, data: Path
) -> None:
    backup.keep([(_STRIPE, _VALUE), (_TOKEN, b"\x00\xff")], at=1000.4)
    again = SealedSecrets(tmp_path / "project" / ".kindling", data)
    assert _values(again) == {_STRIPE: _VALUE, _TOKEN: b"\x00\xff"}
    assert {one.at for one in again.entries()} == {1000.0}


def test_nothing_is_created_by_looking(backup: SealedSecrets, tmp_path: Path) -> None:
    assert backup.entries() == ()
    backup.check()
    assert list(tmp_path.iterdir()) == []


def test_row_88_no_file_of_the_project_has_a_value_or_the_key(
    backup: SealedSecrets, tmp_path: Path, data: Path
) -> None:
    backup.keep([(_STRIPE, _VALUE)], at=0)
    key = _key(data).read_bytes().strip()
    text = (tmp_path / "project" / ".kindling" / FILE).read_bytes()
    assert b"STRIPE_KEY" in text
    for path in (tmp_path / "project").rglob("*"):
        found = path.read_bytes() if path.is_file() else b""
        for hidden in (_VALUE, key, b"c2stbGl2ZS"):
            assert hidden not in found, path


def test_row_88_backup_and_key_are_private_to_the_user(backup: SealedSecrets, data: Path) -> None:
    old = os.umask(0)
    try:
        backup.keep([(_STRIPE, _VALUE)], at=0)
    finally:
        os.umask(old)
    for path in (backup.path, _key(data)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (backup.path.parent, _key(data).parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_row_88_git_does_not_see_the_backup(backup: SealedSecrets, tmp_path: Path) -> None:
    backup.keep([(_STRIPE, _VALUE)], at=0)
    project = tmp_path / "project"
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    seen = subprocess.run(
        ["git", "status", "--porcelain", "-uall"], cwd=project, check=True, capture_output=True
    )
    assert seen.stdout == b""


def test_row_88_each_project_has_a_backup_and_a_key_of_its_own(tmp_path: Path, data: Path) -> None:
    one, two = (SealedSecrets(tmp_path / name / ".kindling", data) for name in ("one", "two"))
    one.keep([(_STRIPE, b"of one")], at=0)
    two.keep([(_STRIPE, b"of two")], at=0)
    assert (_values(one), _values(two)) == ({_STRIPE: b"of one"}, {_STRIPE: b"of two"})
    assert len(list((data / "keys").iterdir())) == 2


def test_one_secret_has_one_entry_however_it_is_spelled(backup: SealedSecrets) -> None:
    backup.keep([(_STRIPE, b"old")], at=1)
    other = _STRIPE._replace(name="stripe-key")
    backup.keep([(other, b"new")], at=2)
    assert _values(backup) == {other: b"new"}


def test_one_name_in_two_namespaces_or_clusters_is_two_secrets(backup: SealedSecrets) -> None:
    places = [_STRIPE, _STRIPE._replace(namespace="b"), _STRIPE._replace(context="c")]
    backup.keep([(place, str(n).encode()) for n, place in enumerate(places)], at=0)
    assert _values(backup) == {place: str(n).encode() for n, place in enumerate(places)}
    assert backup.forget([places[1]]) == 1
    assert set(_values(backup)) == {places[0], places[2]}


def test_a_lost_key_is_said_once_with_what_to_do(backup: SealedSecrets, data: Path) -> None:
    backup.keep([(_STRIPE, _VALUE)], at=0)
    key = _key(data)
    key.unlink()
    (kept,) = backup.entries()
    for attempt in (
        backup.check,
        lambda: backup.keep([(_TOKEN, b"x")], at=1),
        lambda: backup.value(kept),
    ):
        with pytest.raises(StoreError) as refused:
            attempt()
        assert refused.value.message.endswith(f"its key `{key}` is not there")
        assert "set them again" in refused.value.hint
    assert [one.place for one in backup.entries()] == [_STRIPE]


@pytest.mark.parametrize("content", [b"", b"AAAA\n", b"A" * 43 + b"=\n", b"\xff\x00"])
def test_another_key_in_its_place_is_named_as_such(
    backup: SealedSecrets, data: Path, content: bytes
) -> None:
    backup.keep([(_STRIPE, _VALUE)], at=0)
    _key(data).write_bytes(content)
    with pytest.raises(StoreError, match="is not the key that the backup"):
        backup.check()


def test_entries_can_be_taken_out_without_the_key(backup: SealedSecrets, data: Path) -> None:
    backup.keep([(_STRIPE, _VALUE)], at=0)
    _key(data).unlink()
    assert backup.forget([_STRIPE, _TOKEN]) == 1
    assert backup.entries() == ()
    backup.keep([(_TOKEN, b"y")], at=1)
    assert _values(backup) == {_TOKEN: b"y"}


def test_a_value_cannot_be_passed_off_as_another_s(backup: SealedSecrets) -> None:
    backup.keep([(_STRIPE, _VALUE), (_TOKEN, b"public")], at=0)
    text = backup.path.read_text()
    swapped = text.replace("STRIPE_KEY", "X").replace("TOKEN", "STRIPE_KEY").replace("X", "TOKEN")
    backup.path.write_text(swapped)
    for kept in backup.entries():
        with pytest.raises(StoreError, match=f"the value of `{kept.place.name}` does not open"):
            backup.value(kept)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not what kindling writes"),
        (b"STRIPE_KEY: c2VjcmV0\n", "not what kindling writes"),
        (b"schema: 1\nkey: a\n", "an entry is not whole"),
        (b"schema: 1\nkey: a\nsecrets: [{name: A}]\n", "an entry is not whole"),
        (b"schema: 1\nkey: a\nsecrets: 7\n", "an entry is not whole"),
        (b"schema: [\n", "not valid YAML"),
        (b"\xff\xfe\x00", "not valid YAML"),
        (b"schema: 9\n", "written by another kindling"),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused_and_left_alone(
    backup: SealedSecrets, content: bytes, said: str
) -> None:
    backup.path.parent.mkdir(parents=True)
    backup.path.write_bytes(content)
    with pytest.raises(StoreError, match=said):
        backup.entries()
    with pytest.raises(StoreError, match=said):
        backup.keep([(_STRIPE, _VALUE)], at=0)
    assert backup.path.read_bytes() == content


def test_a_write_that_fails_leaves_the_old_backup_whole(
    backup: SealedSecrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup.keep([(_STRIPE, _VALUE)], at=0)

    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="No space is left"):
            backup.keep([(_TOKEN, b"x")], at=1)
    assert _values(backup) == {_STRIPE: _VALUE}
    assert [p.name for p in backup.path.parent.iterdir() if "secrets.yaml" in p.name] == [FILE]


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path, data: Path) -> None:
    state_dir = tmp_path / "project" / ".kindling"
    failed: list[BaseException] = []

    def write(number: int) -> None:
        try:
            place = _STRIPE._replace(name=f"KEY_{number}")
            SealedSecrets(state_dir, data).keep([(place, str(number).encode())], at=number)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed
    values = _values(SealedSecrets(state_dir, data))
    assert {place.name: value for place, value in values.items()} == {
        f"KEY_{n}": str(n).encode() for n in range(12)
    }


def test_a_value_is_in_no_repr(backup: SealedSecrets) -> None:
    backup.keep([(_STRIPE, _VALUE)], at=0)
    (kept,) = backup.entries()
    assert re.fullmatch(r"Kept\(place=Place\(.*\), at=0\.0\)", repr(kept))


@settings(max_examples=40, deadline=None)
@given(
    values=st.dictionaries(
        st.tuples(st.text(max_size=20), st.text(max_size=20), st.sampled_from(["A", "B_C", "d"])),
        st.binary(max_size=200),
        max_size=5,
    )
)
def test_any_value_of_any_place_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, values: dict[tuple[str, str, str], bytes]
) -> None:
    folder = tmp_path_factory.mktemp("sealed")
    backup = SealedSecrets(folder / ".kindling", folder / "data")
    given_values = {Place(*place): value for place, value in values.items()}
    backup.keep(given_values.items(), at=5)
    assert _values(backup) == given_values
