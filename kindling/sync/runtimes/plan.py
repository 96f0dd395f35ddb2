"""From what was found to what a sync session does: the strategy, and the lines that say so."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from kindling.errors import ConfigError
from kindling.sync.runtimes.build import LocalBuild, Machine, own_build
from kindling.sync.runtimes.detect import Detection
from kindling.sync.runtimes.frontend import Frontend, frontend
from kindling.sync.runtimes.names import basename, by_language
from kindling.sync.runtimes.placing import Place, devtools, place
from kindling.sync.runtimes.programs import Program
from kindling.sync.runtimes.projects import local_build
from kindling.sync.runtimes.reloading import needs_restart, reloads, signal_refused
from kindling.sync.runtimes.runtime import Check, Family, Mode, Runtime

__all__ = ["Overrides", "Source", "Strategy", "files_only", "lines", "plan", "restarting"]

_EMPTY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a user has said about one session."""

    restart: bool = True
    """Without it files are carried and nothing is told of them."""
    language: str = ""
    build_cmd: str = ""
    build_output: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """The source folder, as far as a plan looks at it."""

    files: Mapping[str, str] = field(default_factory=dict)
    folders: Collection[str] = ()
    name: str = "app"


@dataclass(frozen=True, slots=True)
class Strategy:
    """What a session does with each batch of changed files."""

    runtime: Runtime
    mode: Mode
    signal: str = ""
    to: str = ""
    """Who gets the signal: empty for process 1, else the key for `detect.process_of`."""
    check: Check = Check.NOTHING
    settle: int = 0
    fallback: Mode | None = None
    """What to do when the check finds no effect."""
    build: LocalBuild | None = None
    place: Place | None = None
    frontend: Frontend | None = None
    restarts: bool = True
    """Whether anything is told of new files, or done about them."""
    says: str = ""
    """Mode and reason, for people."""
    warnings: tuple[str, ...] = ()
    tips: tuple[str, ...] = ()

    @property
    def patches(self) -> bool:
        """Whether the pod template has to be changed before the first batch."""
        return self.restarts and self.mode in (Mode.SUPERVISE, Mode.BUILD)

    @property
    def leaves(self) -> tuple[str, ...]:
        """What its builds write into the source folder: patterns that the watch leaves out."""
        made = self.build or self.frontend
        return made.leaves if made else ()

    @property
    def carries_sources(self) -> bool:
        """Whether changed files are carried as they are, and not what is built from them."""
        return self.build is None and self.frontend is None


def plan(
    detection: Detection,
    overrides: Overrides | None = None,
    *,
    source: Source | None = None,
    machine: Machine | None = None,
    here: Machine | None = None,
) -> Strategy:
    """Decide what a session does. `machine` is the node's, `here` this one's.

    Raises ConfigError for flags that go together badly. A build that cannot be told is no error:
    the sources are carried, and a warning says what to write.
    """
    overrides, source = overrides or Overrides(), source or Source()
    machine, here = machine or Machine(), here or Machine()
    detection, warnings = _overridden(detection, overrides.language)
    runtime = detection.runtime
    own = None
    if overrides.build_cmd or overrides.build_output:
        own = own_build(overrides.build_cmd, overrides.build_output, source.files)
    site = None
    if own is None and runtime.key in ("nginx", "caddy"):
        site = frontend(source.files, source.folders)
    if site is not None:
        strategy = Strategy(
            runtime,
            Mode.STATIC,
            frontend=site,
            says=f"local build and copy ({' '.join(site.commands[-1])} -> {site.output})",
        )
    elif own is not None:
        strategy = _building(detection, own, machine)
    elif detection.reloads:
        strategy = Strategy(runtime, Mode.AUTO, says=f"auto-reload ({detection.reloads})")
    elif (classes := devtools(detection.argv, source.files)) is not None:
        strategy = Strategy(
            runtime,
            Mode.AUTO,
            build=classes[0],
            place=classes[1],
            says=f"local build, Spring's devtools reload ({classes[0].says})",
        )
    elif runtime.mode is Mode.BUILD and not _toolchain(detection):
        strategy = _built(detection, source, machine, here)
    else:
        strategy = _told(detection)
    strategy = replace(strategy, warnings=(*warnings, *strategy.warnings))
    return _sure(strategy) if overrides.restart else _silent(strategy)


