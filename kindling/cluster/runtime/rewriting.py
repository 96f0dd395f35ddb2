"""An image's files for a process that sees this machine's root: a copy, and paths that lead there.

What lies below a layer or a volume is meant by the path that it would have in a container. Whatever
of `argv`, environment and working folder looks like an absolute path and exists in a volume or in
the image's copy is replaced by where that is on this machine. Paths inside of files, such as
scripts, are not.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path

from kindling.cluster.runtime.protocol import ContainerSpec, StartError

__all__ = ["View", "merge_layers"]

_PATH = re.compile(r"(?<![\w./\\:@-])/[^\s:,;='\"|&()<>$`]+|(?<=[=:,])/[^\s:,;='\"|&()<>$`]+")
_NEEDS_ROOT = (
    "the image needs a root file system of its own, which plain processes do not have"
    " (`kindling cluster status` says why): "
)


def merge_layers(layers: tuple[Path, ...], target: Path) -> None:
    """Copy `layers`, lowest first, into `target` as overlayfs would show them. Blocks."""
    target.mkdir(parents=True, exist_ok=True)
    for layer in layers:
        for folder, folders, files in os.walk(layer):
            here = target / os.path.relpath(folder, layer)
            if _opaque(folder) and here.is_dir() and here != target:
                shutil.rmtree(here)
            if here.is_symlink() or (here.exists() and not here.is_dir()):
                here.unlink()
            here.mkdir(exist_ok=True)
            for name in [*files, *(n for n in folders if os.path.islink(f"{folder}/{n}"))]:
                _copy(f"{folder}/{name}", here / name)


def _opaque(folder: str) -> bool:
    try:
        return hasattr(os, "getxattr") and os.getxattr(folder, "user.overlay.opaque") == b"y"
    except OSError:
        return False


def _copy(source: str, target: Path) -> None:
    status = os.lstat(source)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
        return  # a whiteout
    if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
        shutil.copy2(source, target, follow_symlinks=False)


class View:
    """How the paths of one container translate; `root` is the copy of its layers."""

    def __init__(self, spec: ContainerSpec, root: Path) -> None:
        self._root = root
        self._host = spec.root.host
        self._volumes = sorted(
            (
                (os.path.normpath(mount.target), str(mount.source))
                for mount in spec.mounts
                if mount.source is not None
            ),
            key=lambda row: -len(row[0]),
        )

    def path(self, path: str) -> str:
        """Of one absolute path; itself when it is neither in a volume nor in the image."""
        normal = os.path.normpath(path)
        tail = "/" if path.endswith("/") and normal != "/" else ""
        for target, source in self._volumes:
            if normal == target or normal.startswith(target.rstrip("/") + "/"):
                return source + normal[len(target) :] + tail
        inside = str(self._root) + normal
        return inside + tail if normal != "/" and os.path.lexists(inside) else path

    def text(self, text: str) -> str:
        """Of every absolute path in a text."""
        return _PATH.sub(lambda found: self.path(found.group()), text)

    def env(self, env: tuple[tuple[str, str], ...]) -> list[list[str]]:
        """The image's own program folders come first in PATH, this machine's last."""
        found = []
        for key, value in env:
            if key == "PATH":
                inside = [str(self._root) + part for part in value.split(":") if part[:1] == "/"]
                parts = [*(part for part in inside if os.path.isdir(part)), value]
                found.append([key, ":".join([*parts, os.environ.get("PATH", os.defpath)])])
            else:
                found.append([key, self.text(value)])
        return found

    def command(self, argv: tuple[str, ...], env: list[list[str]]) -> list[str]:
        """Raises `StartError` when the program is one of an image that cannot be a root."""
        program = self.text(argv[0])
        if not self._host:
            path = next((value for key, value in env if key == "PATH"), "")
            places = path.split(":") if "/" not in program else [""]
            inside = any(
                os.path.join(place, program).startswith(str(self._root))
                and os.path.exists(os.path.join(place, program))
                for place in places
            )
            volume = any(program.startswith(source) for _, source in self._volumes)
            if not inside and not volume:
                raise StartError(f'{_NEEDS_ROOT}exec: "{argv[0]}": not among its files')
        return [program, *(self.text(word) for word in argv[1:])]
