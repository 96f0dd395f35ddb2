"""Logins for registries, as `docker login` leaves them: in its configuration, or with a helper."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kindling.cluster.images.protocol import Credentials

__all__ = ["TOKEN_USER", "docker_credentials", "same_registry"]

TOKEN_USER = "<token>"
"""The user name that says: the password is a token to get tokens with."""

_HELPER_SECS = 10.0
_HUB = "docker.io"
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_HELPER = re.compile(r"[A-Za-z0-9._-]+")


def same_registry(entry: str, host: str) -> bool:
    """Whether an entry of a configuration or pull secret (`https://index.docker.io/v1/`,
    `localhost:5000`) is about the registry `host`."""
    bare = entry.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return bare == host or (bare in _HUB_NAMES and host in _HUB_NAMES)


async def docker_credentials(
    host: str, environment: Mapping[str, str] | None = None
) -> Credentials | None:
    """The user's own login at `host`; None when there is none, or when their helper fails: a public
    image needs none, and the registry will say so otherwise."""
    environment = os.environ if environment is None else environment
    config = _config(environment)
    helpers: Mapping[str, str] = config.get("credHelpers") or {}
    helper = next((name for entry, name in helpers.items() if same_registry(entry, host)), "")
    helper = helper or str(config.get("credsStore") or "")
    if helper and _HELPER.fullmatch(helper):
        asked = "https://index.docker.io/v1/" if host == _HUB else host
        found = await _ask_helper(f"docker-credential-{helper}", asked, host, environment)
        if found is not None:
            return found
    for entry, value in (config.get("auths") or {}).items():
        if same_registry(str(entry), host) and isinstance(value, dict):
            return _entry(host, value)
    return None


def _entry(host: str, value: Mapping[str, Any]) -> Credentials | None:
    if token := value.get("identitytoken"):
        return Credentials(host, TOKEN_USER, str(token))
    if auth := value.get("auth"):
        with contextlib.suppress(ValueError):
            name, colon, password = base64.b64decode(str(auth)).decode().partition(":")
            if colon:
                return Credentials(host, name, password.rstrip("\0"))
    if "username" in value and "password" in value:
        return Credentials(host, str(value["username"]), str(value["password"]))
    return None


def _config(environment: Mapping[str, str]) -> Mapping[str, Any]:
    home = environment.get("HOME") or os.path.expanduser("~")
    folder = environment.get("DOCKER_CONFIG") or os.path.join(home, ".docker")
    try:
        value = json.loads(Path(folder, "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


async def _ask_helper(
    program: str, asked: str, host: str, environment: Mapping[str, str]
) -> Credentials | None:
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            "get",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=dict(environment),
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(_HELPER_SECS):
            out, _ = await process.communicate(asked.encode())
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        value = json.loads(out) if process.returncode == 0 else {}
    except ValueError:
        return None
    if not value.get("Secret"):
        return None
    return Credentials(host, str(value.get("Username", "")), str(value["Secret"]))
