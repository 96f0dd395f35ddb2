"""Strategic merge patch: thin for now."""

from __future__ import annotations

from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.shape import Shape
from kindling.cluster.patch.merge import merge

__all__ = ["strategic_merge"]


def strategic_merge(obj: Obj, patch: Any, shape: Shape) -> Obj:  # noqa: ARG001
    return merge(obj, patch)
