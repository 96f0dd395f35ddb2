"""What a path of the API names."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

__all__ = ["Target", "parse_path", "segments"]


@dataclass(frozen=True, slots=True)
class Target:
    """`/apis/GROUP/VERSION/namespaces/NAMESPACE/PLURAL/NAME/SUBRESOURCE/REST`, each part empty
    where the path ends before it. `watch` is the old prefix of that name; `rest` is as it came,
    not decoded, and begins with a slash or is empty."""

    group: str
    version: str
    namespace: str = ""
    plural: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    watch: bool = False


def segments(raw_path: str) -> list[str]:
    return [unquote(part) for part in raw_path.split("/") if part]


def parse_path(raw_path: str) -> Target | None:
    """The resource that a path below a version names; None for every other path."""
    raw = raw_path.strip("/").split("/")
    parts = [unquote(part) for part in raw]
    if parts[0] == "api" and len(parts) > 2:
        group, version, at = "", parts[1], 2
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, at = parts[1], parts[2], 3
    else:
        return None
    watch = parts[at] == "watch" and len(parts) > at + 1
    at += watch
    namespace = ""
    # `namespaces/NAME` itself and its subresources are a resource like any other.
    if (
        parts[at] == "namespaces"
        and len(parts) > at + 2
        and not (len(parts) == at + 3 and parts[at + 2] in ("status", "finalize"))
    ):
        namespace = parts[at + 1]
        at += 2
    plural, name, subresource = (*parts[at : at + 3], "", "", "")[:3]
    tail = raw_path.lstrip("/").split("/")[at + 3 :]
    rest = "".join(f"/{part}" for part in tail)
    return Target(group, version, namespace, plural, name, subresource, rest, watch)
