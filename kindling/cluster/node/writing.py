"""Bringing a pod's status, and its end, to the API."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from kindling.cluster.model.api import Api, DeleteOptions, Obj
from kindling.cluster.model.resource import builtin
from kindling.cluster.model.status import ApiError

__all__ = ["release", "write_status"]

_PODS = builtin("pods")
_MOST_ATTEMPTS = 10


async def write_status(
    api: Api, name: str, namespace: str, uid: str, make: Callable[[Obj], Obj]
) -> bool:
    """Write what `make` makes of the newest pod, unless it says so already. False when the pod is
    gone."""
    for attempt in itertools.count():
        pod = api.get(_PODS, name, namespace)
        if pod is None or pod["metadata"].get("uid") != uid:
            return False
        status = make(pod)
        if status == pod.get("status"):
            return True
        try:
            await api.update(_PODS, pod | {"status": status}, "status")
        except ApiError as error:
            if error.code == 409 and attempt < _MOST_ATTEMPTS:
                continue  # somebody else wrote in between: theirs is to stay
            if error.code == 404:
                return False
            raise
        return True
    return True


async def release(api: Api, name: str, namespace: str, uid: str) -> None:
    """Let go of a pod that was deleted and has ended: nothing of it runs any more."""
    try:
        await api.delete(_PODS, name, namespace, DeleteOptions(grace=0, uid=uid))
    except ApiError as error:
        if error.code not in (404, 409):
            raise
