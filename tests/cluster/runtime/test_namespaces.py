"""What a container in namespaces sees of itself and of others, as root and as any user."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from kindling.cluster.model.streams import ExecRequest
from kindling.cluster.runtime.protocol import Mount, RootFs, StartError
from tests.cluster.runtime.conftest import Bench, one_loop

pytestmark = [one_loop, pytest.mark.parametrize("bench", ["root", "rootless"], indirect=True)]


async def test_the_app_is_process_one_and_alone(bench: Bench) -> None:
    said, _ = await bench.shell("echo $$; ls -d /proc/[0-9]* | wc -l; hostname")
    assert said.split()[0] == "1"
    assert int(said.split()[1]) <= 3
    assert said.split()[2] == "web-1"


async def test_a_pod_has_its_own_address_and_reaches_the_node_and_other_pods(bench: Bench) -> None:
    other = await bench.sandbox("other", "web-2")
    assert bench.address.startswith("10.199.")
    assert len({other.address, bench.address, bench.runtime.node_address}) == 3
    serve = (
        "import socket; s = socket.create_server(('0.0.0.0', 80)); print('up', flush=True);"
        "c, a = s.accept(); c.sendall(a[0].encode())"
    )
    container = await bench.run("python3", "-c", serve, sandbox="other", user="1000:1000")
    assert await container.stdout.readline() == b"up\n"
    script = f"import socket; print(socket.create_connection(('{other.address}', 80)).recv(99))"
    said, ended = await _python(bench, script)
    assert ended == 0, said
    assert said == f"b'{bench.address}'\n"


async def _python(bench: Bench, script: str) -> tuple[str, int]:
    said, ended = await bench.shell(f'python3 -c "{script}"')
    return said, ended.code


async def test_every_service_address_is_the_nodes(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    with bench.runtime.open_socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind(("10.198.7.9", 443))
        server.listen()
        script = "import socket; print(socket.create_connection(('10.198.7.9', 443)).recv(9))"
        asking = asyncio.ensure_future(_python(bench, script))
        made, address = await loop.sock_accept(server)
        assert address[0] == bench.address
        await loop.sock_sendall(made, b"service")
        made.close()
        assert await asking == ("b'service'\n", 0)


async def test_containers_of_a_pod_share_network_host_name_and_shared_memory(bench: Bench) -> None:
    first = await bench.run("sh", "-c", "echo there > /dev/shm/x; echo; sleep 1000")
    await first.stdout.readline()
    said, _ = await bench.shell("cat /dev/shm/x; readlink /proc/self/ns/net /proc/self/ns/ipc")
    process = await first.exec(ExecRequest(("readlink", "/proc/self/ns/net", "/proc/self/ns/ipc")))
    assert process.stdout is not None
    assert said == "there\n" + (await process.stdout.read()).decode()


async def test_a_pod_on_the_nodes_network_has_its_address(bench: Bench) -> None:
    node = await bench.sandbox("node", "n", host_network=True)
    assert node.address == bench.runtime.node_address
    said, _ = await bench.shell("cat /proc/net/dev; hostname", sandbox="node")
    assert "kindling0" in said
    assert said.endswith("n\n")


async def test_processes_can_be_shared_in_a_pod(bench: Bench) -> None:
    await bench.sandbox("both", "b", shared_pids=True)
    first = await bench.run("sleep", "4321", sandbox="both")
    said, _ = await bench.shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", sandbox="both")
    assert "sleep 4321" in said
    await bench.runtime.remove_sandbox("both")
    assert (await first.wait()).code == 137


async def test_what_a_container_writes_stays_in_its_private_layer(bench: Bench) -> None:
    mark = f"/etc/kindling-test-{os.getpid()}"
    spec = bench.spec("sh", "-c", f"echo mine > {mark} && echo more > /top && cat {mark}")
    container = await bench.runtime.run(spec)
    assert await container.stdout.read() == b"mine\n"
    await container.wait()
    assert {Path(mark).name, "top"}.isdisjoint({*os.listdir("/etc"), *os.listdir("/")})
    assert (spec.folder / "upper" / mark[1:]).read_text() == "mine\n"
    assert (spec.folder / "upper/top").read_text() == "more\n"
    await container.remove()
    assert list(spec.folder.iterdir()) == []


async def test_layers_lie_over_each_other_and_over_the_machine(bench: Bench) -> None:
    low, high = bench.make_folder("low"), bench.make_folder("high")
    for layer, text in ((low, "low"), (high, "high")):
        (layer / "app").mkdir()
        (layer / "app" / "both").write_text(text)
        (layer / "app" / text).write_text(text)
    (low / "etc").mkdir()
    (low / "etc" / "only-here").write_text("mine")
    said, _ = await bench.shell(
        "cat /app/both /app/low /app/high /etc/only-here; test -e /etc/passwd && echo;"
        " ls /usr/bin/env",
        root=RootFs((low, high), host=True),
    )
    assert said == "highlowhighmine\n/usr/bin/env\n"


async def test_an_image_without_anything_runs_a_static_program(bench: Bench, space: Path) -> None:
    layer = _static_image(space)
    said, ended = "", -1
    container = await bench.run("/hi", "word", root=RootFs((layer,)))
    said, ended = (await container.stdout.read()).decode(), (await container.wait()).code
    assert (said, ended) == ("hi word\n", 7)


def _static_image(space: Path) -> Path:
    import shutil
    import subprocess

    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    layer = space / "static"
    layer.mkdir()
    source = space / "hi.c"
    source.write_text(
        '#include <stdio.h>\nint main(int n, char **v) { printf("hi %s\\n", v[1]); return 7; }\n'
    )
    subprocess.run([compiler, "-static", "-o", layer / "hi", source], check=True)
    return layer


async def test_volumes_are_folders_files_and_memory(bench: Bench) -> None:
    folder = bench.make_folder("volume")
    (folder / "inside").write_text("in")
    file = bench.folder / "file"
    file.write_text("one")
    said, ended = await bench.shell(
        "cat /deep/er/inside /etc/one; echo new > /deep/er/new;"
        " echo x 2>/dev/null > /ro/x || echo refused; echo 1 > /mem/1; ls /mem;"
        " df -k /mem | tail -1 | awk '{print $2}'; cat /deep/er/nested/inside",
        mounts=(
            Mount("/deep/er/nested", folder, read_only=True),
            Mount("/deep/er", folder),
            Mount("/etc/one", file),
            Mount("/ro", folder, read_only=True),
            Mount("/mem", None, size=1 << 20),
        ),
    )
    assert ended.code == 0, said
    assert said == "inonerefused\n1\n1024\nin"
    assert (folder / "new").read_text() == "new\n"


async def test_a_read_only_root_refuses_and_volumes_do_not(bench: Bench) -> None:
    folder = bench.make_folder("volume")
    said, _ = await bench.shell(
        "echo x 2>&1 > /etc/x || echo refused; echo y > /v/y && cat /v/y; pwd",
        mounts=(Mount("/v", folder),),
        read_only_root=True,
        cwd="/made/here",
    )
    assert said.splitlines()[-3:] == ["refused", "y", "/made/here"]


async def test_users_come_from_the_images_own_files(bench: Bench) -> None:
    layer = bench.make_folder("users")
    (layer / "etc").mkdir()
    (layer / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\napp:x:1234:2345::/home/app:/x\n")
    (layer / "etc/group").write_text("root:x:0:\nmain:x:2345:\nmore:x:777:app\n")
    root = RootFs((layer,), host=True)
    for user, want in (
        ("app", "1234 2345 /home/app"),
        ("1234", "1234 2345 /home/app"),
        ("4321", "4321 0 /"),
        ("app:more", "1234 777 /home/app"),
        ("55:66", "55 66 /"),
    ):
        said, _ = await bench.shell("echo $(id -u) $(id -g) $HOME", user=user, root=root)
        assert said == want + "\n", user
    if bench.runtime.isolation.users:
        said, _ = await bench.shell("id -G", user="app", groups=(99,), root=root)
        assert set(said.split()) == {"2345", "777", "99"}
    with pytest.raises(StartError, match="unable to find user nobody-here: no matching entries in"):
        await bench.run("id", user="nobody-here", root=root)
    with pytest.raises(StartError, match="unable to find group no: no matching entries in group"):
        await bench.run("id", user="app:no", root=root)


async def test_a_further_process_has_the_containers_user_and_environment(bench: Bench) -> None:
    container = await bench.run("sleep", "1000", user="1000:2000", env=(("A", "b c"),), cwd="/opt")
    process = await container.exec(ExecRequest(("sh", "-c", "id -u; id -g; echo $A; pwd")))
    assert process.stdout is not None
    assert await process.stdout.read() == b"1000\n2000\nb c\n/opt\n"


async def test_capabilities_are_dockers_unless_asked_for(bench: Bench) -> None:
    async def effective(**more: object) -> int:
        said, _ = await bench.shell("grep CapEff /proc/self/status", **more)
        return int(said.split()[1], 16)

    assert await effective() == 0xA80425FB
    assert await effective(add_capabilities=("NET_ADMIN",)) == 0xA80425FB | 1 << 12
    assert await effective(drop_capabilities=("ALL",), add_capabilities=("CHOWN",)) == 1
    assert await effective(drop_capabilities=("CAP_CHOWN",)) == 0xA80425FB & ~1
    assert await effective(privileged=True) & 1 << 21
    assert await effective(user="1000") == 0
    with pytest.raises(StartError, match='unknown capability "CAP_FLY"'):
        await bench.run("true", add_capabilities=("FLY",))


async def test_the_system_is_masked_unless_privileged(bench: Bench) -> None:
    script = (
        "wc -c < /proc/keys; echo x 2>/dev/null > /proc/sys/kernel/domainname || echo ro;"
        " test -w /sys && echo rw; true"
    )
    said, _ = await bench.shell(script)
    assert said.split() == ["0", "ro"]


async def test_the_environment_is_the_specifications_and_little_else(bench: Bench) -> None:
    said, _ = await bench.shell(
        "env -0 | sort -z | tr '\\0' '\\n'", env=(("B", "2"), ("A", "x\ny=z"))
    )
    assert said == (
        "A=x\ny=z\nB=2\nHOME=/root\nHOSTNAME=web-1\n"
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPWD=/\n"
    )


async def test_nothing_of_ours_is_open_in_a_container(bench: Bench) -> None:
    container = await bench.run("sleep", "1000")
    for command in ("ls /proc/1/fd", "ls /proc/self/fd"):
        process = await container.exec(ExecRequest(("sh", "-c", f"{command} | tr '\\n' ' '")))
        assert process.stdout is not None
        assert (await process.stdout.read()).split() in ([b"0", b"1", b"2"], [*b"0 1 2 3".split()])


async def test_signals_are_as_a_fresh_process_has_them(bench: Bench) -> None:
    said, _ = await bench.shell("grep -E 'SigIgn|SigBlk' /proc/self/status; umask; ulimit -n")
    words = said.split()
    blocked, ignored = int(words[1], 16), int(words[3], 16)
    # 32 and 33 are the C library's own: whoever started the tests may have had them ignored, and no
    # program can tell.
    assert (blocked, ignored & ~(0b11 << 31)) == (0, 0)
    assert words[4] == "0022"


async def test_a_terminal_is_a_terminal(bench: Bench) -> None:
    container = await bench.run(
        "sh", "-c", "tty; read x; stty size; echo got $x", tty=True, stdin=True
    )
    assert container.stderr is None
    assert container.stdin is not None
    assert b"/dev/pts/0" in await container.stdout.readline()
    container.resize(132, 43)
    container.stdin.write(b"line\n")
    said = await container.stdout.read()
    assert said.replace(b"\r", b"").split(b"\n")[1:3] == [b"43 132", b"got line"]
    assert (await container.wait()).code == 0


async def test_a_further_process_may_have_a_terminal(bench: Bench) -> None:
    container = await bench.run("sleep", "1000")
    process = await container.exec(
        ExecRequest(
            ("sh", "-c", "tty; echo problem >&2; read x; echo $x $TERM"), stdin=True, tty=True
        )
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is None
    assert b"/dev/pts/" in await process.stdout.readline()
    assert b"problem" in await process.stdout.readline()
    process.stdin.write(b"typed\n")
    assert b"typed xterm" in await process.stdout.read()
    assert await process.wait() == 0
    tried = ExecRequest(("no-such",), tty=True)
    with pytest.raises(StartError, match="executable file not found"):
        await container.exec(tried)


async def test_a_container_that_needs_too_much_memory_is_killed_for_it(bench: Bench) -> None:
    script = "x = []\nwhile True: x.append(bytearray(1 << 20))"
    container = await bench.run("python3", "-c", script, memory=60 << 20)
    ended = await container.wait()
    assert (ended.code, ended.signal, ended.out_of_memory) == (137, 9, True)
    if bench.runtime.isolation.memory:
        _, ended = await bench.shell(f"python3 -c '{script}'; exit $?", memory=60 << 20)
        assert (ended.code, ended.signal, ended.out_of_memory) == (137, 0, True)
    killed = await bench.run("sleep", "1000", memory=60 << 20)
    killed.signal(9)
    assert (await killed.wait()).out_of_memory is False


async def test_limits_can_be_read_where_programs_look_for_them(bench: Bench) -> None:
    if not bench.runtime.isolation.memory or "memory" not in os.listdir("/sys/fs/cgroup"):
        pytest.skip("needs control groups of the first version that are ours to divide")
    said, _ = await bench.shell(
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us",
        memory=100 << 20,
        cpus=0.5,
    )
    assert said.split() == [str(100 << 20), "50000"]
