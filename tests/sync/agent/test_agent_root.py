"""The agent of a whole container: its root is `/`, and it may be anybody there."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kindling.sync.agent.frames import (
    READ_MOST,
    Data,
    Delete,
    Frame,
    Mkdir,
    Ping,
    Pong,
    Put,
    PutEnd,
    Read,
    Refused,
    Rename,
    Resolve,
    Rmdir,
    Text,
)
from kindling.sync.agent.protocol import TEMPORARY
from tests.sync.agent.talk import LIMIT, Talk, serving

LEFT = os.fsdecode(TEMPORARY) + "0000000000000000-00000001"


@contextmanager
def _nobody(binary: Path, root: str) -> Iterator[Talk]:
    """An agent that runs as a user without rights."""
    process = subprocess.Popen(
        [binary, "serve", root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        user=65534,
        group=65534,
        extra_groups=(),
    )
    try:
        yield Talk(process)
    finally:
        process.kill()
        process.wait(LIMIT)
        for stream in (process.stdin, process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def _ask(talk: Talk, *frames: Frame) -> list[bytes | int]:
    """The text of each answer, or the number of its error."""
    talk.send(*frames)
    found: list[bytes | int] = []
    for _ in frames:
        answer = talk.frame()
        assert isinstance(answer, Text | Refused)
        found.append(answer.payload if isinstance(answer, Text) else answer.errno)
    return found


# ---- what a killed agent left ----


def test_only_the_named_subtrees_and_the_folders_above_are_cleaned(
    binary: Path, root: Path
) -> None:
    for folder in (".", "app", "app/deep/er", "app/other", "lib", "lib/deep", "srv/real"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / LEFT).touch()
        (root / folder / "kept").touch()
    (root / "link").symlink_to("/srv/real")
    (root / "app/file").touch()
    with serving(binary, root, after=("app/deep", "app/file", "missing/x", "link")) as talk:
        welcome = talk.hello()
    assert welcome.alone
    left = {str(path.parent.relative_to(root)) for path in root.rglob(LEFT)}
    assert left == {"app/other", "lib", "lib/deep"}
    assert welcome.cleaned == 4
    assert len(list(root.rglob("kept"))) == 7


def test_without_subtrees_all_of_another_root_is_cleaned(binary: Path, root: Path) -> None:
    (root / "a/b").mkdir(parents=True)
    (root / "a/b" / LEFT).touch()
    with serving(binary, root) as talk:
        assert talk.hello().cleaned == 1


def test_while_another_agent_serves_the_root_no_subtree_is_cleaned(
    binary: Path, root: Path
) -> None:
    (root / "app").mkdir()
    with serving(binary, root) as first:
        first.hello()
        (root / "app" / LEFT).touch()
        with serving(binary, root, after=("app",)) as second:
            welcome = second.hello()
    assert (welcome.alone, welcome.cleaned) == (False, 0)
    assert (root / "app" / LEFT).exists()


def test_the_root_of_the_machine_is_served_without_a_walk_of_it(
    binary: Path, tmp_path: Path
) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / LEFT).touch()
    place = os.fsencode(tmp_path).lstrip(b"/")
    with serving(binary, "/") as talk:
        talk.hello()
        assert (tmp_path / "deep" / LEFT).exists()
        talk.put(place + b"/new/file", b"content")
        assert [refusal.errno for refusal in talk.commit()[1]] == [errno.ENOENT]
        talk.send(Mkdir(1, place + b"/new/er", 0o755, parents=True))
        talk.put(place + b"/new/er/file", b"content")
        assert talk.commit()[1] == []
        assert set(talk.tree(place + b"/new", digests=False)) == {
            place + end for end in (b"/new", b"/new/er", b"/new/er/file")
        }
    assert (tmp_path / "new/er/file").read_bytes() == b"content"
    assert sorted(os.listdir(tmp_path / "new")) == ["er"]


# ---- somebody without rights ----


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
@pytest.mark.skipif(
    os.environ.get("KINDLING_TEST_AGENT") == "emulated", reason="the emulated agent is root's alone"
)
def test_somebody_without_rights_serves_the_root_and_hears_of_each_path(
    binary: Path, open_folder: Path
) -> None:
    place = os.fsencode(open_folder).lstrip(b"/")
    (open_folder / "theirs").mkdir(mode=0o755)
    (open_folder / "theirs/file").write_text("kept")
    (open_folder / "ours").mkdir()
    os.chown(open_folder / "ours", 65534, 65534)
    reachable = Path(shutil.copy(binary, open_folder / "agent"))
    with _nobody(reachable, "/") as talk:
        assert talk.hello().uid == 65534
        first = talk.put(place + b"/ours/file", b"new")
        second = talk.put(place + b"/theirs/file", b"lost")
        done, refused = talk.commit()
        assert [(r.id, r.errno, r.path) for r in refused] == [
            (second, errno.EACCES, place + b"/theirs/file")
        ]
        assert refused[0].what == "a file cannot be made in the folder"
        assert (done.done, done.failed, done.skipped) == (0, 1, 1)
        assert os.listdir(open_folder / "ours") == []
        talk.put(place + b"/ours/file", b"new")
        talk.send(Mkdir(7, place, 0o711, parents=True), Mkdir(8, b"kindling-none", 0o755))
        assert [(r.id, r.errno) for r in talk.commit(lenient=True)[1]] == [
            (7, errno.EPERM),
            (8, errno.EACCES),
        ]
    assert first != second
    assert (open_folder / "ours/file").read_text() == "new"
    assert (open_folder / "theirs/file").read_text() == "kept"
    assert os.listdir(open_folder / "theirs") == ["file"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_root_that_can_only_be_read_is_served_and_each_change_is_refused(
    binary: Path, root: Path
) -> None:
    (root / "app/empty").mkdir(parents=True)
    (root / "app/file").write_text("kept")
    (root / "app" / LEFT).touch()
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$0" serve "$1" app'
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script, binary, root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    try:
        talk = Talk(process)
        welcome = talk.hello()
        assert (welcome.alone, welcome.cleaned) == (True, 0)
        talk.put(b"app/file", b"lost")
        talk.send(
            Delete(50, b"app/file"),
            Rmdir(51, b"app/empty", if_empty=True),
            Mkdir(52, b"app/empty", 0o755, parents=True),
        )
        refused = talk.commit(lenient=True)[1]
        assert [(r.errno, r.path) for r in refused] == [
            (errno.EROFS, b"app/file"),
            (errno.EROFS, b"app/file"),
            (errno.EROFS, b"app/empty"),
        ]
    finally:
        process.kill()
        process.wait(LIMIT)
        for stream in (process.stdin, process.stdout, process.stderr):
            assert stream is not None
            stream.close()
    assert (root / "app/file").read_text() == "kept"


# ---- folders that are empty ----


def test_an_empty_folder_goes_and_one_with_members_stays(agent: Talk, root: Path) -> None:
    (root / "empty").mkdir()
    (root / "full").mkdir()
    (root / "full/file").touch()
    (root / "link").symlink_to("empty")
    frames = [
        Rmdir(1, b"empty"),
        Rmdir(2, b"full"),
        Rmdir(3, b"full", if_empty=True),
        Rmdir(4, b"missing"),
        Rmdir(5, b"missing", if_empty=True),
        Rmdir(6, b"missing/too", if_empty=True),
        Rmdir(7, b"full/file", if_empty=True),
        Rmdir(8, b"link", if_empty=True),
    ]
    agent.send(*frames)
    done, refused = agent.commit(lenient=True)
    assert {r.id: r.errno for r in refused} == {
        2: errno.ENOTEMPTY,
        4: errno.ENOENT,
        7: errno.ENOTDIR,
        8: errno.ENOTDIR,
    }
    assert done.done == 4
    assert sorted(os.listdir(root)) == ["full", "link"]


def test_contents_for_a_folder_that_goes_first_do_not_keep_it(agent: Talk, root: Path) -> None:
    """Its own staged file must not make a folder one that is not empty."""
    (root / "a").mkdir()
    (root / "a").chmod(0o700)
    agent.send(Rmdir(1, b"a"), Mkdir(2, b"a", 0o755))
    agent.put(b"a/file", b"x")
    assert agent.commit()[1] == []
    assert (root / "a").stat().st_mode & 0o777 == 0o755
    assert os.listdir(root / "a") == ["file"]


def test_what_could_not_be_staged_goes_before_its_folder_is_renamed(
    agent: Talk, root: Path
) -> None:
    (root / "a").mkdir()
    (root / "a/b").touch()
    agent.put(b"a/b/c", b"below a file")
    ident = agent.ident()
    agent.send(Put(ident, b"a/d", 0o644, 0, 5))
    agent.send(Data(ident, b"other"), PutEnd(ident, bytes(32)), Rename(9, b"a", b"z"))
    done, refused = agent.commit(lenient=True)
    assert (done.done, [r.errno for r in refused]) == (1, [errno.EBADMSG, errno.ENOTDIR])
    assert os.listdir(root / "z") == ["b"]


# ---- where paths lead ----


def test_a_path_is_told_with_all_its_links_followed(agent: Talk, root: Path) -> None:
    (root / "srv/real/deep").mkdir(parents=True)
    (root / "app").symlink_to("/srv/real")
    (root / "srv/real/up").symlink_to("../../other/./x/")
    (root / "out").symlink_to("../../../../srv")
    (root / "file").touch()
    (root / "chain").symlink_to("app/deep/../up")
    asked = {
        b"": b"",
        b"/": b"",
        b"app": b"srv/real",
        b"/app//deep/": b"srv/real/deep",
        b"./app/deep/../deep": b"srv/real/deep",
        b"app/not/there": b"srv/real/not/there",
        b"app/up/y": b"other/x/y",
        b"out/real": b"srv/real",
        b"chain": b"other/x",
        b"file/below": b"file/below",
        b"..": b"",
        b"\xff\n": b"\xff\n",
    }
    assert _ask(agent, *(Resolve(1, path) for path in asked)) == list(asked.values())


def test_paths_that_lead_nowhere_are_refused(agent: Talk, root: Path) -> None:
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    (root / "grows").symlink_to("grows/" + "x" * 250)
    found = _ask(
        agent,
        Resolve(1, b"one/x"),
        Resolve(2, b"a\0b"),
        Resolve(3, b"x/" * 3000),
        Resolve(4, b"grows"),
    )
    assert found == [errno.ELOOP, errno.EINVAL, errno.ENAMETOOLONG, errno.ENAMETOOLONG]


def test_links_of_the_greatest_number_are_followed_and_no_more(agent: Talk, root: Path) -> None:
    for at in range(41):
        (root / f"l{at}").symlink_to(f"l{at + 1}")
    assert _ask(agent, Resolve(1, b"l1"), Resolve(2, b"l0")) == [b"l41", errno.ELOOP]


# ---- bytes of a file ----


def test_bytes_of_a_file_are_read_from_anywhere_in_it(agent: Talk, root: Path) -> None:
    content = bytes(range(256)) * 2048
    (root / "real").mkdir()
    (root / "real/file").write_bytes(content)
    (root / "link").symlink_to("/real/file")
    asked = [
        Read(1, b"link", 0, 5),
        Read(2, b"link", 1000, 5),
        Read(3, b"real/file", 0, 2**32 - 1),
        Read(4, b"real/file", len(content) - 3, 10),
        Read(5, b"real/file", 2**40, 10),
        Read(6, b"real/file", 0, 0),
        Read(7, b"link", target=True),
    ]
    assert _ask(agent, *asked) == [
        content[:5],
        content[1000:1005],
        content[:READ_MOST],
        content[-3:],
        b"",
        b"",
        b"/real/file",
    ]


def test_what_is_no_file_is_not_read(agent: Talk, root: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "folder").mkdir()
    asked = [
        Read(1, b"pipe"),
        Read(2, b"folder"),
        Read(3, b""),
        Read(4, b"missing"),
        Read(5, b"a\0b"),
        Read(6, b"/a\0b"),
        Read(7, b"folder", target=True),
        Read(8, b"/dev/zero"),
        Read(9, b"x" * 5000),
        Read(10, b"/" + b"x" * 5000),
        Read(11, b"folder", 2**64 - 1),
    ]
    assert _ask(agent, *asked) == [
        errno.EINVAL,
        errno.EISDIR,
        errno.EISDIR,
        errno.ENOENT,
        errno.EINVAL,
        errno.EINVAL,
        errno.EINVAL,
        errno.EINVAL,
        errno.ENAMETOOLONG,
        errno.ENAMETOOLONG,
        errno.EISDIR,
    ]
    agent.send(Ping(12))
    assert agent.until(Pong).id == 12


def test_the_machines_own_files_are_read_by_absolute_paths(agent: Talk) -> None:
    pid = os.getpid()
    with open("/proc/self/cmdline", "rb") as ours:
        line = ours.read()
    exe = os.fsencode(os.readlink("/proc/self/exe"))
    asked = [
        Read(1, b"/proc/%d/cmdline" % pid),
        Read(2, b"/proc/%d/exe" % pid, target=True),
        Read(3, b"/proc/0/cmdline"),
    ]
    assert _ask(agent, *asked) == [line, exe, errno.ENOENT]
