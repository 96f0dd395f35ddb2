"""Builds by the `docker` program, for what the engine's API alone cannot do.

BuildKit's sessions (mounts, secrets, ssh, incremental contexts) are spoken by the client, and which
client can depends on the machine: from 23 on, `docker` needs the plugin buildx for it, before, it
has it built in. Several clients may be on PATH, so each is asked.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from kindling.build.protocol import BuildRequest, LineSink, Programs
from kindling.errors import ExecutionError, HostError

__all__ = ["BuildClient", "ClientKind", "build_with_client", "find_client"]

_ASK_SECS = 20.0
_LAST_LINES = 20


class ClientKind(Enum):
    """How a `docker` program comes by BuildKit."""

    BUILDX = "buildx"
    BUILT_IN = "built-in"


@dataclass(frozen=True, slots=True)
class BuildClient:
    """A `docker` program that can build with BuildKit."""

    path: str
    kind: ClientKind


async def find_client(
    programs: Programs, environment: Mapping[str, str], cwd: Path
) -> tuple[BuildClient | None, tuple[str, ...]]:
    """The first `docker` on PATH that has BuildKit, and why those before it were passed over."""
    refused: list[str] = []
    for path in _candidates(environment):
        asked = [path, "buildx", "version"]
        if await _answers(programs, asked, cwd, environment) is not None:
            return BuildClient(path, ClientKind.BUILDX), tuple(refused)
        said = await _answers(programs, [path, "--version"], cwd, environment)
        version = re.search(r"version (\d+)\.(\d+)", said or "")
        if version and (18, 9) <= (int(version[1]), int(version[2])) < (23, 0):
            return BuildClient(path, ClientKind.BUILT_IN), tuple(refused)
        what = f"is version {version[1]}.{version[2]} without the plugin buildx" if version else ""
        refused.append(f"`{path}` {what or 'does not answer'}")
    return None, tuple(refused)


def _candidates(environment: Mapping[str, str]) -> list[str]:
    found: list[str] = []
    for folder in environment.get("PATH", "").split(":"):
        path = Path(folder or ".", "docker")
        if path.is_file() and str(path.resolve()) not in {str(Path(p).resolve()) for p in found}:
            found.append(str(path))
    return found


async def _answers(
    programs: Programs, argv: Sequence[str], cwd: Path, environment: Mapping[str, str]
) -> str | None:
    try:
        result = await programs.run(argv, cwd=cwd, env=environment, timeout=_ASK_SECS)
    except (HostError, ExecutionError):
        return None
    return result.stdout.decode("utf-8", "replace") if result.code == 0 else None


async def build_with_client(
    client: BuildClient,
    request: BuildRequest,
    context: Path,
    *,
    programs: Programs,
    environment: Mapping[str, str],
    log: LineSink,
) -> str:
    """Build from a staged `context` folder; the id of the image.

    Raises:
        ExecutionError: A step failed.
    """
    request.scratch.mkdir(parents=True, exist_ok=True)
    id_file = request.scratch / f"{context.name}.id"
    dockerfile = request.scratch / f"{context.name}.Dockerfile"
    dockerfile.write_text(request.dockerfile, "utf-8")
    id_file.unlink(missing_ok=True)
    argv = [client.path, "build", "--progress=plain", "--iidfile", str(id_file)]
    if client.kind is ClientKind.BUILDX:
        argv = [client.path, "buildx", "build", "--load", *argv[2:]]
    argv += ["-f", str(dockerfile), *_flags(request), str(context)]
    own = {"DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"}
    # Attestations carry the time of the build, so that the same bits would get another id each
    # time.
    own["BUILDX_NO_DEFAULT_ATTESTATIONS"] = "1"
    watcher = _StepWatcher(log)
    try:
        result = await programs.run(
            argv, cwd=context, env={**environment, **own}, log=watcher, keep_output=False
        )
        if result.code != 0:
            raise watcher.error(result.code)
        return id_file.read_text("utf-8").strip()
    finally:
        id_file.unlink(missing_ok=True)
        dockerfile.unlink(missing_ok=True)


def _flags(request: BuildRequest) -> list[str]:
    flags: list[str] = []
    for tag in request.tags:
        flags += ["--tag", tag]
    for name, value in request.build_args:
        flags += ["--build-arg", f"{name}={value}"]
    pairs = (
        ("--target", request.target),
        ("--platform", request.platform),
        ("--network", request.network),
    )
    for flag, value in pairs:
        flags += [flag, value] if value else []
    lists = (
        ("--ssh", request.ssh),
        ("--secret", request.secrets),
        ("--add-host", request.extra_hosts),
        ("--cache-from", request.cache_from),
    )
    for flag, values in lists:
        for value in values:
            flags += [flag, value]
    return [*flags, "--pull"] if request.pull else flags


class _StepWatcher:
    """Passes BuildKit's plain progress on, and remembers which step failed and what it said."""

    def __init__(self, log: LineSink) -> None:
        self._log = log
        self._steps: dict[str, str] = {}
        self._said: dict[str, deque[str]] = {}
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._failed = ""
        self._problem = ""

    def __call__(self, line: str, stream: str = "stdout") -> None:
        # All of BuildKit's progress is on stderr, where it is no sign of trouble.
        self._log(line, "stdout" if stream == "stderr" else stream)
        if line.strip():
            self._last.append(line)
        if of_step := re.match(r"#(\d+) (.*)", line):
            number, text = of_step[1], of_step[2]
            if text.startswith("[") and number not in self._steps:
                self._steps[number] = text
            elif text.startswith("ERROR: ") and not self._failed:
                self._failed, self._problem = number, text.removeprefix("ERROR: ")
            elif not text.startswith("sha256:"):
                self._said.setdefault(number, deque(maxlen=_LAST_LINES)).append(text)
        elif "failed to solve" in line and not self._problem:
            self._problem = line.rpartition("failed to create LLB definition: ")[2]

    def error(self, code: int) -> ExecutionError:
        if self._failed in self._steps:
            said = (re.sub(r"^\d+\.\d+ ", "", line) for line in self._said.get(self._failed, ()))
            step = self._steps[self._failed]
            return ExecutionError(
                f"the build failed at {step}: {self._problem}", details=tuple(said)
            )
        problem = self._problem or f"`docker build` exited with code {code}"
        return ExecutionError(f"the build failed: {problem}", details=tuple(self._last))
