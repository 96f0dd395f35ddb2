"""What the build agent of a pool may do, in its namespace alone.

It runs builds in pods that it feeds and watches, applies environments, and waits for what came of
them. It may read no Secret and run nothing in other pods: what it is told to do comes from
repositories. (Who may make pods can mount the Secrets of their namespace; so pools belong into
namespaces whose Secrets their repositories may know.)
"""

from __future__ import annotations

from typing import Any

from kindling.operator.definitions.core import GROUP
from kindling.operator.definitions.environment import environment_definition

__all__ = ["agent_rules"]

_RULES = (
    ("", ("pods",), ("create", "delete", "get", "list", "watch")),
    ("", ("pods/attach",), ("create", "get")),  # by WebSocket it is a get, to newer servers both
    ("", ("pods/log",), ("get",)),
    ("", ("events",), ("list",)),
    ("apps", ("deployments",), ("get", "list", "watch")),
)


def agent_rules() -> list[dict[str, Any]]:
    """The rules of the Role."""
    names = environment_definition()["spec"]["names"]
    verbs = ("create", "get", "list", "patch", "watch")
    rules = (*_RULES, (GROUP, (names["plural"],), verbs))
    return [
        {"apiGroups": [group], "resources": list(resources), "verbs": list(allowed)}
        for group, resources, allowed in rules
    ]
