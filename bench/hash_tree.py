"""Reading a tree of files into a manifest, cold and unchanged, beside git and find on the same
tree.

    python bench/hash_tree.py --files 50000

`cold` has an empty stat cache (the page cache is warm: the files were just written). `unchanged,
new process` is what a second `kindling plan` pays: open the store, load the stat cache, read.
`unchanged, same process` is what a file event pays in a running session.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kindling.files.statcache import StatCache
from kindling.files.tree import TreeReader
from kindling.graph.node import FileSet, IgnoreRule
from kindling.store.database import Store

_FILES_PER_FOLDER = 100
_IGNORES = (IgnoreRule(".", ("**/node_modules", "**/*.pyc", "dist", "*.log")),)


def make_tree(root: Path, files: int) -> None:
    """Files of about 1 KB, a hundred in a folder, folders three deep."""
    for at in range(0, files, _FILES_PER_FOLDER):
        number = at // _FILES_PER_FOLDER
        folder = root / f"area{number // 50}" / f"module{number}" / "src"
        folder.mkdir(parents=True)
        for file in range(at, min(at + _FILES_PER_FOLDER, files)):
            (folder / f"file_{file}.py").write_text(f"# {file}\n" * 100)


def best(times: int, work: Callable[[], object]) -> float:
    """The shortest of several runs (seconds): what else the machine does only ever adds."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def measure(root: Path, state: Path, files: int) -> list[tuple[str, float]]:
    """Rows of (what, seconds)."""
    fileset = FileSet((".",), _IGNORES)
    rows: list[tuple[str, float]] = []

    def read_in_new_process() -> None:
        with Store.open(state) as store:
            found = TreeReader(root, StatCache(store)).read(fileset)
            assert sum(entry.startswith("file:") for entry in found.entries.values()) == files

    def cold() -> None:
        shutil.rmtree(state, ignore_errors=True)
        read_in_new_process()

    rows.append(("kindling, cold", best(2, cold)))
    rows.append(("kindling, unchanged, new process", best(5, read_in_new_process)))
    with Store.open(state) as store:
        reader = TreeReader(root, StatCache(store))
        reader.read(fileset)
        rows.append(("kindling, unchanged, same process", best(5, lambda: reader.read(fileset))))

    def run(*argv: str) -> None:
        subprocess.run(argv, cwd=root, stdout=subprocess.DEVNULL, check=True)

    find = ("find", ".", "-printf", "%p %s %T@ %C@ %i %m\n")
    rows.append(("find -printf (stat alone)", best(5, lambda: run(*find))))
    if shutil.which("git"):
        run("git", "init", "-q")
        rows.append(("git add, cold", best(1, lambda: run("git", "add", "-A"))))
        run("git", "status", "--porcelain")
        rows.append(("git status, unchanged", best(5, lambda: run("git", "status", "--porcelain"))))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Time manifests of a large tree beside git and find."
    )
    parser.add_argument("--files", type=int, default=50_000, metavar="N")
    parser.add_argument("--dir", type=Path, default=None, help="where to make the tree")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kindling-bench-", dir=options.dir) as folder:
        root, state = Path(folder) / "tree", Path(folder) / "state"
        make_tree(root, options.files)
        # Older than a tick of the file system's clock, or nothing may be remembered of the last
        # ones.
        os.sync()
        rows = measure(root, state, options.files)
    print(f"{options.files:,} files, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    for name, seconds in rows:
        print(f"  {name:<36}{seconds * 1000:>9.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
