"""The launcher of containers in namespaces."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import Any

from kindling.cluster.runtime.launch import kernel, setup
from kindling.cluster.runtime.launch.cgroups import Cgroups, Group
from kindling.cluster.runtime.launch.loop import Loop, Process
from kindling.cluster.runtime.launch.network import NodeNetwork, PodNetwork
from kindling.cluster.runtime.launch.refusal import Refusal
from kindling.cluster.runtime.launch.setup import Seat
from kindling.cluster.runtime.launch.users import Users
from kindling.cluster.runtime.launch.wire import Message

__all__ = ["Launcher"]

_WATCH_MS = 50
"""How often memory is looked at where the kernel does not do it."""
_SHM = "mode=1777,size=65536k"


class _Child(Process):
    """With what it has of the kernel's."""

    def __init__(self, key: str, request: int, pid: int, status: socket.socket | None) -> None:
        super().__init__(key, request, pid, status)
        self.pidfd = os.pidfd_open(pid)
        self.group: Group | None = None
        self.limit = 0


class _Sandbox:
    def __init__(self, key: str, pod: PodNetwork, shm: str) -> None:
        self.key = key
        self.pod = pod
        self.shm = shm
        self.pids = -1
        self.waiting: list[int] = []
        self.leaving = False


class Launcher(Loop):
    """PID 1 of its process namespace, in namespaces of its own for all else."""

    def __init__(
        self,
        channel: socket.socket,
        quick: socket.socket,
        config: dict[str, Any],
        holder: int,
        groups: Cgroups,
        users: Users,
    ) -> None:
        super().__init__(channel, quick)
        self._holder = holder
        self._groups = groups
        self._users = users
        self._folder = os.path.join(config["folder"], "private")
        self._hidden: list[str] = config["hidden"]
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY)
        self._network = NodeNetwork(config["pods"], config["services"])
        self._sandboxes: dict[str, _Sandbox] = {}
        self._busy_groups: list[Group] = []

    def run(self) -> None:
        kernel.mount("", "/", "", kernel.MS_REC | kernel.MS_SLAVE)
        os.makedirs(self._folder, exist_ok=True)
        # What is mounted on this folder is seen by us and by containers in the making alone.
        kernel.mount("tmpfs", self._folder, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755")
        self._network.begin()
        self.watch(self._holder)
        doors, why = self._network.leave()
        self.channel.post(
            {
                "why_no_egress": why,
                "ready": True,
                "address": self._network.address,
                "memory": self._groups.memory,
                "why_memory": self._groups.why,
                "cpu": self._groups.cpu,
                "single": self._users.single,
                "why_single": self._users.why,
                "rootless": self._users.own_namespace,
            },
            doors,
            close=True,
        )
        super().run()

    def heard(self, fd: int) -> bool:
        if fd == self._holder:
            self.ending = True
        return fd == self._holder

    def patience(self) -> int | None:
        if self._busy_groups:
            return 5
        watched = any(isinstance(p, _Child) and p.limit for p in self.children.values())
        return _WATCH_MS if watched else None

    def tick(self) -> None:
        for process in self.children.values():
            if not isinstance(process, _Child) or not process.limit or process.status is not None:
                continue
            if _memory_of(self.shown_pid(process)) > process.limit:
                process.out_of_memory = True
                process.send(signal.SIGKILL)
        self._busy_groups = [group for group in self._busy_groups if not group.remove()]

    def make_sandbox(self, message: Message) -> None:
        key = message["sandbox"]
        if key in self._sandboxes:
            raise Refusal(f"there is a sandbox `{key}` already", "CreatePodSandboxError")
        shm = os.path.join(self._folder, f"shm-{message['id']}")
        pod = self._network.add_pod(message["hostname"], own_network=not message["host_network"])
        try:
            os.mkdir(shm)
            flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
            kernel.mount("shm", shm, "tmpfs", flags, _SHM)
        except BaseException:
            self._network.remove_pod(pod)
            raise
        sandbox = _Sandbox(key, pod, shm)
        self._sandboxes[key] = sandbox
        if message["shared_pids"]:
            self._keep_pids(sandbox)
        self.channel.post({"id": message["id"], "address": pod.address})

    def _keep_pids(self, sandbox: _Sandbox) -> None:
        """A first process for containers that share their processes: it adopts and reaps."""
        pid = self._fork(kernel.CLONE_NEWPID)
        if pid == 0:
            _keep()
        process = self.adopt(_Child("", 0, pid, None))
        process.sandbox = sandbox.key
        sandbox.pids = os.open(f"/proc/{self.shown_pid(process)}/ns/pid", os.O_RDONLY)

    def remove_sandbox(self, message: Message) -> None:
        sandbox = self._sandboxes.get(message["sandbox"])
        if sandbox is None:
            self.channel.post({"id": message["id"]})
            return
        sandbox.leaving = True
        sandbox.waiting.append(message["id"])
        for process in self.children.values():
            if process.sandbox == sandbox.key:
                process.send(signal.SIGKILL)
        self._leave(sandbox)

    def _leave(self, sandbox: _Sandbox) -> None:
        """Let a sandbox go once nothing is in it any more."""
        if not sandbox.leaving or any(p.sandbox == sandbox.key for p in self.children.values()):
            return
        if self._sandboxes.pop(sandbox.key, None) is not None:
            self._network.remove_pod(sandbox.pod)
            if sandbox.pids >= 0:
                os.close(sandbox.pids)
            with contextlib.suppress(OSError):
                kernel.umount(sandbox.shm, kernel.MNT_DETACH)
                os.rmdir(sandbox.shm)
        for request in sandbox.waiting:
            self.channel.post({"id": request})
        sandbox.waiting.clear()

    def start_container(self, message: Message, seat: Seat, ours: socket.socket) -> Process:
        spec = message["spec"]
        sandbox = self._sandboxes.get(spec["sandbox"])
        if sandbox is None or sandbox.leaving:
            raise Refusal(f"there is no sandbox `{spec['sandbox']}`", "CreateContainerError")
        group = None
        if self._groups.memory or self._groups.cpu:
            group = self._groups.make(f"c{message['id']}", spec["memory"], spec["cpus"])
        try:
            pid = self._fork(kernel.CLONE_NEWPID, sandbox.pids)
        except BaseException:
            if group is not None:
                group.remove()
            raise
        if pid == 0:
            single = self._users.single
            setup.start(spec, seat, sandbox.pod, group, sandbox.shm, self._hidden, single=single)
        process = _Child(message["key"], message["id"], pid, ours)
        process.sandbox, process.group = sandbox.key, group
        process.limit = 0 if self._groups.memory else spec["memory"] or 0
        return self.adopt(process)

    def start_further(
        self, message: Message, container: Process, seat: Seat, ours: socket.socket
    ) -> Process:
        assert isinstance(container, _Child)
        spec = {**container.spec, "argv": message["argv"]}
        namespace = os.open(f"/proc/{self.shown_pid(container)}/ns/pid", os.O_RDONLY)
        try:
            pid = self._fork(0, namespace)
        finally:
            os.close(namespace)
        if pid == 0:
            setup.execute(spec, seat, container.pidfd, container.group, single=self._users.single)
        return self.adopt(_Child(message["key"], message["id"], pid, ours))

    def _fork(self, flags: int, namespace: int = -1) -> int:
        """Fork into a new process namespace, or into that of a descriptor."""
        if namespace >= 0:
            kernel.setns(namespace, kernel.CLONE_NEWPID)
        else:
            kernel.unshare(flags)
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid != 0:
                kernel.setns(self._own_pids, kernel.CLONE_NEWPID)
        if pid == 0:
            signal.set_wakeup_fd(-1)
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        return pid

    def shown_pid(self, process: Process) -> int:
        """Ours is a number of our namespace, but /proc is the machine's."""
        assert isinstance(process, _Child)
        with contextlib.suppress(OSError), open(f"/proc/self/fdinfo/{process.pidfd}") as file:
            for line in file:
                if line.startswith("Pid:"):
                    return int(line.split()[1])
        return 0

    def socket_in(self, sandbox: str, family: int, kind: int) -> socket.socket:
        if not sandbox:
            return self._network.socket_in(None, family, kind)
        if sandbox not in self._sandboxes:
            raise Refusal(f"there is no sandbox `{sandbox}`")
        return self._network.socket_in(self._sandboxes[sandbox].pod, family, kind)

    def ended(self, process: Process, status: int) -> None:
        memory = process.out_of_memory
        if isinstance(process, _Child):
            if process.group is not None:
                memory = memory or process.group.killed_for_memory()
                self._busy_groups.append(process.group)
            os.close(process.pidfd)
        self.tell_end(process, status, memory=memory)
        sandbox = self._sandboxes.get(process.sandbox)
        if sandbox is not None:
            self._leave(sandbox)


def _keep() -> None:
    """The life of a sandbox's first process: reap what is left behind, for ever."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        signal.sigwait({signal.SIGCHLD})


def _memory_of(pid: int) -> int:
    """Bytes that the processes of a container hold for themselves alone, as its own /proc lists
    them; files that are merely mapped are not counted."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = 0
    root = f"/proc/{pid}/root/proc"
    with contextlib.suppress(OSError):
        for name in os.listdir(root):
            if name.isdecimal():
                with contextlib.suppress(OSError, IndexError), open(f"{root}/{name}/statm") as file:
                    words = file.read().split()
                    total += (int(words[1]) - int(words[2])) * page
    return total