def _sure(strategy: Strategy) -> Strategy:
    """With `--restart`, what sees files by itself and has a signal as well gets that."""
    if strategy.mode is not Mode.AUTO or strategy.fallback is not Mode.SIGNAL:
        return strategy
    return replace(
        strategy, says=f"{strategy.says}, and SIG{strategy.signal} for what is cached", tips=()
    )


def restarting(strategy: Strategy) -> Strategy:
    """What `restart_container()` asks for, whatever runs: files are carried as they are, and the
    program is started anew."""
    return Strategy(
        strategy.runtime,
        Mode.SUPERVISE,
        check=Check.NEW_PROCESS,
        settle=strategy.runtime.settle or 2,
        says="supervise and restart (`restart_container`)",
    )


def files_only(strategy: Strategy) -> Strategy:
    """Files as they are and nothing else, whatever runs: for containers that may each run another
    thing."""
    return Strategy(strategy.runtime, Mode.STATIC, restarts=False, says="files only")


def _overridden(detection: Detection, language: str) -> tuple[Detection, tuple[str, ...]]:
    """The detection with a user's word for the runtime, or a warning about that word."""
    if not language:
        return detection, ()
    runtime, problem = by_language(language)
    if runtime is None:
        found = f"Going by what the container runs: {detection.runtime.label}."
        return detection, (f"--language: {problem} {found}",)
    if runtime == detection.runtime:
        return detection, ()
    why = f"`--language {language}` says so"
    program = Program(runtime, detection.server, why, detection.argv[1:])
    other = replace(
        detection,
        runtime=runtime,
        why=why,
        reloads=reloads(program, _EMPTY),
        restarts=needs_restart(program),
        refuses=signal_refused(program, _EMPTY),
    )
    return other, ()


def _told(detection: Detection) -> Strategy:
    """A runtime that takes sources: by a signal, by a new start, or by itself."""
    runtime = detection.runtime
    note = (runtime.note,) if runtime.note else ()
    if runtime.mode is Mode.SIGNAL and not detection.refuses:
        return Strategy(
            runtime,
            Mode.SIGNAL,
            runtime.signal,
            "" if detection.direct else runtime.key,
            runtime.check,
            runtime.settle,
            Mode.SUPERVISE,
            says=f"signal reload (SIG{runtime.signal})",
            tips=note,
        )
    if runtime.mode in (Mode.AUTO, Mode.STATIC) and not detection.restarts:
        says = "auto-reload" if runtime.mode is Mode.AUTO else "files are served as they are"
        return Strategy(
            runtime,
            runtime.mode,
            says=says,
            fallback=Mode.SIGNAL if runtime.signal else None,
            signal=runtime.signal,
            to="" if detection.direct else runtime.key,
            check=runtime.check,
            settle=runtime.settle,
            tips=note,
        )
    reason = detection.refuses or detection.restarts or _toolchain(detection)
    return Strategy(
        runtime,
        Mode.SUPERVISE,
        check=Check.NEW_PROCESS,
        settle=runtime.settle or 2,
        says="supervise and restart" + (f" ({reason})" if reason else ""),
    )


