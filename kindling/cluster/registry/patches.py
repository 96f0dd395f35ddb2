"""How a patch is told about when what it makes is no object of its kind."""

from __future__ import annotations

from typing import Any

from kindling.cluster.model.status import ApiError, Cause, invalid

__all__ = ["unfit_patch"]


def unfit_patch(patch: Any, why: str) -> ApiError:
    """422, naming neither kind nor object, as the API server does."""
    said = f'Invalid value: "{_as_go_prints(patch)}": {why}'
    return invalid("", "", [Cause("FieldValueInvalid", said, "patch")])


def _as_go_prints(value: Any) -> str:
    match value:
        case dict():
            inner = " ".join(f"{key}:{_as_go_prints(value[key])}" for key in sorted(value))
            return f"map[{inner}]"
        case list():
            return f"[{' '.join(map(_as_go_prints, value))}]"
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
    return str(value)
