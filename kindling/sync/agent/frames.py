"""The messages between kindling and its agent, as values. PROTOCOL.md says what each leads to.

Paths and link targets are bytes, as Linux has them. One class for each type of frame, which is why
this module is longer than most.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import ClassVar

__all__ = [
    "KEEP_TIME",
    "READ_MOST",
    "VERSION",
    "Abort",
    "Arch",
    "Blocks",
    "BlocksEnd",
    "Chmod",
    "Cmdline",
    "Command",
    "Commit",
    "Committed",
    "Control",
    "Copy",
    "Data",
    "Delete",
    "Entries",
    "Entry",
    "Exited",
    "Feature",
    "Frame",
    "Hello",
    "Kind",
    "Mkdir",
    "Ok",
    "Output",
    "Ping",
    "Pong",
    "ProcessEntries",
    "ProcessEntry",
    "Processes",
    "ProcessesEnd",
    "Put",
    "PutEnd",
    "Read",
    "Refused",
    "Rename",
    "Resolve",
    "Rmdir",
    "Rmtree",
    "Run",
    "Signal",
    "Started",
    "Status",
    "Sums",
    "Symlink",
    "Text",
    "Tree",
    "TreeEnd",
    "Welcome",
]

VERSION = 1
KEEP_TIME = -(1 << 63)
"""In place of a time: the file has the time of its writing."""
READ_MOST = 128 << 10
"""No answer to one `Read` is longer."""


class Kind(IntEnum):
    """What an entry of a tree is."""

    FILE = ord("f")
    FOLDER = ord("d")
    LINK = ord("l")
    OTHER = ord("o")
    """A socket, a pipe or a device."""
    UNKNOWN = ord("?")
    """It, or its members, cannot be looked at; `Entry.error` says why."""


class Arch(IntEnum):
    """What the agent runs on."""

    X86_64 = 1
    AARCH64 = 2


class Feature(IntFlag):
    """What an agent says that it can do (`Welcome.features`). More may come than is known here."""

    CONTROL = 1
    """It knows where a supervisor would be."""
    INFLATE = 2
    """`Data` may be deflated."""
    HASHES = 4
    """Its processor has instructions for digests: they cost next to nothing."""


class Command(IntEnum):
    """What a supervisor is asked for."""

    STATUS = 1
    RESTART = 2
    SIGNAL = 3
    STOP = 4


@dataclass(frozen=True, slots=True)
class Frame:
    """One message. `id` of a reply is that of its request."""

    TYPE: ClassVar[int] = 0
    id: int


@dataclass(frozen=True, slots=True)
class Hello(Frame):
    """The first frame."""

    TYPE: ClassVar[int] = 0x01
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Ping(Frame):
    """Answered by `Pong` with the same bytes."""

    TYPE: ClassVar[int] = 0x02
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Put(Frame):
    """Begin a file; `Data` and `Copy` of the same id follow, then `PutEnd`.

    `basis` is the file there that `Copy` copies from.
    """

    TYPE: ClassVar[int] = 0x10
    path: bytes
    mode: int
    mtime: int
    size: int
    basis: bytes = b""


@dataclass(frozen=True, slots=True)
class Data(Frame):
    """Bytes of the file that is being put. `deflated`: the payload is them as raw deflate, at most
    1 MiB of them; only for an agent with `Feature.INFLATE`."""

    TYPE: ClassVar[int] = 0x11
    payload: bytes
    deflated: bool = False


@dataclass(frozen=True, slots=True)
class Copy(Frame):
    """Pieces of the basis, each (offset, size), in the order in which the file has them."""

    TYPE: ClassVar[int] = 0x12
    pieces: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class PutEnd(Frame):
    """The file is whole; its SHA-256."""

    TYPE: ClassVar[int] = 0x13
    digest: bytes


@dataclass(frozen=True, slots=True)
class Delete(Frame):
    """Remove what is no folder."""

    TYPE: ClassVar[int] = 0x20
    path: bytes
    missing_ok: bool = False


@dataclass(frozen=True, slots=True)
class Rename(Frame):
    """Give something another name."""

    TYPE: ClassVar[int] = 0x21
    path: bytes
    to: bytes


@dataclass(frozen=True, slots=True)
class Mkdir(Frame):
    """Make a folder, or give the one that is there this mode."""

    TYPE: ClassVar[int] = 0x22
    path: bytes
    mode: int
    parents: bool = False


@dataclass(frozen=True, slots=True)
class Rmtree(Frame):
    """Remove a folder and all in it."""

    TYPE: ClassVar[int] = 0x23
    path: bytes
    missing_ok: bool = False


@dataclass(frozen=True, slots=True)
class Symlink(Frame):
    """Make a link, in place of whatever is there and no folder."""

    TYPE: ClassVar[int] = 0x24
    path: bytes
    target: bytes


@dataclass(frozen=True, slots=True)
class Chmod(Frame):
    """Set the mode of a file or folder."""

    TYPE: ClassVar[int] = 0x25
    path: bytes
    mode: int


@dataclass(frozen=True, slots=True)
class Rmdir(Frame):
    """Remove an empty folder. `if_empty`: one that is missing, has members or is a mount point
    stays as it is, which is no error."""

    TYPE: ClassVar[int] = 0x26
    path: bytes
    if_empty: bool = False


@dataclass(frozen=True, slots=True)
class Commit(Frame):
    """Make the batch visible. Strict: nothing, if a part could not be staged; no further than the
    first change that fails. Lenient: all that can be."""

    TYPE: ClassVar[int] = 0x2E
    lenient: bool = False


@dataclass(frozen=True, slots=True)
class Abort(Frame):
    """Forget the batch."""

    TYPE: ClassVar[int] = 0x2F


@dataclass(frozen=True, slots=True)
class Tree(Frame):
    """Tell what is below these paths (the empty one is the root), leaving out members of these
    names wherever they are."""

    TYPE: ClassVar[int] = 0x30
    subtrees: tuple[bytes, ...] = (b"",)
    skip: tuple[bytes, ...] = ()
    digests: bool = True
    one_level: bool = False


@dataclass(frozen=True, slots=True)
class Sums(Frame):
    """Tell the sums of one file's blocks."""

    TYPE: ClassVar[int] = 0x31
    path: bytes
    block: int


