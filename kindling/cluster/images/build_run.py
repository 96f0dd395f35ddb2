"""RUN: a command in a container on the layers so far, whose private layer becomes the next one."""

from __future__ import annotations

import asyncio
import codecs
import os
import re
import stat
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from kindling.cluster.images.blobs import remove_tree
from kindling.cluster.images.dockerfile import DockerfileError
from kindling.cluster.images.layer_tar import END, changes, entry_bytes
from kindling.cluster.images.rootview import RootView, is_opaque
from kindling.cluster.images.store import ImageStore
from kindling.cluster.images.threads import in_thread
from kindling.cluster.runtime.protocol import (
    ContainerSpec,
    Mount,
    RootFs,
    Runtime,
    SandboxSpec,
    StartError,
)

__all__ = ["BuildFailedError", "Command", "read_table", "run_command"]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MACHINE_FILES = ("etc/resolv.conf", "etc/hosts")
_PLACES = ("proc", "sys", "dev", "etc/resolv.conf", "etc/hosts", "etc/hostname")
"""What the runtime may have made only to mount something there."""


class BuildFailedError(DockerfileError):
    """A command of a build ended with another code than 0."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. `shown` is how Docker names it when it fails; `network` is `none` or empty."""

    argv: tuple[str, ...]
    env: dict[str, str]
    root: RootFs
    cwd: str = "/"
    user: str = ""
    network: str = ""
    mounts: tuple[Mount, ...] = ()
    shown: str = field(default="", compare=False)


async def run_command(
    store: ImageStore, runtime: Runtime, command: Command, log: Callable[[str], None]
) -> tuple[str, str, int]:
    """Run it; the diff id, blob and size (of the blob) of the layer that it made.

    Raises:
        BuildFailedError: The command failed.
        DockerfileError: It could not be started.
    """
    isolation = runtime.isolation
    if not isolation.root:
        why = f": {isolation.missing[0]}" if isolation.missing else ""
        raise DockerfileError(
            f"RUN needs a root file system of its own, which this machine does not let us have{why}"
        )
    view = RootView(command.root.layers, host=command.root.host)
    number = uuid.uuid4().hex
    folder = store.blobs.new_path()
    folder.mkdir()
    upper = store.blobs.new_path()
    try:
        await _contain(runtime, command, view, number, folder, upper, log)
        return await in_thread(lambda stop: _keep(store, view, upper, command.mounts, stop))
    finally:
        for left in (folder, upper):
            if left.exists():
                await asyncio.to_thread(remove_tree, left)


async def _contain(
    runtime: Runtime,
    command: Command,
    view: RootView,
    number: str,
    folder: Path,
    upper: Path,
    log: Callable[[str], None],
) -> None:
    try:
        await runtime.create_sandbox(
            SandboxSpec(number, "buildkitsandbox", host_network=command.network != "none")
        )
        container = await runtime.run(
            ContainerSpec(
                id=number,
                sandbox=number,
                folder=folder,
                root=command.root,
                argv=command.argv,
                env=tuple(_environment(command, view).items()),
                cwd=command.cwd,
                user=command.user,
                mounts=(*_machine_files(folder), *command.mounts),
            )
        )
    except StartError as error:
        await runtime.remove_sandbox(number)
        raise DockerfileError(f"failed to run `{command.shown}`: {error}") from error
    try:
        async with asyncio.TaskGroup() as group:
            for stream in (container.stdout, container.stderr):
                if stream is not None:
                    group.create_task(_follow(stream, log), name="output of RUN")
            ended = await container.wait()
        if ended.code != 0:
            why = " (out of memory)" if ended.out_of_memory else ""
            raise BuildFailedError(
                f"The command '{command.shown}' returned a non-zero code: {ended.code}{why}",
                ended.code,
            )
        if not (folder / "upper").is_dir():
            raise DockerfileError("the runtime keeps no private layer, so RUN changes nothing")
        os.rename(folder / "upper", upper)
    finally:
        await asyncio.shield(_let_go(container.remove, runtime, number))


