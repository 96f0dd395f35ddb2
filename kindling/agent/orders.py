"""What a request says, checked before anything is done with it."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from kindling.errors import ExecutionError

__all__ = ["BuildOrder", "RefusedError", "read_dockerfile", "read_reference", "registry_of"]

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    r"(?:(?P<registry>(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]+)?)/)?"
    rf"(?P<path>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?P<digest>@sha256:[0-9a-f]{64})?\Z"
)


class RefusedError(ExecutionError):
    """A request that cannot be carried out as it stands."""


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """One image to build: `destination` is where it is pushed to; `dockerfile` is relative to the
    context, and empty for its `Dockerfile`."""

    name: str
    destination: str
    dockerfile: str = ""


def read_reference(text: str) -> str:
    """The image reference in a `.dest` file.

    Raises:
        RefusedError: It is none that one can push to.
    """
    found = text.strip()
    match = _REFERENCE.match(found)
    if match is None:
        hint = ""
        if any(sign.isupper() for sign in found.rpartition("/")[2].partition(":")[0]):
            hint = f"Names of images are in lower case: `{found.lower()}`"
        raise RefusedError(f"`{_shown(found)}` in `.dest` is no image reference", hint=hint)
    if match["digest"]:
        raise RefusedError(f"`{found}` in `.dest` has a digest: one can push to a tag alone")
    return found


def registry_of(reference: str) -> str:
    """The registry of an image reference; empty where it names none."""
    head, slash, _ = reference.partition("/")
    return head if slash and (any(sign in head for sign in ".:") or head == "localhost") else ""


def read_dockerfile(text: str) -> str:
    """The path in a `.dockerfile` file, relative to the context; empty for the usual one.

    Raises:
        RefusedError: It leads out of the context.
    """
    found = text.strip()
    if not found:
        return ""
    path = posixpath.normpath(found)
    if path.startswith(("/", "../")) or path in ("..", ".") or not found.isprintable():
        raise RefusedError(
            f"`{_shown(found)}` in `.dockerfile` does not lie in the context",
            hint="Name the Dockerfile by its path relative to the context",
        )
    return path


def _shown(text: str) -> str:
    return ascii(text[:100])[1:-1]
