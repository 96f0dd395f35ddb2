"""The worker ships what was ordered: it follows the queue and tells the orders service."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

NATS_URL = os.environ["NATS_URL"]
ORDERS_URL = os.environ["ORDERS_URL"]


class Health(BaseHTTPRequestHandler):
    """The worker is well while it follows the queue."""

    follows = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200 if self.follows.is_set() else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nobody wants to read each question of the kubelet."""


def follow() -> None:
    """Until the connection ends. Those of one group share what is announced: add replicas."""
    place = urlsplit(NATS_URL)
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
        lines = connection.makefile("rb")
        connection.sendall(b'CONNECT {"verbose":false}\r\nSUB orders workers 1\r\nPING\r\n')
        connection.settimeout(None)
        while line := lines.readline():
            words = line.split()
            if words[0] == b"PING":
                connection.sendall(b"PONG\r\n")
            elif words[0] == b"PONG":
                Health.follows.set()
                print("worker follows the queue", flush=True)
            elif words[0] == b"MSG":
                ship(json.loads(lines.read(int(words[-1]) + 2)))


def ship(order: dict[str, str]) -> None:
    urlopen(
        Request(f"{ORDERS_URL}/orders/{order['id']}/shipped", method="POST"), timeout=10
    ).close()
    print(f"shipped order {order['id']}: {order['item']}", flush=True)


if __name__ == "__main__":
    # The first process of a container is not ended by a signal that it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    health = HTTPServer(("", 8080), Health)
    threading.Thread(target=health.serve_forever, daemon=True).start()
    follow()
    # The kubelet starts it again, and later each time that it fails.
    raise SystemExit("the queue closed the connection")
