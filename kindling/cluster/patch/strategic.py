"""Strategic merge patch: a merge that knows which lists are to be merged, and by which key.

Read with it: apimachinery, `strategicpatch`. Beside the rules of a merge patch it understands
`$patch: replace|delete` in an object or an item, `$retainKeys`, `$deleteFromPrimitiveList/NAME` and
`$setElementOrder/NAME`. The texts of errors are the API server's, Go's way of printing a map
included.
"""

from __future__ import annotations

from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.shape import Shape
from kindling.cluster.model.status import ApiError, bad_request
from kindling.cluster.patch.gotext import go_kind, go_text, go_type
from kindling.cluster.patch.items import field_of
from kindling.cluster.patch.order import ordered

__all__ = ["strategic_merge"]

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder"
_DELETE = "$deleteFromPrimitiveList"
_BAD_RETAIN = "invalid patch format of retainKeys"
_BAD_ORDER = "invalid patch format of setElementOrder list"
_BAD_PRIMITIVES = "invalid patch format of primitive list"


def strategic_merge(obj: Obj, patch: Any, shape: Shape) -> Obj:
    """The object with a strategic merge patch in it. Raises `ApiError`: 400 for what is no patch,
    500 for one that the API server stumbles over (an item without its merge key)."""
    patch = {} if patch is None else patch
    if not isinstance(patch, dict):
        raise bad_request(
            f"json: cannot unmarshal {go_kind(patch)} into Go value of type"
            " map[string]interface {}"
        )
    try:
        return _merged(obj, patch, shape)
    except RecursionError as error:
        raise bad_request("error decoding patch: exceeded max depth") from error


def _merged(original: dict[str, Any], patch: dict[str, Any], shape: Shape) -> dict[str, Any]:
    if _PATCH in patch:
        return _directed(patch)
    merged = dict(original)
    rest = _retained(merged, patch)
    rest = _reordered(merged, rest, shape)
    for key, value in rest.items():
        if key.startswith(_DELETE):
            _delete_primitives(merged, key, value, shape)
        elif value is None:
            merged.pop(key, None)
        elif key not in merged or merged[key] is None:
            merged[key] = _plain(value)
        else:
            merged[key] = _value(merged[key], value, shape, key)
    return merged


def _value(original: Any, value: Any, shape: Shape, name: str) -> Any:
    inner = field_of(shape, name)
    strategies = inner.patch_strategies
    if isinstance(original, dict) and isinstance(value, dict):
        if "replace" in strategies:
            return _plain(value)
        return _merged(original, value, inner)
    if isinstance(original, list) and isinstance(value, list) and "merge" in strategies:
        return _merged_list(original, value, inner)
    return _plain(value)


def _directed(patch: dict[str, Any]) -> dict[str, Any]:
    directive = patch[_PATCH]
    if directive == "replace":
        kept = {key: value for key, value in patch.items() if key != _PATCH}
        plain: dict[str, Any] = _plain(kept)
        return plain
    if directive == "delete":
        return {}
    raise _stumbled(f"unknown patch type: {go_text(directive)} in map: {go_text(patch)}")