async def _let_go(remove: Callable[[], object], runtime: Runtime, number: str) -> None:
    result = remove()
    if asyncio.iscoroutine(result):
        await result
    await runtime.remove_sandbox(number)


async def _follow(stream: asyncio.StreamReader, log: Callable[[str], None]) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while data := await stream.read(65536):
        if text := decoder.decode(data):
            log(text)


def _environment(command: Command, view: RootView) -> dict[str, str]:
    env = dict(command.env)
    env.setdefault("PATH", _PATH)
    if "HOME" not in env:
        env["HOME"] = _home(command.user.partition(":")[0] or "0", view)
    return env


def _home(user: str, view: RootView) -> str:
    for row in read_table(view, "etc/passwd"):
        if len(row) >= 6 and user in (row[0], row[2]):
            return row[5] or "/"
    return "/root" if user in ("0", "root") else "/"


def read_table(view: RootView, path: str) -> list[list[str]]:
    """The rows of /etc/passwd or /etc/group of an image."""
    path = view.resolve(path)
    info = view.stat(path)
    if info is None or not stat.S_ISREG(info.st_mode) or info.st_size > 1 << 20:
        return []
    text = Path(view.real(path)).read_text("utf-8", "replace")
    return [line.split(":") for line in text.splitlines() if line and not line.startswith("#")]


def _machine_files(folder: Path) -> tuple[Mount, ...]:
    """How names are looked up, as on this machine: a build uses its network. A name server on the
    machine's own loopback cannot be reached from there; since the runtime lets those of the machine
    answer whatever server was asked, any other address will do."""
    found = []
    for name in _MACHINE_FILES:
        path = Path(os.path.realpath(f"/{name}"))
        if not path.is_file():
            continue
        if name == "etc/resolv.conf":
            text = path.read_text("utf-8", "replace")
            mended = re.sub(r"(?m)^(\s*nameserver\s+)(?:127\.\S+|::1)", r"\g<1>192.0.2.53", text)
            if mended != text:
                path = folder / "resolv.conf"
                path.write_text(mended, "utf-8")
        found.append(Mount(f"/{name}", path, read_only=True))
    return tuple(found)


def _keep(
    store: ImageStore, view: RootView, upper: Path, mounts: tuple[Mount, ...], stop: Event
) -> tuple[str, str, int]:
    """Make a layer of the private one. Blocking."""
    for mount in mounts:
        _unmake(view, upper, mount.target.strip("/"))
    for place in _PLACES:
        _unmake(view, upper, place)
    writer = store.blobs.writer()
    size = 0
    try:
        for entry in changes(str(upper)):
            for piece in entry_bytes(entry, stop):
                writer.write(piece)
            if entry.source:
                size += os.lstat(entry.source).st_size
        writer.write(END)
        digest = writer.commit()
    finally:
        writer.abort()
    store.layers.adopt(upper, digest, size)
    return digest, digest, writer.size


def _unmake(view: RootView, upper: Path, place: str) -> None:
    """Take out of a private layer what was made only to mount something there: an empty file or
    folder that the image lacks, and the folders above that are then as they were."""
    while place:
        path = upper / place
        below = view.stat(place)
        try:
            info = path.lstat()
            if stat.S_ISDIR(info.st_mode):
                same = below is not None and (below.st_mode, below.st_uid, below.st_gid) == (
                    info.st_mode,
                    info.st_uid,
                    info.st_gid,
                )
                if (below is not None and not same) or is_opaque(str(path)):
                    return
                path.rmdir()
            elif below is None and info.st_size == 0 and stat.S_ISREG(info.st_mode):
                path.unlink()
            else:
                return
        except OSError:
            return  # it is not there, or holds something
        place = os.path.dirname(place)
