"""An object as it is stored: JSON that knows its own bytes."""

from __future__ import annotations

from typing import Any

import orjson

__all__ = ["Document", "encode"]


def encode(value: Any) -> bytes:
    """Compact JSON. Raises `TypeError` for what JSON cannot hold (integers beyond 64 bits)."""
    return orjson.dumps(value)


class Document(dict[str, Any]):
    """An object and its encoding, which is made once however many lists and watches send it.

    It is a plain dict to everybody; copies of it are plain dicts too, so that a changed copy never
    carries old bytes.
    """

    __slots__ = ("_encoded", "views")

    def __init__(self, value: dict[str, Any], encoded: bytes | None = None) -> None:
        super().__init__(value)
        self._encoded = encoded
        self.views: dict[str, Document] | None = None
        """The same object in other API versions, made when first asked for."""

    @classmethod
    def parse(cls, encoded: bytes) -> Document:
        return cls(orjson.loads(encoded), encoded)

    @property
    def encoded(self) -> bytes:
        if self._encoded is None:
            self._encoded = orjson.dumps(self)
        return self._encoded

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return orjson.loads(self.encoded)  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[Any, ...]:
        return (dict, (dict(self),))
