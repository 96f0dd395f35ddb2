"""What a batch changes in the tree, in what order, and what becomes of one that fails."""

from __future__ import annotations

import errno
import os
import resource
import stat
from pathlib import Path

import pytest

from kindling.sync.agent.frames import (
    Abort,
    Chmod,
    Data,
    Delete,
    Mkdir,
    Ok,
    Put,
    PutEnd,
    Refused,
    Rename,
    Rmtree,
    Symlink,
)
from kindling.sync.agent.protocol import TEMPORARY, digest
from tests.sync.agent.talk import Talk, serving

MB = 1 << 20


def _left_over(root: Path) -> list[str]:
    prefix = TEMPORARY.decode()
    return [
        name
        for _, folders, files in os.walk(root)
        for name in [*folders, *files]
        if name.startswith(prefix)
    ]


def test_a_file_comes_with_its_content_mode_and_time(agent: Talk, root: Path) -> None:
    agent.put(b"run.sh", b"#!/bin/sh\n", 0o751, 1_700_000_000_123_456_789)
    done, refused = agent.commit()
    assert (done.done, done.failed, done.skipped, refused) == (1, 0, 0, [])
    about = (root / "run.sh").stat()
    assert (root / "run.sh").read_bytes() == b"#!/bin/sh\n"
    assert stat.S_IMODE(about.st_mode) == 0o751
    assert about.st_mtime_ns == 1_700_000_000_123_456_789


def test_no_two_versions_of_a_file_are_of_one_second(agent: Talk, root: Path) -> None:
    times: list[int] = []
    for version in (b"1", b"2", b"3", b"4"):
        agent.put(b"a.py", version)
        assert agent.commit()[1] == []
        times.append(int((root / "a.py").stat().st_mtime))
    assert times == sorted(set(times))
    assert times[-1] - times[0] <= 60

    os.utime(root / "a.py", (0, times[0] + 100_000))
    agent.put(b"a.py", b"5")
    agent.commit()
    assert (root / "a.py").stat().st_mtime < times[0] + 90_000


def test_a_time_before_1970_is_kept(agent: Talk, root: Path) -> None:
    agent.put(b"old", b"", 0o644, -1)
    agent.commit()
    assert (root / "old").stat().st_mtime_ns == -1


def test_nothing_is_visible_before_the_commit(agent: Talk, root: Path) -> None:
    (root / "a").write_text("old")
    agent.put(b"a", b"new")
    agent.put(b"b", b"new")
    agent.send(Delete(agent.ident(), b"a2", missing_ok=True), Mkdir(agent.ident(), b"d", 0o755))
    assert set(agent.tree()) == {b"a"}
    assert (root / "a").read_text() == "old"
    agent.commit()
    assert set(agent.tree()) == {b"a", b"b", b"d"}
    assert (root / "a").read_text() == "new"
    assert _left_over(root) == []


def test_an_abort_forgets_the_batch(agent: Talk, root: Path) -> None:
    agent.put(b"a", b"new")
    agent.send(Mkdir(agent.ident(), b"d", 0o755), Abort(agent.ident()))
    agent.until(Ok)
    done, _ = agent.commit()
    assert done.done == 0
    assert os.listdir(root) == []


def test_a_batch_may_fill_folders_that_it_makes(agent: Talk, root: Path) -> None:
    agent.send(Mkdir(agent.ident(), b"d", 0o750), Mkdir(agent.ident(), b"d/e", 0o755))
    agent.put(b"d/e/f", b"deep")
    assert agent.commit()[1] == []
    assert (root / "d/e/f").read_text() == "deep"
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o750


def test_a_folder_can_be_replaced_in_one_batch(agent: Talk, root: Path) -> None:
    """The staged file must not lie where the batch itself clears away."""
    (root / "d/sub").mkdir(parents=True)
    (root / "d/sub/old").write_text("old")
    agent.send(Rmtree(agent.ident(), b"d"), Mkdir(agent.ident(), b"d", 0o755))
    agent.put(b"d/new", b"new")
    assert agent.commit()[1] == []
    assert os.listdir(root / "d") == ["new"]
    assert _left_over(root) == []


def test_a_renamed_folder_can_be_changed_in_the_same_batch(agent: Talk, root: Path) -> None:
    (root / "a").mkdir()
    (root / "a/x").write_text("x")
    agent.put(b"a/before", b"1")
    agent.send(Rename(agent.ident(), b"a", b"b"))
    agent.put(b"b/after", b"2")
    assert agent.commit()[1] == []
    assert sorted(os.listdir(root / "b")) == ["after", "before", "x"]
    assert _left_over(root) == []


