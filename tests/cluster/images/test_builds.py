"""Dockerfiles become images: stages, files, configuration, cache."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from kindling.cluster.images.build_run import BuildFailedError
from kindling.cluster.images.build_steps import BuildOptions
from kindling.cluster.images.builder import build_image
from kindling.cluster.images.dockerfile import DockerfileError
from kindling.cluster.images.protocol import Image
from kindling.cluster.images.reference import parse_reference
from kindling.cluster.images.rootview import RootView
from kindling.cluster.images.store import ImageStore
from kindling.cluster.runtime.fake import FakeProcess, FakeRuntime
from kindling.cluster.runtime.protocol import Isolation, Runtime
from tests.cluster.images.archives import Node, docker_archive, folder, make_tar

BASE = make_tar(
    [
        folder("bin"),
        Node("bin/sh", b"#!"),
        folder("etc"),
        Node("etc/passwd", b"root:x:0:0::/root:/bin/sh\napp:x:12:13::/home/app:/bin/sh\n"),
        Node("etc/group", b"root:x:0:\nstaff:x:50:\n"),
        Node("usr/lib/x", b"x"),
        Node("lib", type=tarfile.SYMTYPE, link="usr/lib"),
    ]
)


class Bench:
    """A context, a store with `base:1`, and builds."""

    def __init__(self, store: ImageStore, place: Path, runtime: Runtime | None = None) -> None:
        self.store = store
        self.context = place
        self.runtime = runtime
        self.said = ""
        self.hanging = asyncio.Event()

    def write(self, name: str, text: str = "", mode: int = 0o644) -> None:
        path = self.context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        os.utime(path, (1_700_000_000, 1_700_000_000))

    async def build(self, dockerfile: str, **options: object) -> Image:
        self.said = ""

        def log(text: str) -> None:
            self.said += text

        made = BuildOptions(dockerfile, self.context, **options)  # type: ignore[arg-type]
        return await build_image(self.store, self.runtime, made, log)

    @property
    def cached(self) -> int:
        return self.said.count("Using cache")


def files(image: Image) -> dict[str, bytes]:
    """Every file of an image, links and folders left out."""
    view = RootView(image.root.layers)
    found: dict[str, bytes] = {}

    def walk(path: str) -> None:
        for name in view.names(path):
            below = f"{path}/{name}".lstrip("/")
            info = view.stat(below)
            assert info is not None
            if stat.S_ISDIR(info.st_mode):
                walk(below)
            elif stat.S_ISREG(info.st_mode):
                found[below] = Path(view.real(below)).read_bytes()

    walk("")
    return found


@pytest.fixture
async def bench(store: ImageStore, tmp_path: Path) -> Bench:
    await store.load(
        docker_archive(tmp_path / "base.tar", ["base:1"], [BASE], Env=["PATH=/bin", "B=base"])
    )
    (tmp_path / "context").mkdir()
    return Bench(store, tmp_path / "context")


async def test_files_of_the_context_are_copied_as_docker_copies_them(bench: Bench) -> None:
    for name in ("a.py", "b.py", "c.txt", "d/e/f.txt", "d/g.log", "tool"):
        bench.write(name, name, 0o755 if name == "tool" else 0o644)
    bench.write(".dockerignore", "**/*.log\n")
    image = await bench.build(
        "FROM scratch\nWORKDIR /w\nCOPY *.py ./\nCOPY d /copied\nCOPY d/e /copied/\n"
        'COPY ["c.txt", "/renamed"]\nCOPY tool c.txt /many/\nCOPY c.txt t*l rel/'
    )
    assert files(image) == {
        "w/a.py": b"a.py",
        "w/b.py": b"b.py",
        "copied/e/f.txt": b"d/e/f.txt",
        "copied/f.txt": b"d/e/f.txt",
        "renamed": b"c.txt",
        "many/tool": b"tool",
        "many/c.txt": b"c.txt",
        "w/rel/c.txt": b"c.txt",
        "w/rel/tool": b"tool",
    }
    view = RootView(image.root.layers)
    info = view.stat("many/tool")
    assert info is not None
    assert stat.S_IMODE(info.st_mode) == 0o755


async def test_the_configuration_says_what_the_dockerfile_says(bench: Bench) -> None:
    image = await bench.build(
        "FROM base:1\nARG V=1\nENV A=${V}x B=\"two words\" C='$V'\nENV OLD form of it\n"
        'LABEL a=b "c d"=e\nEXPOSE 80 53/udp\nVOLUME /data\nUSER app\nWORKDIR /srv\nWORKDIR sub\n'
        'ENTRYPOINT ["/app"]\nCMD serve $A\nSTOPSIGNAL SIGINT',
        labels={"given": "yes"},
    )
    config = image.config
    assert dict(config.env) == {
        "PATH": "/bin",
        "B": "two words",
        "A": "1x",
        "C": "$V",
        "OLD": "form of it",
    }
    assert dict(config.labels) == {"a": "b", "c d": "e", "given": "yes"}
    assert set(config.ports) == {"80/tcp", "53/udp"}
    assert config.volumes == ("/data",)
    assert (config.user, config.cwd, config.stop_signal) == ("app", "/srv/sub", "SIGINT")
    assert config.entrypoint == ("/app",)
    assert config.cmd == ("/bin/sh", "-c", "serve $A")


async def test_a_new_entrypoint_drops_the_bases_command(bench: Bench) -> None:
    image = await bench.build('FROM base:1\nENTRYPOINT ["/x"]')
    assert (image.config.entrypoint, image.config.cmd) == (("/x",), ())


async def test_only_the_stages_that_count_are_built(bench: Bench) -> None:
    bench.write("f", "1")
    dockerfile = (
        "ARG FROM_=base:1\nFROM scratch AS unused\nCOPY nosuch /\n"
        "FROM $FROM_ AS one\nCOPY f /one\nFROM scratch AS two\nCOPY --from=one /one /lib/x /two/\n"
        "FROM two AS three\nCOPY --from=1 /etc/passwd /\nCOPY --from=base:1 /etc/group /"
    )
    image = await bench.build(dockerfile)
    assert set(files(image)) == {"two/one", "two/x", "passwd", "group"}
    image = await bench.build(dockerfile, target="one", args={"FROM_": "scratch"})
    assert files(image) == {"one": b"1"}
    with pytest.raises(DockerfileError, match="failed to reach build target four"):
        await bench.build(dockerfile, target="four")


async def test_copies_go_through_the_links_of_the_image(bench: Bench) -> None:
    bench.write("f", "new")
    image = await bench.build("FROM base:1\nCOPY f /lib/x")
    assert files(image)["usr/lib/x"] == b"new"
    info = RootView(image.root.layers).stat("lib")
    assert info is not None
    assert stat.S_ISLNK(info.st_mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_owners_and_modes_are_given(bench: Bench) -> None:
    bench.write("f", "1")
    image = await bench.build(
        "FROM base:1\nCOPY --chown=app f /a\nCOPY --chown=app:staff --chmod=600 f /b\n"
        "COPY --chown=7 f /c\nCOPY f /d"
    )
    view = RootView(image.root.layers)
    found = [view.stat(name) for name in "abcd"]
    assert [(it.st_uid, it.st_gid) for it in found if it] == [(12, 13), (12, 50), (7, 7), (0, 0)]
    assert found[1] is not None
    assert stat.S_IMODE(found[1].st_mode) == 0o600


async def test_a_folder_that_is_there_keeps_its_own_mode(bench: Bench, tmp_path: Path) -> None:
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        info = tarfile.TarInfo("tmp")
        info.type, info.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(info)
    await bench.store.load(docker_archive(tmp_path / "t.tar", ["t:1"], [layer.getvalue()]))
    bench.write("f", "1")
    image = await bench.build("FROM t:1\nCOPY f /tmp/f")
    assert stat.S_IMODE((image.root.layers[-1] / "tmp").stat().st_mode) == 0o1777


async def test_add_unpacks_archives_and_copy_does_not(bench: Bench) -> None:
    with tarfile.open(bench.context / "a.tgz", "w:gz") as tar:
        info = tarfile.TarInfo("in/side")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"1"))
    image = await bench.build("FROM scratch\nADD a.tgz /added\nCOPY a.tgz /copied/")
    assert set(files(image)) == {"added/in/side", "copied/a.tgz"}


async def test_here_documents_become_files(bench: Bench) -> None:
    image = await bench.build(
        "FROM scratch\nENV x=1\nCOPY <<one <<'two' /d/\nx is $x\none\nx is $x\ntwo\n"
    )
    assert files(image) == {"d/one": b"x is 1\n", "d/two": b"x is $x\n"}


async def test_the_same_inputs_make_the_same_image(bench: Bench, tmp_path: Path) -> None:
    bench.write("d/f", "1")
    dockerfile = "FROM base:1\nCOPY d /d\nWORKDIR /new/place\nENV A=1\nCMD x"
    first = await bench.build(dockerfile)
    other = ImageStore(tmp_path / "other")
    await other.load(tmp_path / "base.tar")
    again = await Bench(other, bench.context).build(dockerfile)
    without_cache = await bench.build(dockerfile, no_cache=True)
    other.close()
    assert first.id == again.id == without_cache.id


async def test_unchanged_steps_come_from_the_cache(bench: Bench) -> None:
    bench.write("a", "1")
    bench.write("b", "1")
    dockerfile = "FROM base:1\nCOPY a /\nCOPY b /\nCOPY a /c"
    await bench.build(dockerfile)
    assert bench.cached == 0
    await bench.build(dockerfile)
    assert bench.cached == 3
    os.utime(bench.context / "a")
    await bench.build(dockerfile)
    assert bench.cached == 3, "times do not count"
    bench.write("b", "2")
    image = await bench.build(dockerfile)
    assert bench.cached == 1
    assert files(image)["b"] == b"2"
    bench.write("b", "2", mode=0o755)
    await bench.build(dockerfile)
    assert bench.cached == 1, "modes count"


@pytest.mark.parametrize(
    ("dockerfile", "said"),
    [
        ("FROM base:1\nCOPY ap.py /", r"stat ap.py: file does not exist. Did you mean `app.py`\?"),
        ("FROM base:1\nCOPY ../../etc/passwd /", "file does not exist"),
        ("FROM base:1\nCOPY out /", "file does not exist"),
        ("FROM base:1\nCOPY app.py app.py /x", "more than one source file"),
        ("FROM base:1\nCOPY --chown=nobody2 app.py /", "line 2.*no such user: nobody2"),
        ("FROM base:1\nENV a", "line 2: ENV must have two arguments"),
        ("FROM base:1\nRUN --mount=type=ssh x", "type=ssh is not supported"),
        ("FROM base:1\nRUN --mount=tpye=cache x", "unexpected key 'tpye'.*`type`"),
        ("FROM --platform=linux/s390x base:1", "builds for linux/.* alone, not for linux/s390x"),
        ("FROM ${x}", "should not be blank"),
        ("FROM base:1\nEXPOSE 99999", "invalid containerPort: 99999"),
        ("FROM base:1\nRUN x", "RUN needs a runtime"),
    ],
)
async def test_errors_say_what_and_where(bench: Bench, dockerfile: str, said: str) -> None:
    bench.write("app.py")
    (bench.context / "out").symlink_to("/etc/passwd")
    with pytest.raises(DockerfileError, match=said):
        await bench.build(dockerfile)
    assert os.listdir(bench.store.blobs.temporary) == []


async def test_tags_name_the_result(bench: Bench) -> None:
    image = await bench.build(
        "FROM base:1\nCMD x", tags=(parse_reference("web"), parse_reference("a.io/web:2"))
    )
    assert image.names == ("a.io/web:2", "docker.io/library/web:latest")


# RUN ---------------------------------------------------------------------------------------------


def fake(bench: Bench) -> FakeRuntime:
    """A runtime whose shell knows `write FILE`, `fail` and `hang`."""
    runtime = FakeRuntime()

    async def shell(process: FakeProcess) -> int:
        script = process.argv[-1]
        process.write(f"running {script}\n")
        upper = process.spec.folder / "upper"
        upper.mkdir()
        verb, _, name = script.partition(" ")
        if verb == "fail":
            return 3
        if verb == "hang":
            bench.hanging.set()
            await asyncio.Event().wait()
        (upper / name).write_text(process.env.get("A", "none"))
        (upper / "proc").mkdir()
        return 0

    runtime.programs["sh"] = shell
    bench.runtime = runtime
    return runtime


async def test_what_a_command_changed_is_the_next_layer(bench: Bench) -> None:
    runtime = fake(bench)
    dockerfile = "FROM base:1\nARG A=arg\nRUN write out\nENV A=env\nUSER app\nRUN write two"
    image = await bench.build(dockerfile, args={"HTTP_PROXY": "p"})
    found = files(image)
    assert (found["out"], found["two"]) == (b"arg", b"env")
    assert not (image.root.layers[1] / "proc").exists(), "made only to mount something there"
    first, second = runtime.started
    assert first.argv == ("/bin/sh", "-c", "write out")
    assert dict(first.env) == {
        "PATH": "/bin",
        "B": "base",
        "A": "arg",
        "HTTP_PROXY": "p",
        "HOME": "/root",
    }
    assert (second.user, dict(second.env)["HOME"]) == ("app", "/home/app")
    assert second.root.layers == image.root.layers[:2]
    assert "running write out\n" in bench.said
    await bench.build(dockerfile)
    assert bench.cached == 2
    assert len(runtime.started) == 2
    await bench.build(dockerfile, args={"A": "other"})
    assert len(runtime.started) == 4


async def test_a_command_that_fails_says_its_code(bench: Bench) -> None:
    fake(bench)
    with pytest.raises(BuildFailedError) as raised:
        await bench.build("FROM base:1\nRUN fail now")
    assert str(raised.value) == "The command '/bin/sh -c fail now' returned a non-zero code: 3"
    assert raised.value.code == 3
    assert os.listdir(bench.store.blobs.temporary) == []


async def test_a_cancelled_build_leaves_nothing_running(bench: Bench) -> None:
    runtime = fake(bench)
    task = asyncio.create_task(bench.build("FROM base:1\nRUN hang on"))
    async with asyncio.timeout(10):
        await bench.hanging.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert runtime.running == {}
    assert os.listdir(bench.store.blobs.temporary) == []


async def test_without_isolation_no_command_is_run(bench: Bench) -> None:
    bench.runtime = FakeRuntime(Isolation(False, False, False, False, False, ("not Linux",)))
    with pytest.raises(DockerfileError, match="does not let us have: not Linux"):
        await bench.build("FROM base:1\nRUN x")
