"""Running the script of a request, with the rights of the agent's own account."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from kindling.agent.pods import OUT_OF_TIME
from kindling.errors import HostError

__all__ = ["run_script"]

NO_KUBECTL = 127
"""As a shell's, for a program that is not there."""

_PASSED = ("PATH", "LANG", "TZ", "KUBECONFIG", "KUBERNETES_")
_LINE_LIMIT = 64 * 1024
_GRACE = 5.0
_KUBECTL = re.compile(r"(?m)^[^#\n]*\bkubectl\b")


async def run_script(
    text: str,
    say: Callable[[str], None],
    *,
    folder: Path,
    environment: Mapping[str, str],
    limit: float,
) -> int:
    """Run a shell script to its end, in `folder`; its exit code, 128 and more for a signal.

    Its output goes to `say` line by line. The whole process group is stopped at the time limit and
    on cancellation.

    Raises:
        HostError: There is no shell.
    """
    path = environment.get("PATH", os.defpath)
    if shutil.which("kubectl", path=path) is None and _KUBECTL.search(text):
        say("kindling: this image has no kubectl, which the script calls: it was not run")
        say("kindling: use an image with kubectl for the build agent, or `.apply` requests")
        return NO_KUBECTL
    shell = shutil.which("bash", path=path) or shutil.which("sh", path=path)
    if shell is None:
        raise HostError("This image has no shell that could run scripts")
    env = {key: value for key, value in environment.items() if key.startswith(_PASSED)}
    with tempfile.TemporaryDirectory(prefix="kindling-script-") as home:
        script = Path(home) / "script.sh"
        script.write_text(text, encoding="utf-8")
        # A pipe of asyncio's own making would make the wait for the script one for the pipe's end.
        ours, theirs = os.pipe()
        output, pipe = await _reader(ours)
        try:
            try:
                process = await asyncio.create_subprocess_exec(
                    shell,
                    os.fspath(script),
                    cwd=folder,
                    env={**env, "HOME": home},
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=theirs,
                    stderr=asyncio.subprocess.STDOUT,
                    start_new_session=True,
                )
            finally:
                os.close(theirs)
            try:
                async with asyncio.timeout(limit):
                    await _pass_on(process, output, say)
                code = await process.wait()
            except TimeoutError:
                say(f"kindling: the script took longer than {limit:.0f} s: stopped")
                code = OUT_OF_TIME
            finally:
                await asyncio.shield(asyncio.ensure_future(_stop(process)))
        finally:
            pipe.close()
    return code if code >= 0 else 128 - code


async def _reader(descriptor: int) -> tuple[asyncio.StreamReader, asyncio.BaseTransport]:
    reader = asyncio.StreamReader(limit=_LINE_LIMIT)
    protocol = asyncio.StreamReaderProtocol(reader)
    file = os.fdopen(descriptor, "rb", buffering=0)
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, file)
    return reader, pipe


async def _pass_on(
    process: asyncio.subprocess.Process, output: asyncio.StreamReader, say: Callable[[str], None]
) -> None:
    """Until the script has ended: a child that it left behind may hold its output open."""
    reading = asyncio.create_task(_lines(output, say), name="script output")
    ending = asyncio.create_task(process.wait(), name="script")
    try:
        await asyncio.wait((reading, ending), return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            await asyncio.wait((reading,), timeout=1.0)
        if reading.done():
            reading.result()
            await ending
    finally:
        for task in (reading, ending):
            task.cancel()
        await asyncio.gather(reading, ending, return_exceptions=True)


async def _lines(output: asyncio.StreamReader, say: Callable[[str], None]) -> None:
    rest = b""
    while data := await output.read(_LINE_LIMIT):
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            say(line.decode("utf-8", "replace").rstrip("\r"))
        if len(rest) > _LINE_LIMIT:
            say(rest.decode("utf-8", "replace"))
            rest = b""
    if rest:
        say(rest.decode("utf-8", "replace"))


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End what is left of its process group, first by asking."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await process.wait()
