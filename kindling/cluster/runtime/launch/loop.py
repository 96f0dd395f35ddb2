"""The launcher proper: hears what is to be started, starts it, tells how it ended.

One thread, one `poll`. Whatever may take more than an instant is done by a forked child: setting a
container up, removing its files.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from kindling.cluster.runtime.launch import kernel, setup
from kindling.cluster.runtime.launch.cgroups import Cgroups, Group
from kindling.cluster.runtime.launch.network import NodeNetwork, PodNetwork
from kindling.cluster.runtime.launch.refusal import Refusal, reason_of
from kindling.cluster.runtime.launch.users import Users
from kindling.cluster.runtime.launch.wire import Channel, Message

__all__ = ["Launcher"]

_WATCH_MS = 50
"""How often memory is looked at where the kernel does not do it."""


class _Process:
    """A child of ours, from its fork to its end."""

    def __init__(self, key: str, request: int, pid: int, status: socket.socket | None) -> None:
        self.key = key
        self.request = request
        self.pid = pid
        self.status = status
        self.pidfd = os.pidfd_open(pid)
        self.terminal: tuple[int, ...] = ()
        self.failure: Message | None = None
        self.container: _Process | None = None
        self.sandbox: _Sandbox | None = None
        self.spec: dict[str, Any] = {}
        self.group: Group | None = None
        self.limit = 0
        self.out_of_memory = False
        self.then: Callable[[], None] | None = None

    def send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def shown_pid(self) -> int:
        """The pid as the machine counts: ours is of a namespace, but /proc is the machine's."""
        with contextlib.suppress(OSError), open(f"/proc/self/fdinfo/{self.pidfd}") as file:
            for line in file:
                if line.startswith("Pid:"):
                    return int(line.split()[1])
        return 0


class _Sandbox:
    def __init__(self, key: str, pod: PodNetwork, shm: str) -> None:
        self.key = key
        self.pod = pod
        self.shm = shm
        self.pids = -1
        self.keeper: _Process | None = None
        self.waiting: list[int] = []
        self.leaving = False


