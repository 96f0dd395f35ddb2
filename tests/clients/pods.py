"""Pods for tests: made, awaited by a watch, and gone at once when they are deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.clients.packages import watch

SECONDS = 60
"""How long a pod may take to be what a test waits for."""


@dataclass(frozen=True, slots=True)
class Pods:
    """The pods of one namespace."""

    core: Any
    namespace: str

    def make(self, name: str, image: str, command: Sequence[str], **container: Any) -> None:
        self.core.create_namespaced_pod(
            self.namespace,
            {
                "metadata": {"name": name, "labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "restartPolicy": "Never",
                    "containers": [
                        {"name": "main", "image": image, "command": list(command), **container}
                    ],
                },
            },
        )

    def until(self, name: str, holds: Callable[[Any], bool]) -> Any:
        """The pod, as soon as `holds` is true of it."""
        watcher = watch.Watch()
        last: Any = None
        for event in watcher.stream(
            self.core.list_namespaced_pod,
            self.namespace,
            field_selector=f"metadata.name={name}",
            timeout_seconds=SECONDS,
        ):
            last = event["object"]
            if holds(last):
                watcher.stop()
                return last
        raise AssertionError(f"the pod {name} stayed as it was: {last and last.status}")

    def running(self, name: str) -> Any:
        return self.until(name, _is_ready)

    def finished(self, name: str) -> Any:
        return self.until(name, lambda pod: pod.status.phase in ("Succeeded", "Failed"))


def _is_ready(pod: Any) -> bool:
    conditions = pod.status.conditions or []
    return any(item.type == "Ready" and item.status == "True" for item in conditions)
