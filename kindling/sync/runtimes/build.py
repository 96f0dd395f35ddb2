"""A build on this machine whose result is carried into a container: the values, and processors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from kindling.errors import ConfigError

__all__ = ["SAY_IT", "CannotTellError", "LocalBuild", "Machine", "own_build"]

SAY_IT = "Say it yourself: `--build-cmd='...' --build-output=...`."


class CannotTellError(ConfigError):
    """What a project builds cannot be told; the hint says which flags tell it."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The operating system and processor that a build is for, in Go's and Docker's words."""

    os: str = "linux"
    arch: str = "amd64"

    @property
    def gnu(self) -> str:
        """As Rust, Zig and the C compilers call the processor; unknown names stay."""
        return {"amd64": "x86_64", "arm64": "aarch64"}.get(self.arch, self.arch)

    @property
    def dotnet(self) -> str:
        return {"amd64": "x64", "386": "x86"}.get(self.arch, self.arch)

    def fill(self, text: str, out: str = "") -> str:
        """Put the values into `{os}`, `{arch}`, `{machine}`, `{dotnet}` and `{out}`.

        Other braces are the text's own, so this is no `str.format`.
        """
        for name, value in (
            ("os", self.os),
            ("arch", self.arch),
            ("machine", self.gnu),
            ("dotnet", self.dotnet),
            ("out", out),
        ):
            text = text.replace(f"{{{name}}}", value)
        return text


_MAVEN = ("**/target",)
_GRADLE = ("**/build", ".gradle", ".kotlin")
_LEAVES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cargo": ("target",),
        "mvn": _MAVEN,
        "mvnw": _MAVEN,
        "gradle": _GRADLE,
        "gradlew": _GRADLE,
        "sbt": ("**/target", ".bsp"),
        "dotnet": ("**/bin", "**/obj"),
        "make": ("**/*.o", "**/*.d", "**/*.a"),
        "zig": (".zig-cache", "zig-cache", "zig-out"),
        "swift": (".build", ".swiftpm"),
        "cabal": ("dist-newstyle",),
        "stack": ("**/.stack-work",),
        "dune": ("_build",),
    }
)


@dataclass(frozen=True, slots=True)
class LocalBuild:
    """Commands to run in the source folder, and what they leave behind."""

    commands: tuple[tuple[str, ...], ...]
    artefact: str
    """Relative to the source folder, or absolute."""
    folder: bool = False
    """The artefact is a folder, whose contents are carried."""
    environ: tuple[tuple[str, str], ...] = ()
    says: str = ""
    """What is built, for the line that tells of it."""

    @property
    def leaves(self) -> tuple[str, ...]:
        """What the build writes into the source folder, as patterns of `.dockerignore`.

        A watch that saw these would answer each build with another one.
        """
        inside = not self.artefact.startswith(("/", "{out}"))
        tools = {words[0].rpartition("/")[2] for words in self.commands}
        usual = (pattern for tool in sorted(tools) for pattern in _LEAVES.get(tool, ()))
        return (*((self.artefact,) if inside else ()), *usual)

    def filled(self, machine: Machine, out: str) -> LocalBuild:
        """The build for one machine, with its results in the folder `out`."""
        return LocalBuild(
            tuple(tuple(machine.fill(word, out) for word in words) for words in self.commands),
            machine.fill(self.artefact, out),
            self.folder,
            tuple((name, machine.fill(value, out)) for name, value in self.environ),
            machine.fill(self.says, out),
        )


def own_build(command: str, output: str, files: Mapping[str, str] | None = None) -> LocalBuild:
    """The build that a user has written: `--build-cmd` is a line of shell, as it always was.

    A folder is one by a slash at its end, or because one of `files` lies in it.
    """
    if not output:
        raise ConfigError(
            "`--build-cmd` is given without `--build-output`.",
            hint="Say which file or folder the command makes, such as"
            " `--build-output=bin/server`; a folder ends in `/`.",
        )
    if not command:
        raise ConfigError(
            "`--build-output` is given without `--build-cmd`.",
            hint="Say which command makes it, such as `--build-cmd='make release'`.",
        )
    stem = output.rstrip("/") + "/"
    folder = output.endswith("/") or any(name.startswith(stem) for name in files or ())
    return LocalBuild((("sh", "-c", command),), output.rstrip("/") or "/", folder, says=command)
