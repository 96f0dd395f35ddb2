"""Runtimes under test. Nothing is faked but `FakeRuntime`; each is given a folder of its own.

`rootless` runs the launcher as the user nobody, with the system's Python, from a test that is root:
what it can do is what any user can.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kindling.cluster.runtime.fake import FakeRuntime
from kindling.cluster.runtime.launcher import LauncherRuntime
from kindling.cluster.runtime.plain import PlainRuntime
from kindling.cluster.runtime.protocol import (
    Container,
    ContainerExit,
    ContainerSpec,
    RootFs,
    Runtime,
    SandboxSpec,
    StartError,
)

NOBODY = 65534
KINDS = ("fake", "plain", "root", "rootless")


@dataclass
class Bench:
    """A started runtime with a sandbox `pod`, and short words for what tests do with it."""

    kind: str
    runtime: Any
    folder: Path
    address: str = ""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def make_folder(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(parents=True)
        if self.kind == "rootless":
            os.chown(path, NOBODY, NOBODY)
        return path

    def spec(self, *argv: str, **more: Any) -> ContainerSpec:
        key = more.pop("id", f"c{next(self._numbers)}")
        more.setdefault("root", RootFs(host=True))
        more.setdefault("sandbox", "pod")
        return ContainerSpec(id=key, folder=self.make_folder(key), argv=argv, **more)

    async def run(self, *argv: str, **more: Any) -> Container:
        container: Container = await self.runtime.run(self.spec(*argv, **more))
        return container

    async def shell(self, script: str, **more: Any) -> tuple[str, ContainerExit]:
        """What a script says on both streams, and how it ended."""
        container = await self.run("sh", "-c", script, **more)
        assert container.stderr is not None
        said = await asyncio.gather(container.stdout.read(), container.stderr.read())
        ended = await container.wait()
        await container.remove()
        return b"".join(said).decode(), ended


def interpreter_of(kind: str) -> tuple[str, ...]:
    """Skips where a kind cannot be had."""
    if kind == "plain":
        return (sys.executable,)
    if sys.platform != "linux":
        pytest.skip("namespaces need Linux")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if kind == "root":
        return (sys.executable,)
    setpriv = shutil.which("setpriv")
    if setpriv is None or not Path("/usr/bin/python3").exists():
        pytest.skip("needs setpriv and the system's own Python")
    user = str(NOBODY)
    return (setpriv, "--reuid", user, "--regid", user, "--clear-groups", "/usr/bin/python3")


@pytest.fixture
def space() -> Iterator[Path]:
    """A folder that nobody may enter too, which pytest's own are not."""
    path = Path(tempfile.mkdtemp(prefix="kindling-runtime-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


async def make_runtime(kind: str, folder: Path) -> Runtime:
    if kind == "fake":
        return FakeRuntime()
    words = interpreter_of(kind)
    os.mkdir(folder)
    if kind == "plain":
        plain = PlainRuntime(folder)
        await plain.start()
        return plain
    if kind == "rootless":
        os.chown(folder, NOBODY, NOBODY)
    runtime = LauncherRuntime(folder, interpreter=words)
    try:
        await runtime.start()
    except StartError as error:
        pytest.skip(f"this machine has no {kind} containers: {error}")
    return runtime


@pytest.fixture
async def bench(request: pytest.FixtureRequest, space: Path) -> AsyncIterator[Bench]:
    """The kind is the parameter; `root` without one."""
    kind = getattr(request, "param", "root")
    runtime = await make_runtime(kind, space / "runtime")
    made = Bench(kind, runtime, space)
    try:
        sandbox = await runtime.create_sandbox(SandboxSpec("pod", "web-1"))
        made.address = sandbox.address
        yield made
    finally:
        await runtime.close()