class Launcher:
    def __init__(
        self,
        channel: socket.socket,
        quick: socket.socket,
        config: dict[str, Any],
        holder: int,
        groups: Cgroups,
        users: Users,
    ) -> None:
        self._channel = Channel(channel)
        self._quick = quick
        self._holder = holder
        self._groups = groups
        self._users = users
        self._folder = config["folder"]
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY)
        self._network = NodeNetwork(config["pods"], config["services"])
        self._sandboxes: dict[str, _Sandbox] = {}
        self._children: dict[int, _Process] = {}
        self._containers: dict[str, _Process] = {}
        self._by_key: dict[str, _Process] = {}
        self._busy_groups: list[Group] = []
        self._ending = False
        self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll = select.poll()

    def run(self) -> None:
        """Until the other end of the channel is gone."""
        kernel.mount("", "/", "", kernel.MS_REC | kernel.MS_SLAVE)
        # What is mounted on our folder is seen by us and by containers in the making alone.
        kernel.mount("tmpfs", self._folder, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755")
        self._network.begin()
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        for fd in (self._channel.sock.fileno(), self._quick.fileno(), self._wake[0], self._holder):
            self._poll.register(fd, select.POLLIN)
        self._channel.post(
            {
                "ready": True,
                "address": self._network.address,
                "memory": self._groups.memory,
                "why_memory": self._groups.why,
                "cpu": self._groups.cpu,
                "single": self._users.single,
                "why_single": self._users.why,
                "rootless": self._users.own_namespace,
            }
        )
        while not self._channel.closed and not self._ending:
            self._step()

    def _step(self) -> None:
        channel = self._channel.sock.fileno()
        more = select.POLLOUT if self._channel.pending else 0
        self._poll.modify(channel, select.POLLIN | more)
        events = self._poll.poll(self._patience())
        for fd, _ in events:
            if fd == self._holder:
                self._ending = True
            elif fd == channel:
                self._channel.flush()
                for message, fds in self._channel.feed():
                    self._hear(message, fds)
            elif fd == self._quick.fileno():
                self._answer_quickly()
            elif fd == self._wake[0]:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake[0], 4096)
            else:
                for process in list(self._children.values()):
                    if process.status is not None and process.status.fileno() == fd:
                        self._read_status(process)
        self._reap()
        self._watch_memory()
        self._busy_groups = [group for group in self._busy_groups if not group.remove()]

    def _patience(self) -> int | None:
        if self._busy_groups:
            return 5
        watched = any(child.limit and child.group is None for child in self._children.values())
        return _WATCH_MS if watched else None

    # What is asked for ---------------------------------------------------------------------------

    def _hear(self, message: Message, fds: tuple[int, ...]) -> None:
        try:
            verb = message["verb"]
            if verb == "sandbox":
                self._make_sandbox(message)
            elif verb == "unsandbox":
                self._remove_sandbox(message)
            elif verb in ("run", "exec"):
                self._start(message, dict(zip(message["streams"], fds, strict=True)))
            elif verb == "signal":
                self._signal(message)
            elif verb == "remove":
                self._remove(message)
            elif verb == "close":
                self._ending = True
        except Refusal as error:
            self._refuse(message, str(error), error.reason)
        except OSError as error:
            about = f"{error.filename}: " if error.filename else ""
            self._refuse(message, f"{about}{reason_of(error)}", "CreateContainerError")
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            self._refuse(message, f"{type(error).__name__}: {error}", "CreateContainerError")
        finally:
            for fd in fds:
                os.close(fd)

    def _refuse(self, message: Message, error: str, reason: str) -> None:
        self._channel.post({"id": message.get("id", 0), "error": error, "reason": reason})

    def _make_sandbox(self, message: Message) -> None:
        key = message["sandbox"]
        if key in self._sandboxes:
            raise Refusal(f"there is a sandbox `{key}` already", "CreatePodSandboxError")
        shm = os.path.join(self._folder, f"shm-{message['id']}")
        pod = self._network.add_pod(message["hostname"], own_network=not message["host_network"])
        try:
            os.mkdir(shm)
            flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
            kernel.mount("shm", shm, "tmpfs", flags, "mode=1777,size=65536k")
        except BaseException:
            self._network.remove_pod(pod)
            raise
        sandbox = _Sandbox(key, pod, shm)
        if message["shared_pids"]:
            sandbox.keeper = self._keep_pids(sandbox)
        self._sandboxes[key] = sandbox
        self._channel.post({"id": message["id"], "address": pod.address})

    def _keep_pids(self, sandbox: _Sandbox) -> _Process:
        """A first process for containers that share their processes: it adopts and reaps."""
        pid = self._fork(kernel.CLONE_NEWPID)
        if pid == 0:
            _keep()
        process = self._adopt(_Process("", 0, pid, None))
        process.sandbox = sandbox
        process.then = lambda: self._leave(sandbox)
        sandbox.pids = os.open(f"/proc/{process.shown_pid()}/ns/pid", os.O_RDONLY)
        return process

    def _remove_sandbox(self, message: Message) -> None:
        sandbox = self._sandboxes.get(message["sandbox"])
        if sandbox is None:
            self._channel.post({"id": message["id"]})
            return
        sandbox.leaving = True
        sandbox.waiting.append(message["id"])
        for process in self._children.values():
            if process.sandbox is sandbox:
                process.send(signal.SIGKILL)
        self._leave(sandbox)

    def _leave(self, sandbox: _Sandbox) -> None:
        """Let a sandbox go once nothing is in it any more."""
        if not sandbox.leaving or any(p.sandbox is sandbox for p in self._children.values()):
            return
        if self._sandboxes.pop(sandbox.key, None) is not None:
            self._network.remove_pod(sandbox.pod)
            if sandbox.pids >= 0:
                os.close(sandbox.pids)
            with contextlib.suppress(OSError):
                kernel.umount(sandbox.shm, kernel.MNT_DETACH)
                os.rmdir(sandbox.shm)
        for request in sandbox.waiting:
            self._channel.post({"id": request})
        sandbox.waiting.clear()

    def _start(self, message: Message, fds: dict[str, int]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        seat = setup.Seat(fds, theirs, tty=message["tty"])
        try:
            if message["verb"] == "run":
                process = self._start_container(message, seat, ours)
            else:
                process = self._start_further(message, seat, ours)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        self._poll.register(ours.fileno(), select.POLLIN)
        self._by_key[process.key] = process

    def _start_container(self, message: Message, seat: setup.Seat, ours: socket.socket) -> _Process:
        spec = message["spec"]
        sandbox = self._sandboxes.get(spec["sandbox"])
        if sandbox is None or sandbox.leaving:
            raise Refusal(f"there is no sandbox `{spec['sandbox']}`", "CreateContainerError")
        if message["key"] in self._containers:
            raise Refusal(f"there is a container `{message['key']}`", "CreateContainerError")
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
            setup.start(spec, seat, sandbox.pod, group, sandbox.shm, single=self._users.single)
        process = self._adopt(_Process(message["key"], message["id"], pid, ours))
        process.sandbox, process.group, process.spec = sandbox, group, spec
        process.limit = 0 if self._groups.memory else spec["memory"] or 0
        self._containers[message["key"]] = process
        return process

    def _start_further(self, message: Message, seat: setup.Seat, ours: socket.socket) -> _Process:
        container = self._containers.get(message["container"])
        if container is None or container.pid not in self._children:
            raise Refusal("container not running", "CreateContainerError")
        spec = {**container.spec, "argv": message["argv"]}
        namespace = os.open(f"/proc/{container.shown_pid()}/ns/pid", os.O_RDONLY)
        try:
            pid = self._fork(0, namespace)
        finally:
            os.close(namespace)
        if pid == 0:
            setup.execute(spec, seat, container.pidfd, container.group, single=self._users.single)
        process = self._adopt(_Process(message["key"], message["id"], pid, ours))
        process.container, process.sandbox = container, container.sandbox
        return process

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

    def _adopt(self, process: _Process) -> _Process:
        self._children[process.pid] = process
        return process

    def _signal(self, message: Message) -> None:
        process = self._by_key.get(message["key"])
        if process is None:
            return
        process.send(message["number"])
        if message["number"] == signal.SIGKILL and process.container is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own

    def _remove(self, message: Message) -> None:
        """Free the private layer of a container that has ended, whoever's its files may be."""
        process = self._containers.pop(message["container"], None)
        pid = self._fork_plain()
        if pid == 0:
            try:
                for name in ("upper", "work", "root"):
                    _erase(os.path.join(message["folder"], name))
            finally:
                os._exit(0)
        del process
        child = self._adopt(_Process("", 0, pid, None))
        child.then = lambda: self._channel.post({"id": message["id"]})

    def _fork_plain(self) -> int:
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
        return pid

    # What happens to them ------------------------------------------------------------------------

    def _read_status(self, process: _Process) -> None:
        """A process says that it failed, hands over its terminal, or has become its program."""
        status = process.status
        if status is None:
            return
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(status, 65536, 4)
            except BlockingIOError:
                return
            except OSError:
                data, fds = b"", []
            if not data:
                break
            if fds:
                process.terminal += tuple(fds)
            else:
                process.failure = json.loads(data)
        self._poll.unregister(status.fileno())
        status.close()
        process.status = None
        if process.failure is None:
            started = {"id": process.request, "pid": process.shown_pid(), "at": time.time()}
            self._channel.post(started, process.terminal, close=True)
        else:
            for fd in process.terminal:
                os.close(fd)
        process.terminal = ()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            process = self._children.pop(pid, None)
            if process is not None:
                self._ended(process, status)

    def _ended(self, process: _Process, status: int) -> None:
        self._read_status(process)
        if process.status is not None:  # a process that it forked holds the other end
            self._poll.unregister(process.status.fileno())
            process.status.close()
            process.status = None
        memory = process.out_of_memory
        if process.group is not None:
            memory = memory or process.group.killed_for_memory()
            self._busy_groups.append(process.group)
        if process.failure is not None:
            self._containers.pop(process.key, None)
            self._channel.post({"id": process.request, **process.failure})
        elif process.key:
            code = os.waitstatus_to_exitcode(status)
            number = -code if code < 0 else 0
            self._channel.post(
                {
                    "exit": process.key,
                    "code": 128 + number if number else code,
                    "signal": number,
                    "oom": memory and number == signal.SIGKILL,
                    "at": time.time(),
                }
            )
        self._by_key.pop(process.key, None)
        os.close(process.pidfd)
        if process.then is not None:
            process.then()
        if process.sandbox is not None:
            self._leave(process.sandbox)

    def _watch_memory(self) -> None:
        for process in self._children.values():
            watched = process.limit and process.group is None and process.status is None
            if watched and _memory_of(process.shown_pid()) > process.limit:
                process.out_of_memory = True
                process.send(signal.SIGKILL)

    # Quick questions -----------------------------------------------------------------------------

    def _answer_quickly(self) -> None:
        """A socket in the network of a sandbox, or of the node."""
        try:
            question = json.loads(self._quick.recv(4096))
        except (OSError, ValueError):
            return
        sandbox = self._sandboxes.get(question["sandbox"])
        if question["sandbox"] and sandbox is None:
            self._quick.send(b"there is no such sandbox")
            return
        pod = sandbox.pod if sandbox is not None else None
        try:
            with self._network.socket_in(pod, question["family"], question["kind"]) as made:
                socket.send_fds(self._quick, [b"+"], [made.fileno()])
        except OSError as error:
            self._quick.send(reason_of(error).encode())


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


def _erase(path: str) -> None:
    """Remove a tree; folders that forbid it are opened first."""

    def open_up(function: Any, name: str, _: Any) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(name), 0o700)
            if os.path.isdir(name) and not os.path.islink(name):
                os.chmod(name, 0o700)
            function(name)

    shutil.rmtree(path, onerror=open_up)
