"""The launcher as a program: two processes, the guard and under it the launcher proper.

The guard waits, and clears away what the kernel does not (control groups) when the launcher is
gone. The launcher is PID 1 of a process namespace, so that its death, however it comes, is that of
every container; it dies when the guard does, or when the cluster's process closes its end of the
channel by dying.

    the cluster's process
      guard                 the machine's namespaces
        launcher            PID 1; its own network, mounts and, without root, users
          container         PID 1 of its own
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

from kindling.cluster.runtime.launch import kernel
from kindling.cluster.runtime.launch.cgroups import Cgroups
from kindling.cluster.runtime.launch.refusal import Refusal, reason_of
from kindling.cluster.runtime.launch.users import enter_users
from kindling.cluster.runtime.launch.wire import Channel

__all__ = ["main"]


def main() -> NoReturn:
    """Called with two descriptors as arguments: the channel and the socket for quick questions."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    channel = socket.socket(fileno=int(sys.argv[1]))
    quick = socket.socket(fileno=int(sys.argv[2]))
    for end in (channel, quick):
        end.set_inheritable(False)  # no app may ever speak in our name
    config = _hear(channel)
    try:
        if config["mode"] == "plain":
            _guard_plain(channel, quick, config)
        _guard(channel, quick, config)
    except (OSError, Refusal) as error:
        text = str(error) if isinstance(error, Refusal) else _told(error)
        _say(channel, {"failed": text})
        os._exit(1)
    except BaseException:
        traceback.print_exc()
        _say(channel, {"failed": traceback.format_exc(limit=-1)})
        os._exit(1)


def _told(error: OSError) -> str:
    return f"{error.filename or 'launcher'}: {reason_of(error)}"


def _hear(channel: socket.socket) -> dict[str, Any]:
    """The one message that comes before all others, blocking."""
    end = Channel(channel)
    while not end.closed:
        select.select([channel], [], [])
        for message, _ in end.feed():
            return message
    os._exit(0)


def _say(channel: socket.socket, message: dict[str, Any]) -> None:
    end = Channel(channel)
    channel.setblocking(True)
    end.post(message)


def _guard(channel: socket.socket, quick: socket.socket, config: dict[str, Any]) -> NoReturn:
    holder = os.pidfd_open(os.getppid())
    os.chdir("/")
    groups = Cgroups(os.path.join(config["folder"], "control-groups"))
    users = enter_users(config)
    try:
        kernel.unshare(
            kernel.CLONE_NEWNS
            | kernel.CLONE_NEWNET
            | kernel.CLONE_NEWUTS
            | kernel.CLONE_NEWIPC
            | kernel.CLONE_NEWPID
        )
    except OSError as error:
        raise Refusal(f"namespaces cannot be made: {reason_of(error)}") from error
    guard = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
            del guard
            from kindling.cluster.runtime.launch.spaces import Launcher

            Launcher(channel, quick, config, holder, groups, users).run()
        except (OSError, Refusal) as error:
            text = str(error) if isinstance(error, Refusal) else _told(error)
            _say(channel, {"failed": text})
        except BaseException:
            traceback.print_exc()
            _say(channel, {"failed": traceback.format_exc(limit=-1)})
        finally:
            os._exit(0)
    os.close(holder)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)
    groups.close()
    os._exit(0)


def _guard_plain(channel: socket.socket, quick: socket.socket, config: dict[str, Any]) -> NoReturn:
    from kindling.cluster.runtime.launch.plain_loop import guard

    guard(channel, quick, config)
    os._exit(0)
