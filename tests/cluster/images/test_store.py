"""Archives in, images out; what is removed is gone, and what is used stays."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import zstandard

from kindling.cluster.images.protocol import Image, PullError
from kindling.cluster.images.reference import parse_reference
from kindling.cluster.images.store import ImageInUseError, ImageStore
from kindling.cluster.images.tape import ArchiveError
from tests.cluster.images.archives import Node, docker_archive, folder, make_tar, oci_layout

BASE = make_tar([folder("bin"), Node("bin/sh", b"#!", mode=0o755)])
TOP = make_tar([Node("app", b"1")])


def content(image: Image, name: str) -> bytes:
    for layer in reversed(image.root.layers):
        if (layer / name).exists():
            return (layer / name).read_bytes()
    raise FileNotFoundError(name)


def everything(folder: Path) -> list[str]:
    return sorted(
        f"{part}/{name}"
        for part in ("blobs/sha256", "layers", "tmp")
        for name in os.listdir(folder / part)
    )


async def test_an_archive_of_docker_becomes_an_image(store: ImageStore, tmp_path: Path) -> None:
    path = docker_archive(
        tmp_path / "a.tar",
        ["web:1", "localhost:5000/web:2"],
        [BASE, TOP],
        Env=["A=b=c", "P=/bin"],
        Entrypoint=["/app"],
        User="7:8",
        WorkingDir="/srv",
        ExposedPorts={"80/tcp": {}},
        Labels={"l": "v"},
        StopSignal="SIGINT",
    )
    [image] = await store.load(path)
    assert image.names == ("docker.io/library/web:1", "localhost:5000/web:2")
    assert store.find("web:1") == store.find("localhost:5000/web:2") == store.find(image.id)
    assert content(image, "app") == b"1"
    assert content(image, "bin/sh") == b"#!"
    assert image.config.entrypoint == ("/app",)
    assert image.config.env == (("A", "b=c"), ("P", "/bin"))
    assert (image.config.user, image.config.cwd) == ("7:8", "/srv")
    assert image.config.labels == (("l", "v"),)
    assert image.size == 3
    assert image.created == 981173106
    assert store.find("web:2") is None


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
async def test_a_compressed_archive_is_one_too(store: ImageStore, tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    path = docker_archive(tmp_path / "a.tar", ["web:1"], [BASE, TOP])
    path.write_bytes(pack(path.read_bytes()))
    [image] = await store.load(path)
    assert content(image, "app") == b"1"


async def test_an_oci_layout_gives_the_image_of_this_machine(
    store: ImageStore, tmp_path: Path
) -> None:
    [image] = await store.load(oci_layout(tmp_path / "a.tar", "example.com/web:1", [BASE, TOP]))
    assert image.names == ("example.com/web:1",)
    assert content(image, "app") == b"1"


async def test_what_is_saved_can_be_loaded_elsewhere(store: ImageStore, tmp_path: Path) -> None:
    [image] = await store.load(docker_archive(tmp_path / "a.tar", ["web:1"], [BASE, TOP]))
    saved = tmp_path / "saved.tar"
    with saved.open("wb") as file:
        async for piece in store.save(("web:1",)):
            file.write(piece)
    other = ImageStore(tmp_path / "other")
    try:
        [again] = await other.load(saved)
        assert (again.id, again.names) == (image.id, image.names)
        with tarfile.open(saved) as tar:
            assert {"index.json", "manifest.json", "oci-layout"} <= set(tar.getnames())
    finally:
        other.close()


async def test_a_reopened_store_has_what_it_had(tmp_path: Path) -> None:
    first = ImageStore(tmp_path / "s")
    [image] = await first.load(docker_archive(tmp_path / "a.tar", ["web:1"], [BASE]))
    first.close()
    second = ImageStore(tmp_path / "s")
    found = second.find("web:1")
    second.close()
    assert found == image


async def test_leftovers_of_a_killed_process_are_collected(tmp_path: Path) -> None:
    first = ImageStore(tmp_path / "s")
    await first.load(docker_archive(tmp_path / "a.tar", ["web:1"], [BASE]))
    before = everything(tmp_path / "s")
    first.blobs.put(b"a blob whose manifest never came")
    (first.blobs.new_path() / "fs").mkdir(parents=True)
    with (tmp_path / "t.tar").open("wb") as file:
        file.write(TOP)
    with (tmp_path / "t.tar").open("rb") as file:
        first.layers.unpack(file)
    assert everything(tmp_path / "s") != before
    first.catalogue.close()  # as a kill leaves it
    ImageStore(tmp_path / "s").close()
    assert everything(tmp_path / "s") == before


async def test_an_image_whose_files_were_taken_away_is_not_there(tmp_path: Path) -> None:
    first = ImageStore(tmp_path / "s")
    [image] = await first.load(docker_archive(tmp_path / "a.tar", ["web:1"], [BASE]))
    first.layers.remove("sha256:" + image.root.layers[0].parent.name)
    first.close()
    second = ImageStore(tmp_path / "s")
    assert second.find("web:1") is None
    second.close()


BAD = {
    "no archive": b"this is no tar",
    "empty": b"",
    "neither manifest nor index": make_tar([Node("x", b"")]),
    "manifest is no list": make_tar([Node("manifest.json", b"{}")]),
    "manifest is no JSON": make_tar([Node("manifest.json", b"[")]),
    "config is missing": make_tar([Node("manifest.json", b'[{"Config": "c", "Layers": []}]')]),
    "config leads away": make_tar(
        [Node("manifest.json", b'[{"Config": "../../../etc/passwd", "Layers": []}]')]
    ),
    "config is a link away": make_tar(
        [
            Node("c", type=tarfile.SYMTYPE, link="/etc/passwd"),
            Node("manifest.json", b'[{"Config": "c", "Layers": []}]'),
        ]
    ),
    "index of nothing for us": make_tar([Node("index.json", b'{"manifests": [{"digest": "x"}]}')]),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
async def test_what_is_no_archive_is_refused_and_leaves_nothing(
    store: ImageStore, tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "bad.tar"
    path.write_bytes(data)
    with pytest.raises(ArchiveError):
        await store.load(path)
    assert everything(tmp_path / "images") == []
    assert len(store.all()) == 1  # the machine itself


async def test_a_layer_that_is_not_what_the_image_says_is_refused(
    store: ImageStore, tmp_path: Path
) -> None:
    path = docker_archive(tmp_path / "a.tar", ["web:1"], [BASE])
    path.write_bytes(path.read_bytes().replace(b"#!", b"#?"))
    with pytest.raises(ArchiveError, match="unpacks to"):
        await store.load(path)
    assert os.listdir(tmp_path / "images/layers") == []
    assert store.find("web:1") is None


async def test_removing_the_last_name_frees_what_no_other_image_needs(
    store: ImageStore, tmp_path: Path
) -> None:
    await store.load(docker_archive(tmp_path / "a.tar", ["base:1"], [BASE]))
    kept = everything(tmp_path / "images")
    [image] = await store.load(docker_archive(tmp_path / "b.tar", ["web:1", "web:2"], [BASE, TOP]))
    first = store.remove("web:1")
    assert (first.untagged, first.deleted) == (("docker.io/library/web:1",), ())
    second = store.remove("web:2")
    assert second.deleted == (image.id,)
    assert everything(tmp_path / "images") == kept
    with pytest.raises(KeyError):
        store.remove("web:2")


async def test_an_image_in_use_is_kept(store: ImageStore, tmp_path: Path) -> None:
    [image] = await store.load(docker_archive(tmp_path / "a.tar", ["web:1"], [BASE]))
    store.in_use = lambda: frozenset({image.id})
    with pytest.raises(ImageInUseError):
        store.remove("web:1")
    store.remove("web:1", force=True)
    store.collect(grace=0.0)
    assert store.find("web:1") is None
    assert content(image, "bin/sh") == b"#!"
    store.in_use = frozenset
    with store.lease(image.id):
        store.prune()
        assert content(image, "bin/sh") == b"#!"
    store.prune()
    assert not image.root.layers[0].exists()


async def test_a_damaged_list_of_images_is_put_aside(tmp_path: Path) -> None:
    first = ImageStore(tmp_path / "s")
    await first.load(docker_archive(tmp_path / "a.tar", ["web:1"], [BASE]))
    first.close()
    (tmp_path / "s/images.db").write_bytes(b"this is no database at all" * 100)
    second = ImageStore(tmp_path / "s")
    assert second.find("web:1") is None
    assert (tmp_path / "s/images.broken").exists()
    await second.load(tmp_path / "a.tar")
    assert second.find("web:1") is not None
    second.close()


KILLED = """
import asyncio, os, sys, threading
from pathlib import Path
from kindling.cluster.images.store import ImageStore

