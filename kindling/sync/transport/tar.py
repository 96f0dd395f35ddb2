"""A link without an agent: the image's own `tar` and shell, for where none can be placed, such as
where every folder that can be written forbids to run programs.

Each batch and each look at the tree is a command of its own. Files are unpacked beside their
places and moved there, so that a reader still sees the old one or the new one; the batch becomes
visible in its order. What it cannot: restart the program, differences of big files, and a look at
the tree costs its whole content on the wire.
"""

from __future__ import annotations

import asyncio
import posixpath
import secrets
import shlex
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import IO

from kindling.errors import ClusterError
from kindling.kube.errors import TimeLimitError
from kindling.kube.exec import NoProgramError
from kindling.kube.protocol import Cluster, ExecResult, ExecStream
from kindling.sync.agent.frames import Status
from kindling.sync.protocol import (
    CannotCarryError,
    Container,
    Contents,
    LinkLostError,
    NoRoomError,
    Process,
    Sent,
)
from kindling.sync.transport.archive import entries_of, packed, processes_of
from kindling.sync.transport.running import Lines, silently
from kindling.sync.transport.signals import number_of
from kindling.sync.transport.trouble import DENIED, FULL, hint, text_of
from kindling.sync.trees.batch import Batch
from kindling.sync.trees.manifest import EMPTY, TreeManifest, of_container

__all__ = ["TarLink"]

_PIECE = 1 << 20
_SPOOL = 32 << 20
_NEEDED = "for tool in tar mv mkdir rm rmdir ln chmod head; do command -v $tool || exit 9; done"
_APPLY = """
umask 0
stage=$1/.kindling-tmp-tar-$2
mkdir -m 700 "$stage" || exit 1
trap 'rm -rf "$stage"' EXIT
head -c "$3" | tar -xmf - -C "$stage" || exit 1
cd /
. "$stage/script"
"""
_TREE = """
cd / || exit 1
count=$#
while [ "$count" -gt 0 ]; do
  place=$1; shift; count=$((count - 1))
  if [ -e "$place" ] || [ -L "$place" ]; then set -- "$@" "$place"; fi
done
[ $# -eq 0 ] || exec tar -cf - -- "$@" 2>/dev/null
"""
_RESOLVE = """
place=/$1 rest=
while [ -n "$place" ] && [ ! -d "$place" ]; do
  rest=/${place##*/}$rest place=${place%/*}
done
cd -P "${place:-/}" && printf '%s' "$(pwd -P)$rest"
"""
_PROCESSES = r"""
for folder in /proc/[0-9]*; do
  {
    printf '\001kindling\001'; cat "$folder/stat"
    printf '\001'; cat "$folder/cmdline"
  } 2>/dev/null
done
"""
_ERRNOS = (
    ("Read-only file system", 30),
    ("No space left", 28),
    ("Permission denied", 13),
    ("Operation not permitted", 1),
    ("quota", 122),
    ("File name too long", 36),
)


