"""A volume that will lie over a folder of the image begins with all that the folder has."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from tests.sync.agent.talk import LIMIT

NOBODY = 65534
TIME = 1_600_000_000_123_456_789


def _seed(
    binary: Path, *words: Path | str, user: int | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [binary, "seed", *words],
        capture_output=True,
        timeout=LIMIT,
        check=False,
        text=True,
        user=user,
        group=user,
        extra_groups=None if user is None else (),
    )


def _told(root: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(folder) / name
            state = path.lstat()
            content: object = None
            if stat.S_ISLNK(state.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(state.st_mode):
                content = path.read_bytes()
            # Times of links are not kept; nobody looks at them.
            time = 0 if path.is_symlink() else state.st_mtime_ns
            found[str(path.relative_to(root))] = (
                state.st_mode,
                state.st_uid,
                state.st_gid,
                time,
                content,
            )
    return found


def _image(root: Path) -> Path:
    source = root / "image"
    (source / "deep/er").mkdir(parents=True)
    (source / "empty").mkdir(mode=0o700)
    (source / "deep/er/big").write_bytes(os.urandom(300_000))
    (source / "run").write_text("#!/bin/sh\n")
    (source / "run").chmod(0o4755)
    (source / "none").touch()
    (source / "new\nline \xff").write_text("odd")
    (source / "link").symlink_to("deep/er/big")
    (source / "nowhere").symlink_to("/no/such\nthing")
    (source / "deep/closed").mkdir()
    (source / "deep/closed/file").write_text("in a folder that cannot be written")
    (source / "deep/closed").chmod(0o555)
    for path in source.rglob("*"):
        if not path.is_symlink():
            os.utime(path, ns=(TIME, TIME))
    os.utime(source, ns=(TIME, TIME))
    return source


def test_a_folder_is_copied_with_modes_links_owners_and_times(binary: Path, tmp_path: Path) -> None:
    source, target = _image(tmp_path), tmp_path / "volume"
    target.mkdir()
    if os.geteuid() == 0:
        os.chown(source / "none", 12, 34)
        os.lchown(source / "link", 12, 34)
    before = _told(source)
    done = _seed(binary, source, target)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert _told(target) == before == _told(source)
    assert target.stat().st_mtime_ns == TIME


def test_a_second_start_of_the_container_ends_with_the_same_copy(
    binary: Path, tmp_path: Path
) -> None:
    source, target = _image(tmp_path), tmp_path / "volume"
    target.mkdir()
    _seed(binary, source, target)
    (target / "deep/er/big").write_bytes(b"cut")
    (target / "link").unlink()
    done = _seed(binary, source, target)
    assert (done.returncode, done.stderr) == (0, "")
    assert _told(target) == _told(source)


def test_pairs_are_copied_one_after_the_other_and_a_missing_folder_is_an_empty_one(
    binary: Path, tmp_path: Path
) -> None:
    for name in ("a", "b", "into-a", "into-b", "into-c"):
        (tmp_path / name).mkdir()
    (tmp_path / "a/one").write_text("1")
    (tmp_path / "real").mkdir()
    (tmp_path / "real/two").write_text("2")
    (tmp_path / "b").rmdir()
    (tmp_path / "b").symlink_to("real")
    pairs = (("a", "into-a"), ("missing/too", "into-c"), ("b", "into-b"))
    done = _seed(binary, *(tmp_path / name for pair in pairs for name in pair))
    assert (done.returncode, done.stderr) == (0, "")
    assert [os.listdir(tmp_path / into) for _, into in pairs] == [["one"], [], ["two"]]


def test_a_volume_inside_of_what_is_copied_is_not_copied_into_itself(
    binary: Path, tmp_path: Path
) -> None:
    (tmp_path / "image/volumes/0").mkdir(parents=True)
    (tmp_path / "image/file").write_text("x")
    done = _seed(binary, tmp_path / "image", tmp_path / "image/volumes/0")
    assert (done.returncode, done.stderr) == (0, "")
    assert set(_told(tmp_path / "image/volumes/0")) == {"file", "volumes"}


def test_what_is_no_file_folder_or_link_is_left_out_and_said(binary: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "image", tmp_path / "volume"
    source.mkdir()
    target.mkdir()
    os.mkfifo(source / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(source)
        try:
            server.bind("socket")
        finally:
            os.chdir(here)
    (source / "file").touch()
    done = _seed(binary, source, target)
    assert done.returncode == 0
    assert os.listdir(target) == ["file"]
    assert sorted(done.stderr.splitlines()) == [
        f"kindling-agent: not copied, since it is no file, folder or link: `{source}/{name}`"
        for name in ("pipe", "socket")
    ]


def test_a_tree_that_is_too_deep_is_copied_as_far_as_paths_go(binary: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "image", tmp_path / "volume"
    target.mkdir()
    deep = source.joinpath(*["d"] * 250)
    deep.mkdir(parents=True)
    done = _seed(binary, source, target)
    assert done.returncode == 0
    assert "not copied, since it is too deep" in done.stderr
    assert len(_told(target)) == 201


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
@pytest.mark.skipif(
    os.environ.get("KINDLING_TEST_AGENT") == "emulated", reason="the emulated agent is root's alone"
)
def test_a_user_without_rights_copies_what_it_may_read_and_owns_the_copy(
    binary: Path, open_folder: Path
) -> None:
    """As in a pod that runs as one: the volume is root's and open to everybody."""
    reachable = Path(open_folder / "agent")
    reachable.write_bytes(binary.read_bytes())
    reachable.chmod(0o755)
    source, target = _image(open_folder), open_folder / "volume"
    (source / "secret").write_text("root's own")
    (source / "secret").chmod(0o600)
    target.mkdir()
    target.chmod(0o777)
    done = _seed(reachable, source, target, user=NOBODY)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        line
        for line in done.stderr.splitlines()
        if f"cannot be read: `{source}/secret` (13)" in line
        or f"cannot be read: `{source}/empty` (13)" in line
    ]
    assert len(done.stderr.splitlines()) == 2
    wanted = {
        name: ((mode & ~0o6000), NOBODY, NOBODY, time, content)
        for name, (mode, _, _, time, content) in _told(source).items()
        if name != "secret" and isinstance(mode, int)
    }
    assert _told(target) == wanted
    assert stat.S_IMODE(target.stat().st_mode) == 0o777


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_full_volume_fails_the_start_of_the_pod(binary: Path, tmp_path: Path) -> None:
    source, target = _image(tmp_path), tmp_path / "volume"
    target.mkdir()
    script = 'mount -t tmpfs -o size=64k none "$2" && exec "$0" seed "$1" "$2"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, binary, source, target],
        capture_output=True,
        timeout=LIMIT,
        check=False,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.endswith("deep/er/big` (28)\n")


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("file", "volume", "cannot be copied: `{root}/file` (20)"),
        ("image", "missing", "the folder to copy into cannot be opened `{root}/missing` (2)"),
    ],
)
def test_what_cannot_be_meant_is_said(
    binary: Path, tmp_path: Path, source: str, target: str, said: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "image").mkdir()
    (tmp_path / "volume").mkdir()
    done = _seed(binary, tmp_path / source, tmp_path / target)
    assert done.returncode == 1
    assert done.stderr == f"kindling-agent: {said.format(root=tmp_path)}\n"


@pytest.mark.parametrize("words", [(), ("/a",), ("/a", "/b", "/c")])
def test_words_that_are_no_pairs_are_refused(binary: Path, words: tuple[str, ...]) -> None:
    done = _seed(binary, *words)
    assert done.returncode == 2
    assert done.stderr.startswith("kindling-agent: pairs of folders are needed\n")
