"""What an evaluation has gathered so far; it becomes `Declarations` at the end."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from kindling.errors import ConfigError
from kindling.graph.node import Where
from kindling.lang.declared import (
    ClusterDeclaration,
    CustomDeploy,
    DefaultRegistry,
    Enabled,
    Environment,
    ImageDeclaration,
    KindDeclaration,
    KubernetesObject,
    LiveUpdateStep,
    LocalResource,
    Profile,
    Remark,
    ResourceConfiguration,
    SecretIfAbsent,
    Settings,
    TestDeclaration,
)

__all__ = ["Collected", "Paths"]

_SIMPLE = re.compile(r"[^./~\0][^/\0]*(?:/[^./\0][^/\0]*)*")
"""A path with nothing to resolve: no `..`, no doubled or final slash. Most paths are such."""


class Paths:
    """Paths as users write them, made relative to the folder of the main file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folder = root
        self._prefix = ""
        self._known: dict[str, str] = {}

    def relative(self, path: Path | str) -> str:
        """An absolute path as a POSIX path relative to the root."""
        return Path(os.path.relpath(path, self.root)).as_posix()

    def resolve(self, text: str, folder: Path) -> str:
        """A user's path, seen from `folder`, relative to the root. `~` is the home folder."""
        if folder is not self._folder:
            self._folder = folder
            prefix = self.relative(folder)
            self._prefix = "" if prefix == "." else f"{prefix}/"
            self._known.clear()
        if text == ".":
            return self._prefix[:-1] or "."
        if _SIMPLE.fullmatch(text):
            return self._prefix + text
        if (found := self._known.get(text)) is None:
            found = self._known[text] = self.relative(self.absolute(text, folder))
        return found

    def absolute(self, text: str, folder: Path) -> str:
        """A user's path, seen from `folder`, as an absolute path without `..`."""
        if "\0" in text:
            raise ConfigError("A path holds a zero byte")
        path = os.path.expanduser(text) if text.startswith("~") else text
        return os.path.normpath(os.path.join(folder, path))

    def on_disk(self, relative: str) -> Path:
        """Where a path relative to the root lies."""
        return self.root / relative


@dataclass(slots=True)
class Collected:
    """Mutable, owned by one evaluation."""

    images: list[ImageDeclaration] = field(default_factory=list)
    objects: list[KubernetesObject] = field(default_factory=list)
    environments: list[Environment] = field(default_factory=list)
    resources: list[ResourceConfiguration] = field(default_factory=list)
    custom_deploys: list[CustomDeploy] = field(default_factory=list)
    kinds: list[KindDeclaration] = field(default_factory=list)
    locals: list[LocalResource] = field(default_factory=list)
    tests: list[TestDeclaration] = field(default_factory=list)
    secrets: list[SecretIfAbsent] = field(default_factory=list)
    registry: DefaultRegistry | None = None
    cluster: ClusterDeclaration = field(default_factory=ClusterDeclaration)
    settings: Settings = field(default_factory=Settings)
    profiles: dict[str, Profile] = field(default_factory=dict)
    enabled: Enabled = field(default_factory=Enabled)
    remarks: list[Remark] = field(default_factory=list)
    steps: list[LiveUpdateStep] = field(default_factory=list)
    used_steps: set[int] = field(default_factory=set)
    """Identities of the steps that some declaration took, whose objects `steps` keeps alive."""
    names: dict[tuple[str, str], Where] = field(default_factory=dict)
    """What must be declared once, by kind and name, and where it was."""
    identities: dict[tuple[str, ...], KubernetesObject | Environment] = field(default_factory=dict)
    reads: dict[str, None] = field(default_factory=dict)
    glances: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    repeatable: bool = True
    said: set[str] = field(default_factory=set)

    def read(self, paths: Iterable[str]) -> None:
        """These paths (relative to the root) were read: their change means evaluating again."""
        self.reads.update(dict.fromkeys(paths))
