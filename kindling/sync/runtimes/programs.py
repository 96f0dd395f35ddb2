"""What an interpreter was told to run: the module, script or class behind `python3` or `java`.

Only that one place is read. An argument after it is the program's own affair: a file called `R`
or a value `go` never names a runtime.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kindling.sync.runtimes.names import basename, by_name
from kindling.sync.runtimes.runtime import Family, Runtime
from kindling.sync.runtimes.table import RUNTIMES

__all__ = ["Program", "program_of"]


@dataclass(frozen=True, slots=True)
class Program:
    """The row that a command line means, and what in it said so."""

    runtime: Runtime
    server: str
    why: str
    arguments: tuple[str, ...] = ()
    """What the server itself was told."""


def _takes(words: str) -> frozenset[str]:
    return frozenset(words.split())


_PYTHON_TAKES = _takes("-W -X -Q --check-hash-based-pycs")
_TAKES = {
    Family.NODE: _takes(
        "-r --require --import --loader --experimental-loader -e --eval -p --print -C --conditions"
        " --env-file --tsconfig -c --config --preload -P --project -w --watch-path --ext --exec"
        " --ignore --import-map --cert"
    ),
    Family.RUBY: _takes("-r -I -C -E -e -K"),
    Family.PERL: _takes("-I -e -E -M -m"),
}
_NODE_SERVERS = _takes("ts-node tsx nodemon ts-node-dev")
_SUBCOMMANDS = _takes("run start x watch serve")


def program_of(row: Runtime, argv: Sequence[str]) -> Program:
    """The program behind the first word of a command that has this row."""
    name, arguments = basename(argv[0]), tuple(argv[1:])
    plain = Program(row, name, f"the process is `{name}`", arguments)
    if row.key in ("python", "python3"):
        return _python(plain)
    if row.family is Family.NODE and row.key in ("node", "deno", "bun"):
        return _node(plain)
    if row.key == "ruby":
        return _ruby(plain)
    if row.key == "perl":
        script, rest = _script(arguments, _TAKES[Family.PERL])
        return _if_known(plain, script, rest, ("starman", "plackup"))
    if row.key == "java":
        return _java(plain)
    return plain


def _script(arguments: Sequence[str], takes: frozenset[str]) -> tuple[str, tuple[str, ...]]:
    """The first argument that is no option of the interpreter's, and what follows it."""
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        option = rest.pop(0)
        if option == "--":
            break
        if option in takes and rest:
            rest.pop(0)
    return (rest[0], tuple(rest[1:])) if rest else ("", ())


def _if_known(plain: Program, script: str, rest: tuple[str, ...], names: Sequence[str]) -> Program:
    name = basename(script)
    row = by_name(name)
    if row is None or name not in names:
        return plain
    return Program(row, name, f"`{plain.server}` runs `{name}`", rest)


def _family(family: Family) -> tuple[str, ...]:
    """The servers of a language that are scripts: not its interpreters."""
    interpreters = {"python", "python3", "ruby", "node", "deno", "bun"}
    names = [key for key, row in RUNTIMES.items() if row.family is family]
    return (*(name for name in names if name not in interpreters), "django-admin", "unicorn_rails")


def _python(plain: Program) -> Program:
    rest = list(plain.arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        option = rest.pop(0)
        if option == "--":
            break
        cluster = re.match(r"-[A-Za-z]*?([mc])(.*)\Z", option)
        if cluster and not option.startswith("--") and not re.match(r"-[WXQ]", option):
            if cluster[1] == "c":
                return plain
            module = cluster[2] or (rest.pop(0) if rest else "")
            return _python_module(plain, module, tuple(rest))
        if option in _PYTHON_TAKES and rest:
            rest.pop(0)
    if not rest:
        return plain
    script, arguments = rest[0], tuple(rest[1:])
    if basename(script) == "manage.py":
        return Program(RUNTIMES["django"], "manage.py", "Python runs `manage.py`", arguments)
    return _if_known(plain, script, arguments, _family(Family.PYTHON))


def _python_module(plain: Program, module: str, arguments: tuple[str, ...]) -> Program:
    first = module.split(".", 1)[0]
    row = by_name(first)
    why = f"Python runs the module `{module}`"
    if row is not None and row.family is Family.PYTHON:
        return Program(row, first, why, arguments)
    return Program(plain.runtime, module, why, arguments)


def _node(plain: Program) -> Program:
    arguments = plain.arguments
    if plain.runtime.key != "node" and arguments[:1] and arguments[0] in _SUBCOMMANDS:
        arguments = arguments[1:]
    script, rest = _script(arguments, _TAKES[Family.NODE])
    in_modules = "node_modules/" in script
    name = re.sub(r"\.[cm]?js\Z", "", basename(script)) if in_modules else basename(script)
    if in_modules and f"node_modules/{(parts := _package(script))}/" in script and parts:
        name = parts if name in ("bin", "cli", "index") else name
    if in_modules or "/bin/" in script:
        row = by_name("ts-node" if name == "ts-node-dev" else name)
        if row is not None and name in _NODE_SERVERS:
            return Program(row, name, f"`{plain.server}` runs `{name}`", rest)
    return Program(plain.runtime, plain.server, plain.why, plain.arguments)


def _package(script: str) -> str:
    """The package in `.../node_modules/tsx/dist/cli.mjs`."""
    found = re.search(r"node_modules/((?:@[^/]+/)?[^/.][^/]*)/", script)
    return found[1] if found else ""


def _ruby(plain: Program) -> Program:
    arguments = plain.arguments
    if "-S" in arguments[:3]:
        at = arguments.index("-S")
        arguments = arguments[at + 1 :]
    script, rest = _script(arguments, _TAKES[Family.RUBY])
    return _if_known(plain, script, rest, _family(Family.RUBY))


_JAVA_TAKES = _takes(
    "-cp -classpath --class-path -p --module-path --add-modules --add-opens --add-exports"
    " --add-reads --upgrade-module-path --limit-modules"
)


def _java(plain: Program) -> Program:
    rest = list(plain.arguments)
    while rest and rest[0].startswith(("-", "@")):
        option = rest.pop(0)
        if option in ("-jar", "-m", "--module") and rest:
            return _java_main(plain, rest[0])
        if option in _JAVA_TAKES and rest:
            rest.pop(0)
    return _java_main(plain, rest[0]) if rest else plain


def _java_main(plain: Program, main: str) -> Program:
    """A jar or a main class; Kotlin's compiler names the class of a file `...Kt`."""
    name = basename(main) if main.endswith((".jar", ".war")) else main.rpartition("/")[2]
    key = plain.runtime.key
    if re.search(r"\w\.?\w*Kt\Z", name) and not name.endswith(".jar"):
        key = "kotlin"
    elif name.startswith(("scala.", "dotty.")) or basename(main) == "sbt-launch.jar":
        key = "scala"
    return Program(RUNTIMES[key], name, f"the Java machine runs `{name}`", plain.arguments)
