"""Hashing a tree of 50,000 files, cold and unchanged: what `bench/hash_tree.py` measures."""

from __future__ import annotations

import subprocess
import sys

from bench.peers import BENCH, ROOT

__all__ = ["measure"]


def measure() -> str:
    """What the program printed, or why there is nothing."""
    program = BENCH / "hash_tree.py"
    if not program.is_file():
        return "not measured: bench/hash_tree.py is not there"
    done = subprocess.run(
        [sys.executable, "-m", "bench.hash_tree"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    return (done.stdout if done.returncode == 0 else done.stdout + done.stderr).rstrip()
