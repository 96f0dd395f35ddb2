"""Facts and pressures of the machine that the node stands on."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Machine", "Pressure", "machine", "pressure"]

_LEAST_MEMORY = 100 * 1024 * 1024  # the kubelet's eviction thresholds: bytes available,
_LEAST_DISK = 0.10  # part of the disk,
_LEAST_PIDS = 0.05  # and part of the process ids


@dataclass(frozen=True, slots=True)
class Machine:
    """Sizes in bytes. `architecture` is as Go names it."""

    cpus: int
    memory: int
    disk: int
    architecture: str
    kernel: str
    system: str
    system_id: str
    boot_id: str
    os_image: str


@dataclass(frozen=True, slots=True)
class Pressure:
    memory: bool
    disk: bool
    pids: bool


def machine(folder: Path) -> Machine:
    """This machine; `folder` is on the disk that counts."""
    arch = platform.machine().lower()
    return Machine(
        cpus=_cpus(),
        memory=_memory().get("MemTotal", _pages()),
        disk=shutil.disk_usage(folder).total,
        architecture={"x86_64": "amd64", "aarch64": "arm64"}.get(arch, arch),
        kernel=platform.release(),
        system=platform.system().lower(),
        system_id=_line("/etc/machine-id"),
        boot_id=_line("/proc/sys/kernel/random/boot_id"),
        os_image=_os_image(),
    )


def pressure(folder: Path) -> Pressure:
    """Whether something runs short."""
    memory = _memory()
    disk = shutil.disk_usage(folder)
    most = int(_line("/proc/sys/kernel/pid_max") or 0)
    running = _line("/proc/loadavg").split()
    used = int(running[3].partition("/")[2]) if len(running) > 3 else 0
    return Pressure(
        memory=memory.get("MemAvailable", _LEAST_MEMORY) < _LEAST_MEMORY,
        disk=disk.free < disk.total * _LEAST_DISK and disk.free < 10 * 1024**3,
        pids=bool(most) and most - used < most * _LEAST_PIDS,
    )


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> dict[str, int]:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return {}
    rows = (line.split() for line in text.splitlines())
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) == 3}


def _pages() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _os_image() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return f"{platform.system()} {platform.release()}"
