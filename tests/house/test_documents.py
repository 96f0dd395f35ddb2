"""What the documents tell people to type and to open is there."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("examples/*/README.md"),
    ]
)
SHELLS = ("", "sh", "console", "text")
LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]+)(?:#[^)]*)?\)")


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def _accepts(verb: str) -> bool:
    done = subprocess.run(
        [sys.executable, "-m", "kindling", verb, "--help"], capture_output=True, check=False
    )
    return done.returncode == 0


def _commands(path: Path) -> list[str]:
    """The lines of a document's shell blocks, and its `code` that begins with kindling or make."""
    text = path.read_text(encoding="utf-8")
    lines: list[str] = []
    language: str | None = None
    for line in text.splitlines():
        if line.startswith("```"):
            language = line.removeprefix("```").strip() if language is None else None
        elif language in SHELLS:
            lines.append(line.strip())
    return lines + re.findall(r"`((?:kindling|make|scripts/[\w-]+)[^`\n]*)`", text)


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_commands_exist(path: Path) -> None:
    """Every `kindling VERB`, `make TARGET` and `scripts/NAME` that a document shows can be run."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for line in _commands(path):
        for verb in re.findall(r"(?:^|[;&|] *|=\S* )kindling ([a-z][a-z-]*)\b", line):
            assert _accepts(verb), f"`{line}`: there is no `kindling {verb}`"
        for target in re.findall(r"(?:^|[;&|] *)make ([a-z]+)\b", line):
            assert target in targets, f"`{line}`: there is no `make {target}`"
        for script in re.findall(r"(?:^|[;&|] *)(scripts/[\w-]+)", line):
            assert (ROOT / script).is_file(), f"`{line}`: there is no {script}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_links_lead_somewhere(path: Path) -> None:
    """A link to a file of this repository names one that exists."""
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{_name(path)} links to {target}"