@dataclass(frozen=True, slots=True)
class Signal(Frame):
    """Send a signal to a process, or with a negative number to a process group."""

    TYPE: ClassVar[int] = 0x40
    pid: int
    signal: int


@dataclass(frozen=True, slots=True)
class Run(Frame):
    """Run a command in a folder of the tree (the empty path is the root)."""

    TYPE: ClassVar[int] = 0x41
    argv: tuple[bytes, ...]
    cwd: bytes = b""
    environment: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Control(Frame):
    """Ask the container's supervisor."""

    TYPE: ClassVar[int] = 0x42
    command: Command
    signal: int = 0
    grace_ms: int = 0


@dataclass(frozen=True, slots=True)
class Cmdline(Frame):
    """Tell the command line of a process."""

    TYPE: ClassVar[int] = 0x43
    pid: int


@dataclass(frozen=True, slots=True)
class Resolve(Frame):
    """Tell (`Text`) where a path leads when all links are followed, as far as it exists."""

    TYPE: ClassVar[int] = 0x44
    path: bytes


@dataclass(frozen=True, slots=True)
class Read(Frame):
    """Tell (`Text`) bytes of a file; fewer than asked for, and than `READ_MOST`, only at its end.
    `target`: what the link at `path` says instead. An absolute path is the machine's own, any other
    one below the root."""

    TYPE: ClassVar[int] = 0x45
    path: bytes
    offset: int = 0
    most: int = READ_MOST
    target: bool = False


@dataclass(frozen=True, slots=True)
class Processes(Frame):
    """Tell what runs, the agent itself included."""

    TYPE: ClassVar[int] = 0x46


