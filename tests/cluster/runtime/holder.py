"""A program that holds a runtime with some containers, to be killed by a test.

Arguments: the kind, a folder, a word that stands in every process's command line. Prints a line of
JSON once all is up, then waits for ever.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from kindling.cluster.runtime.launcher import LauncherRuntime
from kindling.cluster.runtime.plain import PlainRuntime
from kindling.cluster.runtime.protocol import ContainerSpec, RootFs, SandboxSpec

# Beside the shell: a child, and one that has left its session and its parent.
SCRIPT = """
sh -c 'sleep 1000; : WORD' &
setsid sh -c 'sleep 1000; : WORD' &
echo up
while :; do sleep 1000; done
"""


def make_folder(path: Path, like: Path) -> Path:
    """A folder that belongs to whom another belongs."""
    path.mkdir()
    status = like.stat()
    os.chown(path, status.st_uid, status.st_gid)
    return path


async def main(kind: str, folder: Path, word: str) -> None:
    runtime: LauncherRuntime | PlainRuntime
    if kind == "plain":
        runtime = PlainRuntime(folder / "runtime")
    else:
        interpreter = tuple(json.loads(sys.argv[4]))
        runtime = LauncherRuntime(folder / "runtime", interpreter=interpreter)
    await runtime.start()
    await runtime.create_sandbox(SandboxSpec("pod", "web"))
    container = None
    for number in range(2):
        own = make_folder(folder / str(number), folder)
        container = await runtime.run(
            ContainerSpec(
                id=f"c{number}",
                sandbox="pod",
                folder=own,
                root=RootFs(host=True),
                argv=("sh", "-c", SCRIPT.replace("WORD", word)),
                memory=200 << 20,
            )
        )
        await container.stdout.readline()
    told = {"guard": runtime.launcher_pid, "container": container.pid if container else 0}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
