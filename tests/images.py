"""Images that a test of a cluster needs, and that a machine may not have."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

import pytest

from tests.target import embedded

__all__ = ["need", "need_to_build"]


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


def _in_docker(image: str) -> None:
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
        pytest.skip(f"Docker has no image `{image}`, which comes from {how}")


@cache
def _load(image: str) -> None:
    if command := os.environ.get("KINDLING_LOAD_COMMAND", "").split():
        subprocess.run([*command, image], check=True, stdout=subprocess.DEVNULL)
