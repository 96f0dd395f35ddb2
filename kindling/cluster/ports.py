"""The loopback ports of a cluster: the same at every start, unless somebody else has taken one."""

from __future__ import annotations

import errno
import socket

from kindling.errors import ClusterError

__all__ = ["listen"]

_TRIES = 50


def listen(port: int, *, preferred: int = 0) -> socket.socket:
    """A listening, non-blocking socket on 127.0.0.1: at `port`, which the last start had; without
    one, at the first free of `preferred` and the ports after it; else at any.

    A port of the last start that is taken now is given up: whoever has it came first, and the new
    one is written down where clients look.

    Raises:
        ClusterError: There is no free port.
    """
    wanted = [port] if port else []
    wanted += range(preferred, preferred + _TRIES) if preferred else []
    for number in [*wanted, 0]:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", number))
            sock.listen(1024)
        except OSError as error:
            sock.close()
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                continue
            raise ClusterError(f"Cannot listen on 127.0.0.1:{number}: {error.strerror}") from error
        sock.setblocking(False)
        return sock
    raise ClusterError("There is no free port on 127.0.0.1")
