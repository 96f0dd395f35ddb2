"""Builds on this machine. One at a time; what they print is told as it comes."""

from __future__ import annotations

import os
import shlex
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kindling.errors import KindlingError
from kindling.sync.notices import Built
from kindling.sync.protocol import Clock, ProcessRunner
from kindling.sync.runtimes.build import LocalBuild, Machine
from kindling.sync.runtimes.frontend import Frontend

__all__ = ["Builder", "Job"]

_TIME_LIMIT = 1800.0
_LINES = 40
"""How many of its last lines a failed build is shown with."""


@dataclass(frozen=True, slots=True)
class Job:
    """A build, and where what it makes is looked for: the first that is there, of these paths."""

    commands: tuple[tuple[str, ...], ...]
    outputs: tuple[str, ...]
    folder: bool
    environ: tuple[tuple[str, str], ...] = ()
    says: str = ""

    @classmethod
    def of(cls, made: LocalBuild | Frontend, machine: Machine, out: Path) -> Job:
        if isinstance(made, Frontend):
            says = " ".join(made.commands[-1])
            return cls(made.commands, (made.output, *made.instead), True, says=says)
        build = made.filled(machine, str(out))
        return cls(build.commands, (build.artefact,), build.folder, build.environ, build.says)


class Builder:
    """Runs one job in the source folder."""

    def __init__(
        self,
        job: Job,
        folder: Path,
        out: Path,
        processes: ProcessRunner,
        clock: Clock,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self.job = job
        self.output: Path | None = None
        """What the last good build made."""
        self._folder = folder
        self._out = out
        self._processes = processes
        self._clock = clock
        self._log = log

    async def build(self) -> Built:
        """Run it to its end. What went wrong is in the answer."""
        began = self._clock.monotonic()
        last: deque[str] = deque(maxlen=_LINES)

        def log(line: str, stream: str = "stdout") -> None:  # noqa: ARG001
            last.append(line)
            if self._log is not None:
                self._log(line)

        problem = ""
        self._out.mkdir(parents=True, exist_ok=True)
        variables = {**os.environ, **dict(self.job.environ)}
        for argv in self.job.commands:
            try:
                done = await self._processes.run(
                    argv,
                    cwd=self._folder,
                    env=variables,
                    log=log,
                    timeout=_TIME_LIMIT,
                    keep_output=False,
                )
            except KindlingError as error:
                problem = f"{error.message}. {error.hint}".rstrip(" .") + "."
                break
            if done.code != 0:
                problem = f"`{shlex.join(argv)}` ended with exit code {done.code}."
                break
        else:
            problem = self._look(self.job.outputs)
        seconds = self._clock.monotonic() - began
        if problem:
            return Built(self.job.says, seconds, False, (*last, problem))
        return Built(self.job.says, seconds)

    def _look(self, outputs: Sequence[str]) -> str:
        for name in outputs:
            path = self._folder / name
            if path.is_dir() if self.job.folder else path.is_file():
                self.output = path
                return ""
        kind = "folder" if self.job.folder else "file"
        names = " or ".join(f"`{name}`" for name in outputs)
        return f"The build went well and made no {kind} {names}: say what it makes."
