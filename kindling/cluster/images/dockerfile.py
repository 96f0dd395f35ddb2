"""Dockerfiles as instructions, by the grammar of the Dockerfile reference.

Logical lines end where no escape character does; comments and blank lines between them vanish;
here-documents belong to the instruction that opens them. Errors begin as Docker's do: `dockerfile
parse error line 3: ...`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kindling.errors import nearest

__all__ = ["Dockerfile", "DockerfileError", "Instruction", "Stage", "parse_dockerfile", "words"]

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z]+)\s*=\s*(\S.*?)\s*")
_HEREDOC = re.compile(r"(?<!<)<<(-?)([\"']?)([A-Za-z_][A-Za-z0-9_]*)\2")
_FLAG = re.compile(r"--([a-z-]+)(?:=(\S*))?(?:\s+|$)")
_STAGE = re.compile(r"[a-z][a-z0-9._-]*")
_KNOWN = frozenset(
    [
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "MAINTAINER",
        "ONBUILD",
        "RUN",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ]
)
_FLAGS: Mapping[str, frozenset[str]] = {
    "FROM": frozenset({"platform"}),
    "COPY": frozenset({"from", "chown", "chmod", "link"}),
    "ADD": frozenset({"chown", "chmod", "link"}),
    "RUN": frozenset({"mount", "network"}),
    "HEALTHCHECK": frozenset({"interval", "timeout", "start-period", "start-interval", "retries"}),
}
_ALONE = frozenset({"link"})


class DockerfileError(Exception):
    """A Dockerfile, or a step of one, that cannot be done; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A here-document: its text, and whether variables in it are expanded."""

    name: str
    text: str
    expand: bool


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. `rest` is what follows the word and its flags; `exec` that as a JSON list
    of strings, None where it is not one."""

    word: str
    rest: str
    line: int
    flags: tuple[tuple[str, str], ...] = ()
    exec: tuple[str, ...] | None = None
    heredocs: tuple[Heredoc, ...] = ()

    @property
    def text(self) -> str:
        """As Docker prints it in `Step 1/2 : ...`."""
        flags = "".join(f"--{name}={value} " for name, value in self.flags)
        return f"{self.word} {flags}{self.rest}".rstrip()

    def flag(self, name: str) -> str:
        return next((value for key, value in self.flags if key == name), "")

    def error(self, why: str) -> DockerfileError:
        return DockerfileError(f"dockerfile parse error line {self.line}: {why}")


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: its FROM, its name in lower case (empty for none) and what follows."""

    origin: Instruction
    base: str
    name: str
    steps: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """`escape` is the escape character; `args` are the ARGs before the first FROM."""

    escape: str
    args: tuple[Instruction, ...]
    stages: tuple[Stage, ...]


def parse_dockerfile(text: str) -> Dockerfile:
    """Raises `DockerfileError` with the line's number."""
    text = text.removeprefix("\ufeff")
    escape = _directives(text).get("escape", "\\")
    if escape not in ("\\", "`"):
        raise DockerfileError(
            f"dockerfile parse error line 1: invalid ESCAPE '{escape}'. Must be ` or \\"
        )
    args: list[Instruction] = []
    stages: list[Stage] = []
    open_: tuple[Instruction, str, str] | None = None
    steps: list[Instruction] = []
    for instruction in _instructions(text, escape):
        if instruction.word == "FROM":
            if open_ is not None:
                stages.append(Stage(*open_, tuple(steps)))
            open_, steps = (instruction, *_origin(instruction)), []
        elif open_ is not None:
            steps.append(instruction)
        elif instruction.word == "ARG":
            args.append(instruction)
        else:
            raise instruction.error(
                f"no build stage in current context: {instruction.word} before FROM"
            )
    if open_ is None:
        raise DockerfileError(
            "file with no instructions"
            if not args
            else "dockerfile parse error: no build stage in current context"
        )
    stages.append(Stage(*open_, tuple(steps)))
    return Dockerfile(escape, tuple(args), tuple(stages))