def test_a_file_can_become_a_folder_and_back(agent: Talk, root: Path) -> None:
    (root / "a").write_text("file")
    agent.send(Delete(agent.ident(), b"a"), Mkdir(agent.ident(), b"a", 0o755))
    agent.put(b"a/b", b"inside")
    assert agent.commit()[1] == []
    assert (root / "a/b").read_text() == "inside"
    agent.send(Rmtree(agent.ident(), b"a"))
    agent.put(b"a", b"file again")
    assert agent.commit()[1] == []
    assert (root / "a").read_text() == "file again"


def test_links_are_made_and_replaced_but_never_followed(agent: Talk, root: Path) -> None:
    (root / "target").write_text("kept")
    assert agent.apply(Symlink(agent.ident(), b"link", b"target")) == []
    assert os.readlink(root / "link") == "target"
    assert agent.apply(Symlink(agent.ident(), b"link", b"../else\xffwhere")) == []
    assert os.readlink(os.fsencode(root / "link")) == b"../else\xffwhere"
    agent.apply(Symlink(agent.ident(), b"link", b"target"))
    agent.put(b"link", b"a file now")
    assert agent.commit()[1] == []
    assert not (root / "link").is_symlink()
    assert (root / "target").read_text() == "kept"


def test_the_mode_of_what_is_there_can_be_set(agent: Talk, root: Path) -> None:
    (root / "f").write_text("x")
    (root / "f").chmod(0)
    (root / "d").mkdir()
    (root / "l").symlink_to("f")
    refused = agent.apply(Chmod(agent.ident(), b"f", 0o640), Chmod(agent.ident(), b"d", 0o2750))
    assert refused == []
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o640
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o2750
    refused = agent.apply(Chmod(agent.ident(), b"l", 0o777))
    assert [r.errno for r in refused] == [errno.EINVAL]
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o640


def test_a_folder_that_is_there_gets_the_mode(agent: Talk, root: Path) -> None:
    (root / "d").mkdir(0o700)
    assert agent.apply(Mkdir(agent.ident(), b"d", 0o755)) == []
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o755


def test_folders_above_are_made_on_request(agent: Talk, root: Path) -> None:
    refused = agent.apply(Mkdir(agent.ident(), b"a/b/c", 0o755))
    assert [r.errno for r in refused] == [errno.ENOENT]
    assert agent.apply(Mkdir(agent.ident(), b"a/b/c", 0o711, parents=True)) == []
    assert stat.S_IMODE((root / "a/b/c").stat().st_mode) == 0o711


