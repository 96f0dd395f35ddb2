"""The source as what containers should hold, and as what a plan looks at."""

from __future__ import annotations

import asyncio
import os
import posixpath
from collections.abc import Collection, Iterable
from pathlib import Path

from kindling.sync.protocol import SourceChangedError
from kindling.sync.runtimes.plan import Source
from kindling.sync.source.tree import Looked, SourceTree
from kindling.sync.trees.manifest import TreeManifest

__all__ = ["Sourced", "source_of_plan"]

_READ = (
    *("package.json", "go.mod", "Cargo.toml", "pom.xml", "build.sbt", "build.zig", "Package.swift"),
    *("package.yaml", "stack.yaml", "cabal.project", "dune-project", "dune", "CMakeLists.txt"),
    *("GNUmakefile", "makefile", "Makefile", "mvnw", "gradlew", "angular.json", "requirements.txt"),
    *("setup.py", "pyproject.toml", "Gemfile", "mix.exs", "composer.json", "svelte.config.js"),
    *("gradle.properties", "plugins.sbt"),
    *("pnpm-lock.yaml", "yarn.lock", "bun.lock", "bun.lockb", "package-lock.json"),
)
_READ_ENDINGS = (
    *(".go", ".csproj", ".fsproj", ".vbproj", ".cabal", ".gradle", ".gradle.kts"),
    *(".config.js", ".config.ts", ".config.mjs", ".config.cjs", ".config.mts"),
)
_NAMED = frozenset(("bun.lockb", "package-lock.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock"))
"""Whose being there is all that counts."""
_SHARED = ("package-lock.json", "npm-shrinkwrap.json")
"""Lock files that count for the packages in the folders below them, too."""
_MOST = 512 * 1024


class Sourced:
    """A `SourceTree` behind `kindling.sync.session.replica.Wanted`."""

    def __init__(self, source: SourceTree, *, mirror: bool = False) -> None:
        self.source = source
        self._mirror = mirror
        self._had = set(source.tree.entries)
        self._skip: tuple[str, ...] | None = None
        self._owed: set[str] = set()

    @property
    def tree(self) -> TreeManifest:
        return self.source.tree

    @property
    def tops(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(sync.remote.strip("/") for sync in self.source.syncs))

    @property
    def had(self) -> Collection[str]:
        return self._had

    @property
    def skip(self) -> Collection[str]:
        """Names that are ignored wherever they are. A mirror has to look at everything."""
        if self._mirror:
            return ()
        if self._skip is None:
            rules = [rule for files in self.source.context.files for rule in files.ignore]
            patterns = [pattern for rule in rules for pattern in rule.patterns]
            patterns += [pattern for sync in self.source.syncs for pattern in sync.step.ignore]
            names = {pattern.removeprefix("**/").strip("/") for pattern in patterns}
            plain = {name for name in names if name and not set("*?[]!\\/") & set(name)}
            if plain:
                plain -= {part for path in self._had for part in path.split("/")}
            self._skip = (".git", *sorted(plain))
        return self._skip

    def part(self, places: Iterable[str]) -> TreeManifest:
        return self.source.part(tuple(places))

    def excluded(self, place: str) -> bool:
        return self.source.excluded(place)

    def file(self, place: str) -> Path:
        return self.source.file(place)

    async def again(self, place: str) -> None:
        # Whoever asks has what is found now; other containers need not, and the look that the event
        # leads to finds nothing new any more.
        self._owed.add(place)
        try:
            path = self.source.file(place)
        except SourceChangedError:
            # It shows no file any more: that much is known already.
            return
        looked = await self.source.look([str(path)])
        self.note(looked)
        self._owed.update(looked.places)

    def owed(self) -> set[str]:
        """Places that were looked at again for one container since this was last asked: they are
        to be compared in all of them."""
        owed, self._owed = self._owed, set()
        return owed

    def note(self, looked: Looked) -> None:
        """Keep in mind what a look has found."""
        if looked.places:
            self._had.update(looked.places)
            self._skip = None
        self._had.difference_update(looked.left)


async def source_of_plan(source: SourceTree) -> Source:
    """What a plan wants to know of the folder that is synced: texts of the files that say how it is
    built."""
    local = source.syncs[0].step.local if source.syncs else "."
    root = source.context.root
    folder = Path(posixpath.normpath(posixpath.join(root.as_posix(), local)))
    prefix = "" if local == "." else local.rstrip("/") + "/"
    paths = [path for path in source.entries if path.startswith(prefix)]

    def read() -> Source:
        files: dict[str, str] = {}
        for path in paths:
            name = posixpath.basename(path)
            if name not in _READ and not name.endswith(_READ_ENDINGS):
                # That there is something is of use, too: `src/main.rs` makes a program.
                files.setdefault(path[len(prefix) :], "")
                continue
            place = root / path
            try:
                small = name not in _NAMED and place.stat().st_size <= _MOST
                files[path[len(prefix) :]] = place.read_text("utf-8", "replace") if small else ""
            except OSError:
                continue
        try:
            items = list(os.scandir(folder))
        except OSError:
            items = []
        folders = [item.name for item in items if item.is_dir()]
        # Tools mind their lock files also where these are not synced.
        for name in sorted({*_NAMED, *_SHARED} & {item.name for item in items}):
            files.setdefault(name, "")
        for name in _SHARED:
            if any((up / name).is_file() for up in folder.parents):
                files.setdefault(f"../{name}", "")
        return Source(files, folders, folder.name or "app")

    return await asyncio.to_thread(read)
