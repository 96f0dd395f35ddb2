"""The launcher of plain processes, and its guard.

Without namespaces nothing but our own care ends what an app has started. An app's processes are
those of its session, and those that carry its token in their environment (`KINDLING_CONTAINER`,
which children inherit); once the app's first process has ended, the others are killed. The guard
adopts whatever loses its parent, where the system lets it (Linux), so that nothing is left when the
launcher itself is killed; and a token of the whole runtime is what the next start looks for. Only a
process that leaves its session and clears its environment as well outlives its container, and
only one that does so while guard and launcher are killed at once outlives the cluster.

On systems without /proc a process group is all that is found.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from typing import Any, NoReturn

from kindling.cluster.runtime.launch.loop import Loop, Process
from kindling.cluster.runtime.launch.program import become, clean_process, find_program
from kindling.cluster.runtime.launch.refusal import Refusal, reason_of
from kindling.cluster.runtime.launch.setup import Seat, finish
from kindling.cluster.runtime.launch.wire import Message

__all__ = ["CONTAINER_TOKEN", "RUNTIME_TOKEN", "carriers", "guard"]

CONTAINER_TOKEN = "KINDLING_CONTAINER"
RUNTIME_TOKEN = "KINDLING_RUNTIME"
_LINUX = sys.platform == "linux"
_END_SECS = 5.0


def carriers(variable: str, value: str, session: int = 0) -> list[int]:
    """The living processes that have `variable=value` in their environment, or are of `session`."""
    found = []
    mark = f"\0{variable}={value}\0".encode()
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if not name.isdecimal() or int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(f"/proc/{name}/stat", "rb") as file:
                text = file.read()
            words = text[text.rindex(b")") + 2 :].split()
            if words[0] in (b"Z", b"X"):
                continue
            if session and int(words[3]) == session:
                found.append(int(name))
                continue
            with open(f"/proc/{name}/environ", "rb") as file:
                if mark in b"\0" + file.read() + b"\0":
                    found.append(int(name))
    return found


def guard(channel: socket.socket, quick: socket.socket, config: dict[str, Any]) -> NoReturn:
    """Wait for the launcher, then end whatever it has left."""
    if _LINUX:
        from kindling.cluster.runtime.launch import kernel

        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    child = os.fork()
    if child == 0:
        try:
            _die_with_parent()
            _Plain(channel, quick, config).run()
        finally:
            os._exit(0)
    while True:
        pid, _ = os.waitpid(-1, 0)
        if pid == child:
            break
    _end_children()
    os._exit(0)


def _die_with_parent() -> None:
    if _LINUX:
        from kindling.cluster.runtime.launch import kernel

        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_children() -> None:
    """Those of a launcher that was killed are ours now; theirs will be when they are dead."""
    me = os.getpid()
    limit = time.monotonic() + _END_SECS
    while time.monotonic() < limit:
        for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
            with contextlib.suppress(OSError, ValueError, IndexError):
                with open(f"/proc/{int(name)}/stat", "rb") as file:
                    text = file.read()
                if int(text[text.rindex(b")") + 2 :].split()[1]) == me:
                    os.kill(int(name), signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


class _Plain(Loop):
    def __init__(
        self, channel: socket.socket, quick: socket.socket, config: dict[str, Any]
    ) -> None:
        super().__init__(channel, quick)
        self._token = config["token"]
        self._sandboxes: set[str] = set()
        self._leaving: dict[str, list[int]] = {}
        self._finished: list[tuple[Process, int]] = []

    def run(self) -> None:
        if _LINUX:
            from kindling.cluster.runtime.launch import kernel

            kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        self.channel.post({"ready": True, "address": "127.0.0.1"})
        super().run()
        self._end_all()

    def patience(self) -> int | None:
        return 5 if self._finished else None

    def tick(self) -> None:
        """A container has ended when all of its processes have."""
        for process, status in list(self._finished):
            if not self._end_rest(process):
                self._finished.remove((process, status))
                self.tell_end(process, status)
        for sandbox, requests in list(self._leaving.items()):
            children = [*self.children.values(), *(process for process, _ in self._finished)]
            if not any(child.sandbox == sandbox for child in children):
                del self._leaving[sandbox]
                for request in requests:
                    self.channel.post({"id": request})

    def make_sandbox(self, message: Message) -> None:
        key = message["sandbox"]
        if key in self._sandboxes:
            raise Refusal(f"there is a sandbox `{key}` already", "CreatePodSandboxError")
        self._sandboxes.add(key)
        self.channel.post({"id": message["id"], "address": "127.0.0.1"})

    def remove_sandbox(self, message: Message) -> None:
        key = message["sandbox"]
        self._sandboxes.discard(key)
        self._leaving.setdefault(key, []).append(message["id"])
        for process in self.children.values():
            if process.sandbox == key:
                process.send(signal.SIGKILL)

    def start_container(self, message: Message, seat: Seat, ours: socket.socket) -> Process:
        spec = message["spec"]
        if spec["sandbox"] not in self._sandboxes:
            raise Refusal(f"there is no sandbox `{spec['sandbox']}`", "CreateContainerError")
        spec["token"] = f"{os.getpid()}.{message['id']}"
        process = self._begin(spec, message, seat, ours)
        process.sandbox = spec["sandbox"]
        return process

    def start_further(
        self, message: Message, container: Process, seat: Seat, ours: socket.socket
    ) -> Process:
        return self._begin({**container.spec, "argv": message["argv"]}, message, seat, ours)

    def _begin(
        self, spec: dict[str, Any], message: Message, seat: Seat, ours: socket.socket
    ) -> Process:
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            try:
                _die_with_parent()
                _become(spec, seat, self._token)
            except BaseException as error:
                finish(seat, error)
        process = Process(message["key"], message["id"], pid, ours)
        process.spec = spec
        return self.adopt(process)

    def socket_in(self, sandbox: str, family: int, kind: int) -> socket.socket:
        if sandbox and sandbox not in self._sandboxes:
            raise Refusal(f"there is no sandbox `{sandbox}`")
        return socket.socket(family, kind)

    def ended(self, process: Process, status: int) -> None:
        if process.key and process.container is None and process.failure is None:
            self._finished.append((process, status))
        else:
            self.tell_end(process, status)

    def _end_rest(self, process: Process) -> bool:
        """Kill what is left of a container; whether there was something."""
        token = process.spec["token"]
        left = carriers(CONTAINER_TOKEN, token, process.pid)
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not os.path.isdir("/proc/self"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        return bool(left)

    def _end_all(self) -> None:
        limit = time.monotonic() + _END_SECS
        everything = [*self.children.values(), *(process for process, _ in self._finished)]
        while time.monotonic() < limit:
            for process in self.children.values():
                process.send(signal.SIGKILL)
            left = [p for p in everything if p.spec and self._end_rest(p)]
            try:
                while pid := os.waitpid(-1, os.WNOHANG)[0]:
                    self.children.pop(pid, None)
            except ChildProcessError:
                if not left:
                    return
            select.select([], [], [], 0.005)


def _become(spec: dict[str, Any], seat: Seat, token: str) -> NoReturn:
    os.setsid()
    terminal = -1
    if seat.tty:
        far, terminal = os.openpty()
        socket.send_fds(seat.status, [b"t"], [far])
        os.close(far)
    env = {key: value for key, value in spec["env"] if key and "=" not in key}
    for name in ("PATH", "HOME", "LANG"):
        if name in os.environ:
            env.setdefault(name, os.environ[name])
    env.setdefault("HOME", os.path.expanduser("~"))
    if terminal >= 0:
        env.setdefault("TERM", "xterm")
    env[CONTAINER_TOKEN], env[RUNTIME_TOKEN] = spec["token"], token
    seat.take(terminal)
    try:
        os.chdir(spec["cwd"])
    except OSError as error:
        raise Refusal(f"chdir to cwd ({spec['cwd']!r}) failed: {reason_of(error)}") from None
    path = find_program(spec["argv"][0], env.get("PATH", os.defpath))
    clean_process()
    become(path, spec["argv"], env)
    raise AssertionError("unreachable")
