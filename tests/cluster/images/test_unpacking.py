"""Layers become folders, and nothing in an archive reaches out of them."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kindling.cluster.images.rootview import RootView
from kindling.cluster.images.tape import ArchiveError, Limits
from kindling.cluster.images.unpack import OPAQUE, unpack
from tests.cluster.images.archives import Node, folder, make_tar

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def put(to: Path, *nodes: Node, limits: Limits = Limits()) -> Path:  # noqa: B008
    to.mkdir(exist_ok=True, parents=True)
    unpack(io.BytesIO(make_tar(nodes)), to, limits=limits)
    return to


def test_files_folders_and_links_come_out_as_they_went_in(tmp_path: Path) -> None:
    root = put(
        tmp_path / "l",
        folder("etc"),
        Node("etc/passwd", b"root:x:0:0", mode=0o640),
        Node("link", type=tarfile.SYMTYPE, link="/etc/passwd"),
        Node("hard", type=tarfile.LNKTYPE, link="etc/passwd"),
        Node("deep/er/file", b"x"),
    )
    assert (root / "etc/passwd").read_bytes() == b"root:x:0:0"
    assert stat.S_IMODE((root / "etc/passwd").stat().st_mode) == 0o640
    assert os.readlink(root / "link") == "/etc/passwd"
    assert (root / "hard").samefile(root / "etc/passwd")
    assert (root / "deep/er/file").read_bytes() == b"x"


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_are_whole(tmp_path: Path, form: int) -> None:
    name = "/".join(["d" * 120] * 3 + ["ünï" * 20])
    (tmp_path / "l").mkdir()
    unpack(io.BytesIO(make_tar([Node(name, b"1")], format=form)), tmp_path / "l")
    assert (tmp_path / "l" / name).read_bytes() == b"1"


def test_a_sparse_file_keeps_its_holes(tmp_path: Path) -> None:
    source = tmp_path / "sparse"
    with source.open("wb") as file:
        file.seek(8 << 20)
        file.write(b"end")
    packed = tmp_path / "s.tar"
    assert os.system(f"tar --sparse -C {tmp_path} -cf {packed} sparse") == 0
    (tmp_path / "l").mkdir()
    with packed.open("rb") as file:
        unpack(file, tmp_path / "l")
    made = tmp_path / "l" / "sparse"
    assert made.read_bytes() == source.read_bytes()
    assert made.stat().st_blocks * 512 < 1 << 20


def test_deletions_become_what_overlayfs_takes(tmp_path: Path) -> None:
    root = put(tmp_path / "l", Node("a/.wh.gone"), Node("b/.wh..wh..opq"), Node("b/new", b"1"))
    info = os.lstat(root / "a/gone")
    assert stat.S_ISCHR(info.st_mode)
    assert info.st_rdev == 0
    assert os.getxattr(root / "b", OPAQUE) == b"y"
    assert sorted(os.listdir(root / "b")) == ["new"]


def test_a_deletion_spares_what_its_own_layer_brings(tmp_path: Path) -> None:
    root = put(tmp_path / "l", Node("x", b"1"), Node(".wh.x"), Node(".wh.y"), Node("y", b"2"))
    assert (root / "x").read_bytes() == b"1"
    assert (root / "y").read_bytes() == b"2"


def test_the_last_of_several_entries_of_one_name_wins(tmp_path: Path) -> None:
    root = put(
        tmp_path / "l",
        Node("a", b"1"),
        folder("a"),
        Node("a/b", b"2"),
        Node("a", b"3"),
        Node("s", type=tarfile.SYMTYPE, link="/etc"),
        Node("s", b"4"),
    )
    assert (root / "a").read_bytes() == b"3"
    assert (root / "s").read_bytes() == b"4"
    assert not (root / "s").is_symlink()


def test_owners_are_kept_or_recorded(tmp_path: Path) -> None:
    (tmp_path / "l").mkdir()
    done = unpack(io.BytesIO(make_tar([Node("f", b"", uid=1234)])), tmp_path / "l")
    if os.geteuid() == 0:
        assert (tmp_path / "l/f").stat().st_uid == 1234
    else:
        assert done.owners == {"f": (1234, 0)}


@NEEDS_ROOT
def test_capabilities_of_files_are_kept(tmp_path: Path) -> None:
    value = bytes.fromhex("0100000200040000000000000000000000000000")
    text = value.decode("utf-8", "surrogateescape")
    root = put(tmp_path / "l", Node("ping", b"x", pax={"SCHILY.xattr.security.capability": text}))
    assert os.getxattr(root / "ping", "security.capability") == value


def test_an_archive_may_not_speak_to_overlayfs(tmp_path: Path) -> None:
    pax = {"SCHILY.xattr.user.overlay.redirect": "/etc", "SCHILY.xattr.user.mine": "1"}
    root = put(tmp_path / "l", Node("f", b"x", pax=pax))
    assert "user.overlay.redirect" not in os.listxattr(root / "f")
    assert os.getxattr(root / "f", "user.mine") == b"1"


HOSTILE = {
    "dots": [Node("../evil", b"x")],
    "dots inside": [Node("a/../../evil", b"x")],
    "hard link out": [Node("l", type=tarfile.LNKTYPE, link="../secret")],
    "hard link to a file of the machine": [Node("l", type=tarfile.LNKTYPE, link="/etc/passwd")],
    "hard link to a folder": [folder("d"), Node("l", type=tarfile.LNKTYPE, link="d")],
    "hard link to a deletion": [Node(".wh.d"), Node("l", type=tarfile.LNKTYPE, link="d")],
    "below a file": [Node("f", b""), Node("f/g", b"x")],
    "deletes above": [Node(".wh...", b"")],
    "deletes itself": [Node(".wh.", b"")],
    "loop of links": [
        Node("a", type=tarfile.SYMTYPE, link="b"),
        Node("b", type=tarfile.SYMTYPE, link="a"),
        Node("a/x", b"x"),
    ],
    "name too long": [Node("n" * 300, b"x")],
}


@pytest.mark.parametrize("nodes", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_entries_are_refused(tmp_path: Path, nodes: list[Node]) -> None:
    (tmp_path / "secret").write_text("s")
    with pytest.raises(ArchiveError):
        put(tmp_path / "a/b/l", *nodes)
    assert sorted(os.listdir(tmp_path)) == ["a", "secret"]
    assert os.listdir(tmp_path / "a/b") == ["l"]
    assert (tmp_path / "secret").stat().st_nlink == 1


def test_links_out_of_the_root_are_followed_inside_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = put(
        tmp_path / "l",
        Node("abs", type=tarfile.SYMTYPE, link=str(outside)),
        Node("abs/f", b"x"),
        Node("up", type=tarfile.SYMTYPE, link="../../../../outside"),
        Node("up/g", b"y"),
        Node("/absolute", b"z"),
    )
    assert os.listdir(outside) == []
    assert (root / str(outside)[1:] / "f").read_bytes() == b"x"
    assert (root / "outside/g").read_bytes() == b"y"
    assert (root / "absolute").read_bytes() == b"z"


def test_an_existing_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("safe")
    put(tmp_path / "l", Node("f", type=tarfile.SYMTYPE, link=str(victim)), Node("f", b"evil"))
    assert victim.read_text() == "safe"


def test_devices_are_left_out(tmp_path: Path) -> None:
    root = put(
        tmp_path / "l", Node("null", type=tarfile.CHRTYPE), Node("sda", type=tarfile.BLKTYPE)
    )
    assert os.listdir(root) == []


def test_too_much_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="more than 3 entries"):
        put(tmp_path / "a", *(Node(str(n)) for n in range(4)), limits=Limits(entries=3))
    with pytest.raises(ArchiveError, match="more than 10000 bytes"):
        put(tmp_path / "b", Node("f", b"x" * 20_000), limits=Limits(size=10_000))


def test_a_header_that_wants_all_memory_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 32
    (tmp_path / "l").mkdir()
    with pytest.raises(ArchiveError, match="header"):
        unpack(io.BytesIO(info.tobuf(tarfile.USTAR_FORMAT) + b"\0" * 4096), tmp_path / "l")


@settings(max_examples=60)
@given(st.binary(max_size=2000))
def test_noise_is_refused_and_harms_nothing(noise: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name, "l")
        place.mkdir()
        base = make_tar([folder("d"), Node("d/f", b"x" * 700)])
        damaged = base[:512] + noise + base[512 + len(noise) :]
        with contextlib.suppress(ArchiveError):
            unpack(io.BytesIO(damaged), place)
        assert os.listdir(name) == ["l"]


# Layers on layers --------------------------------------------------------------------------------

_NAMES = st.sampled_from(["a", "b", "c"])
_STEP = st.one_of(
    st.tuples(st.just("write"), st.lists(_NAMES, min_size=1, max_size=3), st.binary(max_size=3)),
    st.tuples(st.just("delete"), st.lists(_NAMES, min_size=1, max_size=3), st.just(b"")),
    st.tuples(st.just("clear"), st.lists(_NAMES, min_size=1, max_size=2), st.just(b"")),
)
Model = dict[str, "Model | bytes"]


def _apply(model: Model, kind: str, path: list[str], data: bytes) -> Node | None:
    """Do to a tree of dicts what a layer of one entry does; None where it makes no sense."""
    *above, name = path
    at = model
    for part in above:
        below = at.get(part)
        if below is None and kind == "write":
            below = at[part] = {}
        if not isinstance(below, dict):
            return None
        at = below
    if kind == "write":
        at[name] = data
        return Node("/".join(path), data)
    if name not in at:
        return None
    if kind == "delete":
        del at[name]
        return Node("/".join([*above, f".wh.{name}"]))
    if not isinstance(at[name], dict):
        return None
    at[name] = {}
    return Node("/".join([*path, ".wh..wh..opq"]))


def _read(view: RootView, path: str = "") -> Model:
    found: Model = {}
    for name in view.names(path):
        below = f"{path}/{name}" if path else name
        info = view.stat(below)
        assert info is not None
        if stat.S_ISDIR(info.st_mode):
            found[name] = _read(view, below)
        else:
            found[name] = Path(view.real(below)).read_bytes()
    return found


@settings(max_examples=80, deadline=None)
@given(st.lists(_STEP, max_size=10))
def test_layers_on_top_of_each_other_show_what_was_done_in_order(
    steps: list[tuple[str, list[str], bytes]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        model: Model = {}
        layers: list[Path] = []
        for kind, path, data in steps:
            tried = _copy(model)
            node = _apply(tried, kind, path, data)
            if node is None:
                continue
            model = tried
            layers.append(put(Path(name, str(len(layers))), node))
        assert _read(RootView(layers)) == model


def _copy(model: Model) -> Model:
    return {key: _copy(it) if isinstance(it, dict) else it for key, it in model.items()}
