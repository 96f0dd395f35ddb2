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
import pytest_asyncio

from kindling.cluster.runtime.fake import FakeRuntime
from kindling.cluster.runtime.launcher import LauncherRuntime
from kindling.cluster.runtime.plain import PlainRuntime
from kindling.cluster.runtime.protocol import (
    Container,
    ContainerExit,
    ContainerSpec,
    RootFs,
    Runtime,
    Sandbox,
    SandboxSpec,
    StartError,
)

NOBODY = 65534
_numbers = itertools.count(1)
one_loop = pytest.mark.asyncio(loop_scope="module")
KINDS = ("fake", "plain", "root", "rootless")


@dataclass
class Bench:
    """A started runtime with a sandbox `pod`, and short words for what tests do with it."""

    kind: str
    runtime: Any
    folder: Path
    address: str = ""
    closed: bool = False
    further: list[str] = field(default_factory=list)

    async def sandbox(self, key: str, hostname: str, **more: bool) -> Sandbox:
        """One more, for this test."""
        made: Sandbox = await self.runtime.create_sandbox(SandboxSpec(key, hostname, **more))
        self.further.append(key)
        return made

    async def close(self) -> None:
        """Close the runtime, which no other test gets then."""
        self.closed = True
        await self.runtime.close()

    def make_folder(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(parents=True)
        if self.kind == "rootless":
            os.chown(path, NOBODY, NOBODY)
        return path

    def spec(self, *argv: str, **more: Any) -> ContainerSpec:
        key = more.pop("id", f"c{next(_numbers)}")
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
    path = make_space()
    yield path
    shutil.rmtree(path, ignore_errors=True)


def make_space() -> Path:
    path = Path(tempfile.mkdtemp(prefix="kindling-runtime-"))
    path.chmod(0o755)
    return path


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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runtimes() -> AsyncIterator[dict[str, tuple[Runtime, Path]]]:
    """Started once for the tests of a module, which take it away when they close it."""
    made: dict[str, tuple[Runtime, Path]] = {}
    try:
        yield made
    finally:
        for runtime, folder in made.values():
            await runtime.close()
            shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(loop_scope="module")
async def bench(
    request: pytest.FixtureRequest, space: Path, runtimes: dict[str, tuple[Runtime, Path]]
) -> AsyncIterator[Bench]:
    """The kind is the parameter. A module of such tests is marked with `one_loop`."""
    kind: str = request.param
    if kind not in runtimes:
        folder = make_space()
        runtimes[kind] = await make_runtime(kind, folder / "runtime"), folder
    runtime, folder = runtimes[kind]
    made = Bench(kind, runtime, space)
    sandbox = await runtime.create_sandbox(SandboxSpec("pod", "web-1"))
    made.address = sandbox.address
    try:
        yield made
    finally:
        if made.closed:
            del runtimes[kind]
            shutil.rmtree(folder, ignore_errors=True)
        else:
            for key in ("pod", *made.further):
                await runtime.remove_sandbox(key)
