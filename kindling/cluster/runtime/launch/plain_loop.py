"""Not yet."""

from __future__ import annotations

import socket
from typing import Any

__all__ = ["guard"]


def guard(channel: socket.socket, quick: socket.socket, config: dict[str, Any]) -> None:
    raise OSError(95, "not yet")
