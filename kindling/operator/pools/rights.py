"""What the build agent of a pool may do, in its namespace alone.

It runs builds in pods that it feeds and watches, applies environments, and waits for what came of
them. It may read no Secret and enter no other pod: what it is told to run comes from repositories.
"""

from __future__ import annotations

from typing import Any

from kindling.operator.definitions.core import GROUP
from kindling.operator.definitions.environment import environment_definition

__all__ = ["agent_rules"]

_RULES = (
    ("", ("pods",), ("create", "delete", "get", "list", "watch")),
    ("", ("pods/attach",), ("create", "get")),
    ("", ("pods/log",), ("get",)),
    ("", ("events",), ("get", "list", "watch")),
    ("apps", ("deployments", "replicasets"), ("get", "list", "watch")),
)


def agent_rules() -> list[dict[str, Any]]:
    """The rules of the Role."""
    names = environment_definition()["spec"]["names"]
    verbs = ("create", "get", "list", "patch", "update", "watch")
    rules = (*_RULES, (GROUP, (names["plural"],), verbs))
    return [
        {"apiGroups": [group], "resources": list(resources), "verbs": list(allowed)}
        for group, resources, allowed in rules
    ]