class TarLink:
    """`kindling.sync.protocol.Link`; that Protocol documents the methods. Make it with `open`."""

    def __init__(self, cluster: Cluster, container: Container) -> None:
        self._cluster = cluster
        self._container = container
        self._batches = asyncio.Lock()

    @classmethod
    async def open(cls, cluster: Cluster, container: Container) -> TarLink | None:
        """None where the image lacks what it needs."""
        link = cls(cluster, container)
        ended, _ = await link._shell(_NEEDED)
        return link if ended.code == 0 else None

    @property
    def machine(self) -> str:
        return ""

    @property
    def way(self) -> str:
        return "tar"

    async def resolve(self, place: str) -> str:
        ended, said = await self._shell(_RESOLVE, place.strip("/"))
        if ended.code != 0:
            return place.strip("/")
        return said.decode("utf-8", "surrogateescape").strip("/")

    async def tree(self, places: Sequence[str], skip: Collection[str] = ()) -> TreeManifest:
        if not places:
            return EMPTY
        if any(not place.strip("/") for place in places):
            raise CannotCarryError(
                f"All of {self._container} cannot be read without an agent",
                hint="Sync to a folder of its own.",
            )
        with await asyncio.to_thread(_spool) as spool:
            async with self._running(_TREE, *places) as stream:
                while data := await stream.read():
                    await asyncio.to_thread(spool.write, data)
                await stream.ended()
            entries = await asyncio.to_thread(entries_of, spool, frozenset(skip))
        return of_container(entries) if entries else EMPTY

    async def apply(self, batch: Batch, contents: Contents) -> Sent:
        began = time.perf_counter()
        if not batch:
            return Sent(0, 0, 0.0)
        with await asyncio.to_thread(_spool) as spool:
            size = await asyncio.to_thread(packed, spool, batch.operations, contents)
            spool.seek(0)
            async with self._batches:
                folder = await self._folder_for(batch)
                words = (folder, secrets.token_hex(4), str(size))
                async with self._running(_APPLY, *words) as stream:
                    await self._feed(stream, spool)
                    ended = await stream.ended()
        if ended.code != 0:
            raise self._refused(ended)
        return Sent(len(batch), size, time.perf_counter() - began)

    async def try_out(self, place: str) -> None:
        folder = posixpath.dirname(f"/{place}")
        ended, _ = await self._shell('test ! -d "$1" || test -w "$1"', folder)
        if ended.code != 0:
            raise CannotCarryError(
                f"Cannot change `{folder}` in {self._container}: {text_of(DENIED)}",
                hint=hint(DENIED, f"/{place}", None),
            )

    async def run(
        self,
        argv: Sequence[str],
        *,
        folder: str = "/",
        variables: Mapping[str, str] | None = None,
        log: Callable[[str], None] | None = None,
        timeout: float = 600.0,
    ) -> int:
        words = [f"{name}={value}" for name, value in (variables or {}).items()]
        setting = "".join(f"export {shlex.quote(word)}\n" for word in words)
        script = f'{setting}cd "$1" && shift && exec "$@" 2>&1'
        lines = Lines(log or silently)
        try:
            async with asyncio.timeout(timeout):
                async with self._running(script, folder, *argv) as stream:
                    while data := await stream.read():
                        lines.feed(data)
                    ended = await stream.ended()
        except TimeoutError as error:
            raise TimeLimitError(
                f"`{' '.join(argv)}` in {self._container} did not end within {timeout:.0f} s; it "
                "may go on, since nothing there can stop it"
            ) from error
        lines.end()
        return ended.code

    async def read(self, path: str, most: int = 1 << 20) -> bytes | None:
        ended, said = await self._shell('head -c "$1" "$2"', str(most), path)
        return said if ended.code == 0 else None

    async def processes(self) -> tuple[Process, ...]:
        _, said = await self._shell(_PROCESSES)
        return processes_of(said)

    async def signal(self, pid: int, name: str) -> None:
        number = number_of(name)
        ended, _ = await self._shell('kill -s "$1" -- "$2"', str(number), str(pid))
        if ended.code != 0:
            raise ClusterError(
                f"Cannot send SIG{name.upper().removeprefix('SIG')} to process {pid} in "
                f"{self._container}",
                details=_said(ended),
            )

    async def status(self) -> Status | None:
        return None

    async def restart(self, name: str = "TERM", grace: float = 10.0) -> Status:
        del name, grace
        raise CannotCarryError(
            f"Cannot restart the program in {self._container}: no agent of kindling runs there",
            hint="Let kindling mount its agent, which changes the pod template for the time of "
            "the session.",
        )

    async def close(self) -> None:
        return None

    async def _folder_for(self, batch: Batch) -> str:
        """The folder to unpack in: the nearest one that is there above all that changes, so that
        moving is no copying where they are on one file system."""
        paths = [one.path.split("/")[:-1] for one in batch]
        common = paths[0]
        for path in paths[1:]:
            while path[: len(common)] != common:
                common = common[:-1]
        script = 'p=$1; while [ ! -d "$p" ]; do p=${p%/*}; p=${p:-/}; done; printf %s "$p"'
        _, said = await self._shell(script, "/" + "/".join(common))
        return said.decode("utf-8", "surrogateescape")

    async def _feed(self, stream: ExecStream, spool: IO[bytes]) -> None:
        """Write all of the archive; a script that ended early says by its end why."""
        while data := await asyncio.to_thread(spool.read, _PIECE):
            try:
                await stream.write(data)
            except ClusterError:
                await stream.ended()  # raises where it was the connection
                return

    async def _shell(self, script: str, *words: str) -> tuple[ExecResult, bytes]:
        async with self._running(script, *words) as stream:
            said = b""
            while data := await stream.read():
                said += data
            return await stream.ended(), said

    @asynccontextmanager
    async def _running(self, script: str, *words: str) -> AsyncIterator[ExecStream]:
        container = self._container
        try:
            stream = await self._cluster.open_exec(
                container.namespace,
                container.pod,
                container.name,
                ("sh", "-c", script, "sh", *words),
            )
        except NoProgramError:
            raise
        except ClusterError as error:
            raise _lost(container, error) from error
        try:
            yield stream
        except (CannotCarryError, TimeLimitError, LinkLostError):
            raise
        except ClusterError as error:
            raise _lost(container, error) from error
        finally:
            await stream.close()

    def _refused(self, ended: ExecResult) -> ClusterError:
        said = _said(ended)
        message = f"Cannot change the files of {self._container}"
        text = " ".join(said)
        for words, number in _ERRNOS:
            if words in text:
                cannot = NoRoomError if number in FULL else CannotCarryError
                return cannot(message, details=said, hint=hint(number, "/", None))
        return ClusterError(message, details=said, transient=True)


def _spool() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(_SPOOL)


def _said(ended: ExecResult) -> list[str]:
    return ended.stderr.decode("utf-8", "replace").splitlines()[-5:]


def _lost(container: Container, error: ClusterError) -> LinkLostError:
    return LinkLostError(
        f"The connection to {container} broke: {error.message}",
        details=error.details,
        transient=True,
    )
