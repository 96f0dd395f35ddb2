"""Manifests, indexes and image configurations: what is read out of them, and how ours are written.

The forms are those of the OCI image specification 1.1 and of Docker's image manifest v2, schema 2.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from kindling.cluster.images.blobs import digest_of, is_digest
from kindling.cluster.images.protocol import ImageConfig

__all__ = [
    "ACCEPTED",
    "CONFIG",
    "INDEX",
    "LAYER",
    "MANIFEST",
    "Descriptor",
    "Manifest",
    "ManifestError",
    "choose",
    "diff_ids",
    "encode",
    "image_config",
    "machine",
    "parse_manifest",
    "write_manifest",
]

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
_DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
ACCEPTED = (INDEX, MANIFEST, _DOCKER_LIST, _DOCKER_MANIFEST)
"""The media types of manifests that we take, best first."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


class ManifestError(Exception):
    """JSON that is no manifest of an image, or not one for this machine."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A pointer to content."""

    digest: str
    size: int
    media_type: str
    platform: tuple[str, str, str] = ("", "", "")
    """System, architecture and variant, for a manifest in an index."""
    annotations: tuple[tuple[str, str], ...] = ()

    def json(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest (`config` and `layers`) or an index (`manifests`)."""

    media_type: str
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()

    @property
    def is_index(self) -> bool:
        return self.config is None

    @property
    def is_image(self) -> bool:
        """Whether it is one to run: registries also hold charts and signatures."""
        return self.config is not None and self.config.media_type in (CONFIG, _DOCKER_CONFIG)

    @property
    def parts(self) -> tuple[str, ...]:
        """The digests of everything that it points to."""
        config = (self.config.digest,) if self.config else ()
        return (*config, *(item.digest for item in (*self.layers, *self.manifests)))


@cache
def machine() -> tuple[str, str, str]:
    """This machine as images name it: `("linux", "amd64", "")`. Containers are always Linux."""
    name = platform.machine().lower() if os.name == "posix" else "x86_64"
    architecture = _ARCHITECTURES.get(name, name)
    return ("linux", architecture, "v7" if architecture == "arm" else "")


def encode(value: Mapping[str, Any]) -> bytes:
    """JSON that is the same for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def parse_manifest(data: bytes, media_type: str = "") -> Manifest:
    """Read a manifest or an index; `media_type` is what came with it, if anything did.

    Raises:
        ManifestError: It is neither.
    """
    try:
        value = json.loads(data)
        said = str(value.get("mediaType") or media_type or "").partition(";")[0].strip()
        if value.get("schemaVersion") == 1:
            raise ManifestError(
                "media type application/vnd.docker.distribution.manifest.v1+json"
                " is no longer supported"
            )
        if "manifests" in value and "config" not in value:
            items = tuple(_descriptor(item) for item in value["manifests"])
            return Manifest(said or INDEX, manifests=items)
        layers = tuple(_descriptor(item) for item in value.get("layers") or ())
        return Manifest(said or MANIFEST, _descriptor(value["config"]), layers)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestError(f"not a manifest: {type(error).__name__}: {error}") from error


def choose(index: Manifest) -> Descriptor:
    """The manifest of an index for this machine.

    Raises:
        ManifestError: There is none, in containerd's words.
    """
    system, architecture, variant = machine()
    fitting = [
        item
        for item in index.manifests
        if item.platform[:2] == (system, architecture)
        and (not variant or item.platform[2] in ("", variant, "v6", "v5"))
    ]
    if fitting:
        exact = [item for item in fitting if item.platform[2] in (variant, "v8")]
        return (exact or fitting)[0]
    # A list of one that says no platform: what `docker save` and small tools write.
    bare = [item for item in index.manifests if item.platform[:2] == ("", "")]
    if len(bare) == 1 and len(index.manifests) == 1:
        return bare[0]
    raise ManifestError(f"no match for platform in manifest: {system}/{architecture}: not found")


def diff_ids(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The layers that an image configuration names, lowest first."""
    found = tuple((config.get("rootfs") or {}).get("diff_ids") or ())
    if not all(isinstance(item, str) and is_digest(item) for item in found):
        raise ManifestError("the image configuration names layers that are no digests")
    return found


def image_config(config: Mapping[str, Any]) -> ImageConfig:
    """What a configuration says about running the image."""
    said: Mapping[str, Any] = config.get("config") or {}
    env = tuple(_pair(item) for item in said.get("Env") or ())
    return ImageConfig(
        entrypoint=_words(said.get("Entrypoint")),
        cmd=_words(said.get("Cmd")),
        env=env,
        user=said.get("User") or "",
        cwd=said.get("WorkingDir") or "/",
        labels=tuple((said.get("Labels") or {}).items()),
        ports=tuple(said.get("ExposedPorts") or {}),
        volumes=tuple(said.get("Volumes") or {}),
        stop_signal=said.get("StopSignal") or "",
    )


def write_manifest(config: bytes, layers: Sequence[Descriptor]) -> bytes:
    """The manifest of an image made here."""
    return encode(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": Descriptor(digest_of(config), len(config), CONFIG).json(),
            "layers": [layer.json() for layer in layers],
        }
    )


def _descriptor(value: Mapping[str, Any]) -> Descriptor:
    if not is_digest(value["digest"]):
        raise ManifestError(f"`{str(value['digest'])[:80]}` is no digest that is supported")
    at = value.get("platform") or {}
    return Descriptor(
        value["digest"],
        int(value.get("size", 0)),
        str(value.get("mediaType", "")),
        (at.get("os", ""), at.get("architecture", ""), at.get("variant", "")),
        tuple((value.get("annotations") or {}).items()),
    )


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(str(word) for word in value) if isinstance(value, list) else ()


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value
