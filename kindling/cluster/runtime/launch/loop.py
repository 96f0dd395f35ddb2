"""The launcher's one thread: hears what is to be started, has it started, tells how it ended.

One `poll`, and nothing that takes more than an instant: what does is done by a forked child. The
two kinds of launcher say what a sandbox is and how a process is set up.
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

from kindling.cluster.runtime.launch.refusal import Refusal, reason_of
from kindling.cluster.runtime.launch.setup import Seat
from kindling.cluster.runtime.launch.wire import Channel, Message

__all__ = ["Loop", "Process"]


class Process:
    """A child of ours, from its fork to its end. `key` is empty for those of our own."""

    def __init__(self, key: str, request: int, pid: int, status: socket.socket | None) -> None:
        self.key = key
        self.request = request
        self.pid = pid
        self.status = status
        self.terminal: tuple[int, ...] = ()
        self.failure: Message | None = None
        self.container: Process | None = None
        self.sandbox = ""
        self.spec: dict[str, Any] = {}
        self.out_of_memory = False
        self.then: Callable[[], None] | None = None

    def send(self, number: int) -> None:
        """It was not reaped yet, so that the pid is still its own."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, number)


class Loop:
    def __init__(self, channel: socket.socket, quick: socket.socket) -> None:
        self.channel = Channel(channel)
        self.children: dict[int, Process] = {}
        self.containers: dict[str, Process] = {}
        self.ending = False
        self._by_key: dict[str, Process] = {}
        self._quick = quick
        self._wake = os.pipe()
        for fd in self._wake:
            os.set_blocking(fd, False)
        self._poll = select.poll()

    def run(self) -> None:
        """Until the other end of the channel is gone."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        for fd in (self.channel.sock.fileno(), self._quick.fileno(), self._wake[0]):
            self._poll.register(fd, select.POLLIN)
        while not self.channel.closed and not self.ending:
            self._step()

    def watch(self, fd: int) -> None:
        """Call `heard` when something comes from it."""
        self._poll.register(fd, select.POLLIN)

    def _step(self) -> None:
        channel = self.channel.sock.fileno()
        more = select.POLLOUT if self.channel.pending else 0
        self._poll.modify(channel, select.POLLIN | more)
        for fd, _ in self._poll.poll(self.patience()):
            if fd == channel:
                self.channel.flush()
                for message, fds in self.channel.feed():
                    self._hear(message, fds)
            elif fd == self._quick.fileno():
                self._answer_quickly()
            elif fd == self._wake[0]:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake[0], 4096)
            elif not self.heard(fd):
                for process in list(self.children.values()):
                    if process.status is not None and process.status.fileno() == fd:
                        self._read_status(process)
        self._reap()
        self.tick()

    # For the two kinds ---------------------------------------------------------------------------

    def patience(self) -> int | None:
        """Milliseconds until `tick` is due again though nothing happens; None for never."""
        return None

    def tick(self) -> None:
        """After every step."""

    def heard(self, fd: int) -> bool:  # noqa: ARG002
        """Whether this descriptor was one of yours."""
        return False

    def make_sandbox(self, message: Message) -> None:
        raise NotImplementedError

    def remove_sandbox(self, message: Message) -> None:
        raise NotImplementedError

    def start_container(self, message: Message, seat: Seat, ours: socket.socket) -> Process:
        raise NotImplementedError

    def start_further(
        self, message: Message, container: Process, seat: Seat, ours: socket.socket
    ) -> Process:
        raise NotImplementedError

    def shown_pid(self, process: Process) -> int:
        """The pid as the machine counts."""
        return process.pid

    def socket_in(self, sandbox: str, family: int, kind: int) -> socket.socket:
        raise NotImplementedError

    def ended(self, process: Process, status: int) -> None:
        """It was reaped."""
        raise NotImplementedError

    # What is asked for ---------------------------------------------------------------------------

    def _hear(self, message: Message, fds: tuple[int, ...]) -> None:
        try:
            verb = message["verb"]
            if verb == "sandbox":
                self.make_sandbox(message)
            elif verb == "unsandbox":
                self.remove_sandbox(message)
            elif verb in ("run", "exec"):
                self._start(message, dict(zip(message["streams"], fds, strict=True)))
            elif verb == "signal":
                self._signal(message)
            elif verb == "remove":
                self._remove(message)
            elif verb == "close":
                self.ending = True
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
        self.channel.post({"id": message.get("id", 0), "error": error, "reason": reason})

    def _start(self, message: Message, fds: dict[str, int]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        seat = Seat(fds, theirs, tty=message["tty"])
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

    def _start_container(self, message: Message, seat: Seat, ours: socket.socket) -> Process:
        key = message["key"]
        if key in self.containers:
            raise Refusal(f"there is a container `{key}`", "CreateContainerError")
        process = self.start_container(message, seat, ours)
        process.spec = message["spec"]
        self.containers[key] = process
        return process

    def _start_further(self, message: Message, seat: Seat, ours: socket.socket) -> Process:
        container = self.containers.get(message["container"])
        if container is None or container.pid not in self.children:
            raise Refusal("container not running", "CreateContainerError")
        process = self.start_further(message, container, seat, ours)
        process.container, process.sandbox = container, container.sandbox
        return process

    def adopt(self, process: Process) -> Process:
        self.children[process.pid] = process
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
        self.containers.pop(message["container"], None)
        pid = self._fork_plain()
        if pid == 0:
            try:
                for name in ("upper", "work", "root"):
                    _erase(os.path.join(message["folder"], name))
            finally:
                os._exit(0)
        child = self.adopt(Process("", 0, pid, None))
        child.then = lambda: self.channel.post({"id": message["id"]})

    def _fork_plain(self) -> int:
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
        return pid

    # What happens to them ------------------------------------------------------------------------

    def _read_status(self, process: Process) -> None:
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
            started = {"id": process.request, "pid": self.shown_pid(process), "at": time.time()}
            self.channel.post(started, process.terminal, close=True)
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
            process = self.children.pop(pid, None)
            if process is not None:
                self._ended(process, status)

    def _ended(self, process: Process, status: int) -> None:
        self._read_status(process)
        if process.status is not None:  # something that it forked holds the other end
            self._poll.unregister(process.status.fileno())
            process.status.close()
            process.status = None
            process.failure = {"error": "it ended before its program", "reason": "StartError"}
        self.ended(process, status)

    def tell_end(self, process: Process, status: int, *, memory: bool = False) -> None:
        """Say that it has ended, or that it never began."""
        if process.failure is not None:
            self.containers.pop(process.key, None)
            self.channel.post({"id": process.request, **process.failure})
        elif process.key:
            code = os.waitstatus_to_exitcode(status)
            number = -code if code < 0 else 0
            self.channel.post(
                {
                    "exit": process.key,
                    "code": 128 + number if number else code,
                    "signal": number,
                    # A shell whose only child was killed for it ends with the same code.
                    "oom": memory and (number == signal.SIGKILL or code == 128 + signal.SIGKILL),
                    "at": time.time(),
                }
            )
        self._by_key.pop(process.key, None)
        if process.then is not None:
            process.then()

    # Quick questions -----------------------------------------------------------------------------

    def _answer_quickly(self) -> None:
        """A socket in the network of a sandbox, or of the node."""
        try:
            question = json.loads(self._quick.recv(4096))
        except (OSError, ValueError):
            return
        try:
            found = self.socket_in(question["sandbox"], question["family"], question["kind"])
            with found as made:
                socket.send_fds(self._quick, [b"+"], [made.fileno()])
        except Refusal as error:
            self._quick.send(str(error).encode())
        except OSError as error:
            self._quick.send(reason_of(error).encode())


def _erase(path: str) -> None:
    """Remove a tree; folders that forbid it are opened first."""

    def open_up(function: Any, name: str, _: Any) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(name), 0o700)
            if os.path.isdir(name) and not os.path.islink(name):
                os.chmod(name, 0o700)
            function(name)

    shutil.rmtree(path, onerror=open_up)
