"""A relay between a client and the API server, which counts, cuts, freezes and refuses.

It passes bytes on as they are, so TLS goes through it from end to end.
"""

from __future__ import annotations

import base64
import socket
import struct
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import yaml

__all__ = ["Relay", "kubeconfig_through"]

_CHUNK = 64 * 1024
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of zero: closing sends a reset, as a cable that is pulled does in the end."""


class Relay:
    """Listens on a port of this machine and passes on to `host:port`. `sent` counts bytes from
    clients, `received` those to them."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.sent = 0
        self.received = 0
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads: list[threading.Thread] = []
        self._open = threading.Event()
        self._open.set()
        self._refusing = False
        self._closed = False
        self._cut_after: int | None = None
        self.cuts = 0
        self._accepting = self._start(self._accept)

    def __enter__(self) -> Relay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def cut(self) -> None:
        """Reset all connections there are."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
            self.cuts += 1
        for pair in pairs:
            for one in pair:
                _reset(one)

    def cut_after(self, count: int) -> None:
        """Reset all connections once so many more bytes came from the client."""
        with self._lock:
            self._cut_after = self.sent + count

    def freeze(self) -> None:
        """Pass nothing on, in either direction; connections stay."""
        self._open.clear()

    def thaw(self) -> None:
        self._open.set()

    def refuse(self, refusing: bool = True) -> None:
        """Close new connections at once, as a server does that is starting."""
        self._refusing = refusing

    def close(self) -> None:
        self._closed = True
        self._open.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        self.cut()
        for thread in self._threads:
            thread.join()

    def _start(self, run: Any, *words: Any) -> threading.Thread:
        thread = threading.Thread(target=run, args=words, name="relay", daemon=True)
        thread.start()
        return thread

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                _reset(client)
                continue
            try:
                server = socket.create_connection(self._target, timeout=10)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs.append((client, server))
            self._threads.append(self._start(self._pump, client, server, True))
            self._threads.append(self._start(self._pump, server, client, False))

    def _pump(self, source: socket.socket, target: socket.socket, up: bool) -> None:
        try:
            while data := source.recv(_CHUNK):
                self._open.wait()
                if self._closed or self._counted(len(data), up):
                    break
                target.sendall(data)
        except OSError:
            # One side is gone; so is the other, then.
            pass
        for one in (source, target):
            _reset(one)

    def _counted(self, size: int, up: bool) -> bool:
        """Count; True when it was time for a cut, which is then done."""
        with self._lock:
            if up:
                self.sent += size
            else:
                self.received += size
            due = self._cut_after is not None and self.sent >= self._cut_after
            if due:
                self._cut_after = None
        if due:
            self.cut()
        return due


def _reset(one: socket.socket) -> None:
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        # Closed already, or never connected: what is wanted.
        pass
    one.close()


def kubeconfig_through(kubeconfig: Path, folder: Path) -> tuple[Relay, Path]:
    """A relay to the API server of a kubeconfig's current context, and a kubeconfig in `folder`
    that goes through it."""
    document = yaml.safe_load(kubeconfig.read_text("utf-8"))
    context = next(
        one["context"] for one in document["contexts"] if one["name"] == document["current-context"]
    )
    cluster: dict[str, Any] = next(
        one["cluster"] for one in document["clusters"] if one["name"] == context["cluster"]
    )
    url = urlsplit(cluster["server"])
    assert url.hostname
    relay = Relay(url.hostname, url.port or 443)
    cluster["server"] = f"https://127.0.0.1:{relay.port}"
    _inline(cluster, kubeconfig.parent)
    written = folder / "kubeconfig-relayed"
    written.write_text(yaml.safe_dump(document), "utf-8")
    return relay, written


def _inline(cluster: Mapping[str, Any], beside: Path) -> None:
    """The authority's file by its content, since the new kubeconfig lies elsewhere."""
    path = cluster.get("certificate-authority")
    if path and isinstance(cluster, dict):
        data = base64.b64encode((beside / path).read_bytes()).decode()
        cluster["certificate-authority-data"] = data
        del cluster["certificate-authority"]