def words(text: str, escape: str) -> list[str]:
    """Split at blanks outside of quotes; quotes and escapes stay as they are."""
    found: list[str] = []
    word = ""
    quote = ""
    inside = False
    at = 0
    while at < len(text):
        sign = text[at]
        if sign == escape and quote != "'" and at + 1 < len(text):
            word += text[at : at + 2]
            inside = True
            at += 2
            continue
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sign.isspace():
            if inside:
                found.append(word)
            word, inside = "", False
            at += 1
            continue
        word += sign
        inside = True
        at += 1
    return [*found, word] if inside else found


def _directives(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = _DIRECTIVE.fullmatch(line.strip())
        if match is None or match[1].lower() not in ("syntax", "escape", "check"):
            break
        found[match[1].lower()] = match[2]
    return found


def _instructions(text: str, escape: str) -> Iterator[Instruction]:
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        start = at + 1
        at += 1
        if not line or line.startswith("#"):
            continue
        logical = ""
        while True:
            more = line.rstrip()
            if not more.endswith(escape):
                logical += line
                break
            logical += more[: -len(escape)]
            while at < len(lines) and (not lines[at].strip() or lines[at].strip().startswith("#")):
                at += 1
            if at >= len(lines):
                break
            line = lines[at]
            at += 1
        word = logical.split(None, 1)[0].upper()
        heredocs: list[Heredoc] = []
        if word in ("RUN", "COPY", "ADD"):
            for match in _HEREDOC.finditer(logical):
                body: list[str] = []
                while True:
                    if at >= len(lines):
                        raise DockerfileError(
                            f"dockerfile parse error line {start}: unterminated heredoc"
                        )
                    raw = lines[at].lstrip("\t") if match[1] else lines[at]
                    at += 1
                    if raw == match[3]:
                        break
                    body.append(f"{raw}\n")
                heredocs.append(Heredoc(match[3], "".join(body), not match[2]))
        yield _instruction(logical.strip(), start, tuple(heredocs))


def _instruction(text: str, line: int, heredocs: tuple[Heredoc, ...]) -> Instruction:
    head, _, rest = text.partition(" ") if " " in text else (text, "", "")
    if "\t" in head:
        head, _, rest = text.partition("\t")
    word = head.upper()
    if word not in _KNOWN:
        hint = nearest(word, _KNOWN)
        raise DockerfileError(
            f"dockerfile parse error line {line}: unknown instruction: {head}"
            + (f". {hint}" if hint else "")
        )
    rest = rest.strip()
    flags: list[tuple[str, str]] = []
    if word in _FLAGS:
        while (match := _FLAG.match(rest)) is not None:
            name = match[1]
            if name not in _FLAGS[word]:
                hint = nearest(name, _FLAGS[word])
                raise DockerfileError(
                    f"dockerfile parse error line {line}: unknown or unsupported flag of {word}:"
                    f" --{name}" + (f". {hint}" if hint else "")
                )
            if match[2] is None and name not in _ALONE:
                raise DockerfileError(
                    f"dockerfile parse error line {line}: missing a value on flag: {name}"
                )
            flags.append((name, match[2] or "true"))
            rest = rest[match.end() :]
    if not rest and word not in ("CMD", "ENTRYPOINT"):
        raise DockerfileError(
            f"dockerfile parse error line {line}: {word} requires at least one argument"
        )
    return Instruction(word, rest, line, tuple(flags), _json_form(rest), heredocs)


def _json_form(rest: str) -> tuple[str, ...] | None:
    if rest.startswith("["):
        try:
            value = json.loads(rest)
        except ValueError:
            return None
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
    return None


def _origin(instruction: Instruction) -> tuple[str, str]:
    parts = instruction.rest.split()
    if len(parts) == 1:
        return parts[0], ""
    if len(parts) != 3 or parts[1].lower() != "as":
        raise instruction.error(
            "FROM requires either one argument, or three: FROM <source> [as <name>]"
        )
    name = parts[2].lower()
    if not _STAGE.fullmatch(name):
        raise instruction.error(f'invalid name for build stage: "{parts[2]}"')
    return parts[0], name
