"""The user's Docker configuration: where the engine is, and which registries they are logged in to.

The SDK reads logins and runs their helpers; it knows nothing of `docker context`, by which Colima,
Rancher Desktop and OrbStack say where their engine listens, so that part is read here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kindling.errors import HostError

__all__ = ["build_headers", "engine_host", "push_headers"]


def engine_host(environment: Mapping[str, str]) -> str:
    """Where the engine listens: DOCKER_HOST, else the endpoint of the current Docker context, else
    ""."""
    if host := environment.get("DOCKER_HOST"):
        return host
    folder = _folder(environment)
    name = environment.get("DOCKER_CONTEXT", "")
    try:
        if not name:
            name = json.loads((folder / "config.json").read_text("utf-8")).get("currentContext", "")
        if not name or name == "default":
            return ""
        digest = hashlib.sha256(name.encode()).hexdigest()
        meta = json.loads((folder / "contexts/meta" / digest / "meta.json").read_text("utf-8"))
        return str(meta["Endpoints"]["docker"]["Host"])
    except FileNotFoundError as error:
        if not name:
            return ""
        raise HostError(
            f"the Docker context `{name}` does not exist", hint="See `docker context ls`."
        ) from error
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise HostError(f"Docker's configuration in `{folder}` cannot be read: {error}") from error


def push_headers(environment: Mapping[str, str], registry: str) -> Mapping[str, str]:
    """The header that lets the engine push to `registry`, with the user's login there if any."""
    from docker import auth

    found = auth.resolve_authconfig(_credentials(environment), registry)
    return {"X-Registry-Auth": auth.encode_header(found or {}).decode("ascii")}


def build_headers(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The header that lets the engine pull base images, with all logins of the user."""
    from docker import auth

    # One broken helper must not stop a build that needs none of them: the FROM of a private image
    # says what it lacks.
    found: Any = {}
    with contextlib.suppress(Exception):
        found = _credentials(environment).get_all_credentials()
    return {"X-Registry-Config": auth.encode_header(found).decode("ascii")} if found else {}


def _credentials(environment: Mapping[str, str]) -> Any:
    from docker import auth

    path = _folder(environment) / "config.json"
    if not path.exists():
        return auth.AuthConfig({})
    return auth.load_config(config_path=str(path), credstore_env=dict(environment))


def _folder(environment: Mapping[str, str]) -> Path:
    home = environment.get("HOME") or os.path.expanduser("~")
    return Path(environment.get("DOCKER_CONFIG") or Path(home, ".docker"))
