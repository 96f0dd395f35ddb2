"""Keys that servers need to match list items by, and that people leave out.

A Service's ports are matched by port and protocol. The protocol defaults to TCP, but API servers
before 1.21 do not know that default when they merge a server-side apply, and answer with an error
(kubernetes/kubernetes#96351). Writing the default down changes nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kindling.objects.identity import Manifest

__all__ = ["with_list_keys"]


def with_list_keys(manifest: Manifest) -> Manifest:
    """The manifest with `protocol: TCP` on the ports of a Service that name none."""
    spec = manifest.get("spec")
    if manifest.get("kind") != "Service" or not isinstance(spec, Mapping):
        return manifest
    ports = spec.get("ports")
    if not isinstance(ports, list | tuple):
        return manifest
    return {**manifest, "spec": {**spec, "ports": [_with_protocol(port) for port in ports]}}


def _with_protocol(port: Any) -> Any:
    return {"protocol": "TCP", **port} if isinstance(port, Mapping) else port
