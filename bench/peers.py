"""Where the programs are that kindling is compared to."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["BENCH", "KINDLING", "ROOT", "WORK", "find", "install_peers"]

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
WORK = BENCH / ".work"
KINDLING = str(Path(sys.executable).parent / "kindling")

_PACKAGES = {"doit": "doit", "ninja": "ninja"}


def install_peers() -> Path:
    """An environment of their own for the peers that come from PyPI; its folder of programs."""
    bin_dir = WORK / "venv" / "bin"
    missing = [package for name, package in _PACKAGES.items() if not (bin_dir / name).exists()]
    if missing:
        if not (bin_dir / "python").exists():
            subprocess.run([sys.executable, "-m", "venv", str(bin_dir.parent)], check=True)
        pip = [str(bin_dir / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", *missing], check=True, timeout=600)
    return bin_dir


def find(name: str) -> str:
    """The full path of a peer, or an empty string.

    An installed ninja goes before that of PyPI, which is a Python program that starts the real one.
    """
    there = shutil.which(name)
    if there is None and name in _PACKAGES:
        there = shutil.which(name, path=str(WORK / "venv" / "bin"))
    return there or ""
