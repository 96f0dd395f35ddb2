"""What is known of one runtime: plain data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Check", "Family", "Mode", "Runtime"]


class Mode(Enum):
    """How new files come to be used."""

    SIGNAL = "signal"
    """The server loads its code anew on a signal, without a change of the pod template."""
    SUPERVISE = "supervise"
    """Our agent runs the original command as its child and starts it again."""
    BUILD = "build"
    """A build on this machine; what it makes is carried, and the process started again."""
    AUTO = "auto-reload"
    """The process sees changed files by itself."""
    STATIC = "static assets"
    """Files are served as they are on disk; nothing needs to know of a change."""


class Check(Enum):
    """What shows that a reload had an effect. The one who acts looks for it, never sleeps."""

    NOTHING = "nothing"
    NEW_CHILDREN = "new children"
    """The signalled process has at least one child that was started after the signal."""
    NEW_IMAGE = "new image"
    """The signalled process executed itself anew: same id, another address space."""
    NEW_PROCESS = "new process"
    """The supervised child has another id and is alive."""


class Family(Enum):
    """Which language a runtime belongs to: what its interpreter may be told to run."""

    NODE = "node"
    PYTHON = "python"
    RUBY = "ruby"
    PHP = "php"
    BEAM = "beam"
    PERL = "perl"
    LUA = "lua"
    R = "r"
    JULIA = "julia"
    WEB = "web"
    GO = "go"
    JVM = "jvm"
    DOTNET = "dotnet"
    RUST = "rust"
    C = "c"
    ZIG = "zig"
    HASKELL = "haskell"
    OCAML = "ocaml"
    SWIFT = "swift"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Runtime:
    """One row of the table."""

    key: str
    """The name of the process, and the word for `--language`."""
    label: str
    mode: Mode
    family: Family
    signal: str = ""
    """Without `SIG`; for Mode.SIGNAL, and for others what reloads them on demand."""
    check: Check = Check.NOTHING
    settle: int = 0
    """Seconds within which a restart shows an effect; after that it counts as without one."""
    sources: bool = True
    """Whether sources alone, unbuilt, are of use in the container."""
    note: str = ""
    """What a user may wonder about."""
