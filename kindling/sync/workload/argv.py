"""The container's own command: what a supervising agent has to run in its place.

The pod template says it, or the image's configuration does, or the first process of a container
that runs already shows it. That last is a guess: a process may have written over its own title.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kindling.errors import UsageError
from kindling.objects.identity import Manifest
from kindling.sync.template.patch import AGENT_PATH, original_argv

__all__ = ["Argv", "ImageConfig", "Reader", "find_argv", "read_argv"]

ImageConfig = tuple[Sequence[str], Sequence[str], str, str]
"""Of an image: ENTRYPOINT, CMD, WORKDIR, USER."""

_MOST = 1 << 20


class Reader(Protocol):
    """What of a link is needed."""

    async def read(self, path: str, most: int = _MOST) -> bytes | None: ...

    async def resolve(self, place: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Argv:
    """A command and where it was learnt, in words."""

    words: tuple[str, ...]
    source: str


async def find_argv(
    container: Manifest,
    *,
    image_config: Callable[[str], Awaitable[ImageConfig | None]] | None = None,
    image_id: str = "",
    link: Reader | None = None,
) -> Argv:
    """What `container` of a pod template runs, fit to be a `command`.

    `image_config` reads the configuration of an image; `image_id` names the one that runs, else the
    template's. `link` reaches a container that was made from this template and has no agent as its
    first process.

    Raises:
        UsageError: It cannot be learnt; the hint says how to state it.
    """
    name = str(container.get("name", ""))
    if container.get("command"):
        return Argv(original_argv(container), "the pod template")
    image = image_id or str(container.get("image", ""))
    if image_config is not None:
        config = await image_config(image)
        if config is not None:
            words = original_argv(container, config[0], config[1])
            if words:
                return Argv(words, f"the image {container.get('image', image)}")
    if link is not None:
        found = await read_argv(link)
        if found is not None:
            # The whole vector is what the process runs, so that `args` are in it already.
            return Argv(original_argv({}, found), "the running process")
    raise UsageError(
        f"What container `{name}` runs is not known: neither the pod template nor the image says "
        "it, and its first process does not show it",
        hint="Give the container a `command` in its pod template, or sync without `--restart`.",
    )


async def read_argv(link: Reader) -> tuple[str, ...] | None:
    """The argument vector of a container's first process, from `/proc/1/cmdline`; None where it
    cannot be read, or is no longer what the process was started with."""
    text = await link.read("/proc/1/cmdline", _MOST)
    if not text or text.startswith(AGENT_PATH.encode()):
        return None
    words = decoded(text)
    if words is None or not words:
        return None
    exe = await link.resolve("proc/1/exe")
    return words if _is_real(words[0], exe, await _shebang(link, words)) else None


def decoded(text: bytes) -> tuple[str, ...] | None:
    """The words of a `cmdline`; None when a title was written over it: words that end without their
    end, or padding where the rest was."""
    if not text.endswith(b"\0"):
        return None
    body = text[:-1]
    if body.endswith(b"\0\0") or (b"\0" not in body and b" " in body and b"/" not in body):
        return None
    try:
        return tuple(word.decode() for word in body.split(b"\0"))
    except UnicodeDecodeError:
        return None


async def _shebang(link: Reader, words: tuple[str, ...]) -> str:
    """The interpreter that a script as the first word names; empty where it is none."""
    if not words[0].startswith("/"):
        return ""
    head = await link.read(words[0], 256)
    if not head or not head.startswith(b"#!"):
        return ""
    return head[2:].split(b"\n", 1)[0].split()[0].decode(errors="replace") if head[2:] else ""


def _is_real(first: str, exe: str, interpreter: str) -> bool:
    """Whether the first word can be what was started, judged by the program that runs: of the same
    name, but for versions and links (`python3` runs `python3.12`, `sh` runs `busybox`)."""
    program = exe.rpartition("/")[2]
    if not program or program == "exe":
        # The link cannot be followed (no permission); a title looks unlike a program's name.
        return " " not in first and not first.endswith(":")
    if " " in first or first.endswith(":"):
        return False
    name = first.rpartition("/")[2].lstrip("-")
    stem = name.split(".")[0].rstrip("0123456789")
    alike = bool(stem) and program.startswith(stem)
    return program == name or alike or program in _MANY_NAMES or bool(interpreter)


_MANY_NAMES = frozenset({"bash", "busybox", "coreutils", "dash", "mawk", "toybox"})
"""Programs that run under other names."""
