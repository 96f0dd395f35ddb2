"""Images as Docker's Engine API 1.41 writes them."""

from __future__ import annotations

import base64
import json
import os
import platform
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from kindling.cluster.images.manifest import machine
from kindling.cluster.images.protocol import Credentials, Image, PullError
from kindling.cluster.images.reference import Reference, parse_reference
from kindling.cluster.images.store import ImageStore

__all__ = [
    "API_VERSION",
    "details",
    "familiar",
    "filters",
    "find_image",
    "login",
    "logins",
    "matches",
    "moment",
    "reference_of",
    "summary",
    "system",
    "version",
]

API_VERSION = "1.41"
_SERVER = "20.10.0-kindling"
_HEX = re.compile(r"[0-9a-f]{4,64}")


def version() -> dict[str, Any]:
    """`GET /version`."""
    kernel, architecture = os.uname().release, machine()[1]
    common = {
        "ApiVersion": API_VERSION,
        "MinAPIVersion": "1.24",
        "Os": "linux",
        "Arch": architecture,
        "KernelVersion": kernel,
    }
    component = {"Name": "Engine", "Version": _SERVER, "Details": common}
    return {
        "Platform": {"Name": "kindling, the embedded cluster"},
        "Components": [component],
        "Version": _SERVER,
        "GitCommit": "",
        "GoVersion": f"none (Python {platform.python_version()})",
        **common,
    }


def system(store: ImageStore) -> dict[str, Any]:
    """`GET /info`."""
    return {
        "ID": "kindling",
        "Name": platform.node(),
        "Containers": 0,
        "ContainersRunning": 0,
        "ContainersPaused": 0,
        "ContainersStopped": 0,
        "Images": len(store.all()),
        "Driver": "overlayfs",
        "OSType": "linux",
        "OperatingSystem": "kindling, the embedded cluster",
        "Architecture": platform.machine(),
        "KernelVersion": os.uname().release,
        "NCPU": os.cpu_count() or 1,
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "ServerVersion": _SERVER,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": {
            "InsecureRegistryCIDRs": ["127.0.0.0/8"],
            "IndexConfigs": {},
            "Mirrors": [],
        },
        "Swarm": {"LocalNodeState": "inactive"},
        "Plugins": {"Volume": [], "Network": [], "Authorization": None, "Log": []},
        "Warnings": ["This engine builds and keeps images; containers run in pods."],
    }


def moment(seconds: float) -> str:
    """RFC 3339."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def familiar(name: str) -> str:
    """A full name as Docker shows it."""
    parsed = parse_reference(name)
    tag = f":{parsed.tag}" if parsed.tag else ""
    return parsed.familiar + tag + (f"@{parsed.digest}" if parsed.digest else "")


def summary(image: Image) -> dict[str, Any]:
    """A row of `GET /images/json`."""
    return {
        "Id": image.id,
        "ParentId": "",
        "RepoTags": [familiar(name) for name in image.names] or ["<none>:<none>"],
        "RepoDigests": [familiar(name) for name in image.digests]
        or (None if image.names else ["<none>@<none>"]),
        "Created": int(image.created),
        "Size": image.size,
        "VirtualSize": image.size,
        "SharedSize": -1,
        "Labels": dict(image.config.labels) or None,
        "Containers": -1,
    }


def details(store: ImageStore, image: Image) -> dict[str, Any]:
    """`GET /images/NAME/json`."""
    config = store.config(image.id)
    inner = config.get("config") or {}
    return {
        "Id": image.id,
        "RepoTags": [familiar(name) for name in image.names],
        "RepoDigests": [familiar(name) for name in image.digests],
        "Parent": "",
        "Comment": "",
        "Created": moment(image.created),
        "Container": "",
        "ContainerConfig": {},
        "DockerVersion": "",
        "Author": config.get("author") or "",
        "Config": {"Env": None, "Cmd": None, "Entrypoint": None, "Labels": None, **inner},
        "Architecture": config.get("architecture", ""),
        "Os": config.get("os", ""),
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": {"Name": "overlayfs", "Data": None},
        "RootFS": {
            "Type": "layers",
            "Layers": (config.get("rootfs") or {}).get("diff_ids") or [],
        },
        "Metadata": {"LastTagTime": moment(image.created)},
    }


def find_image(store: ImageStore, name: str) -> Image | None:
    """The image of a reference, an id, or the beginning of one."""
    try:
        if (found := store.find(name)) is not None:
            return found
    except PullError:
        pass
    start = name.removeprefix("sha256:")
    if not _HEX.fullmatch(start):
        return None
    fitting = [image for image in store.all() if image.id.startswith(f"sha256:{start}")]
    return fitting[0] if len(fitting) == 1 else None


def filters(text: str) -> dict[str, list[str]]:
    """The `filters` parameter in either of its two forms. Raises `ValueError`."""
    value = json.loads(text) if text else {}
    if not isinstance(value, dict):
        raise ValueError("invalid filter")
    return {
        str(key): [str(item) for item in (list(given) if given else [])]
        for key, given in value.items()
    }


def matches(image: Image, wanted: Mapping[str, list[str]]) -> bool:
    """Whether an image is among those asked for."""
    for key, given in wanted.items():
        match key:
            case "reference":
                names = [familiar(name) for name in image.names]
                every = [*names, *(name.rpartition(":")[0] for name in names)]
                patterns = [_glob(pattern) for pattern in given]
                if not any(it.fullmatch(name) for it in patterns for name in every):
                    return False
            case "dangling":
                if any(it.lower() in ("1", "true") for it in given) == bool(image.names):
                    return False
            case "label":
                labels = dict(image.config.labels)
                for item in given:
                    name, equals, value = item.partition("=")
                    if name not in labels or (equals and labels[name] != value):
                        return False
            case "before" | "since" | "until":
                continue
            case _:
                raise ValueError(f"Invalid filter '{key}'")
    return True


def _glob(pattern: str) -> re.Pattern[str]:
    parts = (
        "[^/]*" if sign == "*" else "[^/]" if sign == "?" else re.escape(sign) for sign in pattern
    )
    return re.compile("".join(parts))


def login(header: str, reference: Reference) -> tuple[Credentials, ...]:
    """The login of `X-Registry-Auth`, for the registry of a reference."""
    value = _decoded(header)
    found = _credentials(reference.host, value)
    return (found,) if found is not None else ()


def logins(header: str) -> tuple[Credentials, ...]:
    """The logins of `X-Registry-Config`, by registry."""
    found = []
    for host, value in _decoded(header).items():
        bare = str(host).removeprefix("https://").partition("/")[0]
        one = _credentials(bare, value if isinstance(value, dict) else {})
        if one is not None:
            found.append(one)
    return tuple(found)


def reference_of(name: str, tag: str = "") -> Reference:
    """The reference of a name and a tag (or digest) given apart."""
    if tag:
        return parse_reference(f"{name}{'@' if ':' in tag else ':'}{tag}")
    return parse_reference(name)


def _credentials(host: str, value: Mapping[str, Any]) -> Credentials | None:
    if token := value.get("identitytoken") or value.get("IdentityToken"):
        return Credentials(host, "<token>", str(token))
    if value.get("username") and "password" in value:
        return Credentials(host, str(value["username"]), str(value["password"]))
    return None


def _decoded(header: str) -> dict[str, Any]:
    if not header:
        return {}
    try:
        padded = header.replace("-", "+").replace("_", "/") + "=" * (-len(header) % 4)
        value = json.loads(base64.b64decode(padded))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
