#!/usr/bin/env python3
"""Generate a monorepo of N small services that share base images.

    ./generate.py 3            # into generated/
    ./generate.py 40 /tmp/big  # anywhere

Two base images stand on each other (`base` has a library that all share, `web` adds a server), half
of the services are built on each, and some call another one. Changing the library rebuilds
everything, changing the server half of the services, changing a service that service alone. The
same arguments always write the same files, and files that would not change are left alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

LIBRARY = '''"""What every service of this monorepo has in common."""

import os
import signal
import sys


def name() -> str:
    return os.environ.get("SERVICE", "service")


def end_on_signals() -> None:
    """Process 1 of a container ignores SIGTERM unless it says otherwise."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
'''

SERVER = '''"""A page that says who serves it, and a health check."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from library import end_on_signals, name


def serve(answer, port=8000):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = (answer() if self.path != "/healthz" else "ok") + "\\n"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args):
            pass

    end_on_signals()
    print(f"{name()} serves on port {port}", flush=True)
    ThreadingHTTPServer(("", port), Handler).serve_forever()
'''

BASE_DOCKERFILE = """ARG BASE=python:3.12-slim
FROM ${BASE}
ENV PYTHONPATH=/lib/monorepo PYTHONUNBUFFERED=1
COPY library.py /lib/monorepo/
"""

WEB_DOCKERFILE = """FROM monorepo-base
COPY server.py /lib/monorepo/
EXPOSE 8000
"""

SERVICE_DOCKERFILE = """FROM monorepo-{base}
WORKDIR /app
COPY main.py ./
USER 65534
CMD ["python3", "main.py"]
"""

WEB_MAIN = """from server import serve

serve(lambda: "{name} answers")
"""

CALLING_MAIN = """from urllib.request import urlopen

from server import serve


def answer():
    with urlopen("http://{other}", timeout=5) as page:
        return "{name} heard: " + page.read().decode().strip()


serve(answer)
"""

WORKER_MAIN = """import time

from library import end_on_signals, name

end_on_signals()
print(f"{{name()}} works", flush=True)
while True:
    time.sleep(3600)
"""

DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  selector:
    matchLabels: {{app: {name}}}
  template:
    metadata:
      labels: {{app: {name}}}
    spec:
      containers:
        - name: {name}
          image: {name}
          env:
            - {{name: SERVICE, value: {name}}}
          resources:
            requests: {{cpu: 5m, memory: 16Mi}}
            limits: {{memory: 64Mi}}
"""

WEB_PART = """          ports:
            - containerPort: 8000
          readinessProbe:
            httpGet: {{path: /healthz, port: 8000}}
            periodSeconds: 1
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
spec:
  selector: {{app: {name}}}
  ports:
    - port: 80
      targetPort: 8000
"""

KINDLINGFILE = """# Written by generate.py: {count} services on two base images.

docker_build("monorepo-base", "base")
docker_build("monorepo-web", "web")

services = [
{names}]

for name in services:
    docker_build(name, "services/" + name, only = ["main.py"])
    k8s_yaml("services/" + name + "/k8s.yaml")

# A service that calls another comes up after it.
{dependencies}"""


def files(count: int) -> dict[str, str]:
    """The path and the text of every file of a monorepo with `count` services."""
    made = {
        "base/Dockerfile": BASE_DOCKERFILE,
        "base/library.py": LIBRARY,
        "web/Dockerfile": WEB_DOCKERFILE,
        "web/server.py": SERVER,
    }
    names: list[str] = []
    calls: list[tuple[str, str]] = []
    last_web = ""
    width = max(2, len(str(count)))
    for number in range(1, count + 1):
        web = number % 2 == 1
        name = f"{'web' if web else 'worker'}-{number:0{width}}"
        names.append(name)
        if web and number % 3 == 0 and last_web:
            main = CALLING_MAIN.format(name=name, other=last_web)
            calls.append((name, last_web))
        else:
            main = WEB_MAIN.format(name=name) if web else WORKER_MAIN.format()
        last_web = name if web else last_web
        folder = f"services/{name}"
        made[f"{folder}/main.py"] = main
        made[f"{folder}/Dockerfile"] = SERVICE_DOCKERFILE.format(base="web" if web else "base")
        made[f"{folder}/k8s.yaml"] = (DEPLOYMENT + (WEB_PART if web else "")).format(name=name)
    made["Kindlingfile"] = KINDLINGFILE.format(
        count=count,
        names="".join(f'    "{name}",\n' for name in names),
        dependencies="".join(
            f'k8s_resource("{name}", resource_deps = ["{other}"])\n' for name, other in calls
        ),
    )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description="Generate a monorepo of N services.")
    parser.add_argument("count", type=int, metavar="N")
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent / "generated")
    arguments = parser.parse_args()
    if arguments.count < 1:
        parser.error("N must be 1 or more")
    for name, text in files(arguments.count).items():
        path = arguments.folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    print(f"{arguments.count} services are in {arguments.folder}")


if __name__ == "__main__":
    main()
