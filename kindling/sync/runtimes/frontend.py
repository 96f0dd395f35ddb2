"""Front-ends that a web server hands out: built on this machine, and copied to where it serves."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from posixpath import basename

__all__ = [
    "Frontend",
    "configured_by",
    "document_root",
    "frontend",
    "option_of",
    "output_folder",
    "package_manager",
]

_USUAL = ("dist", "build", "out")

_LOCKS = (
    ("pnpm-lock.yaml", "pnpm"),
    ("yarn.lock", "yarn"),
    ("bun.lock", "bun"),
    ("bun.lockb", "bun"),
    ("package-lock.json", "npm"),
)

_LOCKS_OF_NPM = frozenset(("package-lock.json", "npm-shrinkwrap.json"))
_NO_LOCK = "--no-package-lock"

_CONFIGURATIONS = (
    ("vite.config.", "dist"),
    ("next.config.", "out"),
    ("angular.json", "dist"),
    ("svelte.config.js", "build"),
)


@dataclass(frozen=True, slots=True)
class Frontend:
    """How a front-end is built, and where its files are then."""

    manager: str
    commands: tuple[tuple[str, ...], ...]
    output: str
    instead: tuple[str, ...]
    """Where to look when the build has not made `output`, in this order."""

    @property
    def leaves(self) -> tuple[str, ...]:
        """What the build writes into the source folder, as patterns of `.dockerignore`."""
        return (self.output, *self.instead, "**/node_modules", ".next", ".angular", ".svelte-kit")


def _package(files: Mapping[str, str]) -> dict[str, object]:
    try:
        package = json.loads(files.get("package.json", "{}"))
    except ValueError:
        return {}
    return package if isinstance(package, dict) else {}


def frontend(files: Mapping[str, str], folders: Collection[str] = ()) -> Frontend | None:
    """The build of a source folder, or None if its package.json has no script `build`.

    `files` are texts by path, `folders` the names of folders beside them. A lock file in a folder
    above, as where the folder is one of several packages, is among `files` as `../` and its name.
    """
    scripts = _package(files).get("scripts")
    if not isinstance(scripts, dict) or not scripts.get("build"):
        return None
    manager = package_manager(files)
    commands: list[tuple[str, ...]] = []
    if "node_modules" not in folders:
        # A project without a lock file does not get one from us.
        locked = manager != "npm" or any(basename(path) in _LOCKS_OF_NPM for path in files)
        commands.append((manager, "install") if locked else (manager, "install", _NO_LOCK))
    commands.append((manager, "run", "build"))
    output = output_folder(files, folders)
    instead = tuple(name for name in _USUAL if name != output)
    return Frontend(manager, tuple(commands), output, instead)


def package_manager(files: Mapping[str, str]) -> str:
    """By the lock file, pnpm's before yarn's; else by `packageManager`; else npm."""
    for lock, manager in _LOCKS:
        if lock in files:
            return manager
    named = str(_package(files).get("packageManager", "")).partition("@")[0]
    return named if named in ("pnpm", "yarn", "bun", "npm") else "npm"


def output_folder(files: Mapping[str, str], folders: Collection[str] = ()) -> str:
    """Where the build leaves its files: as configured, else as the framework does."""
    for path in sorted(files):
        if path.startswith("vite.config."):
            written = re.search(r"\boutDir\s*:\s*[\"'`]([^\"'`$]+)[\"'`]", files[path])
            if written and _inside(written[1]):
                return written[1].removeprefix("./").rstrip("/")
        if path == "angular.json":
            written = re.search(r"\"outputPath\"\s*:\s*\"([^\"]+)\"", files[path])
            if written and _inside(written[1]):
                return written[1].removeprefix("./").rstrip("/")
    for prefix, folder in _CONFIGURATIONS:
        if any(path.startswith(prefix) for path in files):
            return folder
    return next((name for name in _USUAL[:2] if name in folders), "dist")


def _inside(path: str) -> bool:
    """Whether a configured path stays in the source folder."""
    return not path.startswith("/") and ".." not in path.split("/")


def configured_by(argv: Sequence[str]) -> tuple[str, ...]:
    """The options of a running nginx that say which configuration it has read.

    nginx writes its command over its title as one text, so that words are parted at spaces here.
    """
    words = " ".join(argv).split()
    found: list[str] = []
    for at, word in enumerate(words):
        if word in ("-c", "-p") and at + 1 < len(words):
            found += words[at : at + 2]
        elif re.fullmatch(r"-[cp]/\S+", word):
            found.append(word)
    return tuple(found)


def option_of(argv: Sequence[str], *names: str) -> str:
    """The value of an option that goes by these names, as its next word or behind `=`."""
    for at, word in enumerate(argv):
        if word in names and at + 1 < len(argv):
            return argv[at + 1]
        name, given, value = word.partition("=")
        if given and name in names:
            return value
    return ""


def document_root(server: str, configuration: str = "") -> str:
    """Where a web server takes its files from.

    `configuration` is what `nginx -T` prints, or the Caddyfile, or Caddy's JSON. Of several roots
    the first counts.
    """
    text = re.sub(r"#.*", "", configuration)
    if server == "caddy":
        found = re.search(r"^\s*root\s+(?:\*\s+|/\S*\s+)?([^\s{}*]+)", text, re.M)
        found = found or re.search(r"\"root\"\s*:\s*\"([^\"{}]+)\"", text)
        return found[1] if found else "/usr/share/caddy"
    found = re.search(r"(?:^|[{;\s])root\s+[\"']?(/[^\s;\"']*)", text)
    root = found[1] if found else "/usr/share/nginx/html"
    return root.rstrip("/") or "/"
