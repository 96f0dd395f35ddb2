"""What is known of one kind of backing service: plain data, and how a port is moved.

Texts are templates of `str.format` over a few names: `host` (the Service), `address` (the same with
its namespace, for clients that stand in another), `port`, and the service's own variables by name,
percent-encoded where the text is a URL.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["BackingService", "Port", "Probe", "Random", "Setting", "Storage"]


class Random(Enum):
    """A value that is drawn once and then kept."""

    PASSWORD = "password"
    TOKEN = "token"


@dataclass(frozen=True, slots=True)
class Setting:
    """One variable of the service's container: a text, or a value that is drawn.

    A setting that is `kept` stands in the Secret and is only referred to; the others are no
    secrets, and may say where the service listens.
    """

    name: str
    value: str | Random
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Port:
    """A further port that clients use."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class Probe:
    """How a service says that it is ready: HTTP at `path`, or that its port opens if empty."""

    path: str = ""


@dataclass(frozen=True, slots=True)
class Storage:
    """Where a service keeps its data, and what it must be told when a volume is mounted there."""

    path: str
    settings: tuple[Setting, ...] = ()
    args: tuple[str, ...] = ()
    """Added to those of the service."""
    group: int | None = None
    """The group that its image runs as, where the image does not make the folder its own."""


@dataclass(frozen=True, slots=True)
class BackingService:
    """One kind of backing service, run by its own image."""

    type: str
    repository: str
    tag: str
    port: int
    variable: str
    """Which variable of the application holds the URL."""
    url: str
    settings: tuple[Setting, ...] = ()
    args: tuple[str, ...] = ()
    moved_args: tuple[str, ...] | None = None
    """The arguments instead of `args` when the port is another than the service's own."""
    moved_settings: tuple[Setting, ...] = ()
    """Further variables then."""
    exports: tuple[tuple[str, str], ...] = ()
    """Further variables of the application, as templates."""
    ports: tuple[Port, ...] = ()
    reserved: frozenset[int] = frozenset()
    """Ports on which it listens for itself, so that its main port cannot move there."""
    probe: Probe = Probe()
    storage: Storage | None = None
    """None for a service that keeps nothing."""

    @property
    def taken(self) -> frozenset[int]:
        """Ports that the main port cannot move to."""
        return self.reserved | {port.number for port in self.ports}

    def image(self, version: str = "") -> str:
        return f"{self.repository}:{version or self.tag}"
