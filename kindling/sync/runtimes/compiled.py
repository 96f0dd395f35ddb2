"""What C, Zig, Swift, Haskell and OCaml projects build, read from their files alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from kindling.sync.runtimes.build import SAY_IT, CannotTellError, LocalBuild
from kindling.sync.runtimes.choosing import choose, foreign, missing

__all__ = ["c", "haskell", "ocaml", "swift", "zig"]

Files = Mapping[str, str]


def c(files: Files, runs: str, native: bool) -> LocalBuild:
    # A compiler for another processor has this name on Debian, Fedora and Alpine alike.
    environ = (
        () if native else (("CC", "{machine}-linux-gnu-gcc"), ("CXX", "{machine}-linux-gnu-g++"))
    )
    if "CMakeLists.txt" in files:
        names: list[str] = []
        for path, text in files.items():
            if path.rpartition("/")[2] != "CMakeLists.txt":
                continue
            project = re.search(r"^\s*project\s*\(\s*\"?([\w.+-]+)", text, re.M | re.I)
            for found in re.findall(r"^\s*add_executable\s*\(\s*\"?([^\s\")]+)", text, re.M | re.I):
                named = found.replace("${PROJECT_NAME}", project[1] if project else found)
                names.append(f"{path.removesuffix('CMakeLists.txt')}{named}")
        chosen = _choose_path("executable", names, runs, "CMakeLists.txt")
        configure = ("cmake", "-S", ".", "-B", "{out}/cmake", "-DCMAKE_BUILD_TYPE=Release")
        target = chosen.rpartition("/")[2]
        return LocalBuild(
            (configure, ("cmake", "--build", "{out}/cmake", "--target", target)),
            "{out}/cmake/" + chosen,
            environ=environ,
            says=f"cmake --build, target {target}",
        )
    for makefile in ("GNUmakefile", "makefile", "Makefile"):
        if makefile in files:
            name = _make_program(files[makefile], runs, makefile)
            if native:
                commands: tuple[tuple[str, ...], ...] = (("make", name),)
            else:
                # What lies there may be for this machine's processor; make would keep it.
                cross = ("CC={machine}-linux-gnu-gcc", "CXX={machine}-linux-gnu-g++")
                commands = (("make", "-B", name, *cross),)
            return LocalBuild(commands, name, says=f"make {name}")
    raise missing("C", "Makefile or CMakeLists.txt")


def _choose_path(what: str, paths: Sequence[str], runs: str, place: str) -> str:
    """As `choose`, by the last part of each path."""
    by_name = {path.rpartition("/")[2]: path for path in paths}
    return by_name[choose(what, list(by_name), runs, place)]


def _make_program(text: str, runs: str, place: str) -> str:
    """The program that a Makefile makes: named by a usual variable, or what `all` needs."""
    variables = dict(re.findall(r"^(\w+)\s*[:?]?=\s*(.*?)\s*(?:#.*)?$", text, re.M))

    def expanded(word: str) -> str:
        for _ in range(8):
            replaced = re.sub(r"\$[({](\w+)[)}]", lambda found: variables.get(found[1], ""), word)
            if replaced == word:
                break
            word = replaced
        return word

    rules = {
        target: found[2].split()
        for found in re.finditer(r"^([^\s:#=][^:=#\n]*):(?!=)([^\n#]*)", text, re.M)
        for target in expanded(found[1]).split()
    }
    needed = [word for word in expanded(" ".join(rules.get("all", ()))).split() if "%" not in word]
    if runs and any(word.rpartition("/")[2] == runs for word in (*rules, *needed)):
        return next(word for word in (*rules, *needed) if word.rpartition("/")[2] == runs)
    for variable in ("TARGET", "BIN", "BINARY", "PROGRAM", "PROG", "EXE", "EXECUTABLE"):
        if expanded(variables.get(variable, "")):
            return expanded(variables[variable])
    if needed:
        return choose("target of `all`", needed, runs, place)
    linked = [target for target in rules if "." not in target and target not in _PHONY]
    return choose("target", linked, runs, place)


_NO_PROGRAMS = "all clean install test check run help dist format lint debug release"
_PHONY = frozenset(_NO_PROGRAMS.split())


def zig(files: Files, runs: str, native: bool) -> LocalBuild:
    text = files.get("build.zig")
    if text is None:
        raise missing("Zig", "build.zig")
    names = re.findall(r"addExecutable\s*\([^;]*?\.name\s*=\s*\"([^\"]+)\"", text, re.S)
    names += re.findall(r"addExecutable\s*\(\s*\"([^\"]+)\"", text)
    name = choose("executable", names, runs, "build.zig")
    target: tuple[str, ...] = ("-Dtarget={machine}-{os}-musl",)
    if "standardTargetOptions" not in text:
        if not native:
            raise CannotTellError(
                "build.zig: without `standardTargetOptions` it builds for this machine alone.",
                hint=SAY_IT,
            )
        target = ()
    return LocalBuild(
        (("zig", "build", *target, "--prefix", "{out}/zig"),),
        f"{{out}}/zig/bin/{name}",
        says=" ".join(("zig build", *target)),
    )


def swift(files: Files, runs: str, native: bool) -> LocalBuild:
    text = files.get("Package.swift")
    if text is None:
        raise missing("Swift", "Package.swift")
    found = re.findall(r"\.executable(?:Target)?\s*\(\s*name:\s*\"([^\"]+)\"", text)
    name = choose("executable", found, runs, "Package.swift")
    sdk = () if native else ("--swift-sdk", "{machine}-swift-linux-musl")
    build = ("swift", "build", "-c", "release", "--static-swift-stdlib", "--product", name)
    place = ("--scratch-path", "{out}/swift")
    return LocalBuild(
        ((*build, *sdk, *place),), f"{{out}}/swift/release/{name}", says=f"swift build of {name}"
    )


def haskell(files: Files, runs: str, native: bool) -> LocalBuild:
    names: list[str] = []
    for path, text in files.items():
        if path.endswith(".cabal"):
            names += re.findall(r"^executable\s+([\w-]+)", text, re.M | re.I)
        elif path.rpartition("/")[2] == "package.yaml":
            block = re.search(r"^executables:\s*\n((?:[ \t]+.*\n?|\n)+)", text, re.M)
            lines = re.findall(r"^([ \t]+)([\w-]+):\s*$", block[1], re.M) if block else []
            names += [called for indent, called in lines if indent == lines[0][0]]
    if not names and not any(path.endswith((".cabal", "package.yaml")) for path in files):
        raise missing("Haskell", "*.cabal or package.yaml")
    name = choose("executable", names, runs, "*.cabal")
    if not native:
        raise foreign("Haskell", "*.cabal")
    if "stack.yaml" in files:
        command: tuple[str, ...] = ("stack", "install", f":{name}", "--local-bin-path", "{out}")
    else:
        copy = ("--install-method=copy", "--overwrite-policy=always")
        command = ("cabal", "install", f"exe:{name}", "--installdir={out}", *copy)
    return LocalBuild((command,), f"{{out}}/{name}", says=" ".join(command[:3]))


def ocaml(files: Files, runs: str, native: bool) -> LocalBuild:
    if "dune-project" not in files:
        raise missing("OCaml", "dune-project")
    programs: dict[str, str] = {}
    for path, text in files.items():
        if path.rpartition("/")[2] != "dune":
            continue
        folder = path.removesuffix("dune")
        for body in re.findall(r"\(executables?\b(.*?)(?=\n\(|\Z)", text, re.S):
            inner = re.search(r"\(names?\s+([^)]+)\)", body)
            public = re.search(r"\(public_names?\s+([^)]+)\)", body)
            called = inner[1].split() if inner else []
            shown = public[1].split() if public else called
            for name, outside in zip(called, shown, strict=False):
                programs[outside] = f"{folder}{name}.exe"
    chosen = choose("executable", list(programs), runs, "dune-project")
    if not native:
        raise foreign("OCaml", "dune-project")
    return LocalBuild(
        (("dune", "build", "--profile", "release", f"./{programs[chosen]}"),),
        f"_build/default/{programs[chosen]}",
        says=f"dune build {programs[chosen]}",
    )
