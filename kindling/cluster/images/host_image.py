"""`kindling.dev/host`: an image that is this machine's own root file system, with no layers."""

from __future__ import annotations

import os
import sys
import time
from functools import cache
from typing import Any

from kindling.cluster.images.blobs import digest_of
from kindling.cluster.images.manifest import encode, image_config, machine
from kindling.cluster.images.protocol import HOST_IMAGE, Image
from kindling.cluster.images.reference import Reference
from kindling.cluster.runtime.protocol import RootFs

__all__ = ["HOST_MARK", "host_config", "host_image", "is_host_image"]

HOST_MARK = "dev.kindling.host"
"""The field of an image configuration that says: this machine's root lies below the layers."""

_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def is_host_image(reference: Reference) -> bool:
    """Whether a reference means the machine itself, whatever its tag."""
    return reference.repository == HOST_IMAGE


@cache
def host_config() -> dict[str, Any]:
    """Its configuration, the same on every call: builds on top of it are cached by its digest.

    The usual folders of programs are on its PATH, and the one of the Python that runs us where
    they have none.
    """
    system, architecture, _ = machine()
    path: list[str] = [*_PATH]
    if not any(os.path.exists(f"{folder}/python3") for folder in path):
        path.append(os.path.join(os.path.realpath(sys.base_prefix), "bin"))
    return {
        "architecture": architecture,
        "os": system,
        "created": "1970-01-01T00:00:00Z",
        "config": {"Cmd": ["/bin/sh"], "Env": [f"PATH={':'.join(path)}"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": []},
        HOST_MARK: True,
    }


@cache
def host_image() -> Image:
    """It is as old as this process, since a machine has no date of its own."""
    config = host_config()
    return Image(
        id=digest_of(encode(config)),
        config=image_config(config),
        root=RootFs(host=True),
        names=(f"{HOST_IMAGE}:latest",),
        created=time.time(),
    )
