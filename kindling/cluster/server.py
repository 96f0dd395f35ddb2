"""The background process of a cluster: its lock, its log, its signals.

    python -m kindling.cluster.server FOLDER [PIPE [WISHES]]

`PIPE` is a file descriptor that hears one line of JSON when the cluster is ready or cannot start,
`WISHES` a JSON object of settings to change. When a part fails, the process says why in its log and
ends.

Little is imported here: the runtime, a process of its own, starts on one core while all the rest is
imported on another.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kindling.cluster.home import ClusterHome
from kindling.cluster.record import LOCK_TAKEN, Settings, read_settings, write_settings
from kindling.errors import ClusterError, KindlingError, StoreError
from kindling.store.lock import SessionLock, holder

if TYPE_CHECKING:
    from kindling.cluster.runtime.protocol import Runtime

__all__ = ["main"]

_FILES = 65_536


async def _serve(home: ClusterHome, tell: Callable[[str], None], began: float) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    choosing = loop.create_task(_runtime(home), name="runtime")
    try:
        running = await asyncio.to_thread(_parts)
    finally:
        runtime = await choosing
    import structlog

    log = structlog.get_logger("kindling.cluster")
    async with running(home, runtime) as settings:
        log.info("ready", server=settings.server, seconds=round(time.monotonic() - began, 3))
        tell("")
        await ended.wait()
        log.info("stopping")
    log.info("stopped")


async def _runtime(home: ClusterHome) -> Runtime:
    from kindling.cluster.runtime.choose import choose_runtime
    from kindling.cluster.runtime.protocol import StartError

    try:
        return await choose_runtime(
            home.folder / "runtime",
            plain=read_settings(home).isolation == "none",
            hidden=home.secret_folders,
        )
    except StartError as error:
        raise ClusterError(f"no container can be started here: {error}") from error


def _parts() -> Callable[[ClusterHome, Runtime], AbstractAsyncContextManager[Settings]]:
    """Everything else, imported."""
    _configure_log()
    from kindling.cluster.assembly import running

    return running


def _configure_log() -> None:
    """Lines for people, without the values of local variables, which may be secret."""
    # structlog loads rich where it finds it, for tracebacks in colour, which takes 80 ms.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    import structlog

    if sys.modules["rich"] is None:
        del sys.modules["rich"]  # the package that evaluates CEL cannot do without it

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(
                colors=False,
                pad_event_to=0,
                pad_level=False,
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING,
        format="%(asctime)s [%(levelname)s] %(name)s: %(message)s",
    )


def _allow_many_files() -> None:
    """As many descriptors as we may have: a thousand, which is what many systems begin with, is
    soon gone with one for each connection and three for each container."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main(arguments: list[str]) -> int:
    """Run the cluster of a folder until SIGTERM; the exit code."""
    began = time.monotonic()
    gc.disable()  # until everything is there: what a start makes stays
    folder = Path(arguments[0])
    pipe = int(arguments[1]) if len(arguments) > 1 else -1
    home = ClusterHome(folder.name, folder)

    def tell(problem: str) -> None:
        nonlocal pipe
        if pipe != -1:
            with contextlib.suppress(OSError):  # whoever started us need not wait
                os.write(pipe, json.dumps({"problem": problem}).encode() + b"\n")
                os.close(pipe)
            pipe = -1

    if pipe != -1:
        os.set_inheritable(pipe, False)
    _allow_many_files()
    lock = SessionLock(folder, command="kindling cluster start", at=time.time())
    try:
        lock.acquire()
    except StoreError as error:
        tell(LOCK_TAKEN if holder(folder) else error.message)
        return 1
    try:
        wishes = json.loads(arguments[2]) if len(arguments) > 2 else {}
        changes = {key: value for key, value in wishes.items() if value}
        write_settings(home, replace(read_settings(home), **changes))
        asyncio.run(_serve(home, tell, began))
    except KindlingError as error:
        tell(error.message)
        return 1
    except BaseException as error:
        import structlog

        structlog.get_logger("kindling.cluster").error("the cluster failed", exc_info=error)
        tell(f"{type(error).__name__}: {error}")
        return 1
    # The lock is the kernel's to free: whoever finds it free finds no process either.
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
