"""What several printers say the same way: containers, labels, selectors, shortened lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.registry.scales import selector_text

__all__ = ["condition", "containers", "labels", "shortened", "template_cells"]


def containers(template: Obj | None) -> tuple[str, str]:
    """Names and images of a pod template's containers."""
    found = (template or {}).get("spec", {}).get("containers") or []
    names = ",".join(str(container.get("name", "")) for container in found)
    return names, ",".join(str(container.get("image", "")) for container in found)


def labels(given: Any) -> str:
    """A map of labels or a label selector; `<none>` for an empty one."""
    if not isinstance(given, dict):
        return "<none>"
    structured = "matchLabels" in given or "matchExpressions" in given
    return selector_text(given if structured else {"matchLabels": given}) or "<none>"


def template_cells(obj: Obj) -> list[Any]:
    """The wide columns of everything with a pod template and a selector."""
    spec = obj.get("spec", {})
    return [*containers(spec.get("template")), labels(spec.get("selector"))]


def shortened(items: Sequence[str], total: int | None = None, most: int = 3) -> str:
    """`a,b,c + 2 more...`."""
    text = ",".join(items[:most])
    count = len(items) if total is None else total
    return f"{text} + {count - most} more..." if count > most else text


def condition(obj: Obj, name: str) -> str:
    """The status of a condition; empty where there is none."""
    for found in obj.get("status", {}).get("conditions") or ():
        if found.get("type") == name:
            return str(found.get("status", ""))
    return ""
