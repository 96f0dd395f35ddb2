"""Archives of images made by hand."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Node:
    """An entry of a tar made by hand."""

    name: str
    data: bytes = b""
    type: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o644
    uid: int = 0
    pax: Mapping[str, str] | None = None


def make_tar(nodes: Sequence[Node], *, format: int = tarfile.PAX_FORMAT) -> bytes:  # noqa: A002
    """A plain tar of these entries."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for node in nodes:
            info = tarfile.TarInfo(node.name)
            info.type, info.linkname = node.type, node.link
            info.mode = 0o755 if node.type == tarfile.DIRTYPE else node.mode
            info.uid, info.size = node.uid, len(node.data)
            info.pax_headers = dict(node.pax or {})
            tar.addfile(info, io.BytesIO(node.data))
    return out.getvalue()


def folder(name: str) -> Node:
    return Node(name, type=tarfile.DIRTYPE)


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def config_of(layers: Sequence[bytes], **config: Any) -> bytes:
    """The image configuration over plain layers."""
    from kindling.cluster.images.manifest import machine

    return json.dumps(
        {
            "architecture": machine()[1],
            "os": "linux",
            "created": config.pop("created", "2001-02-03T04:05:06Z"),
            "config": {"Cmd": ["sh"], **config},
            "rootfs": {"type": "layers", "diff_ids": [sha(layer) for layer in layers]},
        }
    ).encode()


def docker_archive(path: Path, tags: Sequence[str], layers: Sequence[bytes], **config: Any) -> Path:
    """What `docker save` wrote up to version 24."""
    image = config_of(layers, **config)
    files = {f"{at}/layer.tar": layer for at, layer in enumerate(layers)}
    entry = {"Config": "image.json", "RepoTags": list(tags), "Layers": list(files)}
    nodes = [Node(name, data) for name, data in files.items()]
    nodes += [Node("image.json", image), Node("manifest.json", json.dumps([entry]).encode())]
    path.write_bytes(make_tar(nodes))
    return path


def oci_layout(path: Path, tag: str, layers: Sequence[bytes]) -> Path:
    """An OCI layout with gzip layers, behind an index of two platforms."""
    from kindling.cluster.images.manifest import machine

    blobs: dict[str, bytes] = {}

    def put(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        blobs[sha(data)] = data
        return {"mediaType": media_type, "digest": sha(data), "size": len(data), **more}

    packed = [gzip.compress(layer, mtime=0) for layer in layers]
    begin = "application/vnd.oci.image."
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{begin}manifest.v1+json",
        "config": put(config_of(layers), f"{begin}config.v1+json"),
        "layers": [put(layer, f"{begin}layer.v1.tar+gzip") for layer in packed],
    }
    system, architecture, _ = machine()
    other = {"mediaType": f"{begin}manifest.v1+json", "digest": sha(b"else"), "size": 4}
    index = {
        "schemaVersion": 2,
        "mediaType": f"{begin}index.v1+json",
        "manifests": [
            {**other, "platform": {"os": "linux", "architecture": "s390x"}},
            put(
                json.dumps(manifest).encode(),
                f"{begin}manifest.v1+json",
                platform={"os": system, "architecture": architecture},
            ),
        ],
    }
    top = put(json.dumps(index).encode(), f"{begin}index.v1+json")
    top["annotations"] = {"io.containerd.image.name": tag}
    nodes = [Node("blobs/sha256/" + digest[7:], data) for digest, data in blobs.items()]
    nodes.append(Node("index.json", json.dumps({"schemaVersion": 2, "manifests": [top]}).encode()))
    nodes.append(Node("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'))
    path.write_bytes(make_tar(nodes))
    return path
