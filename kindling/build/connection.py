"""Streaming requests to the engine's API, and how to cut one off."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from kindling.errors import ContainerError, ExecutionError, KindlingError

__all__ = ["StreamConnection", "messages", "refusal"]


class StreamConnection:
    """One streaming request, and the means to cut it off from another thread."""

    def __init__(self) -> None:
        self.cut = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def opened(self, response: Any) -> None:
        """The answer has begun."""
        connection = getattr(response.raw, "connection", None)
        with self._lock:
            self._socket = getattr(connection, "sock", None)
            if self.cut:
                self._shut()

    def guard(self, body: Iterator[bytes]) -> Iterator[bytes]:
        """The request's body, which breaks off once the request is cut."""
        for piece in body:
            if self.cut:
                raise ConnectionAbortedError("cut off")
            yield piece

    def shut(self) -> None:
        """Cut it off. Shutting a socket down, unlike closing it, wakes a thread that reads from
        it."""
        with self._lock:
            self.cut = True
            self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def messages(response: Any) -> Iterator[Mapping[str, Any]]:
    """The JSON values of an answer, one after another."""
    decoder = json.JSONDecoder()
    text = ""
    for chunk in response.iter_content(chunk_size=None):
        text += chunk.decode("utf-8", "replace")
        while text := text.lstrip():
            try:
                value, end = decoder.raw_decode(text)
            except ValueError:
                break  # the rest of it is still to come
            text = text[end:]
            if isinstance(value, dict):
                yield value


def refusal(response: Any) -> KindlingError | OSError:
    """What the engine answered in place of a stream, as an error with its own words."""
    text = response.content.decode("utf-8", "replace")
    with contextlib.suppress(ValueError, AttributeError):
        text = json.loads(text).get("message", text)
    if "dockerfile parse error" in text.lower() or response.status_code == 400:
        return ExecutionError(f"the engine refuses the build: {text.strip()}")
    return ContainerError(f"the engine refuses: {text.strip()}")