def test_a_tree_goes_with_all_in_it_and_links_are_not_followed(
    agent: Talk, root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    for at in range(300):
        (root / f"d/{at % 7}/{at}").mkdir(parents=True)
        (root / f"d/{at % 7}/{at}/file").write_text("x")
    (root / "d/out").symlink_to(outside)
    assert agent.apply(Rmtree(agent.ident(), b"d")) == []
    assert os.listdir(root) == []
    assert os.listdir(outside) == ["kept"]


def test_what_is_missing_is_an_error_unless_that_is_fine(agent: Talk) -> None:
    refused = agent.apply(Delete(7, b"no"))
    assert [(r.id, r.errno, r.path) for r in refused] == [(7, errno.ENOENT, b"no")]
    for frame in (
        Delete(8, b"no", missing_ok=True),
        Rmtree(9, b"no", missing_ok=True),
        Delete(10, b"no/deeper", missing_ok=True),
    ):
        assert agent.apply(frame) == []


def test_a_strict_batch_with_a_wrong_digest_changes_nothing(agent: Talk, root: Path) -> None:
    (root / "a").write_text("old")
    agent.put(b"a", b"new")
    agent.send(Put(50, b"b", 0o644, 0, 3), Data(50, b"abc"), PutEnd(50, digest(b"something else")))
    done, _ = agent.commit()
    refused = [frame for frame in agent.seen if isinstance(frame, Refused)]
    assert (done.done, done.failed, done.skipped) == (0, 1, 1)
    assert [(r.id, r.errno, r.path) for r in refused] == [(50, errno.EBADMSG, b"b")]
    assert (root / "a").read_text() == "old"
    assert os.listdir(root) == ["a"]


def test_a_lenient_batch_makes_what_can_be_made(agent: Talk, root: Path) -> None:
    agent.send(Put(50, b"b", 0o644, 0, 3), Data(50, b"abc"), PutEnd(50, digest(b"other")))
    agent.send(Delete(51, b"missing"))
    agent.put(b"c", b"new")
    done, refused = agent.commit(lenient=True)
    assert (done.done, done.failed, done.skipped) == (1, 2, 0)
    assert {r.id for r in refused} == {50, 51}
    assert os.listdir(root) == ["c"]


def test_a_strict_batch_stops_at_the_first_change_that_fails(agent: Talk, root: Path) -> None:
    agent.put(b"one", b"1")
    agent.send(Delete(51, b"missing"))
    agent.put(b"two", b"2")
    done, refused = agent.commit()
    assert (done.done, done.failed, done.skipped) == (1, 1, 1)
    assert [r.id for r in refused] == [51]
    assert os.listdir(root) == ["one"]


@pytest.mark.parametrize("sent", [b"ab", b"abcd"], ids=["fewer", "more"])
def test_a_file_of_another_size_than_announced_is_refused(
    agent: Talk, root: Path, sent: bytes
) -> None:
    agent.send(Put(5, b"a", 0o644, 0, 3), Data(5, sent), PutEnd(5, digest(sent)))
    done, _ = agent.commit()
    assert done.failed == 1
    assert os.listdir(root) == []


def test_a_file_over_a_folder_is_refused(agent: Talk, root: Path) -> None:
    (root / "d").mkdir()
    agent.put(b"d", b"x")
    refused = agent.commit()[1]
    assert [r.errno for r in refused] == [errno.EISDIR]
    assert _left_over(root) == []


def test_a_folder_without_permission_is_told_with_its_path(agent: Talk, root: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root may write everywhere")
    (root / "d").mkdir(0o555)
    ident = agent.put(b"d/a", b"x")
    agent.put(b"b", b"x")
    done, _ = agent.commit()
    refused = [frame for frame in agent.seen if isinstance(frame, Refused)]
    assert [(r.id, r.errno, r.path) for r in refused] == [(ident, errno.EACCES, b"d/a")]
    assert (done.done, done.failed, done.skipped) == (0, 1, 1)


def test_a_file_for_which_there_is_no_room_is_told_and_the_old_one_stays(
    agent: Talk, root: Path
) -> None:
    (root / "a").write_text("old")
    resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE, (4096, 4096))
    ident = agent.put(b"a", bytes(100_000))
    done, _ = agent.commit()
    refused = [frame for frame in agent.seen if isinstance(frame, Refused)]
    assert [(r.id, r.errno, r.path) for r in refused] == [(ident, errno.EFBIG, b"a")]
    assert done.failed == 1
    assert (root / "a").read_text() == "old"
    assert _left_over(root) == []


def test_20_mb_arrive_whole(agent: Talk, root: Path) -> None:
    content = b"".join(digest(at.to_bytes(4, "big")) for at in range(20 * MB // 32))
    agent.put(b"big", content)
    done, refused = agent.commit()
    assert (done.done, refused) == (1, [])
    assert (root / "big").read_bytes() == content
    assert agent.tree()[b"big"].digest == digest(content)


def test_a_killed_agent_leaves_the_old_content_and_the_next_one_cleans(
    agent: Talk, binary: Path, root: Path
) -> None:
    (root / "d").mkdir()
    (root / "d/a").write_text("old")
    agent.send(Put(5, b"d/a", 0o644, 0, 6), Data(5, b"new"))
    agent.tree()  # it has worked on what was sent when it answers this
    agent.process.kill()
    agent.process.wait()
    assert (root / "d/a").read_text() == "old"
    assert len(_left_over(root)) == 1
    with serving(binary, root) as second:
        welcome = second.hello()
        assert (welcome.alone, welcome.cleaned) == (True, 1)
        assert _left_over(root) == []
        assert set(second.tree()) == {b"d", b"d/a"}


def test_a_second_agent_leaves_alone_what_the_first_one_stages(
    agent: Talk, binary: Path, root: Path
) -> None:
    agent.send(Put(5, b"a", 0o644, 0, 3), Data(5, b"abc"))
    agent.tree()
    with serving(binary, root) as second:
        welcome = second.hello()
        assert (welcome.alone, welcome.cleaned) == (False, 0)
    agent.send(PutEnd(5, digest(b"abc")))
    assert agent.commit()[0].done == 1
    assert (root / "a").read_text() == "abc"


def test_the_end_of_the_input_drops_what_was_staged(agent: Talk, root: Path) -> None:
    agent.put(b"a", b"abc")
    assert agent.end() == (0, b"")
    assert os.listdir(root) == []