def _retained(merged: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Take from `merged` what the patch does not list to keep; the patch without that list."""
    if _RETAIN not in patch:
        return patch
    keys = patch[_RETAIN]
    if not isinstance(keys, list):
        raise bad_request(_BAD_RETAIN)
    rest = {key: value for key, value in patch.items() if key != _RETAIN}
    for key, value in rest.items():
        if value is not None and not key.startswith((_DELETE, _ORDER)) and key not in keys:
            raise bad_request(_BAD_RETAIN)
    for key in [key for key in merged if key not in keys]:
        del merged[key]
    return rest


def _named(key: str, prefix: str, error: str) -> str:
    """The field that a parallel list is for."""
    start, slash, name = key.partition("/")
    if start != prefix or not slash:
        raise bad_request(error)
    return name


def _reordered(merged: dict[str, Any], patch: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """Merge every list that the patch orders, in that order; the patch without these."""
    orders = [key for key in patch if key.startswith(_ORDER)]
    if not orders:
        return patch
    rest = {key: value for key, value in patch.items() if key not in orders}
    for key in orders:
        order = patch[key]
        name = _named(key, _ORDER, _BAD_ORDER)
        if not isinstance(order, list):
            raise _stumbled(f"expected a []interface {{}}, but received a {go_type(order)}")
        inner = field_of(shape, name)
        live, new = merged.get(name), rest.get(name)
        for value in (live, new):
            if value is not None and not isinstance(value, list):
                raise _stumbled(f"expected a []interface {{}}, but received a {go_type(value)}")
        if name in rest and new is None:
            continue
        if live is None and new is None:
            continue
        merge_key = inner.merge_key
        if new:
            _fits_order(new, order, merge_key)
        if new is None:
            together = live or []
        elif live is None:
            together = _plain(new)
        else:
            together = _value(live, new, shape, name)
        rest.pop(name, None)
        merged[name] = (
            ordered(together, order, live or [], merge_key, _key_of) if together else together
        )
    return rest


def _fits_order(items: list[Any], order: list[Any], merge_key: str) -> None:
    """Raise unless the items that are not deleted come in the order that is asked for."""
    if not order:
        return
    wanted = iter([_key_of(item, merge_key) for item in order])
    for item in items:
        if merge_key and isinstance(item, dict) and _PATCH in item:
            continue
        key = _key_of(item, merge_key)
        if not any(candidate == key for candidate in wanted):
            raise _stumbled(
                f"The order in patch list:\n{go_text(items)}\n doesn't match {_ORDER} list:\n"
                f"{go_text(order)}\n"
            )


def _delete_primitives(merged: dict[str, Any], key: str, gone: Any, shape: Shape) -> None:
    name = _named(key, _DELETE, _BAD_PRIMITIVES)
    live = merged.get(name)
    if gone is None:
        merged.pop(name, None)
    elif isinstance(live, list) and isinstance(gone, list):
        if "merge" in field_of(shape, name).patch_strategies:
            merged[name] = [item for item in live if item not in gone]
        else:
            merged[name] = gone


def _merged_list(original: list[Any], patch: list[Any], shape: Shape) -> list[Any]:
    if not original and not patch:
        return original
    kinds = {go_type(item) for item in (*original, *patch)}
    if len(kinds) > 1:
        raise _stumbled(
            f"list element types are not identical: [{go_text(original)} {go_text(patch)}]"
        )
    if not any(isinstance(item, dict) for item in (*original, *patch)):
        if any(isinstance(item, list) for item in (*original, *patch)):
            raise _unprocessable()
        together = list(original)
        together.extend(item for item in patch if item not in together)
        return ordered(_once(together), patch, original, "", _key_of)
    merge_key = shape.merge_key
    if not merge_key:
        raise _stumbled("cannot merge lists without merge key for type struct")
    live, new = _special(original, patch, merge_key)
    if new is None:
        return live
    together = list(live)
    for item in new:
        key = _key_of(item, merge_key)
        for index, candidate in enumerate(together):
            if merge_key in candidate and candidate[merge_key] == key:
                together[index] = _merged(candidate, item, shape.items)
                break
        else:
            together.append(_plain(item))
    return ordered(together, new, live, merge_key, _key_of)


def _special(
    original: list[Any], patch: list[Any], merge_key: str
) -> tuple[list[Any], list[Any] | None]:
    """Follow the directives among the items: the live items that stay, and the items to merge, or
    None when they replace the list."""
    live = original
    rest: list[Any] = []
    replaced = False
    for item in patch:
        if _PATCH not in item:
            rest.append(item)
            continue
        directive = item[_PATCH]
        if directive == "delete":
            if merge_key not in item:
                raise _no_key(item, merge_key)
            live = [each for each in live if each.get(merge_key) != item[merge_key]]
        elif directive == "replace":
            replaced = True
        elif directive == "merge":
            raise _stumbled("merging lists cannot yet be specified in the patch")
        else:
            raise _stumbled(f"unknown patch type: {go_text(directive)} in map: {go_text(item)}")
    if replaced:
        return _plain(rest), None
    return live, rest


def _plain(value: Any) -> Any:
    """A value of the patch that meets nothing to merge with: without nulls and directives."""
    if isinstance(value, dict):
        if value.get(_PATCH) == "delete":
            return {}
        return {
            key: _plain(inner)
            for key, inner in value.items()
            if inner is not None and not key.startswith((_PATCH, _RETAIN, _ORDER, _DELETE))
        }
    if isinstance(value, list):
        return [
            _plain(item)
            for item in value
            if not (isinstance(item, dict) and item.get(_PATCH) in ("delete", "replace"))
        ]
    return value


def _once(items: list[Any]) -> list[Any]:
    result: list[Any] = []
    for item in items:
        if item not in result:
            result.append(item)
    return result


def _key_of(item: Any, merge_key: str) -> Any:
    """What an item is told apart by."""
    if not merge_key:
        return item
    if not isinstance(item, dict):
        raise _stumbled(f"expected a map[string]interface {{}}, but received a {go_type(item)}")
    if merge_key not in item:
        raise _no_key(item, merge_key)
    return item[merge_key]


def _no_key(item: dict[str, Any], merge_key: str) -> ApiError:
    return _stumbled(f"map: {go_text(item)} does not contain declared merge key: {merge_key}")


def _stumbled(message: str) -> ApiError:
    return ApiError(500, "", message)


def _unprocessable() -> ApiError:
    return ApiError(
        422, "Invalid", "the server rejected our request due to an error in our request"
    )
