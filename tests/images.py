"""Images that a test of a cluster needs, and that a machine may not have."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

import pytest

from tests.target import embedded

__all__ = ["missing", "need", "need_to_build"]


def need(*images: str) -> None:
    """Put images of the Docker engine into the node, or skip the test when it has them not."""
    for image in images:
        _in_docker(image)
        _load(image)


def need_to_build(*images: str) -> None:
    """As `need`, for images that others are built on: where Docker itself builds, they are where
    they must be."""
    for image in images:
        _in_docker(image)
        if embedded() is not None:
            _load(image)


def missing(image: str) -> str:
    """Why Docker does not have an image, which is where it comes from; empty where it has it."""
    docker = shutil.which("docker")
    asked = docker and subprocess.run(
        [docker, "image", "inspect", image], capture_output=True, check=False
    )
    if asked and asked.returncode == 0:
        return ""
    if image.startswith("kindling-test-sync-"):
        how = "tests/sync/world/images/build"
    elif image.startswith("kindling-test-"):
        how = "tests/backing/images/build"
    else:
        how = "`docker pull` or the real cluster's `base-images`"
    return f"Docker has no image `{image}`, which comes from {how}"


def _in_docker(image: str) -> None:
    if why := missing(image):
        pytest.skip(why)


@cache
def _load(image: str) -> None:
    if command := os.environ.get("KINDLING_LOAD_COMMAND", "").split():
        subprocess.run([*command, image], check=True, stdout=subprocess.DEVNULL)
