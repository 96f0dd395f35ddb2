"""Limits by control groups, of the first and of the second version, where we may write them.

All groups of a launcher lie in one, `kindling-PID-START` of its guard, below a group that we are
in: so limits on us hold for the containers too, and what a dead launcher has left is known by its
name. Where that was is recorded for the next start, which may be in another group. A group goes
when its container does.
"""

from __future__ import annotations

import contextlib
import os
import time

__all__ = ["Cgroups", "Group", "start_time"]

_PERIOD = 100_000
_PREFIX = "kindling-"


def start_time(pid: int) -> str:
    """In ticks since boot, with the pid unique; empty when no such process lives."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return ""
    words = text[text.rindex(b")") + 2 :].split()
    return "" if words[0] in (b"Z", b"X") else words[19].decode()


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _mounted() -> tuple[str, dict[str, str]]:
    """Where version two is mounted, and where each controller of version one is."""
    second = ""
    first: dict[str, str] = {}
    for line in _read("/proc/self/mounts").splitlines():
        words = line.split(" ")
        if len(words) < 4:
            continue
        if words[2] == "cgroup2":
            second = second or words[1]
        elif words[2] == "cgroup":
            for name in {"memory", "cpu"}.intersection(words[3].split(",")):
                first.setdefault(name, words[1])
    return second, first


def _own() -> dict[str, str]:
    """Our group in each hierarchy of version one, and under the empty name in version two."""
    found = {}
    for line in _read("/proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            found[name] = path
    return found


class Cgroups:
    """The groups of one launcher. `memory` and `cpu` say which limits can be had; `why` is the
    reason where memory cannot."""

    def __init__(self, record: str) -> None:
        _sweep_record(record)
        name = f"{_PREFIX}{os.getpid()}-{start_time(os.getpid())}"
        self._bases: dict[str, str] = {}
        self.why = ""
        second, first = _mounted()
        own = _own()
        for controller in ("memory", "cpu"):
            if controller in first and controller in own:
                parent = first[controller] + own[controller].rstrip("/")
                self._adopt(controller, parent, name)
            elif second and "" in own:
                self._search(controller, second, own[""], name)
            elif controller == "memory":
                self.why = "control groups are not mounted"
        mine = self._bases.get("memory"), self._bases.get("cpu")
        if second and mine[0] and mine[1] and mine[0] != mine[1] and second in mine[0]:
            # A process is in one group of version two; memory matters more.
            with contextlib.suppress(OSError):
                os.rmdir(self._bases.pop("cpu"))
        self.memory = "memory" in self._bases
        self.cpu = "cpu" in self._bases
        if not self.memory:
            self.why = self.why or "no control group with the memory controller is ours to divide"
        with contextlib.suppress(OSError):
            _write(record, "".join(f"{base}\n" for base in sorted(set(self._bases.values()))))

    def _adopt(self, controller: str, parent: str, name: str) -> bool:
        base = os.path.join(parent, name)
        try:
            _sweep(parent)
            os.makedirs(base, exist_ok=True)
        except OSError as error:
            if controller == "memory":
                self.why = f"`{parent}` is not ours to divide: {error.strerror}"
            return False
        self._bases[controller] = base
        return True

    def _search(self, controller: str, mount: str, own: str, name: str) -> None:
        """A group above us hands the controller down and is ours to write, as that of a user's
        systemd is. The root group may have processes of its own; any other may not."""
        path = own.rstrip("/")
        while True:
            parent = mount + path
            handed = _read(f"{parent}/cgroup.subtree_control").split()
            available = _read(f"{parent}/cgroup.controllers").split()
            if controller not in handed and controller in available:
                with contextlib.suppress(OSError):
                    _write(f"{parent}/cgroup.subtree_control", f"+{controller}")
                handed = _read(f"{parent}/cgroup.subtree_control").split()
            if (
                controller in handed
                and os.access(f"{parent}/cgroup.procs", os.W_OK)
                and self._adopt(controller, parent, name)
            ):
                try:
                    _write(f"{parent}/{name}/cgroup.subtree_control", f"+{controller}")
                    return
                except OSError:
                    del self._bases[controller]
                    with contextlib.suppress(OSError):
                        os.rmdir(f"{parent}/{name}")
            if not path:
                return
            path = path.rpartition("/")[0]

    def make(self, key: str, memory: int | None, cpus: float | None) -> Group:
        """A group for a container, with the limits that can be had. Raises `OSError`."""
        group = Group({c: os.path.join(base, key) for c, base in self._bases.items()})
        try:
            for path in set(group.paths.values()):
                os.mkdir(path)
            if memory and self.memory:
                group.limit_memory(memory)
            if cpus and self.cpu:
                group.limit_cpus(cpus)
        except BaseException:
            group.remove()
            raise
        return group

    def close(self) -> None:
        """Remove all of them; their processes have ended or are about to."""
        for base in set(self._bases.values()):
            _remove_tree(base)


class Group:
    """A container's, by controller (with version two one path stands for both)."""

    def __init__(self, paths: dict[str, str]) -> None:
        self.paths = paths

    def limit_memory(self, limit: int) -> None:
        path = self.paths["memory"]
        if os.path.exists(f"{path}/memory.max"):
            _write(f"{path}/memory.max", str(limit))
            for name, text in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
                with contextlib.suppress(OSError):
                    _write(f"{path}/{name}", text)
        else:
            _write(f"{path}/memory.limit_in_bytes", str(limit))
            with contextlib.suppress(OSError):
                _write(f"{path}/memory.memsw.limit_in_bytes", str(limit))

    def limit_cpus(self, cpus: float) -> None:
        path, quota = self.paths["cpu"], max(1000, round(cpus * _PERIOD))
        with contextlib.suppress(OSError):
            if os.path.exists(f"{path}/cpu.max"):
                _write(f"{path}/cpu.max", f"{quota} {_PERIOD}")
            else:
                _write(f"{path}/cpu.cfs_period_us", str(_PERIOD))
                _write(f"{path}/cpu.cfs_quota_us", str(quota))

    def join(self) -> None:
        for path in set(self.paths.values()):
            _write(f"{path}/cgroup.procs", "0")

    def killed_for_memory(self) -> bool:
        path = self.paths.get("memory", "")
        text = _read(f"{path}/memory.events") or _read(f"{path}/memory.oom_control")
        return any(
            line.split()[0] == "oom_kill" and line.split()[1] != "0"
            for line in text.splitlines()
            if len(line.split()) == 2
        )

    def remove(self) -> bool:
        """Whether it is gone; it is busy for an instant after its last process."""
        for path in set(self.paths.values()):
            try:
                os.rmdir(path)
            except FileNotFoundError:
                continue
            except OSError:
                return False
        return True


def _remove_tree(base: str) -> None:
    """Removes groups below `base` and itself, and gives up on what stays busy for a second."""
    limit = time.monotonic() + 1
    while True:
        for folder, _, _ in os.walk(base, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        if not os.path.isdir(base) or time.monotonic() > limit:
            return
        time.sleep(0.005)


def _sweep(parent: str) -> None:
    """Remove what launchers that are gone have left."""
    for name in os.listdir(parent):
        _sweep_one(os.path.join(parent, name))


def _sweep_record(record: str) -> None:
    for line in _read(record).splitlines():
        _sweep_one(line)


def _sweep_one(base: str) -> None:
    name = os.path.basename(base)
    words = name.removeprefix(_PREFIX).split("-")
    if not name.startswith(_PREFIX) or len(words) != 2 or not words[0].isdecimal():
        return
    if start_time(int(words[0])) != words[1]:
        _remove_tree(base)
