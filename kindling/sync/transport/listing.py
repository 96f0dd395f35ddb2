"""What an agent lists, as a tree. Pure.

What is there but cannot be looked at:

    a file that cannot be read   is a file of unknown content: it never equals one of the source, so
    (or never stops changing)    that it is put anew where it is wanted, and left alone elsewhere
    a folder that cannot be      is a folder without members: what is wanted in it is tried, and the
    listed                       attempt says what is wrong
"""

from __future__ import annotations

from collections.abc import Iterable

from kindling.sync.agent.frames import Entry, Kind
from kindling.sync.trees.manifest import EMPTY, TreeManifest, of_container

__all__ = ["NO_DIGEST", "digest_text", "manifest"]

NO_DIGEST = bytes(32)


def manifest(entries: Iterable[Entry]) -> TreeManifest:
    """The tree of these entries, rooted where the agent's is.

    Raises:
        ExecutionError: They name what cannot be.
    """
    texts: dict[str, str] = {}
    for entry in entries:
        path = entry.path.decode("utf-8", "surrogateescape")
        if not path or (entry.kind is Kind.UNKNOWN and path in texts):
            continue  # the root, or a folder that is known as such
        text = _text(entry)
        if text:
            texts[path] = text
    return of_container(texts) if texts else EMPTY


def digest_text(digest: bytes) -> str:
    """A digest as trees have it; empty for none."""
    return "" if digest == NO_DIGEST else f"sha256:{digest.hex()}"


def _text(entry: Entry) -> str:
    """An entry as `kindling.files.tree` writes it; empty for what is not there."""
    if entry.kind is Kind.FILE:
        return f"file:{entry.mode:o}:{digest_text(entry.digest)}"
    if entry.kind is Kind.FOLDER:
        return f"dir:{entry.mode:o}"
    if entry.kind is Kind.LINK:
        return f"link:{entry.target.decode('utf-8', 'surrogateescape')}"
    if entry.kind is Kind.OTHER:
        return f"other:{entry.mode:o}"
    return ""
