"""Building the agent with the C compiler of this machine.

The agent needs no library, so any compiler will do that makes code for the architecture, and half a
second of it. What it makes depends on the sources, the options and the compiler alone, and is kept
under a name that says all three.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from kindling.errors import HostError, UsageError

__all__ = ["ARCHITECTURES", "SIZE_MOST", "SOURCE", "build", "compiler", "machine"]

ARCHITECTURES: dict[str, tuple[str, ...]] = {
    "x86_64": ("x86_64-linux-gnu-gcc", "x86_64-linux-musl-gcc", "x86_64-unknown-linux-gnu-gcc"),
    "aarch64": (
        "aarch64-linux-gnu-gcc",
        "aarch64-linux-musl-gcc",
        "aarch64-unknown-linux-gnu-gcc",
    ),
}
"""What the agent can be built for, and the compilers that do it on a machine of another kind."""
SIZE_MOST = 100_000
"""A bigger one would not do as a part of a ConfigMap."""

SOURCE = Path(__file__).resolve().parent / "source"
_MAIN = "agent.c"
_OPTIONS = (
    "-std=gnu11",
    "-Os",
    "-nostdlib",
    "-nostartfiles",
    "-static",
    "-ffreestanding",
    "-fno-stack-protector",
    "-fno-pie",
    "-no-pie",
    "-fno-asynchronous-unwind-tables",
    "-fno-unwind-tables",
    "-fno-ident",
    "-fno-strict-aliasing",
    # The same bytes each time: no number of the build.
    "-Wl,--build-id=none",
    "-Wl,-z,noexecstack",
    "-s",
)
_SECONDS = 60.0
_ALIASES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
_PACKAGES = {"x86_64": "gcc-x86-64-linux-gnu", "aarch64": "gcc-aarch64-linux-gnu"}


def machine(name: str = "") -> str:
    """The architecture by its Linux name, whatever it was called (`amd64`, `arm64`); without a
    name, this machine's.

    Raises:
        UsageError: There is no agent for it.
    """
    given = (name or platform.machine()).lower()
    known = _ALIASES.get(given, given)
    if known not in ARCHITECTURES:
        raise UsageError(
            f"There is no sync agent for the architecture `{given}`",
            hint=f"It is there for {', '.join(ARCHITECTURES)}.",
        )
    return known


def build(
    folder: Path,
    architecture: str = "",
    *,
    find: Callable[[str], str | None] = shutil.which,
    module: Callable[[str], object | None] = find_spec,
) -> Path:
    """The agent for `architecture` (this machine's when empty) as a file in `folder`, built when
    it is not there yet. `find` looks a program up, `module` a Python package.

    Raises:
        HostError: There is no compiler for it, or it fails; the message says what to do.
        UsageError: There is no agent for this architecture.
    """
    wanted = machine(architecture)
    words = compiler(wanted, find, module)
    key = sha256()
    for source in sorted(SOURCE.iterdir()):
        if source.suffix in (".c", ".h"):
            content = source.read_bytes()
            key.update(f"{source.name}\0{len(content)}\0".encode() + content)
    version = _run([*words, "--version"], "its version").stdout
    key.update("\0".join((wanted, *words, version, *_OPTIONS)).encode())
    target = folder / f"kindling-agent-{wanted}-{key.hexdigest()[:16]}"
    if not target.is_file():
        _compile(words, target)
    return target


def compiler(
    wanted: str, find: Callable[[str], str | None], module: Callable[[str], object | None]
) -> list[str]:
    """The words that begin a call of a compiler for the architecture."""
    native = platform.system() == "Linux" and wanted == _here()
    names = (("cc", "gcc", "clang") if native else ()) + ARCHITECTURES[wanted]
    for name in names:
        if found := find(name):
            return [found]
    # These two make code for any machine, as long as they have a linker for it.
    if (clang := find("clang")) and find("ld.lld"):
        return [clang, f"--target={wanted}-linux-gnu", "-fuse-ld=lld"]
    target = ("cc", "-target", f"{wanted}-linux-musl")
    if zig := find("zig"):
        return [zig, *target]
    if module("ziglang"):
        return [sys.executable, "-m", "ziglang", *target]
    package = "gcc" if native else _PACKAGES[wanted]
    raise HostError(
        f"The sync agent for {wanted} needs a C compiler, and none was found",
        details=[f"Looked for: {', '.join(names)}, clang with lld, zig, the package ziglang"],
        hint=f"Install one, such as by `apt-get install {package}` or `pip install ziglang`, "
        "and try again.",
    )


def _here() -> str:
    given = platform.machine().lower()
    return _ALIASES.get(given, given)


def _compile(words: list[str], target: Path) -> None:
    """Build next to the target and rename: another process may build the same now."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".agent-", dir=target.parent) as scratch:
            made = Path(scratch) / "agent"
            _run([*words, *_OPTIONS, "-o", str(made), _MAIN], "the sync agent")
            made.chmod(0o555)
            os.replace(made, target)
    except OSError as error:
        raise HostError(
            f"The sync agent cannot be kept in {target.parent}: {error.strerror}",
            hint="Make the folder writable, or free space on its disk.",
        ) from error


def _run(argv: list[str], what: str) -> subprocess.CompletedProcess[str]:
    """Run the compiler in the folder of the sources, so that no path gets into what it makes."""
    try:
        done = subprocess.run(
            argv,
            cwd=SOURCE,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(
            f"The C compiler `{argv[0]}` could not tell {what}"
            if what == "its version"
            else f"The C compiler `{argv[0]}` could not build {what}",
            details=[str(error)],
            hint="Check that it works: `cc --version`.",
        ) from error
    if done.returncode != 0:
        raise HostError(
            f"The C compiler `{argv[0]}` failed to make {what} (exit {done.returncode})",
            details=done.stderr.splitlines()[-20:],
            hint="Try another one: the first of `cc`, `gcc` and `clang` on PATH is taken.",
        )
    return done
