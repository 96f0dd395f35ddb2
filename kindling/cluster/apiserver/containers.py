"""Which container of a pod a request means, and the parameters of log, exec and attach."""

from __future__ import annotations

import time

from kindling.cluster.apiserver.exchange import Query
from kindling.cluster.apiserver.printing.durations import seconds_since_epoch
from kindling.cluster.model.api import Obj
from kindling.cluster.model.status import Cause, bad_request, invalid
from kindling.cluster.model.streams import ExecRequest, LogRequest

__all__ = ["exec_request", "log_request", "resolve_container"]


def resolve_container(pod: Obj, name: str) -> str:
    """The container that is asked for, or the only one. Raises `ApiError` 400. (A default container
    by annotation is kubectl's own affair.)"""
    spec, pod_name = pod.get("spec", {}), pod["metadata"]["name"]
    containers, inits, ephemeral = (
        [container.get("name", "") for container in spec.get(field) or ()]
        for field in ("containers", "initContainers", "ephemeralContainers")
    )
    if name:
        if name not in (*containers, *inits, *ephemeral):
            raise bad_request(f"container {name} is not valid for pod {pod_name}")
        return name
    if len(containers) == 1:
        return str(containers[0])
    text = (
        f"a container name must be specified for pod {pod_name}, choose one of:"
        f" [{' '.join(containers)}]"
    )
    if inits:
        text += f" or one of the init containers: [{' '.join(inits)}]"
    raise bad_request(text)


def exec_request(query: Query, *, attach: bool) -> ExecRequest:
    """Raises `ApiError` 400."""
    request = ExecRequest(
        command=() if attach else tuple(query.all("command")),
        stdin=query.flag("stdin"),
        stdout=query.flag("stdout"),
        stderr=query.flag("stderr"),
        tty=query.flag("tty"),
    )
    if not (request.stdin or request.stdout or request.stderr):
        raise bad_request("you must specify at least 1 of stdin, stdout, stderr")
    if not attach and not request.command:
        raise bad_request("you must specify at least one command for the container")
    return request


def log_request(query: Query, container: str) -> LogRequest:
    """Raises `ApiError` 400 and 422."""
    tail, limit = query.number("tailLines"), query.number("limitBytes")
    seconds, moment = query.number("sinceSeconds"), query.text("sinceTime")
    causes: list[Cause] = []

    def wrong(field: str, value: object, why: str) -> None:
        text = f"Invalid value: {value}: {why}"
        causes.append(Cause("FieldValueInvalid", text, field))

    if tail is not None and tail < 0:
        wrong("tailLines", tail, "must be greater than or equal to 0")
    if limit is not None and limit < 1:
        wrong("limitBytes", limit, "must be greater than 0")
    if seconds is not None and moment:
        text = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
        causes.append(Cause("FieldValueForbidden", text, ""))
    elif seconds is not None and seconds < 1:
        wrong("sinceSeconds", seconds, "must be greater than 0")
    since = time.time() - seconds if seconds is not None else 0.0
    if moment:
        found = seconds_since_epoch(moment)
        if found is None:
            raise bad_request(f'parsing time "{moment[:100]}": not a time in RFC 3339 form')
        since = found
    if causes:
        raise invalid("PodLogOptions", "", causes)
    return LogRequest(
        container=container,
        follow=query.flag("follow"),
        previous=query.flag("previous"),
        timestamps=query.flag("timestamps"),
        since=since,
        tail=tail,
        limit_bytes=limit,
    )
