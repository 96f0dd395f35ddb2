"""`local()`: a command that runs while the file is evaluated."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kindling.errors import ConfigError, ContextNotAllowedError, HostError, InterruptError
from kindling.lang.blob import Blob
from kindling.lang.call import Call
from kindling.lang.session import Native

__all__ = ["NATIVES", "Finished", "failure", "run_command", "shown"]

_TAIL = 20
_POLL = 0.1
_MOST_OUTPUT = 64 * 2**20
"""Bytes that a command may write to each of its streams: what it prints is held in memory."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str


def shown(argv: tuple[str, ...]) -> str:
    """A command as its user wrote it, on one line."""
    text = argv[2] if argv[:2] == ("sh", "-c") else " ".join(argv)
    first, newline, _ = text.strip().partition("\n")
    return first + (" ..." if newline else "")


def run_command(
    call: Call,
    argv: tuple[str, ...],
    *,
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
    stdin: str | None = None,
) -> Finished:
    """Run a command to its end, in a process group of its own that does not outlive this.

    Raises:
        HostError: There is no such program or folder.
        ConfigError: It took longer than the time limit for commands, or wrote too much.
        InterruptError: The evaluation was cancelled meanwhile.
    """
    session = call.session
    where = folder or call.folder
    if not where.is_dir():
        raise ConfigError(f"`{call.name}`: the folder `{session.paths.relative(where)}` is missing")
    with ExitStack() as stack:
        marks = stack.enter_context(session.inputs.guard())
        # Files and not pipes: their size can be watched, and a chatty command never waits for us.
        out, err = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        given: IO[bytes] | int = subprocess.DEVNULL
        if stdin is not None:
            given = stack.enter_context(tempfile.TemporaryFile())
            given.write(stdin.encode())
            given.seek(0)
        try:
            process = subprocess.Popen(
                argv,
                cwd=where,
                env={**session.environ, **(env or {}), **marks},
                stdin=given,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise HostError(f"`{argv[0]}` is not installed, and `{call.name}` needs it") from None
        except OSError as error:
            raise HostError(f"`{argv[0]}` cannot be started: {error.strerror}") from None
        with session.waiting():
            try:
                _wait(call, argv, process, (out, err))
            except BaseException:
                _kill(process)
                raise
        return Finished(process.returncode, _text(out), _text(err))


def _wait(
    call: Call, argv: tuple[str, ...], process: subprocess.Popen[bytes], files: Iterable[IO[bytes]]
) -> None:
    inputs = call.session.inputs
    end = time.monotonic() + inputs.command_limit
    while True:
        try:
            process.wait(_POLL)
        except subprocess.TimeoutExpired:
            over = False
        else:
            over = True
        if any(os.fstat(file.fileno()).st_size > _MOST_OUTPUT for file in files):
            raise ConfigError(
                f"`{shown(argv)}` has written more than {_MOST_OUTPUT >> 20} MiB",
                hint="Let it write into a file, and read what you need of that.",
            )
        if over:
            return
        if inputs.cancelled():
            raise InterruptError("The evaluation was cancelled")
        if time.monotonic() > end:
            raise ConfigError(f"`{shown(argv)}` has taken more than {inputs.command_limit:g} s")


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def failure(argv: tuple[str, ...], done: Finished) -> ConfigError:
    """The error for a command that failed: what it was, how it ended, and its last lines."""
    how = f"exited with {done.code}" if done.code >= 0 else f"was ended by signal {-done.code}"
    lines = [*done.stdout.splitlines(), *done.stderr.splitlines()]
    cut = [f"... {len(lines) - _TAIL} lines before"] if len(lines) > _TAIL else []
    return ConfigError(f"`{shown(argv)}` {how}", details=[*cut, *lines[-_TAIL:]])


def local(
    call: Call,
    command: object,
    quiet: object,
    command_bat: object,
    echo_off: object,
    env: object,
    dir: object,
    stdin: object,
    deps: object,
) -> Blob:
    argv = call.argv("command", command)
    if not argv:
        hint = "`command_bat` is for Windows." if command_bat else ""
        raise ConfigError("`local` has no command", hint=hint)
    _check_context(call)
    silent = call.flag("quiet", quiet)
    variables = dict(call.pairs("env", env))
    folder = call.on_disk("dir", dir) if dir else call.folder
    given = None if stdin is None else call.text("stdin", stdin)
    memo = call.session.inputs.memo
    key = ""
    if deps is not None:
        paths = call.paths("deps", deps)
        call.state.read(paths)
        files = [call.session.paths.on_disk(path) for path in paths]
        key = _memo_key(argv, variables, str(folder), given, files)
        if memo is not None and (known := memo.recall(key)) is not None:
            return Blob(known)
    else:
        call.state.repeatable = False
    say = call.session.inputs.output
    if not silent and not call.flag("echo_off", echo_off):
        say(call.where, f"local: {shown(argv)}")
    done = run_command(call, argv, env=variables, folder=folder, stdin=given)
    if done.code != 0:
        raise failure(argv, done)
    if not silent:
        for line in [*done.stderr.splitlines(), *done.stdout.splitlines()]:
            say(call.where, line)
    if memo is not None and key:
        memo.remember(key, done.stdout)
    return Blob(done.stdout)


def _check_context(call: Call) -> None:
    """A command may well talk to the current cluster, so that cluster must be an allowed one."""
    if call.state.cluster.provider not in ("auto", "context"):
        return
    found = call.session.context()
    if found is None or found.allowed or found.name in call.state.settings.allowed_contexts:
        return
    raise ContextNotAllowedError(
        f"`local` does not run: the context `{found.name}` is not known to be a local cluster",
        hint=f"If it may be used, say `allow_k8s_contexts({found.name!r})` before this line.",
    )


def _memo_key(
    argv: tuple[str, ...],
    env: Mapping[str, str],
    folder: str,
    stdin: str | None,
    files: Iterable[Path],
) -> str:
    digest = hashlib.sha256(repr((argv, sorted(env.items()), folder, stdin)).encode())
    for root in files:
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            digest.update(f"\0{path}\0".encode("utf-8", "surrogateescape"))
            if path.is_symlink():
                digest.update(os.fsencode(path.readlink()))
            elif path.is_file():
                digest.update(b"file" + hashlib.sha256(path.read_bytes()).digest())
            elif not path.exists():
                digest.update(b"missing")
    return digest.hexdigest()


NATIVES: dict[str, Native] = {"local": local}
