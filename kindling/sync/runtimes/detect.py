"""Which runtime a container runs, told from its first process."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from kindling.sync.runtimes.names import basename, by_name, normalised
from kindling.sync.runtimes.programs import Program, program_of
from kindling.sync.runtimes.reloading import dev_server, needs_restart, reloads, signal_refused
from kindling.sync.runtimes.runtime import Family, Runtime
from kindling.sync.runtimes.shell import SHELLS
from kindling.sync.runtimes.table import RUNTIMES, unknown
from kindling.sync.runtimes.wrappers import peel

__all__ = ["Detection", "by_project", "detect", "process_of", "words_of"]

_NOTHING: Mapping[str, str] = MappingProxyType({})

_DEEPEST = 16
"""Wrappers within wrappers; more are a circle of scripts."""


@dataclass(frozen=True, slots=True)
class Detection:
    """What runs in a container."""

    runtime: Runtime
    server: str
    """The name of the program that the runtime was told from, as its process shows it."""
    why: str
    argv: tuple[str, ...]
    """The command without what was wrapped around it."""
    through: tuple[str, ...] = ()
    """What was wrapped around it, from outside."""
    direct: bool = True
    """A signal to process 1 reaches the server: nothing around it keeps signals to itself."""
    reloads: str = ""
    """Why changed files are seen without us; empty if they are not."""
    restarts: str = ""
    """Why a runtime that as a rule sees changed files does not, started like this."""
    refuses: str = ""
    """Why the signal of the runtime is of no use, started like this."""

    @property
    def known(self) -> bool:
        return bool(self.runtime.key)


def words_of(command: bytes | Sequence[str]) -> tuple[str, ...]:
    """The arguments in `/proc/1/cmdline`; a list of them is taken as it is."""
    if not isinstance(command, bytes):
        return tuple(command)
    text = command.decode("utf-8", "surrogateescape").rstrip("\0")
    return tuple(text.split("\0")) if text else ()


def detect(
    command: bytes | Sequence[str],
    exe: str = "",
    *,
    scripts: Mapping[str, str] = _NOTHING,
    environ: Mapping[str, str] = _NOTHING,
    project: Collection[str] = (),
) -> Detection:
    """Tell the runtime from the arguments of process 1.

    `exe` is where `/proc/1/exe` points, for a process that has rewritten its title. `scripts` are
    texts by path, of entry points and of `package.json`. Of `environ` only WEB_CONCURRENCY and
    FLASK_DEBUG are read. `project` names files in the source folder: they decide when nothing else
    did.
    """
    argv = words_of(command)
    # What the link shows of a file that was replaced since, as ours replace it.
    exe = exe.removesuffix(" (deleted)")
    through: list[str] = []
    direct, otherwise, reloader = True, "", ""
    inner = argv
    for _ in range(_DEEPEST):
        peeled = peel(inner, scripts)
        if peeled is None:
            break
        through.append(peeled.by)
        direct = direct and not peeled.stays
        otherwise = peeled.otherwise or otherwise
        reloader = peeled.by if peeled.reloads else reloader
        if not peeled.argv:
            break
        inner = peeled.argv
    found = _identify(inner, exe) or _otherwise(inner, otherwise) or _marked(inner, project)
    program = found or Program(unknown(_shown(inner, exe)), _shown(inner, exe), "no name is known")
    _, dev = dev_server(inner) if inner and inner[0] else (Family.UNKNOWN, "")
    return Detection(
        program.runtime,
        program.server,
        program.why,
        inner,
        tuple(through),
        direct,
        dev
        or (f"`{reloader}` starts it again on a change" if reloader else "")
        or reloads(program, environ),
        needs_restart(program),
        signal_refused(program, environ),
    )


def _identify(argv: Sequence[str], exe: str) -> Program | None:
    """By the first word, by a title that the process gave itself, by its file."""
    first = argv[0] if argv else ""
    family, why = dev_server(argv) if first else (Family.UNKNOWN, "")
    if why:
        return Program(_OF_FAMILY[family], basename(first), why, tuple(argv[1:]))
    title = first.strip("[").split()
    if len(title) > 1 and not first.startswith(("/", "./")):
        named = by_name(title[0].rstrip(":"))
        if named is not None:
            name = normalised(title[0])
            return Program(named, name, f"the process calls itself `{title[0]}`", tuple(title[1:]))
    if basename(first) == "httpd" and (basename(exe) == "busybox" or {"-h", "-p"} & {*argv[1:]}):
        # Apache's has no such options; this one would die of Apache's signal.
        return Program(unknown("httpd"), "busybox httpd", "BusyBox has a small web server")
    row = by_name(first)
    if row is not None:
        return program_of(row, argv)
    named = by_name(exe) if exe and basename(exe) not in SHELLS else None
    if named is not None:
        name = basename(exe)
        return Program(named, name, f"the process is the file `{exe}`", tuple(argv[1:]))
    return None


_OF_FAMILY: Mapping[Family, Runtime] = {
    Family.NODE: RUNTIMES["node"],
    Family.GO: RUNTIMES["go"],
    Family.RUST: RUNTIMES["cargo"],
    Family.PYTHON: RUNTIMES["python3"],
}


def _otherwise(argv: Sequence[str], key: str) -> Program | None:
    """By the language of what was wrapped around a program that has no row."""
    if not key or key not in RUNTIMES:
        return None
    name = basename(argv[0]) if argv else key
    return Program(RUNTIMES[key], name, f"`{name}` is run by a tool of this language")


_MARKERS = (
    ("go.mod", "go"),
    ("Cargo.toml", "cargo"),
    ("package.json", "node"),
    ("build.sbt", "scala"),
    ("pom.xml", "java"),
    ("build.gradle", "java"),
    ("build.gradle.kts", "kotlin"),
    ("requirements.txt", "python3"),
    ("setup.py", "python3"),
    ("pyproject.toml", "python3"),
    ("Gemfile", "ruby"),
    ("mix.exs", "elixir"),
    ("composer.json", "php"),
    ("build.zig", "zig"),
    ("Package.swift", "swift"),
    ("stack.yaml", "haskell"),
    ("cabal.project", "haskell"),
    ("dune-project", "ocaml"),
    ("CMakeLists.txt", "gcc"),
    ("Makefile", "gcc"),
)
"""Upstream's files in upstream's order, then those of languages that it has no marker for."""


def by_project(names: Collection[str]) -> tuple[Runtime, str] | None:
    """The runtime that files in a source folder speak of, and which file."""
    for marker, key in _MARKERS:
        if marker in names:
            return RUNTIMES[key], marker
    for name in sorted(names):
        if "/" not in name and name.endswith((".csproj", ".fsproj")):
            return RUNTIMES["dotnet"], name
        if "/" not in name and name.endswith(".cabal"):
            return RUNTIMES["haskell"], name
    return None


def _marked(argv: Sequence[str], names: Collection[str]) -> Program | None:
    found = by_project(names)
    if found is None:
        return None
    row, marker = found
    name = basename(argv[0]) if argv else ""
    return Program(row, name, f"the source folder has `{marker}`")


def _shown(argv: Sequence[str], exe: str) -> str:
    return basename(argv[0]) if argv and argv[0] else basename(exe)


def process_of(key: str, processes: Iterable[tuple[int, bytes]]) -> int | None:
    """The process that a signal for this runtime goes to, of ids with their command lines.

    The one with the lowest id whose command is the server's own and not that of a shell or tool
    around it. Workers come after the master that started them.
    """
    for number, command in sorted(processes):
        if not words_of(command):
            continue
        found = detect(command)
        if found.runtime.key == key and not found.through:
            return number
    return None
