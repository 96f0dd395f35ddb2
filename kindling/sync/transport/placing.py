"""An agent in a container that has none: placed by a shell, for as long as the link lasts.

The pod is not changed for it. A script looks for a folder in which files can be written and run,
takes the agent in from its standard input, and becomes it; the file has no name any more by then.
Nothing but `sh`, `chmod` and `rm` is needed in the image, and no end of the input, which old
clusters cannot give.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from kindling.errors import ClusterError, UsageError
from kindling.graph.spec import ObjectRef
from kindling.kube.exec import NoProgramError
from kindling.kube.protocol import Cluster, ExecStream
from kindling.sync.protocol import Container, LinkLostError
from kindling.sync.template.patch import CONTROL_FOLDER

__all__ = ["CANNOT_RUN", "FOLDERS", "NotPlacedError", "place"]

FOLDERS = ("/tmp", "/dev/shm", "/var/tmp")
"""Where an agent may be put, beside the folders that are synced and the user's home."""

_LIMIT = 60.0
CANNOT_RUN = (126, 127)
"""How Docker and shells say by an exit code that there was nothing to run."""
_SCRIPT = r"""
umask 077
echo "machine $(uname -m 2>/dev/null)"
IFS= read -r size || exit 1
for folder in "$@" "$HOME"; do
  [ -n "$folder" ] && [ -d "$folder" ] || continue
  file=${folder%/}/.kindling-tmp-agent-$$
  rm -f "$file" 2>/dev/null
  (set -C; : >"$file") 2>/dev/null || { echo "closed $folder"; continue; }
  if command -v head >/dev/null 2>&1; then
    echo "bytes $folder"
    head -c "$size" >"$file" 2>/dev/null
  else
    echo "words $folder"
    while IFS= read -r line && [ "$line" != end ]; do printf "$line"; done >"$file" 2>/dev/null
  fi
  if command -v wc >/dev/null 2>&1 && [ "$(wc -c <"$file")" -ne "$size" ]; then
    rm -f "$file"
    echo "full $folder"
    continue
  fi
  chmod 700 "$file" 2>/dev/null
  case "$("$file" version 2>/dev/null)" in
  kindling-agent*) ;;
  *)
    rm -f "$file"
    echo "noexec $folder"
    continue
    ;;
  esac
  exec 4<"$file"
  if [ -e /proc/self/fd/4 ]; then
    rm -f "$file"
    file=/proc/self/fd/4
  fi
  echo "started $folder"
  exec "$file" serve @WORDS@
done
echo none
"""
_WHY = {
    "closed": "cannot be written",
    "full": "has no room",
    "noexec": "is mounted without the right to run programs",
}


class NotPlacedError(Exception):
    """No agent could be placed. `shell`: is there one at all? `tried` says where, and why not."""

    def __init__(self, tried: Sequence[str], *, shell: bool) -> None:
        super().__init__("; ".join(tried))
        self.tried = tuple(tried)
        self.shell = shell


async def place(
    cluster: Cluster,
    container: Container,
    agents: Callable[[str], bytes],
    places: Sequence[str],
) -> ExecStream:
    """A stream to an agent that was just placed and started; it has not been greeted yet.

    Raises:
        NotPlacedError: There is no shell, no agent for the machine, or no folder for it.
        ClusterError: The container cannot be reached.
    """
    folders = [*FOLDERS, *(f"/{place}" for place in places)]
    control = ("--control", CONTROL_FOLDER) if container.supervised else ()
    words = shlex.join((*control, "/", *places))
    script = _SCRIPT.replace("@WORDS@", words)
    argv = ("sh", "-c", script, "sh", *folders)
    stream = await _open(cluster, container, argv)
    async with _closing_on_error(stream):
        lines = _Lines(stream)
        try:
            async with asyncio.timeout(_LIMIT):
                await _negotiate(cluster, container, agents, stream, lines)
        except TimeoutError as error:
            raise LinkLostError(
                f"The shell in {container} said nothing for {_LIMIT:.0f} s", transient=True
            ) from error
    return stream


async def _open(cluster: Cluster, container: Container, argv: Sequence[str]) -> ExecStream:
    try:
        return await cluster.open_exec(container.namespace, container.pod, container.name, argv)
    except NoProgramError as error:
        raise NotPlacedError(["the image has no shell (`sh`)"], shell=False) from error


@asynccontextmanager
async def _closing_on_error(stream: ExecStream) -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        await stream.close()
        raise


async def _negotiate(
    cluster: Cluster,
    container: Container,
    agents: Callable[[str], bytes],
    stream: ExecStream,
    words: _Lines,
) -> None:
    """Answer the script until it has become the agent."""
    first, _, machine = (await words.next()).partition(" ")
    if first != "machine":
        raise NotPlacedError(["the image has no shell (`sh`)"], shell=False)
    machine = machine or await _machine_of_node(cluster, container)
    try:
        agent = await asyncio.to_thread(agents, machine)
    except UsageError as error:
        raise NotPlacedError([error.message], shell=True) from error
    await stream.write(b"%d\n" % len(agent))
    tried: list[str] = []
    while True:
        word, _, folder = (await words.next()).partition(" ")
        if word == "bytes":
            await stream.write(agent)
        elif word == "words":
            await stream.write(_as_words(agent))
        elif word in _WHY:
            tried.append(f"`{folder}` {_WHY[word]}")
        elif word == "started":
            return
        else:
            raise NotPlacedError(tried or ["no folder was found for it"], shell=True)


def _as_words(content: bytes) -> bytes:
    """The bytes as lines for a shell's own `printf`."""
    octal = [f"\\{byte:03o}" for byte in content]
    lines = ["".join(octal[at : at + 256]) for at in range(0, len(octal), 256)]
    return ("\n".join([*lines, "end"]) + "\n").encode()


async def _machine_of_node(cluster: Cluster, container: Container) -> str:
    """The architecture of the container's node; that of most where it may not be asked."""
    try:
        node = await cluster.get(ObjectRef("v1", "Node", container.node))
    except ClusterError:
        return "x86_64"
    labels = node["metadata"].get("labels") or {}
    return str(labels.get("kubernetes.io/arch") or "x86_64")


class _Lines:
    """What a script says, line by line; empty at its end."""

    def __init__(self, stream: ExecStream) -> None:
        self._stream = stream
        self._held = b""

    async def next(self) -> str:
        while b"\n" not in self._held:
            try:
                data = await self._stream.read()
            except NoProgramError as error:
                raise NotPlacedError(["the image has no shell (`sh`)"], shell=False) from error
            if not data:
                ended = await self._stream.ended()
                if ended.code in CANNOT_RUN:
                    raise NotPlacedError(["the image has no shell (`sh`)"], shell=False)
                return ""
            self._held += data
        line, _, self._held = self._held.partition(b"\n")
        return line.decode("utf-8", "replace")