store = ImageStore(Path(sys.argv[1]))

async def work():
    for path in sys.argv[3:]:
        await store.load(Path(path))
        print(path, flush=True)

threading.Timer(float(sys.argv[2]), lambda: os.kill(os.getpid(), 9)).start()
asyncio.run(work())
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("seconds", [0.005, 0.02, 0.05])
def test_a_process_killed_while_it_loads_leaves_whole_images_or_none(
    tmp_path: Path, seconds: float
) -> None:
    paths = []
    for at in range(6):
        nodes = [Node(f"d{n}/f{at}", os.urandom(2000)) for n in range(200)]
        paths.append(str(docker_archive(tmp_path / f"{at}.tar", [f"w:{at}"], [make_tar(nodes)])))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "s"), str(seconds), *paths],
        stdout=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == -9
    acknowledged = done.stdout.decode().split()
    again = ImageStore(tmp_path / "s")
    try:
        for path in acknowledged:
            assert again.find(f"w:{Path(path).stem}") is not None
        for image in again.all()[:-1]:
            assert sum(1 for it in image.root.layers[0].rglob("f*") if it.is_file()) == 200
        assert os.listdir(tmp_path / "s/tmp") == []
        assert len(os.listdir(tmp_path / "s/layers")) == len(again.all()) - 1
        assert len(os.listdir(tmp_path / "s/blobs/sha256")) == 3 * (len(again.all()) - 1)
    finally:
        again.close()


