"""Which program a piece of shell starts in the end, as far as it can be read without running it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kindling.sync.runtimes.names import basename

__all__ = ["SHELLS", "Started", "interpreter", "of_script", "of_shell", "started"]

SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "busybox"})

_OPERATORS = "();<>|&\n"
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")
_BEFORE = frozenset({"then", "do", "else", "!", "{", "time", "command"})


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NOT_PROGRAMS = _words(
    "fi done esac } if elif while until for case in set export cd source . umask ulimit trap unset"
    " local readonly shift return test [ [[ wait true false : exit echo printf fg sleep tail cat"
    " read eval touch mkdir chmod chown kill break continue function declare"
)
"""Reserved words, and what a script does before, after and between."""

_UPSTREAM_MARKER = ".kindling-sync-wrapper"
"""In a command that upstream's own sync has put around another."""


@dataclass(frozen=True, slots=True)
class Started:
    """A command that a shell starts. `replaces`: by `exec`, so the shell is gone then."""

    argv: tuple[str, ...]
    replaces: bool


def _tokens(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=_OPERATORS)
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError:
        # An open quote: what shells would refuse, or a construct that is no plain words.
        return []


def _is_operator(token: str) -> bool:
    return bool(token) and all(character in _OPERATORS for character in token)


def _commands(text: str) -> list[list[str]]:
    """The simple commands in their order; of a pipeline only the first."""
    commands: list[list[str]] = [[]]
    depth = 0
    piped = skip = comment = False
    for token in _tokens(text.replace("\\\n", " ")):
        if not _is_operator(token):
            comment = comment or (token.startswith("#") and depth == 0)
            if not (depth or piped or comment or skip):
                commands[-1].append(token)
            skip = False
            continue
        if depth or (commands[-1][-1:] and commands[-1][-1].endswith("$") and token[0] == "("):
            depth += token.count("(") - token.count(")")
            continue
        if "\n" in token:
            comment = False
        if comment:
            continue
        if "<" in token or ">" in token:
            skip = True
            if commands[-1] and commands[-1][-1].isdigit():
                commands[-1].pop()
        elif token == "|" or token == "|&":
            piped = True
        else:
            piped = False
            commands.append([])
    return commands


def _program(words: Sequence[str]) -> tuple[str, ...]:
    """The program and its arguments of a simple command, or nothing if it starts none."""
    rest = list(words)
    while rest and (rest[0] in _BEFORE or _ASSIGNMENT.match(rest[0])):
        rest.pop(0)
    if not rest or rest[0] in _NOT_PROGRAMS or rest[0].startswith(("$(", "${", "$")):
        # `$@` is a program if there are positional arguments; they were put in before.
        return ()
    return tuple(rest)


def started(text: str, arguments: Sequence[str] = ()) -> Started | None:
    """What a script or the text of `sh -c` goes on as.

    The last `exec`, else the last program that is more than a preparation: a migration comes
    before the server, and `wait` after it.
    """
    if _UPSTREAM_MARKER in text:
        text = text.replace("\\u0026", "&")
    found: Started | None = None
    for words in _commands(text):
        expanded: list[str] = []
        for word in words:
            expanded.extend(arguments if word in ("$@", "$*") else (word,))
        replaces = "exec" in expanded[:3] and _program(expanded)[:1] == ("exec",)
        program = _program(expanded)
        if replaces:
            program = _after_exec(program[1:])
        if program and (replaces or found is None or not found.replaces):
            found = Started(program, replaces)
    return found


def _after_exec(words: Sequence[str]) -> tuple[str, ...]:
    rest = list(words)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "--":
            break
        if option.endswith("a") and rest:
            rest.pop(0)
    return _program(rest)


def of_shell(argv: Sequence[str], scripts: Mapping[str, str]) -> tuple[str, Started | None] | None:
    """What a shell with these arguments starts: by what, and the command.

    None if it is no shell. The command is None if it cannot be told: an interactive shell, or a
    script whose text is not among `scripts`.
    """
    name = basename(argv[0])
    if name not in SHELLS:
        return None
    rest = list(argv[1:])
    if name == "busybox":
        if not rest or basename(rest[0]) not in SHELLS:
            return None
        rest.pop(0)
    takes_text = False
    while rest and rest[0].startswith(("-", "+")) and rest[0] not in ("-", "--"):
        option = rest.pop(0)
        if option.startswith("--"):
            if option in ("--rcfile", "--init-file") and rest:
                rest.pop(0)
            continue
        takes_text = takes_text or (option[0] == "-" and "c" in option)
        if "o" in option[1:] and rest:
            rest.pop(0)
    if rest and rest[0] in ("-", "--"):
        rest.pop(0)
    if not rest:
        return name, None
    if takes_text:
        return f"{name} -c", started(rest[0], rest[2:])
    return rest[0], of_script(rest[0], rest[1:], scripts)


def of_script(path: str, arguments: Sequence[str], scripts: Mapping[str, str]) -> Started | None:
    """What a script starts: by its text if that is at hand, else by its name.

    An entry point by name goes on as its arguments, as nearly all do; of other scripts only the
    text can tell. A server's own control script is the server by another name.
    """
    if basename(path) in _CONTROLS:
        return Started((basename(path), *arguments), replaces=False)
    text = scripts.get(path)
    if text is not None:
        return started(text, arguments)
    name = basename(path).lower()
    entry = "entrypoint" in name.replace("-", "").replace("_", "") or name in _ENTRIES
    if entry and arguments and not arguments[0].startswith("-"):
        return Started(tuple(arguments), replaces=True)
    return None


_CONTROLS = frozenset({"apache2ctl", "apachectl"})
"""They name their server by variables alone (`$HTTPD "$@"`), and stay around it."""

_ENTRIES = frozenset({"entry.sh", "with-contenv", "launcher", "run-with-env.sh"})


def interpreter(text: str) -> tuple[str, ...]:
    """The command of a script's first line, `env` taken away, or nothing without one."""
    first = text.split("\n", 1)[0].strip()
    if not first.startswith("#!"):
        return ()
    words = first[2:].split()
    if words and basename(words[0]) == "env":
        words = [word for word in words[1:] if word != "-S" and not _ASSIGNMENT.match(word)]
    return tuple(words)
