"""Specifications and images that mean harm, or are merely odd: one clear error each, or no harm."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from kindling.cluster.model.streams import ExecRequest
from kindling.cluster.runtime.protocol import Mount, RootFs, StartError
from tests.cluster.runtime.conftest import Bench, one_loop

pytestmark = [one_loop, pytest.mark.parametrize("bench", ["root", "rootless"], indirect=True)]


async def test_a_target_with_dots_stays_in_the_container(bench: Bench, space: Path) -> None:
    volume = bench.make_folder("volume")
    (volume / "x").write_text("inside")
    name = f"escaped-{os.getpid()}"
    said, ended = await bench.shell(
        f"cat /{name}/x", mounts=(Mount(f"/a/../../../../../../{name}", volume),)
    )
    assert (said, ended.code) == ("inside", 0)
    assert name not in os.listdir("/")
    assert name not in os.listdir(space)


async def test_links_of_an_image_lead_nowhere_but_into_it(bench: Bench) -> None:
    outside = bench.make_folder("outside")
    layer = bench.make_folder("layer")
    (layer / "absolute").symlink_to(outside)
    (layer / "relative").symlink_to("../" * 20 + str(outside)[1:])
    volume = bench.make_folder("volume")
    (volume / "x").write_text("inside")
    said, ended = await bench.shell(
        "cat /absolute/x /relative/more/x; echo written > /absolute/y",
        root=RootFs((layer,), host=True),
        mounts=(Mount("/absolute", volume), Mount("/relative/more", volume)),
    )
    assert (said, ended.code) == ("insideinside", 0)
    assert list(outside.iterdir()) == []


async def test_a_system_folder_that_is_a_link_is_refused(bench: Bench) -> None:
    for name in ("proc", "dev", "sys"):
        layer = bench.make_folder(f"layer-{name}")
        (layer / name).symlink_to("/tmp")
        with pytest.raises(StartError, match=f"must be mounted on ordinary directory: /{name}"):
            await bench.run("true", root=RootFs((layer,)))


async def test_nothing_is_mounted_over_the_system(bench: Bench) -> None:
    layer = bench.make_folder("layer")
    (layer / "link-to-proc").symlink_to("/proc")
    volume = bench.make_folder("volume")
    root = RootFs((layer,), host=True)
    for target in ("/proc", "/proc/self", "/", "/..", "/link-to-proc/sys"):
        with pytest.raises(StartError, match="cannot be mounted because"):
            await bench.run("true", root=root, mounts=(Mount(target, volume),))


async def test_device_files_that_an_app_makes_are_none(bench: Bench) -> None:
    """Or the machine's disks would be open to it. /dev/zero stands for them."""
    script = (
        "for d in / /dev /v /mem /tmp /dev/shm; do mknod $d/x c 1 5 2>/dev/null &&"
        " head -c 1 $d/x >/dev/null 2>&1 && echo reached $d; done;"
        " echo x > /dev/null && head -c 1 /dev/zero | wc -c"
    )
    mounts = (Mount("/v", bench.make_folder("volume")), Mount("/mem", None))
    assert (await bench.shell(script, mounts=mounts))[0] == "1\n"
    if bench.kind == "root":
        said, _ = await bench.shell(script, privileged=True)
        assert said.startswith("reached /\n")


async def test_a_volume_that_cannot_be_says_which(bench: Bench, space: Path) -> None:
    with pytest.raises(StartError, match=r"failed to mount '.*missing' to rootfs at '/v': no such"):
        await bench.run("true", mounts=(Mount("/v", space / "missing"),))
    with pytest.raises(StartError, match="mount destination 'v' not absolute"):
        await bench.run("true", mounts=(Mount("v", space),))
    with pytest.raises(StartError, match="failed to mount at '/etc/passwd'"):
        await bench.run("true", mounts=(Mount("/etc/passwd", space),))


async def test_a_layer_that_is_missing_says_which(bench: Bench, space: Path) -> None:
    with pytest.raises(StartError, match=r"failed to mount rootfs: .*/no-layer: no such file"):
        await bench.run("true", root=RootFs((space / "no-layer",)))


