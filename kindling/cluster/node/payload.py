"""The keys and contents of ConfigMaps and Secrets."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from kindling.cluster.model.api import Obj

__all__ = ["decoded"]


def decoded(obj: Obj) -> Mapping[str, bytes]:
    """Every key of a ConfigMap (`data` is text, `binaryData` base64) or Secret (`data` is
    base64)."""
    encoded = dict(obj.get("binaryData") or {})
    plain: dict[str, bytes] = {}
    if obj.get("kind") == "Secret":
        encoded |= obj.get("data") or {}
    else:
        plain = {key: value.encode() for key, value in (obj.get("data") or {}).items()}
    for key, value in encoded.items():
        try:
            plain[key] = base64.b64decode(value or "")
        except binascii.Error:
            plain[key] = b""
    return plain
