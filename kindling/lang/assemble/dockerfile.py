"""What a Dockerfile takes from other images: its `FROM`, `COPY --from` and mounted images.

Just enough of the language for that: parser directives, continuation lines, comments,
here-documents, build arguments in the places where Docker replaces them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kindling.errors import ConfigError, nearest

__all__ = ["Stage", "image_references", "parse_dockerfile"]

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(\S+)\s*$")
_HEREDOC = re.compile(r"<<(-?)(['\"]?)([A-Za-z_][A-Za-z0-9_]*)\2")
_HEREDOC_COMMANDS = frozenset({"RUN", "COPY", "ADD"})
_VARIABLE = re.compile(
    r"\\\$|\$(?:(?P<plain>[A-Za-z_][A-Za-z0-9_]*)"
    r"|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<op>:?[-+?])(?P<word>[^}]*))?\})"
)
_FLAG = re.compile(r"--([a-z-]+)(?:=(\S+))?\s*")
_SCRATCH = "scratch"


@dataclass(slots=True)
class Stage:
    """One `FROM` and what follows. `image` is its base after arguments were put in.

    `name` is lower case, empty for none. `taken` are the images and stages named by `COPY --from`
    and `RUN --mount`.
    """

    image: str
    name: str = ""
    line: int = 0
    taken: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Instruction:
    command: str
    rest: str
    line: int


def parse_dockerfile(text: str, build_args: Mapping[str, str] | None = None) -> tuple[Stage, ...]:
    """The stages of a Dockerfile, as far as it is one: Docker says better what is wrong with it."""
    given = dict(build_args or {})
    first: dict[str, str] = {}
    known: dict[str, str] = first
    stages: list[Stage] = []
    for instruction in _instructions(text):
        match instruction.command:
            case "ARG":
                for name, default in _arguments(instruction.rest):
                    inherited = first.get(name, "") if stages else ""
                    value = inherited if default is None else _expand(default, known)
                    known[name] = given.get(name, value)
            case "ENV" if stages:
                for name, value in _environment(instruction.rest):
                    known[name] = _expand(value, known)
            case "FROM":
                _, rest = _flags(instruction.rest)
                words = rest.split()
                if not words:
                    continue
                named = len(words) == 3 and words[1].lower() == "as"
                known = {}
                stages.append(
                    Stage(
                        _expand(words[0], first),
                        words[2].lower() if named else "",
                        instruction.line,
                    )
                )
            case "COPY" | "ADD" | "RUN" if stages:
                flags, _ = _flags(instruction.rest)
                stages[-1].taken.extend(_expand(value, known) for value in _sources(flags))
    return tuple(stages)


def image_references(
    stages: tuple[Stage, ...], target: str = "", where: str = "Dockerfile"
) -> tuple[str, ...]:
    """The images that stages are built from, other than the stages themselves, in order, once each.

    With `target`, those of the stages up to it: builders that do not skip stages need them all.

    Raises:
        ConfigError: There is no such target.
    """
    stages = stages[: _target_index(stages, target, where) + 1] if target else stages
    found: dict[str, None] = {}
    names: set[str] = set()
    for at, stage in enumerate(stages):
        for text in (stage.image, *stage.taken):
            earlier = text.lower() in names or (text.isdigit() and int(text) < at)
            if text and text != _SCRATCH and not earlier and "$" not in text:
                found[text] = None
        if stage.name:
            names.add(stage.name)
    return tuple(found)


def _target_index(stages: tuple[Stage, ...], target: str, where: str) -> int:
    for at, stage in enumerate(stages):
        if stage.name == target.lower():
            return at
    if target.isdigit() and int(target) < len(stages):
        return int(target)
    names = [stage.name for stage in stages if stage.name]
    raise ConfigError(
        f"{where}: there is no stage `{target}`",
        details=[f"stages: [{', '.join(names)}]"] if names else [],
        hint=nearest(target.lower(), names),
    )


def _instructions(text: str) -> Iterator[_Instruction]:
    lines = text.removeprefix("\ufeff").splitlines()
    escape = _escape_character(lines)
    at = 0
    while at < len(lines):
        start = at
        line = lines[at].strip()
        at += 1
        if not line or line.startswith("#"):
            continue
        parts: list[str] = []
        while True:
            goes_on = line.endswith(escape)
            parts.append(line[:-1] if goes_on else line)
            if not goes_on:
                break
            # Comments and empty lines inside a continued instruction count for nothing.
            while at < len(lines) and (not lines[at].strip() or lines[at].lstrip().startswith("#")):
                at += 1
            if at == len(lines):
                break
            line = lines[at].rstrip()
            at += 1
        command, _, rest = " ".join(parts).strip().partition(" ")
        command = command.upper()
        if command in _HEREDOC_COMMANDS:
            for heredoc in _HEREDOC.finditer(rest):
                at = _after_heredoc(lines, at, heredoc[3], bool(heredoc[1]))
        yield _Instruction(command, rest.strip(), start + 1)


def _escape_character(lines: list[str]) -> str:
    for line in lines:
        directive = _DIRECTIVE.match(line.strip())
        if directive is None:
            break
        if directive[1].lower() == "escape" and directive[2] in ("\\", "`"):
            return directive[2]
    return "\\"


def _after_heredoc(lines: list[str], at: int, delimiter: str, tabs: bool) -> int:
    for end in range(at, len(lines)):
        if (lines[end].lstrip("\t") if tabs else lines[end]) == delimiter:
            return end + 1
    return at  # never closed: no here-document after all, such as `1 <<EOF` in a shell word


def _arguments(rest: str) -> Iterator[tuple[str, str | None]]:
    for word in _words(rest):
        name, given, value = word.partition("=")
        yield name, _unquote(value) if given else None


def _environment(rest: str) -> Iterator[tuple[str, str]]:
    words = _words(rest)
    if words and "=" not in words[0]:
        yield words[0], " ".join(words[1:])
        return
    for word in words:
        name, _, value = word.partition("=")
        yield name, _unquote(value)


def _words(rest: str) -> list[str]:
    return re.findall(r"(?:[^\s\"']|\"(?:\\.|[^\"\\])*\"|'[^']*')+", rest)


def _unquote(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text


def _flags(rest: str) -> tuple[list[tuple[str, str]], str]:
    flags: list[tuple[str, str]] = []
    while (flag := _FLAG.match(rest)) is not None:
        flags.append((flag[1], flag[2] or ""))
        rest = rest[flag.end() :]
    return flags, rest


def _sources(flags: list[tuple[str, str]]) -> Iterator[str]:
    for name, value in flags:
        if name == "from":
            yield _unquote(value)
        elif name == "mount":
            for part in value.split(","):
                key, _, source = part.partition("=")
                if key == "from":
                    yield _unquote(source)


def _expand(text: str, known: Mapping[str, str]) -> str:
    """`text` with `$name`, `${name}`, `${name:-word}` and `${name:+word}` replaced."""

    def value(match: re.Match[str]) -> str:
        name = match["plain"] or match["name"]
        if name is None:
            return "$"
        current = known.get(name)
        operator, word = match["op"] or "", match["word"] or ""
        present = bool(current) if operator.startswith(":") else current is not None
        if operator.endswith("-"):
            return current or "" if present else _expand(word, known)
        if operator.endswith("+"):
            return _expand(word, known) if present else ""
        return current or ""

    return _VARIABLE.sub(value, _unquote(text))