async def test_a_name_moves_to_the_newest_image(store: ImageStore, tmp_path: Path) -> None:
    [old] = await store.load(docker_archive(tmp_path / "a.tar", ["web:1"], [BASE]))
    [new] = await store.load(docker_archive(tmp_path / "b.tar", ["web:1"], [TOP]))
    assert store.find("web:1") == new
    left = store.find(old.id)
    assert left is not None
    assert left.names == ()
    store.prune()
    assert store.find(old.id) is None
    assert store.find("web:1") == new


async def test_images_without_a_name_do_not_pile_up(store: ImageStore, tmp_path: Path) -> None:
    for at in range(30):
        layer = make_tar([Node("n", str(at).encode())])
        await store.load(docker_archive(tmp_path / "a.tar", ["web:1"], [layer]))
    assert len(store.all()) <= 22
    assert content(store.all()[-2], "n") == b"29"


async def test_names_of_our_own_registry_are_found_whatever_its_port(
    store: ImageStore, tmp_path: Path
) -> None:
    store.serve_as(("localhost:5001", "registry.local:5000"))
    [image] = await store.load(docker_archive(tmp_path / "a.tar", ["localhost:5001/a:1"], [BASE]))
    assert store.find("registry.local:5000/a:1") == image
    assert await store.pull("registry.local:5000/a:1") == image
    store.serve_as(("localhost:6001",))
    found = store.find("localhost:6001/a:1")
    assert found is not None
    assert found.names == ("localhost:6001/a:1",)
    assert store.find("localhost:5001/a:1") is None


async def test_the_machine_itself_is_an_image_that_stays(store: ImageStore) -> None:
    image = store.find("kindling.dev/host:anything")
    assert image is not None
    assert image.root.host
    assert image.root.layers == ()
    assert image == await store.pull("kindling.dev/host")
    assert dict(image.config.env)["PATH"].startswith("/usr/local/sbin:")
    with pytest.raises(KeyError):
        store.remove("kindling.dev/host")


async def test_a_misspelt_name_of_the_host_image_does_not_go_out(store: ImageStore) -> None:
    """Whoever came to own that domain would choose what runs here."""
    with pytest.raises(PullError, match="there is only"):
        await store.pull("kindling.dev/hsot:latest")


async def test_an_image_of_another_kind_of_machine_is_refused_by_name(
    store: ImageStore, tmp_path: Path
) -> None:
    path = docker_archive(tmp_path / "a.tar", ["web:1"], [BASE])
    from kindling.cluster.images.manifest import machine

    name = machine()[1].encode()
    path.write_bytes(path.read_bytes().replace(b'"' + name + b'"', b'"' + b"z" * len(name) + b'"'))
    with pytest.raises(ArchiveError, match="another kind of machine"):
        await store.load(path)


async def test_tagging_gives_one_more_name(store: ImageStore, tmp_path: Path) -> None:
    [image] = await store.load(docker_archive(tmp_path / "a.tar", ["web:1"], [BASE]))
    store.tag(image.id, parse_reference("other:2"))
    found = store.find("other:2")
    assert found is not None
    assert found.id == image.id
