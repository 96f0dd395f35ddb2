"""What a server says of itself: its version, and whether it is well."""

from __future__ import annotations

import platform
import sys

from kindling.cluster.apiserver.exchange import Exchange
from kindling.cluster.model.status import ApiError

__all__ = ["VERSION", "reply_health", "version_info"]

VERSION = "v1.32.0+kindling"
_CHECKS = ("ping", "log", "storage", "poststarthook/registry")


def version_info(version: str = VERSION) -> dict[str, str]:
    """The answer of `/version`; `goVersion` and `compiler` name what runs it instead."""
    python = sys.version_info
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return {
        "major": "1",
        "minor": "32",
        "gitVersion": version,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{python.major}.{python.minor}.{python.micro}",
        "compiler": platform.python_implementation().lower(),
        "platform": f"{platform.system().lower()}/{machine}",
    }


async def reply_health(exchange: Exchange, parts: list[str], *, ready: bool) -> None:
    """`/healthz`, `/livez` and `/readyz`, and each check on its own below them. Raises `ApiError`
    404 for a check that there is not."""
    endpoint, check = parts[0], "/".join(parts[1:])
    failed = {"shutdown"} if not ready and endpoint == "readyz" else set()
    checks = [*_CHECKS, *(("shutdown",) if endpoint == "readyz" else ())]
    if check:
        if check not in checks:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        checks = [check]
    excluded = set(exchange.query.all("exclude"))
    lines = [
        f"[+]{name} excluded: ok"
        if name in excluded
        else f"[-]{name} failed: reason withheld"
        if name in failed
        else f"[+]{name} ok"
        for name in checks
    ]
    bad = (failed - excluded) & set(checks)
    verdict = "failed" if bad else "passed"
    if bad or "verbose" in exchange.query:
        text = "\n".join([*lines, f"{endpoint} check {verdict}", ""])
    else:
        text = "ok"
    await exchange.reply(text.encode(), "text/plain; charset=utf-8", 500 if bad else 200)