async def test_programs_that_cannot_be_executed_say_why(bench: Bench) -> None:
    layer = bench.make_folder("layer")
    (layer / "text").write_text("no program\n")
    (layer / "garbage").write_bytes(b"\x7fELFgarbage")
    (layer / "garbage").chmod(0o755)
    (layer / "script").write_text("#!/no/interpreter\n")
    (layer / "script").chmod(0o755)
    (layer / "folder").mkdir()
    root = RootFs((layer,), host=True)
    for program, why in (
        ("/text", r'^exec: "/text": permission denied$'),
        ("/garbage", r"^exec /garbage: exec format error$"),
        ("/script", r"^exec /script: no such file or directory$"),
        ("/folder", r'^exec: "/folder": is a directory$'),
        ("/etc/passwd/x", r'^exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory$'),
        ("", r'^exec: "": executable file not found in \$PATH$'),
        ("x" * 5000, "executable file not found"),
        ("true\0x", "embedded null"),
    ):
        with pytest.raises(StartError, match=why):
            await bench.run(program, root=root)


async def test_an_image_without_anything_lacks_even_a_shell(bench: Bench) -> None:
    with pytest.raises(StartError, match=r'exec: "sh": executable file not found in \$PATH'):
        await bench.run("sh", root=RootFs())


async def test_a_working_folder_that_is_a_file_or_relative_is_refused(bench: Bench) -> None:
    with pytest.raises(StartError, match=r"chdir to cwd .* failed: not a directory"):
        await bench.run("true", cwd="/etc/passwd")
    with pytest.raises(StartError, match="must be an absolute path"):
        await bench.run("true", cwd="etc")


async def test_a_huge_environment_arrives_whole(bench: Bench) -> None:
    env = tuple((f"VARIABLE_{number}", "é" * 100) for number in range(5000))
    said, ended = await bench.shell("env | grep -c VARIABLE", env=env)
    assert (said, ended.code) == ("5000\n", 0)
    with pytest.raises(StartError, match="argument list too long"):
        await bench.run("true", env=(("BIG", "x" * 300_000),))
    said, _ = await bench.shell("echo $GOOD", env=(("", "x"), ("A=B", "y"), ("GOOD", "g")))
    assert said == "g\n"


async def test_strange_names_are_only_names(bench: Bench) -> None:
    strange = 'a\nb:c,d\\e "f" é'
    layer = bench.make_folder(f"layer-{strange}")
    (layer / strange).write_text("found")
    container = await bench.run(
        "cat", f"/{strange}", f"/v/{strange}/{strange}",
        id=f"id-{strange}",
        root=RootFs((layer,), host=True),
        mounts=(Mount(f"/v/{strange}", layer),),
    )  # fmt: skip
    assert await container.stdout.read() == b"foundfound"
    assert (await container.wait()).code == 0
    await container.remove()


async def test_a_container_that_hides_its_system_can_still_be_entered(bench: Bench) -> None:
    volume = bench.make_folder("volume")
    container = await bench.run("sleep", "1000", mounts=(Mount("/etc", volume),))
    process = await container.exec(ExecRequest(("id", "-u")))
    assert process.stdout is not None
    assert await process.stdout.read() == b"0\n"


async def test_a_fork_bomb_of_orphans_ends_with_its_container(bench: Bench) -> None:
    script = "i=0; while [ $i -lt 200 ]; do setsid sleep 1000 & i=$((i+1)); done; echo; sleep 1000"
    container = await bench.run("sh", "-c", script)
    await container.stdout.readline()
    container.signal(9)
    async with asyncio.timeout(10):
        await container.wait()
        assert await container.stdout.read() == b""


async def test_a_start_that_nobody_waits_for_leaves_nothing(bench: Bench) -> None:
    starting = asyncio.ensure_future(bench.run("sleep", "1000", id="given-up"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    spec = bench.spec("true", id="given-up-again")
    again = await bench.runtime.run(replace(spec, id="given-up"))  # the id is free, as if never
    assert (await again.wait()).code == 0


async def test_a_start_that_failed_leaves_no_files(bench: Bench) -> None:
    spec = bench.spec("/no-such")
    with pytest.raises(StartError, match="no such file"):
        await bench.runtime.run(spec)
    assert list(spec.folder.iterdir()) == []


async def test_descriptors_do_not_pile_up(bench: Bench) -> None:
    async def round_trip() -> None:
        container = await bench.run("sleep", "1000")
        process = await container.exec(ExecRequest(("cat",), stdin=True, tty=True))
        await process.end()
        with pytest.raises(StartError):
            await container.exec(ExecRequest(("no-such",), tty=True))
        with pytest.raises(StartError):
            await bench.run("no-such", tty=True)
        await container.remove()
        await asyncio.sleep(0)

    def opened() -> tuple[int, int]:
        guard = bench.runtime.launcher_pid
        (launcher,) = Path(f"/proc/{guard}/task/{guard}/children").read_text().split()
        return len(os.listdir("/proc/self/fd")), len(os.listdir(f"/proc/{launcher}/fd"))

    await round_trip()
    before = opened()
    for _ in range(5):
        await round_trip()
    assert opened() == before
