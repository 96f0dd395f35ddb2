"""`RUN --mount=...`: what is asked for, and what of it we do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kindling.cluster.images.dockerfile import Instruction
from kindling.errors import nearest

__all__ = ["RunMount", "parse_mounts"]

_KINDS = ("bind", "cache", "secret", "tmpfs")
_KEYS = frozenset(
    [
        "type",
        "target",
        "dst",
        "destination",
        "source",
        "src",
        "from",
        "id",
        "readonly",
        "ro",
        "rw",
        "readwrite",
        "required",
        "sharing",
        "mode",
        "uid",
        "gid",
        "size",
    ]
)


@dataclass(frozen=True, slots=True)
class RunMount:
    """One mount. `origin` is the stage or image to mount from, empty for the context."""

    kind: str
    target: str
    source: str = ""
    origin: str = ""
    id: str = ""
    required: bool = False


def parse_mounts(step: Instruction, expand: Callable[[str], str]) -> list[RunMount]:
    """Raises `DockerfileError` for what we do not do (`ssh`), in one line."""
    found: list[RunMount] = []
    for flag, text in step.flags:
        if flag != "mount":
            continue
        values: dict[str, str] = {}
        for part in text.split(","):
            key, equals, value = part.partition("=")
            if key.lower() not in _KEYS:
                hint = nearest(key, _KEYS)
                raise step.error(f"unexpected key '{key}' in '{text}'" + (f". {hint}" * bool(hint)))
            values[key.lower()] = expand(value) if equals else "true"
        kind = values.get("type", "bind")
        if kind not in _KINDS:
            raise step.error(
                f"RUN --mount=type={kind} is not supported by the embedded cluster's builder"
                " (bind, cache, secret and tmpfs are)"
            )
        target = next(
            (values[key] for key in ("target", "dst", "destination") if key in values), ""
        )
        source = values.get("source") or values.get("src") or ""
        identity = values.get("id", "")
        if kind == "secret":
            identity = identity or source or target.rpartition("/")[2]
            target = target or f"/run/secrets/{identity}"
        if not target:
            raise step.error("mount target is required")
        required = values.get("required", "false") == "true"
        found.append(RunMount(kind, target, source, values.get("from", ""), identity, required))
    return found
