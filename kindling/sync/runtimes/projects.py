"""What the project in a source folder builds, told from its files.

Files come as texts by path relative to the source folder. Where several programs are built, the
name of the one that runs in the container decides; where that does not help, the message lists
them. Nothing is guessed: a build that makes something else than what runs there is worse than none.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from types import MappingProxyType

from kindling.sync.runtimes.build import SAY_IT, CannotTellError, LocalBuild, Machine
from kindling.sync.runtimes.choosing import choose, missing
from kindling.sync.runtimes.compiled import c, haskell, ocaml, swift, zig
from kindling.sync.runtimes.jvm import gradle, maven, sbt
from kindling.sync.runtimes.runtime import Family

__all__ = ["local_build"]

Files = Mapping[str, str]


def local_build(
    family: Family,
    files: Files,
    *,
    machine: Machine,
    here: Machine,
    runs: str = "",
    folder: str = "app",
    shared: bool = True,
) -> LocalBuild:
    """How to build what a container of this language runs.

    `machine` is the node's and `here` this one's. `runs` is the name of the program that runs
    there, `folder` that of the source folder. `shared`: the container brings the .NET runtime.
    """
    if family is Family.JVM:
        return _jvm(files, folder, runs)
    if family is Family.DOTNET:
        return _dotnet(files, runs, shared)
    build = _BUILDERS.get(family)
    if build is None:
        raise CannotTellError(f"Sync knows no build for the language {family.value}.", hint=SAY_IT)
    return build(files, runs, machine == here)


# --- Go ---------------------------------------------------------------------------------------


def _go(files: Files, runs: str, native: bool) -> LocalBuild:
    del native
    module = re.search(r"^module\s+\"?([^\s\"]+)", files.get("go.mod", ""), re.M)
    folders: dict[str, str] = {}
    for path, text in files.items():
        folder, _, name = path.rpartition("/")
        hidden = re.search(r"(^|/)([._][^/]*|testdata|vendor)(/|$)", folder)
        if not name.endswith(".go") or name.endswith("_test.go") or hidden:
            continue
        if re.search(r"^//(go:build| \+build) ignore\b", text, re.M):
            continue
        if re.search(r"^package main\b", text, re.M) and re.search(r"^func main\(\)", text, re.M):
            last = re.sub(r"/v\d+\Z", "", module[1]) if module else ""
            folders[folder] = folder.rpartition("/")[2] or last.rpartition("/")[2] or "main"
    if not folders:
        if module or any(path.endswith(".go") for path in files):
            raise CannotTellError(
                "go.mod: no folder has a `package main` with a `func main()`.", hint=SAY_IT
            )
        raise missing("Go", "go.mod")
    if "" in folders and folders[""] != runs and runs not in folders.values():
        folder = ""
    else:
        name = choose("main package", list(folders.values()), runs, "go.mod")
        folder = min(path for path, called in folders.items() if called == name)
    target = f"./{folder}" if folder else "."
    return LocalBuild(
        (("go", "build", "-o", "{out}/" + folders[folder], target),),
        "{out}/" + folders[folder],
        environ=(("CGO_ENABLED", "0"), ("GOOS", "{os}"), ("GOARCH", "{arch}")),
        says=f"go build {target} for {{os}}/{{arch}}",
    )


# --- Rust -------------------------------------------------------------------------------------


def _rust(files: Files, runs: str, native: bool) -> LocalBuild:
    del native
    if "Cargo.toml" not in files:
        raise missing("Rust", "Cargo.toml")
    names: list[str] = []
    default = ""
    for path in sorted(files):
        if path.rpartition("/")[2] == "Cargo.toml":
            found, first = _cargo(path, files)
            names += found
            default = default or (first if path == "Cargo.toml" else "")
    if default and runs not in names:
        names = [default]
    name = choose("binary", names, runs, "Cargo.toml")
    target = "{machine}-unknown-{os}-gnu"
    return LocalBuild(
        (("cargo", "build", "--release", "--bin", name, "--target", target),),
        f"target/{target}/release/{name}",
        says=f"cargo build --bin {name} for {target}",
    )


def _cargo(path: str, files: Files) -> tuple[list[str], str]:
    """The binaries of one Cargo.toml, and its `default-run`."""
    try:
        manifest = tomllib.loads(files[path])
    except tomllib.TOMLDecodeError as error:
        raise CannotTellError(f"{path}: this is no TOML: {error}.", hint=SAY_IT) from error
    package = manifest.get("package", {})
    base = path.removesuffix("Cargo.toml")
    names = [
        str(entry["name"])
        for entry in manifest.get("bin", ())
        if isinstance(entry, dict) and "name" in entry
    ]
    paths = {str(entry.get("path", "")) for entry in manifest.get("bin", ()) if entry}
    if package.get("name") and f"{base}src/main.rs" in files and "src/main.rs" not in paths:
        names.append(str(package["name"]))
    for file in files:
        found = re.fullmatch(re.escape(base) + r"src/bin/([^/]+?)(?:\.rs|/main\.rs)", file)
        if found and file.removeprefix(base) not in paths:
            names.append(found[1])
    return names, str(package.get("default-run", ""))


# --- .NET -------------------------------------------------------------------------------------


def _dotnet(files: Files, runs: str, shared: bool) -> LocalBuild:
    programs: dict[str, str] = {}
    for path, text in files.items():
        if not path.endswith((".csproj", ".fsproj", ".vbproj")):
            continue
        output = re.search(r"<OutputType>\s*(\w+)", text)
        server = re.search(r"Sdk=\"Microsoft\.NET\.Sdk\.(Web|Worker|BlazorWebAssembly)\"", text)
        if (output and output[1].lower() in ("exe", "winexe")) or (server and not output):
            assembly = re.search(r"<AssemblyName>\s*([^<\s$]+)\s*<", text)
            stem = path.rpartition("/")[2].rpartition(".")[0]
            programs[assembly[1] if assembly else stem] = path
    if not programs and not any(path.endswith("proj") for path in files):
        raise missing(".NET", "*.csproj")
    name = choose("program", list(programs), runs.removesuffix(".dll"), "*.csproj")
    return LocalBuild(
        (
            (
                *("dotnet", "publish", programs[name], "-c", "Release"),
                *("-r", "{os}-{dotnet}", "--self-contained", "false" if shared else "true"),
                *("-o", "{out}/publish"),
            ),
        ),
        "{out}/publish",
        folder=True,
        says=f"dotnet publish {programs[name]} for {{os}}-{{dotnet}}",
    )


def _jvm(files: Files, folder: str, runs: str) -> LocalBuild:
    if "build.sbt" in files:
        return sbt(files, folder)
    if "pom.xml" in files:
        return maven(files)
    if "build.gradle" in files or "build.gradle.kts" in files:
        return gradle(files, folder, runs)
    raise missing("Java", "pom.xml, build.gradle or build.sbt")


_BUILDERS: Mapping[Family, Callable[[Files, str, bool], LocalBuild]] = MappingProxyType(
    {
        Family.GO: _go,
        Family.RUST: _rust,
        Family.C: c,
        Family.ZIG: zig,
        Family.SWIFT: swift,
        Family.HASKELL: haskell,
        Family.OCAML: ocaml,
    }
)