@dataclass(frozen=True, slots=True)
class Welcome(Frame):
    """The answer to `Hello`."""

    TYPE: ClassVar[int] = 0x81
    version: int
    arch: Arch
    alone: bool
    """No other agent serves this root; what a killed one left was looked for."""
    features: int
    body_most: int
    pid: int
    uid: int
    cleaned: int
    """How many temporary files of a killed agent were removed."""


@dataclass(frozen=True, slots=True)
class Pong(Frame):
    """The answer to `Ping`."""

    TYPE: ClassVar[int] = 0x82
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Ok(Frame):
    """It is done."""

    TYPE: ClassVar[int] = 0x83


@dataclass(frozen=True, slots=True)
class Refused(Frame):
    """A request failed: why, as Linux numbers it, and where."""

    TYPE: ClassVar[int] = 0x84
    errno: int
    path: bytes
    what: str


@dataclass(frozen=True, slots=True)
class Committed(Frame):
    """How a batch ended: changes made, failed, and left alone because of a failure."""

    TYPE: ClassVar[int] = 0x85
    done: int
    failed: int
    skipped: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What a tree has at a path. `digest` is zeros unless a file's was asked for and found."""

    kind: Kind
    error: int
    mode: int
    size: int
    mtime: int
    digest: bytes
    path: bytes
    target: bytes = b""


@dataclass(frozen=True, slots=True)
class Entries(Frame):
    """Part of a tree."""

    TYPE: ClassVar[int] = 0x86
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class TreeEnd(Frame):
    """The tree is told: so many entries, of which so many with an error."""

    TYPE: ClassVar[int] = 0x87
    count: int
    errors: int


@dataclass(frozen=True, slots=True)
class Blocks(Frame):
    """Sums of blocks that follow each other: (weak, the first 16 bytes of SHA-256)."""

    TYPE: ClassVar[int] = 0x88
    sums: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class BlocksEnd(Frame):
    """All sums are told; the size and digest of the whole file."""

    TYPE: ClassVar[int] = 0x89
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Started(Frame):
    """A command runs, in a process group of this number."""

    TYPE: ClassVar[int] = 0x8A
    pid: int


@dataclass(frozen=True, slots=True)
class Output(Frame):
    """What a command wrote to stream 1 or 2."""

    TYPE: ClassVar[int] = 0x8B
    stream: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Exited(Frame):
    """A command ended with this code, or 128 and the signal that killed it."""

    TYPE: ClassVar[int] = 0x8C
    code: int


@dataclass(frozen=True, slots=True)
class Status(Frame):
    """What the supervisor says: the child's process id (0: none), how often it was started, how
    it ended last."""

    TYPE: ClassVar[int] = 0x8D
    pid: int
    generation: int
    last: int
    running: bool


@dataclass(frozen=True, slots=True)
class Text(Frame):
    """The bytes that were asked for: of a command line (each word ended by NUL), of a file, of a
    path."""

    TYPE: ClassVar[int] = 0x8E
    payload: bytes


@dataclass(frozen=True, slots=True)
class ProcessEntry:
    """A process. `started` is in clock ticks since the machine's boot; `image` changes when it
    executes another program, or its own anew, and is empty where that cannot be told; `command` is
    `/proc/PID/cmdline`; `exe` the file that it runs, empty where that is hidden."""

    pid: int
    parent: int
    started: int
    image: bytes
    command: bytes
    exe: bytes

    @property
    def argv(self) -> tuple[bytes, ...]:
        """The words of the command line; none for what is of the kernel."""
        whole = self.command[:-1] if self.command.endswith(b"\0") else self.command
        return tuple(whole.split(b"\0")) if self.command else ()


@dataclass(frozen=True, slots=True)
class ProcessEntries(Frame):
    """Part of what runs."""

    TYPE: ClassVar[int] = 0x8F
    entries: tuple[ProcessEntry, ...]


@dataclass(frozen=True, slots=True)
class ProcessesEnd(Frame):
    """All processes are told."""

    TYPE: ClassVar[int] = 0x90
    count: int
