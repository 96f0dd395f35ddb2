"""Dockerfiles, as far as a build needs to know: where base images stand, and which builder it
takes.

The grammar is that of the Dockerfile reference: logical lines continued by the escape character,
comments between them, here-documents, `ARG`s before the first `FROM` that `FROM` may use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

__all__ = ["needs_buildkit", "substitute_bases"]

_HEREDOC = re.compile(r"(?<!<)<<-?([\"']?)([A-Za-z_][A-Za-z0-9_]*)\1")
_DIRECTIVE = re.compile(r"#\s*([a-z]+)\s*=\s*(\S.*?)\s*", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?:(:[-+])([^}]*))?\}|(\w+))")
_MODERN_FLAGS = re.compile(
    r"(RUN\s+--(mount|network|security)\b|(COPY|ADD)\s+(--\S+\s+)*--(link|chmod|parents|exclude|checksum"
    r"|keep-git-dir)\b)",
    re.IGNORECASE,
)


def needs_buildkit(text: str) -> bool:
    """Whether only BuildKit can build this: a `# syntax=` line, `RUN --mount` and its kin,
    here-documents, or flags of COPY and ADD that the classic builder lacks."""
    if "syntax" in _directives(text):
        return True
    return any(
        _MODERN_FLAGS.match(line.text) or (line.heredoc and line.word in ("RUN", "COPY", "ADD"))
        for line in _lines(text)
    )


def substitute_bases(text: str, images: Mapping[str, str], args: Mapping[str, str]) -> str:
    """The Dockerfile with references to images of ours replaced by what was built.

    `images` maps references as they stand in `FROM`, `COPY --from=` and `RUN --mount=from=` (after
    build arguments) to those to use instead; `args` are the build arguments given. Names of stages
    are never taken for images.
    """
    if not images:
        return text
    values: dict[str, str] = {}
    stages: set[str] = set()
    out: list[str] = []
    seen_from = False
    for line in _lines(text):
        replaced = line.source
        if line.word == "ARG" and not seen_from:
            for name, default in _arguments(line.text):
                value = args.get(name, default)
                if value is not None:
                    values[name] = _expand(value, values)
        elif line.word == "FROM":
            seen_from = True
            parts = [part for part in line.text.split()[1:] if not part.startswith("--")]
            written = parts[0] if parts else ""
            base = _expand(written, values)
            if base.lower() not in stages and base in images:
                replaced = _replace_word(line.source, written, images[base])
            if len(parts) >= 3 and parts[1].lower() == "as":
                stages.add(parts[2].lower())
        elif line.word in ("COPY", "RUN", "ADD"):
            for source in re.findall(r"(?:--from=|--mount=\S*?\bfrom=)([^\s,]+)", line.text):
                bare = source.strip("\"'")
                if bare.lower() not in stages and bare in images:
                    replaced = replaced.replace(f"from={source}", f"from={images[bare]}")
        out.append(replaced)
    return "".join(out)


@dataclass(frozen=True, slots=True)
class _Line:
    """One instruction (or comment, or blank line): as written, and as one line of text."""

    source: str
    text: str = ""
    heredoc: bool = False

    @property
    def word(self) -> str:
        return self.text.split(None, 1)[0].upper() if self.text else ""


def _directives(text: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for line in text.lstrip("\ufeff").splitlines():
        match = _DIRECTIVE.fullmatch(line.strip())
        if match is None:
            break
        found[match[1].lower()] = match[2]
    return found


def _lines(text: str) -> Iterator[_Line]:
    escape = _directives(text).get("escape", "\\")
    source: list[str] = []
    logical = ""
    physical = iter(text.splitlines(keepends=True))
    for raw in physical:
        source.append(raw)
        line = raw.strip()
        if line.startswith("#") or (not line and logical):
            if not logical:
                yield _Line("".join(source))
                source = []
            continue
        if line.endswith(escape):
            logical += line[: -len(escape)] + " "
            continue
        logical = (logical + line).strip()
        ends = [match[2] for match in _HEREDOC.finditer(logical)]
        if logical[:3].upper() not in ("RUN", "COP", "ADD"):
            ends = []
        heredoc = bool(ends)
        while ends and (body := next(physical, None)) is not None:
            source.append(body)
            if body.strip() == ends[0]:
                ends.pop(0)
        yield _Line("".join(source), logical, heredoc)
        source, logical = [], ""
    if source:
        yield _Line("".join(source), logical.strip())


def _arguments(text: str) -> Iterator[tuple[str, str | None]]:
    for word in text.split()[1:]:
        name, equals, value = word.partition("=")
        yield name, value.strip("\"'") if equals else None


def _expand(text: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        found = values.get(match[1] or match[4], "")
        match match[2]:
            case ":-":
                return found or match[3]
            case ":+":
                return match[3] if found else ""
            case _:
                return found

    return _VARIABLE.sub(value, text)


def _replace_word(source: str, word: str, by: str) -> str:
    """Replace the first whole occurrence of `word`: the others may be the name of a stage."""
    return re.sub(rf"(?<!\S){re.escape(word)}(?!\S)", lambda _: by, source, count=1)
