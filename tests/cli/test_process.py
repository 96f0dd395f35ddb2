"""The program as a process: what it imports, signals, pipes that close, encodings, completion."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

HEAVY = (
    "asyncio",
    "docker",
    "kubernetes",
    "networkx",
    "rich",
    "sqlite3",
    "starlark",
    "structlog",
    "watchdog",
    "yaml",
)


def kindling(
    *args: str, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kindling", *args],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_version_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from kindling.cli.main import run\n"
        "assert run(['version']) == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    version, heavy = done.stdout.splitlines()
    assert version.startswith("kindling ")
    assert heavy == "[]"


def test_a_plan_without_environments_or_a_cluster_imports_no_client_and_no_operator(
    tmp_path: Path,
) -> None:
    """Who declares no environment pays nothing for those who do."""
    project = tmp_path / "hello"
    leave = shutil.ignore_patterns(".kindling")
    shutil.copytree(ROOT / "examples" / "hello", project, ignore=leave)
    heavy = ("aiohttp", "cryptography", "kopf", "kubernetes", "kindling.operator.controller")
    code = (
        "import sys\n"
        "from kindling.cli.main import run\n"
        "assert run(['plan']) == 0\n"
        f"print([name for name in {heavy!r} if name in sys.modules])\n"
    )
    apart = {"KUBECONFIG": str(tmp_path / "none"), "XDG_DATA_HOME": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project,
        env={**os.environ, **apart},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "rollout:hello" in done.stdout


def test_a_command_seldom_looks_for_garbage_among_what_it_imports(tmp_path: Path) -> None:
    """It takes a tenth of a short command with Python's own thresholds."""
    code = (
        "import gc, sys\n"
        "from kindling.cli.main import main\n"
        "sys.argv = ['kindling', 'version']\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    print(gc.isenabled(), gc.get_threshold()[0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "True 10000"


def test_help_imports_no_verb(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from kindling.cli.main import VERBS, run\n"
        "run(['--help'])\n"
        "print([v for v in VERBS if f'kindling.cli.{v}' in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_leaves_is_no_error(project: Path) -> None:
    program = [sys.executable, "-m", "kindling", "graph", "--json"]
    with subprocess.Popen(
        program, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        process.wait(timeout=60)
    assert said == b""
    assert process.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("args", [["graph"], ["version"], ["--help"]])
def test_a_full_disk_behind_stdout_is_said_in_one_line(project: Path, args: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "kindling", *args],
            cwd=project,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_locale_without_our_signs_gets_plain_ones(project: Path) -> None:
    env = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    (project / "Kindlingfile").write_text('local_resource("ü", cmd="echo ✓ ü")\n')
    done = kindling("up", "--once", "--plain", cwd=project, env=env)
    assert done.returncode == 0
    assert "local:? | ? ?" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_completion_knows_verbs_and_recorded_names(project: Path, shell: str) -> None:
    assert kindling("up", "--once", "--plain", cwd=project).returncode == 0

    def complete(*words: str) -> str:
        env = {"_KINDLING_COMPLETE": f"{shell}_complete"}
        env |= (
            {"COMP_WORDS": " ".join(["kindling", *words]), "COMP_CWORD": str(len(words))}
            if shell == "bash"
            else {"COMP_WORDS": " ".join(["kindling", *words]), "COMP_CWORD": words[-1]}
        )
        return kindling(cwd=project, env=env).stdout

    assert "graph" in complete("gra")
    assert "gen" in complete("why", "g")


def test_interrupting_what_runs_is_exit_code_130(project: Path) -> None:
    """Ctrl-C while a command runs cuts it off; the cluster and the terminal are left in order."""
    (project / "Kindlingfile").write_text('local_resource("long", cmd="echo begun; sleep 60")\n')
    program = [sys.executable, "-m", "kindling", "up", "--plain"]
    with subprocess.Popen(program, cwd=project, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "begun" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
        process.wait(timeout=60)
    assert process.returncode == 130
    assert "up interrupted after" in rest
