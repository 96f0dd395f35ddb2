"""What an engine or a registry said, as errors that a user can act on: one function for each.

Engines and registries report by text, over several versions and vendors; the phrases below are
those of the Docker engine, of containerd and of the registries in use.
"""

from __future__ import annotations

import errno
import re

from kindling.errors import ContainerError, HostError, KindlingError

__all__ = ["engine_error", "registry_error", "registry_of"]

_DISK_FULL = "no space left on device"

_REGISTRY_PHRASES: tuple[tuple[str, str, str, bool], ...] = (
    # (pattern, what it means, what to do, worth another try by itself)
    (
        r"no basic auth credentials|unauthorized|authentication required|401",
        "the registry wants a login",
        "Try `docker login {registry}`.",
        False,
    ),
    (
        r"denied|forbidden|insufficient_scope|403",
        "the registry refuses",
        "Check that the repository exists and that this login may push to it.",
        False,
    ),
    (
        r"server gave http response to https client",
        "the registry speaks plain HTTP, and the engine insists on TLS",
        "Add `{registry}` to `insecure-registries` of the engine.",
        False,
    ),
    (
        r"x509|certificate|tls:|ssl",
        "the registry's TLS certificate is not accepted",
        "Install its authority for the engine (`/etc/docker/certs.d/{registry}/ca.crt`).",
        False,
    ),
    (
        r"connection refused|no such host|i/o timeout|timed out|timeout|network is unreachable"
        r"|connection reset|no route to host|\beof\b|closed network connection|hung up"
        r"|remote end closed|name or service not known|temporary failure in name resolution",
        "the registry cannot be reached",
        "Check that a registry answers at `{registry}`.",
        True,
    ),
    (
        r"\b(429|toomanyrequests|too many requests)\b",
        "the registry asks to go slower",
        "",
        True,
    ),
    (
        r"\b5\d\d\b|internal server error|bad gateway|service unavailable",
        "the registry failed",
        "Its log should say why.",
        True,
    ),
)


def engine_error(error: BaseException, doing: str, host: str = "") -> KindlingError:
    """The error to raise for whatever the engine's client raised while `doing` (`tag api:dev`)."""
    if isinstance(error, KindlingError):
        return error
    text = _plain(error)
    place = f" at `{host}`" if host else ""
    number = _errno(error)
    if _DISK_FULL in text.lower() or number == errno.ENOSPC:
        return _disk_full(doing, text)
    if number in (errno.EACCES, errno.EPERM):
        return ContainerError(
            f"cannot {doing}: the Docker engine{place} may not be used by this user",
            details=[text],
            hint="Add the user to the group `docker` and log in again, or set DOCKER_HOST.",
        )
    if _is_unreachable(error, number):
        return ContainerError(
            f"cannot {doing}: no Docker engine answers{place}",
            details=[text],
            hint="Start Docker, or set DOCKER_HOST to where it listens.",
            transient=True,
        )
    if type(error).__name__ in ("ReadTimeout", "TimeoutError", "ReadTimeoutError"):
        return ContainerError(
            f"cannot {doing}: the Docker engine{place} does not answer in time",
            details=[text],
            transient=True,
        )
    hint = f"DOCKER_HOST is `{host}`." if "bind address" in text.lower() else ""
    return ContainerError(f"cannot {doing}: {text}", hint=hint)


def registry_error(said: str, doing: str, registry: str) -> KindlingError:
    """The error to raise when a registry, or the engine about one, `said` this while `doing`."""
    said = " ".join(said.split())
    lowered = said.lower()
    if _DISK_FULL in lowered:
        return _disk_full(doing, said)
    for pattern, meaning, hint, transient in _REGISTRY_PHRASES:
        if re.search(pattern, lowered):
            return ContainerError(
                f"cannot {doing}: {meaning}",
                details=[said[:500]],
                hint=hint.format(registry=registry),
                transient=transient,
            )
    return ContainerError(f"cannot {doing}: {said[:500]}")


def registry_of(ref: str) -> str:
    """The registry that a reference names; `docker.io` where it names none."""
    first, slash, _ = ref.partition("/")
    return (
        first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"
    )


def _disk_full(doing: str, text: str) -> HostError:
    return HostError(
        f"cannot {doing}: the disk is full",
        details=[text[:500]],
        hint="Free some space, for example with `docker system prune`.",
    )


def _plain(error: BaseException) -> str:
    """The engine's own words, without the wrapping that its client puts around them."""
    explanation = getattr(error, "explanation", None)
    text = explanation if isinstance(explanation, str) and explanation else str(error)
    return " ".join(text.split())[:500] or type(error).__name__


def _chain(error: BaseException) -> list[BaseException]:
    """An exception with all that caused it or that it was made of."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        item = waiting.pop()
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            waiting += [item.__cause__, item.__context__, getattr(item, "reason", None)]
            waiting += item.args
        elif isinstance(item, tuple | list):
            waiting += item
    return found


def _errno(error: BaseException) -> int:
    return next((e.errno for e in _chain(error) if isinstance(e, OSError) and e.errno), 0)


def _is_unreachable(error: BaseException, number: int) -> bool:
    gone = {errno.ENOENT, errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.ENETUNREACH}
    if number in gone | {errno.EHOSTUNREACH, errno.ENOTSOCK, errno.ETIMEDOUT}:
        return True
    names = {type(e).__name__ for e in _chain(error)}
    return bool(names & {"ConnectTimeout", "RemoteDisconnected", "NameResolutionError"})
