"""JSON patch (RFC 6902), on the `jsonpatch` package.

The API server refuses a patch that cannot be read with 400 and one that does not fit the object
with 422, whose text does not say which operation it was.
"""

from __future__ import annotations

import copy
from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.status import ApiError, bad_request
from kindling.cluster.patch.gotext import go_kind

__all__ = ["MAX_COPIED", "MAX_OPERATIONS", "json_patch"]

MAX_OPERATIONS = 10_000
"""As the API server's own limit."""

MAX_COPIED = 3 * 1024 * 1024
"""Characters that the `copy` operations of one patch may add, so that a short patch that doubles a
list again and again stays harmless. The API server allows as much as one request's body."""

_OPERATIONS = frozenset(("add", "copy", "move", "remove", "replace", "test"))


def json_patch(obj: Obj, ops: Any) -> Obj:
    """The object after every operation. Raises `ApiError`: 400 for what is no patch, 413 for too
    many operations, 422 for one that fails, a `test` that is not so among them."""
    ops = [] if ops is None else ops
    _readable(ops)
    if len(ops) > MAX_OPERATIONS:
        raise ApiError(
            413,
            "RequestEntityTooLarge",
            "Request entity too large: The allowed maximum operations in a JSON patch is"
            f" {MAX_OPERATIONS}, got {len(ops)}",
        )
    import jsonpatch
    from jsonpointer import JsonPointerException

    room = MAX_COPIED
    result: Any = copy.deepcopy(obj)
    try:
        for operation in ops:
            if operation["op"] == "copy":
                room -= _size(jsonpatch.JsonPointer(operation["from"]).resolve(result), room)
                if room < 0:
                    raise _does_not_fit()
            step = _as_the_server_takes_it(operation, result)
            if step is not None:
                result = jsonpatch.JsonPatch([copy.deepcopy(step)]).apply(result, in_place=True)
    except (
        jsonpatch.JsonPatchException,
        JsonPointerException,
        TypeError,
        ValueError,
        KeyError,
        IndexError,
        AttributeError,
        RecursionError,
    ) as error:
        raise _does_not_fit() from error
    if not isinstance(result, dict):
        raise _does_not_fit()
    return result


def _readable(ops: Any) -> None:
    if not isinstance(ops, list):
        raise bad_request(
            f"json: cannot unmarshal {go_kind(ops)} into Go value of type jsonpatch.Patch"
        )
    for operation in ops:
        if not isinstance(operation, dict):
            raise bad_request(
                f"json: cannot unmarshal {go_kind(operation)} into Go value of type"
                " jsonpatch.Operation"
            )
        well_formed = operation.get("op") in _OPERATIONS and isinstance(operation.get("path"), str)
        if well_formed and operation["op"] in ("copy", "move"):
            well_formed = isinstance(operation.get("from"), str)
        if not well_formed:
            raise _does_not_fit()


def _as_the_server_takes_it(operation: dict[str, Any], target: Any) -> dict[str, Any] | None:
    """The operation as `jsonpatch` is to see it; None when there is nothing to do.

    The API server's library is laxer with a field that is not there: `replace` adds it, and a
    `test` for null holds.
    """
    import jsonpointer

    if operation["op"] not in ("replace", "test") or not operation["path"]:
        return operation
    parent, name = jsonpointer.JsonPointer(operation["path"]).to_last(target)
    if not isinstance(parent, dict) or name in parent:
        return operation
    if operation["op"] == "replace":
        return {**operation, "op": "add"}
    return None if operation.get("value") is None else operation


def _does_not_fit() -> ApiError:
    return ApiError(
        422, "Invalid", "the server rejected our request due to an error in our request"
    )


def _size(value: Any, enough: int) -> int:
    """About how long a value is as JSON; stops counting beyond `enough`."""
    total = 0
    waiting = [value]
    while waiting and total <= enough:
        item = waiting.pop()
        if isinstance(item, dict):
            total += 2 + sum(len(key) + 4 for key in item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            total += 2 + len(item)
            waiting.extend(item)
        else:
            total += len(item) + 2 if isinstance(item, str) else 4
    return total
