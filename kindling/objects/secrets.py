"""The values of Secret manifests, so that they can be struck from everything that is shown."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kindling.objects.identity import Manifest

__all__ = ["SecretValue", "secret_values"]


@dataclass(frozen=True, slots=True)
class SecretValue:
    """One value of a Secret, decoded. Its text never appears in a repr."""

    secret: str
    key: str
    value: str = field(repr=False)


def secret_values(manifest: Manifest) -> tuple[SecretValue, ...]:
    """The values of `data` (decoded) and `stringData` of a Secret; of any other object, none.

    Values that are no text are given in their base64 form, the only one that can stand in a log.
    """
    if manifest.get("kind") != "Secret" or manifest.get("apiVersion") != "v1":
        return ()
    return tuple(_values(manifest))


def _values(manifest: Manifest) -> Iterator[SecretValue]:
    metadata = manifest.get("metadata")
    name = str(metadata.get("name", "")) if isinstance(metadata, Mapping) else ""
    data = manifest.get("data")
    for key, value in data.items() if isinstance(data, Mapping) else ():
        if isinstance(value, str) and value:
            yield SecretValue(name, str(key), _decoded(value))
    plain = manifest.get("stringData")
    for key, value in plain.items() if isinstance(plain, Mapping) else ():
        if value not in (None, ""):
            yield SecretValue(name, str(key), str(value))


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return value
