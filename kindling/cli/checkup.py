"""What `kindling doctor` looks at: this machine, the engine, the cluster, the tools. Reads only.

Nothing here fails: whatever goes wrong is a finding, so that it is of use on a machine that has
nothing at all.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kindling.errors import KindlingError

if TYPE_CHECKING:
    from kindling.kube.contexts import Target

__all__ = ["Finding", "Level", "examine"]

_MB = 1024 * 1024
_LITTLE_DISK = 2_000 * _MB
_TOO_LITTLE_DISK = 200 * _MB
_FEW_WATCHES = 65_536
_FEW_INSTANCES = 128
_ASK_SECS = 10.0


class Level(Enum):
    OK = "ok"
    WARN = "warn"
    """Something will not work, or not well; the hint says what to do about it."""
    MISSING = "missing"
    """It is not there. Fine unless the Kindlingfile uses it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `hint` says what to do, empty where nothing need be done."""

    subject: str
    level: Level
    text: str
    hint: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "subject": self.subject,
            "level": self.level.value,
            "text": self.text,
            "hint": self.hint,
        }


async def examine(root: Path, context: str, environment: Mapping[str, str]) -> list[Finding]:
    """All findings, in the order in which they help: this machine, then what it reaches."""
    place = await asyncio.to_thread(_existing, root)
    engine, cluster, tools = await asyncio.gather(
        _engine(place, environment),
        _cluster(context, environment),
        asyncio.gather(*(_tool(tool, place, environment) for tool in _TOOLS)),
    )
    here = [_python(), _state_folder(root), _disk(root), *_watching()]
    here.append(await _embedded(environment))
    return [*here, *engine, *cluster, *tools]


def _existing(folder: Path) -> Path:
    return folder if folder.is_dir() else Path("/")


def _python() -> Finding:
    version = platform.python_version()
    system = f"{platform.system()} {platform.machine()}"
    if sys.platform not in ("linux", "darwin"):
        hint = "kindling runs on Linux and macOS; on Windows, use WSL."
        return Finding("python", Level.WARN, f"{version} on {system}", hint)
    return Finding("python", Level.OK, f"{version} on {system}")


def _state_folder(root: Path) -> Finding:
    folder = root / ".kindling"
    place = folder if folder.exists() else root
    if not place.is_dir():
        return Finding(
            "state", Level.WARN, f"`{place}` is no folder", "Use `-f` or another folder."
        )
    if not os.access(place, os.W_OK | os.X_OK):
        hint = "kindling keeps what it knows in `.kindling` there; make the folder writable."
        return Finding("state", Level.WARN, f"`{place}` cannot be written", hint)
    said = "is writable" if folder.exists() else "can be made"
    return Finding("state", Level.OK, f"`{folder}` {said}")


def _disk(root: Path) -> Finding:
    place = next((p for p in (root, *root.parents) if p.is_dir()), Path("/"))
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Finding("disk", Level.WARN, f"free space is not known: {error.strerror}")
    text = f"{free / (1024 * _MB):,.1f} GB free"
    if free < _TOO_LITTLE_DISK:
        hint = "`.kindling` and builds need room: make some before `kindling up`."
        return Finding("disk", Level.WARN, text, hint)
    if free < _LITTLE_DISK:
        return Finding("disk", Level.WARN, text, "That is little for image builds.")
    return Finding("disk", Level.OK, text)


def _watching() -> list[Finding]:
    """Linux alone limits how many folders a user may watch."""
    folder = Path("/proc/sys/fs/inotify")
    watches = _number(folder / "max_user_watches")
    instances = _number(folder / "max_user_instances")
    if watches is None or instances is None:
        return []
    text = f"{watches:,} watches, {instances:,} instances"
    few = [
        f"{name}={enough}"
        for name, have, enough in (
            ("fs.inotify.max_user_watches", watches, 524_288),
            ("fs.inotify.max_user_instances", instances, 512),
        )
        if have < (_FEW_WATCHES if "watches" in name else _FEW_INSTANCES)
    ]
    if few:
        hint = f"For large trees: `sudo sysctl {' '.join(few)}`."
        return [Finding("inotify", Level.WARN, text, hint)]
    return [Finding("inotify", Level.OK, text)]


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


async def _engine(place: Path, environment: Mapping[str, str]) -> list[Finding]:
    from kindling.build.buildkit import find_client
    from kindling.build.docker_engine import connect
    from kindling.executors.processes import HostProcesses

    programs = HostProcesses()
    try:
        try:
            async with asyncio.timeout(_ASK_SECS):
                engine = await connect(programs, environment, place)
                version = await engine.version()
                await engine.close()
            text = f"{version.version}, API {version.api}, {version.platform}"
            found = Finding("docker", Level.OK, text)
        except (KindlingError, TimeoutError) as error:
            hint = "Needed for `docker_build` and `custom_build` alone: start or install Docker."
            found = Finding("docker", Level.MISSING, _first_line(error), hint)
        client, refused = await find_client(programs, environment, place)
    finally:
        await programs.close()
    if client is not None:
        how = "with buildx" if client.kind.value == "buildx" else "BuildKit built in"
        return [found, Finding("buildkit", Level.OK, f"`{client.path}`, {how}")]
    why = "; ".join(refused) or "there is no program `docker` on PATH"
    hint = "Builds go through the engine's own builder; buildx adds BuildKit's features."
    return [found, Finding("buildkit", Level.MISSING, why, hint)]


async def _cluster(context: str, environment: Mapping[str, str]) -> list[Finding]:
    from kindling.kube.contexts import choose_target, read_kubeconfig

    try:
        kubeconfig = await asyncio.to_thread(read_kubeconfig, environment)
    except KindlingError as error:
        return [Finding("kubeconfig", Level.WARN, _first_line(error), error.hint)]
    if not kubeconfig.contexts:
        hint = "Set KUBECONFIG, or make a cluster: `kind create cluster`. Local nodes need none."
        return [Finding("kubeconfig", Level.MISSING, "it has no contexts", hint)]
    names = [
        f"{one.name}{' (local)' if one.local else ''}{' *' if one == kubeconfig.current else ''}"
        for one in kubeconfig.contexts
    ]
    findings = [Finding("kubeconfig", Level.OK, f"contexts: [{', '.join(names)}]")]
    try:
        target = choose_target(kubeconfig, "context" if context else "auto", context)
    except KindlingError as error:
        findings.append(Finding("target", Level.WARN, _first_line(error), error.hint))
        return findings
    reason = f"`{target.context.name}`: {target.reason}"
    return [*findings, Finding("target", Level.OK, reason), *await _reached(target, environment)]


async def _embedded(environment: Mapping[str, str]) -> Finding:
    """The embedded cluster: whether it runs, and what this machine lets it keep apart. Where it
    does not run, that is tried out, with a launcher that ends at once."""
    import tempfile

    from kindling.cluster.daemon import status
    from kindling.cluster.home import ClusterHome
    from kindling.cluster.runtime.choose import choose_runtime
    from kindling.cluster.runtime.protocol import StartError, words

    home = ClusterHome.of(environment=environment)
    try:
        found = await asyncio.to_thread(status, home)
        if found.running:
            said = "ready" if found.ready else found.problem
            level = Level.OK if found.ready else Level.WARN
            text = f"`{home.name}` is {said}, pods {found.settings.runtime}"
            return Finding("embedded", level, text, "\n".join(found.settings.missing))
        with tempfile.TemporaryDirectory(prefix="kindling-doctor-") as folder:
            runtime = await choose_runtime(Path(folder))
            isolation = runtime.isolation
            await runtime.close()
    except (KindlingError, StartError, OSError) as error:
        return Finding("embedded", Level.WARN, _first_line(error))
    text = f"{found.problem}; pods would be {words(isolation)}"
    return Finding("embedded", Level.OK, text, "\n".join(isolation.missing))


async def _reached(target: Target, environment: Mapping[str, str]) -> list[Finding]:
    from kindling.engine.embedded import reached
    from kindling.kube.client import connect

    try:
        async with asyncio.timeout(_ASK_SECS):
            context, way = await reached(target.context, environment, start=False)
            cluster = await connect(context, way, timeout=5.0)
            try:
                facts = await cluster.facts(timeout=5.0)
            finally:
                await cluster.close()
    except (KindlingError, TimeoutError) as error:
        hint = getattr(error, "hint", "") or "Start the cluster, or choose another by `--context`."
        return [Finding("cluster", Level.WARN, _first_line(error), hint)]
    found = Finding("cluster", Level.OK, f"{facts.version} at {facts.server}")
    if facts.registry is None:
        text = "the cluster announces none (kube-public/local-registry-hosting)"
        hint = "Images are loaded into the nodes of kind and k3d; else set `default_registry`."
        return [found, Finding("registry", Level.MISSING, text, hint)]
    return [found, await _registry(facts.registry.host)]


async def _registry(host: str) -> Finding:
    from kindling.build.registry import RegistryClient

    try:
        await RegistryClient(host, timeout=5.0).check()
    except KindlingError as error:
        hint = error.hint or "Start the registry that the cluster announces."
        return Finding("registry", Level.WARN, _first_line(error), hint)
    return Finding("registry", Level.OK, f"`{host}` answers")


@dataclass(frozen=True, slots=True)
class _Tool:
    name: str
    argv: tuple[str, ...]
    use: str


_TOOLS = (
    _Tool("helm", ("version", "--short"), "Needed for `helm()` alone."),
    _Tool("kustomize", ("version",), "Needed for `kustomize()` alone; kubectl can stand in."),
    _Tool("kubectl", ("version", "--client"), "Not needed, but to render by `kubectl kustomize`."),
    _Tool("kind", ("version",), "Needed to load images into clusters that kind made."),
    _Tool("k3d", ("version",), "Needed to load images into clusters that k3d made."),
)


async def _tool(tool: _Tool, place: Path, environment: Mapping[str, str]) -> Finding:
    path = shutil.which(tool.name, path=environment.get("PATH", ""))
    if path is None:
        return Finding(tool.name, Level.MISSING, "not on PATH", tool.use)
    from kindling.executors.processes import HostProcesses

    programs = HostProcesses()
    try:
        argv: Sequence[str] = (path, *tool.argv)
        result = await programs.run(argv, cwd=place, env=environment, timeout=_ASK_SECS)
    except KindlingError as error:
        hint = f"`{path}` is there and does not run. {tool.use}"
        return Finding(tool.name, Level.WARN, _first_line(error), hint)
    finally:
        await programs.close()
    said = result.stdout.decode("utf-8", "replace").strip().splitlines()
    if result.code != 0:
        return Finding(tool.name, Level.WARN, f"`{path}` exits with {result.code}", tool.use)
    return Finding(tool.name, Level.OK, f"{said[0] if said else 'answers'} ({path})")


def _first_line(error: BaseException) -> str:
    text = error.message if isinstance(error, KindlingError) else str(error)
    return text.splitlines()[0] if text else "it does not answer in time"
