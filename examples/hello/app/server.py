"""A web service of the standard library alone: a page at `/`, a health check at `/healthz`."""

import os
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template

PAGE = Template((Path(__file__).parent / "page.html").read_text(encoding="utf-8"))
GREETING = os.environ.get("GREETING", "Hello")


class Handler(BaseHTTPRequestHandler):
    """Answers GET."""

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.answer(200, "text/plain", "ok\n")
        elif self.path == "/":
            page = PAGE.safe_substitute(greeting=GREETING, pod=socket.gethostname())
            self.answer(200, "text/html; charset=utf-8", page)
        else:
            self.answer(404, "text/plain", "not found\n")

    def answer(self, status: int, content_type: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Requests go to the pod's log, but for the kubelet's, which come every few seconds."""
        if self.path != "/healthz":
            sys.stdout.write(format % args + "\n")


def main() -> None:
    server = ThreadingHTTPServer(("", 8000), Handler)
    # Process 1 of a container has no default action for SIGTERM: a pod would take 30 s to go.
    # shutdown() waits for serve_forever(), which is what this thread is doing.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print("serving on port 8000", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