_TOOLCHAINS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "go": frozenset({"run"}),
        "cargo": frozenset({"run", "watch"}),
        "dotnet": frozenset({"run", "watch"}),
        "zig": frozenset({"run", "build"}),
        "swift": frozenset({"run"}),
        "stack": frozenset({"run", "exec", "runghc"}),
        "cabal": frozenset({"run", "exec"}),
        "dune": frozenset({"exec"}),
        "sbt": frozenset({"run", "~run", "~reStart"}),
        "mvn": frozenset({"spring-boot:run", "quarkus:dev", "exec:java", "compile"}),
        "mvnw": frozenset({"spring-boot:run", "quarkus:dev", "exec:java", "compile"}),
        "gradle": frozenset({"run", "bootRun", "quarkusDev"}),
        "gradlew": frozenset({"run", "bootRun", "quarkusDev"}),
    }
)
_SCRIPTED = frozenset({"runghc", "ocaml", "scala-cli"})


def _toolchain(detection: Detection) -> str:
    """Why the container compiles by itself at each start: its command is a compiler's.

    A local build would have nowhere to go there but over the compiler.
    """
    if not detection.argv or not detection.argv[0]:
        return ""
    name = basename(detection.argv[0])
    words = [word for word in detection.argv[1:] if not word.startswith("-")]
    found = next((word for word in words if word in _TOOLCHAINS.get(name, ())), "")
    if found or name in _SCRIPTED:
        return f"`{' '.join(filter(None, (name, found)))}` compiles in the container"
    return ""


def _built(detection: Detection, source: Source, machine: Machine, here: Machine) -> Strategy:
    try:
        build = local_build(
            detection.runtime.family,
            source.files,
            machine=machine,
            here=here,
            runs=_runs(detection),
            folder=source.name,
            shared=bool(detection.argv) and basename(detection.argv[0]) == "dotnet",
        )
    except ConfigError as problem:
        return _unbuilt(detection, f"{problem.message} {problem.hint}")
    return _building(detection, build, machine)


def _unbuilt(detection: Detection, problem: str) -> Strategy:
    return Strategy(
        detection.runtime,
        Mode.SUPERVISE,
        check=Check.NEW_PROCESS,
        settle=detection.runtime.settle or 3,
        says="sources are carried, and the process started again",
        warnings=(f"{detection.runtime.label} needs a build. {problem}",),
    )


def _building(detection: Detection, build: LocalBuild, machine: Machine) -> Strategy:
    to = place(detection.argv, detection.runtime.family, build)
    if to is None:
        made = basename(machine.fill(build.artefact))
        return _unbuilt(
            detection,
            f"Where `{made}` belongs cannot be told: the container runs `{detection.server}` from a"
            " class path that does not name it. Rebuild the image, or start it with `-jar`.",
        )
    return Strategy(
        detection.runtime,
        Mode.BUILD,
        check=Check.NEW_PROCESS,
        settle=detection.runtime.settle or 3,
        build=build,
        place=to,
        says=f"local build and binary sync ({machine.fill(build.says)})",
    )


def _runs(detection: Detection) -> str:
    """The name of the program in the container, as a project may call it."""
    if detection.runtime.family is Family.JVM and detection.server.endswith(".jar"):
        return detection.server
    argv = detection.argv
    if argv and basename(argv[0]) == "dotnet":
        return next((basename(word) for word in argv[1:] if word.endswith(".dll")), "")
    return basename(argv[0]) if argv else ""


def _silent(strategy: Strategy) -> Strategy:
    """Files only, as without `--restart`, and what would happen with it."""
    if strategy.mode in (Mode.AUTO, Mode.STATIC):
        return replace(strategy, restarts=False)
    tip = f"Files are carried and nothing is restarted; with `--restart`: {strategy.says}."
    return replace(
        strategy,
        restarts=False,
        build=None,
        place=None,
        fallback=None,
        tips=(*strategy.tips, tip),
        says="files only",
    )


def lines(strategy: Strategy, *, source: str, destination: str) -> tuple[str, ...]:
    """What is said before the first batch: runtime, strategy, what is watched."""
    return (
        f"Detected runtime: {strategy.runtime.label}",
        f"Strategy: {strategy.says}",
        f"Watching {source} -> {destination}",
    )
