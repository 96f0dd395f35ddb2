"""Images that a test of a cluster needs, and that a machine may not have."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

import pytest

__all__ = ["need"]


@cache
def _missing(image: str) -> str:
    """Sees to it that the node has the image; why it cannot, else empty."""
    docker = shutil.which("docker")
    asked = docker and subprocess.run(
        [docker, "image", "inspect", image], capture_output=True, check=False
    )
    if not asked or asked.returncode != 0:
        how = (
            "tests/backing/images/build"
            if image.startswith("kindling-test-")
            else "`docker pull` or the real cluster's `base-images`"
        )
        return f"Docker has no image `{image}`, which comes from {how}"
    if command := os.environ.get("KINDLING_LOAD_COMMAND", "").split():
        subprocess.run([*command, image], check=True, stdout=subprocess.DEVNULL)
    return ""


def need(*images: str) -> None:
    """Put images of the Docker engine into the node, or skip the test when it has them not."""
    for image in images:
        if reason := _missing(image):
            pytest.skip(reason)
