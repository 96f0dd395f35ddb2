"""Orders are kept in Postgres. Each one is announced on the queue, and somebody ships it later."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from postgres import Connection

DATABASE_URL = os.environ["DATABASE_URL"]
NATS_URL = os.environ["NATS_URL"]
INVENTORY_URL = os.environ["INVENTORY_URL"]


class RefusedError(Exception):
    """Why a request is not carried out: a status and a sentence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def prepare() -> None:
    with Connection(DATABASE_URL) as database:
        database.query(
            "CREATE TABLE IF NOT EXISTS orders (id serial PRIMARY KEY, item text NOT NULL,"
            " state text NOT NULL DEFAULT 'ordered')"
        )


def announce(text: str) -> None:
    """Publish on the subject `orders`. What NATS has not taken, it does not answer for."""
    place = urlsplit(NATS_URL)
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
        data = text.encode()
        message = b"PUB orders %d\r\n%s\r\n" % (len(data), data)
        connection.sendall(b'CONNECT {"verbose":false}\r\n' + message + b"PING\r\n")
        lines = connection.makefile("rb")
        while line := lines.readline():
            if line.startswith(b"PONG"):
                return
        raise ConnectionError("the queue closed the connection")


def orders() -> list[dict[str, object]]:
    with Connection(DATABASE_URL) as database:
        rows = database.query("SELECT id, item, state FROM orders ORDER BY id DESC LIMIT 20")
    return [{"id": int(id_ or 0), "item": item, "state": state} for id_, item, state in rows]


def place(item: str) -> dict[str, object]:
    """Take one from the inventory, write the order down, and say so."""
    try:
        urlopen(Request(f"{INVENTORY_URL}/take/{quote(item)}", method="POST"), timeout=10).close()
    except HTTPError as error:
        with error:
            raise RefusedError(error.code, error.read().decode().strip()) from error
    with Connection(DATABASE_URL) as database:
        [[id_]] = database.query("INSERT INTO orders (item) VALUES ($1) RETURNING id", item)
    announce(json.dumps({"id": id_, "item": item}))
    return {"id": int(id_ or 0), "item": item, "state": "ordered"}


def ship(id_: str) -> dict[str, object]:
    with Connection(DATABASE_URL) as database:
        rows = database.query(
            "UPDATE orders SET state = 'shipped' WHERE id = $1 RETURNING id, item, state", int(id_)
        )
    if not rows:
        raise RefusedError(404, f"there is no order {id_}")
    return {"id": int(rows[0][0] or 0), "item": rows[0][1], "state": rows[0][2]}


class Orders(BaseHTTPRequestHandler):
    """GET /orders, POST /orders with an item, POST /orders/<id>/shipped."""

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.answer(200, {"ok": True})
        elif self.path == "/orders":
            self.answer(200, orders())
        else:
            self.answer(404, {"error": f"there is nothing at {self.path}"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            match self.path.split("/")[1:]:
                case ["orders"]:
                    self.answer(201, place(json.loads(body)["item"]))
                case ["orders", id_, "shipped"] if id_.isdecimal():
                    self.answer(200, ship(id_))
                case _:
                    raise RefusedError(404, f"there is nothing at {self.path}")
        except RefusedError as refused:
            self.answer(refused.status, {"error": str(refused)})

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """What people ask for, not what the kubelet asks every other second."""
        if self.path != "/healthz":
            super().log_request(code, size)

    def answer(self, status: int, content: object) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    # The first process of a container is not ended by a signal that it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    prepare()
    print("orders listens on port 8080", flush=True)
    ThreadingHTTPServer(("", 8080), Orders).serve_forever()
