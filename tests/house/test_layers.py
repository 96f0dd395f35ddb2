"""Rooms import only what they may, and a quick command imports nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

HEAVY = (
    "asyncio",
    "docker",
    "hypothesis",
    "kubernetes",
    "networkx",
    "pathspec",
    "requests",
    "rich",
    "sqlite3",
    "starlark",
    "structlog",
    "urllib3",
    "watchdog",
    "yaml",
)


def test_the_import_contracts_are_kept(tmp_path: Path) -> None:
    """The layers and the one-importer rules of pyproject.toml hold."""
    program = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [str(program), "--cache-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_version_imports_nothing_heavy() -> None:
    """Every command pays for what `kindling.cli.main` imports, so heavy packages come later."""
    script = (
        "import json, sys\n"
        "from kindling.cli.main import main\n"
        "sys.argv = ['kindling', 'version']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert sorted(loaded & set(HEAVY)) == []
