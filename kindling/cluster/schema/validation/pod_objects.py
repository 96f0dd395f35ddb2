"""Pods as objects: what is checked when they are made, and when they change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kindling.cluster.model.status import Cause
from kindling.cluster.schema.validation.pods import check_pod, check_pod_change

__all__ = ["check_pod_object"]


def check_pod_object(obj: dict[str, Any], before: dict[str, Any] | None) -> Iterator[Cause]:
    """An update is only held against what was there: a pod that was once let in stays valid."""
    if before is None:
        yield from check_pod(obj)
    elif obj.get("spec") != before.get("spec"):
        yield from check_pod(obj)
        yield from check_pod_change(obj, before)
