"""Programs that start another one, and how to read the other one out of their arguments."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from kindling.sync.runtimes.names import basename, is_python
from kindling.sync.runtimes.shell import interpreter, of_script, of_shell, started

__all__ = ["WRAPPERS", "Peeled", "Wrapper", "peel"]

_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


@dataclass(frozen=True, slots=True)
class Wrapper:
    """One program that starts another."""

    words: tuple[str, ...] = ()
    """Subcommands of which one has to come first; none means that the command follows at once."""
    takes: frozenset[str] = frozenset()
    """Options whose value is the next argument."""
    positional: int = 0
    """Arguments of its own before the command."""
    stays: bool = False
    """It remains the parent and keeps signals to itself, or forwards only some."""
    otherwise: str = ""
    """The runtime if what it starts cannot be told."""
    reloads: bool = False
    """It starts the command again when files change."""


@dataclass(frozen=True, slots=True)
class Peeled:
    """A command with one wrapper taken away."""

    argv: tuple[str, ...]
    """Empty if what follows cannot be told."""
    by: str
    stays: bool
    otherwise: str = ""
    reloads: bool = False


def _takes(words: str) -> frozenset[str]:
    return frozenset(words.split())


_RUN = ("run",)
_SECRETS = Wrapper(_RUN, _takes("-p --project -c --config --env --env-file -f"), stays=True)
_PYTHON_RUN = Wrapper(
    _RUN,
    _takes(
        "-p --python --with --extra --group --project --directory -C -n --name --env-file"
        " --package -P --with-requirements"
    ),
    stays=True,
    otherwise="python3",
)

WRAPPERS: Mapping[str, Wrapper] = MappingProxyType(
    {
        # Initial processes hand every signal on.
        "tini": Wrapper(takes=_takes("-p -e")),
        "tini-static": Wrapper(takes=_takes("-p -e")),
        "dumb-init": Wrapper(takes=_takes("-r --rewrite")),
        "docker-init": Wrapper(takes=_takes("-p -e")),
        "catatonit": Wrapper(),
        # These become the command.
        "exec": Wrapper(takes=_takes("-a")),
        "gosu": Wrapper(positional=1),
        "su-exec": Wrapper(positional=1),
        "s6-setuidgid": Wrapper(positional=1),
        "setpriv": Wrapper(takes=_takes("--reuid --regid --groups")),
        "chpst": Wrapper(takes=_takes("-u -U -b -e -/ -n -l -L -m -d -o -p -f -c")),
        "env": Wrapper(takes=_takes("-u --unset -C --chdir")),
        "nice": Wrapper(takes=_takes("-n --adjustment")),
        "ionice": Wrapper(takes=_takes("-c -n --class --classdata")),
        "chrt": Wrapper(positional=1),
        "taskset": Wrapper(positional=1),
        "numactl": Wrapper(takes=_takes("-N -m -C -p")),
        "stdbuf": Wrapper(takes=_takes("-i -o -e")),
        "nohup": Wrapper(),
        "setsid": Wrapper(),
        "prlimit": Wrapper(),
        "unbuffer": Wrapper(stays=True),
        "time": Wrapper(stays=True),
        "timeout": Wrapper(takes=_takes("-k -s --kill-after --signal"), positional=1, stays=True),
        "sudo": Wrapper(takes=_takes("-u -g -h -p -C -D --user --group"), stays=True),
        "runuser": Wrapper(takes=_takes("-u -g -G --user --group"), stays=True),
        "xvfb-run": Wrapper(takes=_takes("-n -s -e -f -w --server-args"), stays=True),
        # Instruments.
        "ddtrace-run": Wrapper(otherwise="python3"),
        "opentelemetry-instrument": Wrapper(
            takes=_takes("--traces_exporter --metrics_exporter --service_name"),
            otherwise="python3",
        ),
        "newrelic-admin": Wrapper(("run-program",), otherwise="python3"),
        # Secrets and variables.
        "dotenv": Wrapper(takes=_takes("-f -e -p -c"), stays=True),
        "dotenvx": _SECRETS,
        "doppler": _SECRETS,
        "infisical": _SECRETS,
        "op": _SECRETS,
        # Environments of languages.
        "poetry": _PYTHON_RUN,
        "pipenv": _PYTHON_RUN,
        "pdm": _PYTHON_RUN,
        "hatch": _PYTHON_RUN,
        "rye": _PYTHON_RUN,
        "uv": _PYTHON_RUN,
        "conda": _PYTHON_RUN,
        "micromamba": _PYTHON_RUN,
        "uvx": Wrapper(takes=_takes("-p --python --with --from"), stays=True, otherwise="python3"),
        "bundle": Wrapper(("exec",), otherwise="bundle"),
        "rbenv": Wrapper(("exec",)),
        "asdf": Wrapper(("exec",)),
        "mise": Wrapper(("exec", "x")),
        "npx": Wrapper(takes=_takes("-p --package -c --call"), stays=True, otherwise="node"),
        "bunx": Wrapper(stays=True, otherwise="bun"),
        "pnpx": Wrapper(stays=True, otherwise="node"),
        # Watchers.
        "watchmedo": Wrapper(
            ("auto-restart",),
            _takes("-d --directory -p --pattern --patterns -i --ignore-pattern --signal"),
            stays=True,
            reloads=True,
        ),
        "watchexec": Wrapper(takes=_takes("-e -w -i -s --exts --watch"), stays=True, reloads=True),
        "reflex": Wrapper(takes=_takes("-r -g -R -G -c"), stays=True, reloads=True),
    }
)

_PACKAGE_MANAGERS = frozenset({"npm", "yarn", "pnpm"})
_MANAGER_TAKES = _takes("--prefix -C --dir --cwd -w --workspace --filter -F --loglevel")
_EXECUTES = frozenset({"exec", "x", "dlx"})
_SCRIPT_WORDS = frozenset({"run", "run-script"})
_OWN_SCRIPTS = frozenset({"start", "test", "serve", "dev", "build", "preview", "watch", "develop"})


def peel(argv: Sequence[str], scripts: Mapping[str, str]) -> Peeled | None:
    """Take one wrapper away, or None if the command is none."""
    if not argv or not argv[0]:
        return None
    name = basename(argv[0])
    shell = of_shell(argv, scripts)
    if shell is not None:
        by, command = shell
        if command is None:
            return Peeled((), by, stays=True)
        return Peeled(command.argv, by, stays=not command.replaces)
    if name in _PACKAGE_MANAGERS:
        return _package_manager(name, argv, scripts)
    if name == "su":
        return _su(argv)
    if name == "env" and "-S" in argv[1:-1]:
        at = list(argv).index("-S") + 1
        return Peeled((*_split(argv[at]), *argv[at + 1 :]), name, stays=False)
    wrapper = WRAPPERS.get(name)
    if wrapper is not None:
        return _plain(name, wrapper, argv)
    if is_python(name) and tuple(argv[1:3]) == ("-m", "debugpy"):
        return _debugger(argv)
    return _script(argv, scripts)


def _options(rest: list[str], takes: frozenset[str], *, variables: bool = False) -> None:
    """Drop leading options with their values, and `NAME=value` where those may stand."""
    while rest:
        if rest[0] == "--":
            rest.pop(0)
            return
        if rest[0].startswith("-") and len(rest[0]) > 1:
            if rest.pop(0) in takes and rest:
                rest.pop(0)
        elif variables and _ASSIGNMENT.match(rest[0]):
            rest.pop(0)
        else:
            return


def _split(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError:
        return ()


def _plain(name: str, wrapper: Wrapper, argv: Sequence[str]) -> Peeled | None:
    rest = list(argv[1:])
    variables = name in ("env", "sudo")
    _options(rest, wrapper.takes, variables=variables)
    if wrapper.words:
        if not rest or rest[0] not in wrapper.words:
            return None
        rest.pop(0)
        _options(rest, wrapper.takes)
    del rest[: wrapper.positional]
    if wrapper.positional:
        _options(rest, wrapper.takes)
    by = " ".join((name, *wrapper.words[:1]))
    return Peeled(tuple(rest), by, wrapper.stays, wrapper.otherwise, wrapper.reloads)


def _su(argv: Sequence[str]) -> Peeled:
    """`su [-] user -c text`, in any order."""
    for at, word in enumerate(argv[:-1]):
        if word in ("-c", "--command"):
            command = started(argv[at + 1])
            if command is not None:
                return Peeled(command.argv, "su", stays=True)
    return Peeled((), "su", stays=True)


def _debugger(argv: Sequence[str]) -> Peeled:
    rest = list(argv[3:])
    while rest and rest[0].startswith("--"):
        if rest.pop(0) in ("--listen", "--connect", "--log-to", "--configure-subProcess") and rest:
            rest.pop(0)
    return Peeled((argv[0], *rest), "debugpy", stays=False, otherwise="python3")


def _package_manager(name: str, argv: Sequence[str], scripts: Mapping[str, str]) -> Peeled:
    rest = list(argv[1:])
    _options(rest, _MANAGER_TAKES)
    if rest and rest[0] in _EXECUTES:
        rest.pop(0)
        _options(rest, _MANAGER_TAKES)
        return Peeled(tuple(rest), f"{name} exec", stays=True, otherwise="node")
    if rest and rest[0] in _SCRIPT_WORDS:
        rest.pop(0)
        _options(rest, _MANAGER_TAKES)
        if not rest:
            return Peeled((), name, stays=True, otherwise="node")
        return _named_script(name, rest, scripts) or Peeled((), name, True, "node")
    if not rest:
        return Peeled((), name, stays=True, otherwise="node")
    found = _named_script(name, rest, scripts)
    if found is not None:
        return found
    if name == "npm" or rest[0] in _OWN_SCRIPTS:
        return Peeled((), name, stays=True, otherwise="node")
    return Peeled(tuple(rest), name, stays=True, otherwise="node")


def _named_script(name: str, rest: Sequence[str], scripts: Mapping[str, str]) -> Peeled | None:
    """The command of a script in package.json, with the further arguments."""
    try:
        package = json.loads(scripts.get("package.json", "{}"))
    except ValueError:
        return None
    known = package.get("scripts") if isinstance(package, dict) else None
    text = known.get(rest[0]) if isinstance(known, dict) else None
    command = started(text) if isinstance(text, str) else None
    if command is None:
        return None
    further = [word for word in rest[1:] if word != "--"]
    return Peeled((*command.argv, *further), f"{name} {rest[0]}", stays=True, otherwise="node")


_INTERPRETED = {
    ".py": "python3",
    ".rb": "ruby",
    ".js": "node",
    ".mjs": "node",
    ".cjs": "node",
    ".pl": "perl",
    ".lua": "lua",
    ".php": "php",
    ".exs": "elixir",
    ".jl": "julia",
    ".R": "Rscript",
}


def _script(argv: Sequence[str], scripts: Mapping[str, str]) -> Peeled | None:
    """A script that is run by its path: by its first line, its text or its name."""
    path = argv[0]
    if " " in path and not path.startswith(("/", "./")):
        # A title that a process gave itself.
        return None
    text = scripts.get(path)
    if text is not None:
        command = interpreter(text)
        if command and command[0] != path:
            return Peeled((*command, *argv), path, stays=False)
    if path.endswith((".sh", ".bash")) or text is not None or "entrypoint" in basename(path):
        found = of_script(path, argv[1:], scripts)
        if found is not None:
            return Peeled(found.argv, path, stays=not found.replaces)
        return Peeled((), path, stays=True) if path.endswith((".sh", ".bash")) else None
    if basename(path) in ("launcher", "with-contenv") and len(argv) > 1:
        return Peeled(tuple(argv[1:]), basename(path), stays=False)
    for ending, program in _INTERPRETED.items():
        if path.endswith(ending):
            return Peeled((program, *argv), path, stays=False)
    return None
