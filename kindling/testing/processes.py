"""Programs that a test makes up, behind the `ProcessRunner` protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kindling.errors import ExecutionError, HostError
from kindling.executors.protocol import LogSink, ProcessResult

__all__ = ["Call", "FakeProcesses", "FakeRunning", "Program"]


@dataclass(frozen=True, slots=True)
class Call:
    """One start of a program."""

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    stdin: bytes = b""


@dataclass(frozen=True, slots=True)
class Program:
    """What a made-up program does: `effect` first, then its output, then it ends with `code`.

    `hangs`: it never ends by itself, so that it must be stopped or runs into its time limit.
    """

    code: int = 0
    stdout: bytes = b""
    stderr: bytes = b""
    effect: Callable[[Call], None] | None = None
    hangs: bool = False


@dataclass(slots=True)
class FakeRunning:
    """A made-up program that keeps running until a test or the code under test ends it."""

    pid: int
    call: Call
    stopped: bool = False
    grace: float = 0.0
    """What the last `stop` gave it."""
    _end: asyncio.Future[int] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    async def wait(self) -> int:
        return await asyncio.shield(self._end)

    async def stop(self, *, grace: float = 30.0) -> int:
        self.stopped, self.grace = True, grace
        self.exit(-2)
        return await self.wait()

    def exit(self, code: int) -> None:
        """End it, unless it has ended."""
        if not self._end.done():
            self._end.set_result(code)


class FakeProcesses:
    """Runs what was given by `answer`; any other program does not exist.

    The longest matching beginning of a command line decides, so that `answer("git")` and
    `answer("git", "push")` go together.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.running: list[FakeRunning] = []
        self._programs: dict[tuple[str, ...], Program] = {}

    def answer(self, *argv: str, program: Program | None = None) -> None:
        """From now on, command lines that begin with `argv` run `program` (that does nothing,
        well)."""
        self._programs[argv] = program or Program()

    @property
    def commands(self) -> list[str]:
        """The command lines so far, each as one string."""
        return [" ".join(call.argv) for call in self.calls]

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log: LogSink | None = None,
        stdin: bytes = b"",
        timeout: float = 0.0,
        keep_output: bool = True,
    ) -> ProcessResult:
        program, call = self._start(argv, cwd, env, stdin)
        self._speak(program, call, log)
        if program.hangs:
            try:
                async with asyncio.timeout(timeout or None):
                    await asyncio.get_running_loop().create_future()
            except TimeoutError:
                name = Path(argv[0]).name
                raise ExecutionError(
                    f"`{name}` took longer than {timeout:g} s and was stopped"
                ) from None
        if not keep_output:
            return ProcessResult(program.code)
        return ProcessResult(program.code, program.stdout, program.stderr)

    async def start(
        self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: LogSink
    ) -> FakeRunning:
        program, call = self._start(argv, cwd, env, b"")
        running = FakeRunning(1000 + len(self.running), call)
        self.running.append(running)
        self._speak(program, call, log)
        if not program.hangs:
            running.exit(program.code)
        return running

    def _start(
        self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], stdin: bytes
    ) -> tuple[Program, Call]:
        line = tuple(argv)
        found = max(
            (begin for begin in self._programs if line[: len(begin)] == begin),
            key=len,
            default=None,
        )
        if not cwd.is_dir():
            raise HostError(
                f"the folder `{cwd}` does not exist", hint=f"`{line[0]}` was to run there."
            )
        if found is None:
            raise HostError(
                f"`{line[0]}` was not found", hint="Install it, or check PATH and the spelling."
            )
        call = Call(line, cwd, dict(env), stdin)
        self.calls.append(call)
        return self._programs[found], call

    def _speak(self, program: Program, call: Call, log: LogSink | None) -> None:
        if program.effect is not None:
            program.effect(call)
        for stream, data in (("stdout", program.stdout), ("stderr", program.stderr)):
            for line in data.decode("utf-8", "replace").splitlines():
                if log is not None:
                    log(line, stream)
