"""A container's command is found where it is said, and never guessed from a title."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from kindling.errors import UsageError
from kindling.sync.template.patch import AGENT_PATH
from kindling.sync.workload.argv import Argv, ImageConfig, find_argv, read_argv


@dataclass
class Files:
    """A container by some of its files, and where `/proc/1/exe` leads."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    exe: str = ""

    async def read(self, path: str, most: int = 1 << 20) -> bytes | None:
        content = self.files.get(path)
        return content[:most] if content is not None else None

    async def resolve(self, place: str) -> str:
        assert place == "proc/1/exe"
        return self.exe or place


def running(*words: str, exe: str, **files: bytes) -> Files:
    cmdline = "".join(f"{word}\0" for word in words).encode()
    return Files({"/proc/1/cmdline": cmdline, **files}, exe)


async def image(image: str) -> ImageConfig | None:
    return (["/entry.sh"], ["serve", "$(HOME)"], "/app", "") if "web" in image else None


async def test_the_pod_template_comes_first() -> None:
    container = {"name": "app", "image": "web:1", "command": ["a"], "args": ["b", "$(C)"]}
    assert await find_argv(container, image_config=image) == Argv(
        ("a", "b", "$(C)"), "the pod template"
    )


async def test_then_the_image_that_runs() -> None:
    container: dict[str, Any] = {"name": "app", "image": "other:1"}
    found = await find_argv(container, image_config=image, image_id="web@sha256:00")
    assert found == Argv(("/entry.sh", "serve", "$$(HOME)"), "the image other:1")
    with_args = {**container, "args": ["--dev"]}
    found = await find_argv(with_args, image_config=image, image_id="web@sha256:00")
    assert found.words == ("/entry.sh", "--dev")


async def test_then_the_process_whose_vector_has_the_arguments_already() -> None:
    container = {"name": "app", "image": "other:1", "args": ["--dev"]}
    link = running("/usr/bin/server", "--dev", "$(X)", exe="usr/bin/server")
    found = await find_argv(container, image_config=image, link=link)
    assert found == Argv(("/usr/bin/server", "--dev", "$$(X)"), "the running process")


async def test_what_is_not_known_is_refused_with_what_to_do() -> None:
    with pytest.raises(UsageError) as caught:
        await find_argv({"name": "app", "image": "other:1"}, image_config=image, link=Files())
    assert "Give the container a `command`" in caught.value.hint


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (running("python3", "app.py", exe="usr/bin/python3.12"), ("python3", "app.py")),
        (running("sh", "-c", "a b", exe="bin/busybox"), ("sh", "-c", "a b")),
        (running("/bin/sh", "/run", "", exe="usr/bin/dash"), ("/bin/sh", "/run", "")),
        (
            Files(
                {
                    "/proc/1/cmdline": b"/usr/local/bin/gunicorn\0app\0",
                    "/usr/local/bin/gunicorn": b"#!/usr/local/bin/python3\nimport x\n",
                },
                "usr/local/bin/python3.12",
            ),
            ("/usr/local/bin/gunicorn", "app"),
        ),
        (running("node", "x.js", exe=""), ("node", "x.js")),
    ],
)
async def test_a_vector_is_read_as_it_was_started(link: Files, words: tuple[str, ...]) -> None:
    assert await read_argv(link) == words


@pytest.mark.parametrize(
    "link",
    [
        Files(
            {"/proc/1/cmdline": b"nginx: master process nginx -g daemon off;\0"}, "usr/sbin/nginx"
        ),
        Files(
            {"/proc/1/cmdline": b"puma 6.4.0 (tcp://0.0.0.0:3000) [app]\0\0\0\0"}, "usr/bin/ruby"
        ),
        Files({"/proc/1/cmdline": b"postgres: checkpointer "}, "usr/lib/postgresql/bin/postgres"),
        Files({"/proc/1/cmdline": b"gunicorn: master [app]\0"}, "usr/bin/python3.12"),
        Files({"/proc/1/cmdline": b"\xff\xfe\0"}, "usr/bin/x"),
        Files({"/proc/1/cmdline": b""}, "usr/bin/x"),
        Files({}, "usr/bin/x"),
        running(AGENT_PATH, "supervise", "--", "x", exe=AGENT_PATH),
        running("redis", "x", exe="opt/other/thing"),
    ],
)
async def test_a_title_that_was_written_over_it_is_no_vector(link: Files) -> None:
    assert await read_argv(link) is None
