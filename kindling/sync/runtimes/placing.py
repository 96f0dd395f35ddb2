"""Where in a container an artefact goes: over what runs there, and over nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from kindling.sync.runtimes.build import LocalBuild
from kindling.sync.runtimes.names import basename, by_name
from kindling.sync.runtimes.runtime import Family, Mode
from kindling.sync.runtimes.shell import SHELLS

__all__ = ["Place", "devtools", "place"]

_CLASS_PATHS = ("-cp", "-classpath", "--class-path")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an artefact goes in the container."""

    path: str
    """Relative to the working folder of the process; empty for the destination of the session."""
    search: bool = False
    """`path` is a bare name, to be looked for in the container's PATH, else in the destination."""


def place(argv: Sequence[str], family: Family, build: LocalBuild) -> Place | None:
    """The place of what `build` makes, or None if the command does not tell it.

    The program itself, the jar behind `-jar` or the one of that name in the class path, the folder
    of the `.dll`. A class path also names the server's own jars, and those are never written to.
    Nor is a shell, an interpreter or a web server: what is built for one lands on the destination.
    """
    program = argv[0] if argv else ""
    runs = by_name(program) if program else None
    if basename(program) in SHELLS or (runs is not None and runs.mode is not Mode.BUILD):
        return Place("")
    if basename(program) == "java":
        return _jar(argv, build)
    if basename(program) == "dotnet":
        program = next((word for word in argv[1:] if word.endswith(".dll")), "")
    if not build.folder:
        return Place(program, search=bool(program) and "/" not in program)
    if "/" not in program:
        return Place("")
    above = program.rpartition("/")[0] or "/"
    # A start script of installDist or stage lies in `bin` of what is carried.
    return Place(_above(above, "bin") if family is Family.JVM else above)


def _above(path: str, name: str) -> str:
    """The folder over `path` if that is called `name`, else `path`."""
    return path.rpartition("/")[0] or "/" if basename(path) == name else path


def _class_path(argv: Sequence[str]) -> list[str]:
    for option, value in pairwise(argv):
        if option in _CLASS_PATHS:
            return [entry for entry in value.split(":") if entry]
    return []


def _jar(argv: Sequence[str], build: LocalBuild) -> Place | None:
    jar = dict(pairwise(argv)).get("-jar", "")
    if jar and not build.folder:
        return Place(jar)
    entries = [jar] if jar else _class_path(argv)
    made = basename(build.artefact)
    for entry in entries:
        same = basename(entry) == made or _stem(entry) == _stem(made)
        if entry.endswith(".jar") and same and "/" in entry:
            if not build.folder:
                return Place(entry)
            return Place(_above(entry.rpartition("/")[0] or "/", "lib"))
    return None


def _stem(path: str) -> str:
    """The name of a jar without version and ending."""
    return re.sub(r"-\d[\w.+-]*\Z", "", re.sub(r"\.(jar|war)\Z", "", basename(path)))


def devtools(argv: Sequence[str], files: Mapping[str, str]) -> tuple[LocalBuild, Place] | None:
    """The build of classes alone, where Spring's devtools look for them and load them anew.

    They do so for folders of the class path, never within a jar.
    """
    if not argv or basename(argv[0]) != "java":
        return None
    entries = _class_path(argv)
    folders = [entry for entry in entries if not entry.endswith((".jar", "*"))]
    if not folders or not any("spring-boot-devtools" in entry for entry in entries):
        return None
    if "pom.xml" in files:
        command = "./mvnw" if "mvnw" in files else "mvn"
        build = LocalBuild(
            ((command, "-q", "compile"),), "target/classes", True, says=f"{command} compile"
        )
    elif "build.gradle" in files or "build.gradle.kts" in files:
        command = "./gradlew" if "gradlew" in files else "gradle"
        kotlin = any(path.startswith("src/main/kotlin/") for path in files)
        classes = f"build/classes/{'kotlin' if kotlin else 'java'}/main"
        build = LocalBuild(((command, "-q", "classes"),), classes, True, says=f"{command} classes")
    else:
        return None
    return build, Place(folders[0].rstrip("/"))
