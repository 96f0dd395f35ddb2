"""Which runtime this machine can have."""

from __future__ import annotations

from pathlib import Path

from kindling.cluster.runtime.launcher import LauncherRuntime
from kindling.cluster.runtime.plain import PlainRuntime
from kindling.cluster.runtime.protocol import Runtime, StartError

__all__ = ["choose_runtime"]


async def choose_runtime(
    folder: Path, *, plain: bool = False, hidden: tuple[Path, ...] = ()
) -> Runtime:
    """The best one that works here, started; a second `start` of it does nothing.

    The launcher finds out by doing all that it needs, which costs no more than its start. `folder`
    is for the runtime's own use. `plain` asks for plain processes, from which nothing is `hidden`.
    Raises `StartError` when not even these can be had.
    """
    why = "asked for" if plain else ""
    if not plain:
        try:
            runtime = LauncherRuntime(folder, hidden=hidden)
            await runtime.start()
            return runtime
        except StartError as error:
            why = str(error)
    fallback = PlainRuntime(folder, why=why)
    await fallback.start()
    return fallback
