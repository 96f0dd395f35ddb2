"""The table of runtimes: what runs where, what `kindling sync` should make of it, and the edit that
leads from one answer to another."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.sync.world.stage import IMAGES, Workload

__all__ = ["RUNTIMES", "Runtime", "full"]

_PYTHON = "kindling-test-sync-python:1"
_DEBIAN = "kindling-test-sync-debian:1"
_HTTPD = "mkdir -p /www && echo one > /www/index.html && exec httpd -f -p 8080 -h /www"


def full() -> bool:
    """Whether all is tried, which takes minutes."""
    return os.environ.get("KINDLING_SYNC_FULL") == "1"


@dataclass(frozen=True, slots=True)
class Runtime:
    """One row. `label` is how sync calls what it found, `strategy` a word of what it will do."""

    workload: Workload
    source: str
    """Below the folder of images; empty: a folder with nothing but the edited file."""
    destination: str
    edited: str
    """The file that holds the answer, as `one`."""
    label: str
    strategy: str
    options: tuple[str, ...] = ("--restart",)
    gate: bool = True
    """Whether it is tried each time; others with `KINDLING_SYNC_FULL=1`."""

    def stage_source(self, folder: Path) -> Path:
        """A copy of the source, to be edited."""
        if self.source:
            shutil.copytree(IMAGES / self.source, folder)
        else:
            folder.mkdir(parents=True)
            (folder / self.edited).write_text("one\n")
        return folder

    def edit(self, folder: Path, old: str, new: str) -> None:
        path = folder / self.edited
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


def _python(name: str, *words: str, replicas: int = 1) -> Workload:
    return Workload(name, _PYTHON, words, replicas=replicas)


def _debian(name: str, *words: str, folder: str, kind: str = "Deployment") -> Workload:
    return Workload(
        name,
        _DEBIAN,
        words,
        kind=kind,
        container={"workingDir": f"/app/{folder}"} if folder else {},
    )


RUNTIMES = (
    Runtime(
        # Nobody in particular, by the image's own command.
        Workload("http-server", _PYTHON, pod={"securityContext": {"runAsUser": 1000}}),
        "python/app",
        "/app",
        "answer.py",
        "Python",
        "restart",
    ),
    Runtime(
        _python("uvicorn", "uvicorn", "asgi:app", "--host", "0.0.0.0", "--port", "8080"),
        "python/app",
        "/app",
        "answer.py",
        "uvicorn",
        "restart",
    ),
    Runtime(
        _python("gunicorn", "gunicorn", "-w2", "-b0.0.0.0:8080", "wsgi:app", replicas=2),
        "python/app",
        "/app",
        "answer.py",
        "gunicorn",
        "HUP",
    ),
    Runtime(
        _python("flask", "flask", "--app", "pages", "run", "-h0.0.0.0", "-p8080"),
        "python/app",
        "/app",
        "answer.py",
        "Flask",
        "restart",
        gate=False,
    ),
    Runtime(
        # By the image's entry point, with a root that nobody can write.
        Workload(
            "node",
            "kindling-test-sync-node:1",
            container={"securityContext": {"readOnlyRootFilesystem": True}},
        ),
        "node/app",
        "/app",
        "answer.js",
        "Node.js",
        "restart",
    ),
    Runtime(
        _debian("webrick", "sh", "-c", "cd /app/webrick && exec ruby server.rb", folder=""),
        "debian/webrick",
        "/app/webrick",
        "answer.rb",
        "Ruby",
        "restart",
        gate=False,
    ),
    Runtime(
        _debian("puma", "puma", "-btcp://0.0.0.0:8080", folder="puma", kind="StatefulSet"),
        "debian/puma",
        "/app/puma",
        "answer.rb",
        "Puma",
        "USR2",
    ),
    Runtime(
        _debian("sinatra", "ruby", "app.rb", folder="sinatra"),
        "debian/sinatra",
        "/app/sinatra",
        "answer.rb",
        # Puma inside, which calls its process so, and answers to its signal.
        "Puma",
        "USR2",
        gate=False,
    ),
    Runtime(
        _debian("nginx", "nginx", "-c", "/etc/world/nginx.conf", folder=""),
        "debian/nginx",
        "/app/nginx",
        "index.html",
        "Nginx",
        "HUP",
    ),
    Runtime(
        _debian("php", "php", "-S0.0.0.0:8080", "-t", "/app/php", folder=""),
        "debian/php",
        "/app/php",
        "answer.php",
        "PHP",
        "reload",
        gate=False,
    ),
    Runtime(
        # Two containers; the one that is synced is not the first.
        Workload(
            "php-fpm",
            _DEBIAN,
            ("nginx", "-c", "/etc/world/fastcgi.conf"),
            beside=(
                {
                    "name": "php",
                    "image": _DEBIAN,
                    "command": ["php-fpm8.2", "-F", "-y", "/etc/world/php-fpm.conf"],
                },
            ),
        ),
        "debian/php",
        "/app/php",
        "answer.php",
        "PHP-FPM",
        "",
        ("--restart", "--container", "php"),
    ),
    Runtime(
        # No shell, no tar, and built on this machine.
        Workload("go", "kindling-test-sync-go:1"),
        "go/app",
        "/app",
        "main.go",
        "Go",
        "build",
        ("--restart", "--language", "go"),
    ),
    Runtime(
        # Files alone, and a shell that goes away.
        Workload("busybox", "busybox:1.36", ("sh", "-c", _HTTPD)),
        "",
        "/www",
        "index.html",
        "",
        "",
        (),
    ),
)
