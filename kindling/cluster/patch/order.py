"""In which order the items of a merged list stand.

A strategic merge patch keeps two orders: that of the patch (or of its `$setElementOrder`) among the
items that it names, and that of the live list among the others. Read with it: the design proposal
"preserve order in strategic merge patch" of the Kubernetes community.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["ordered"]


def ordered(
    items: list[Any],
    order: list[Any],
    live: list[Any],
    merge_key: str,
    key_of: Callable[[Any, str], Any],
) -> list[Any]:
    """The items with those that `order` names in its order, and the others in that of `live`, each
    of which stands before the first named one that it stood before in `live`."""
    wanted = [key_of(item, merge_key) for item in order]
    places = [key_of(item, merge_key) for item in live]
    named: list[Any] = []
    others: list[Any] = []
    for item in items:
        (named if key_of(item, merge_key) in wanted else others).append(item)
    named.sort(key=lambda item: wanted.index(key_of(item, merge_key)))
    others.sort(key=lambda item: _place(places, key_of(item, merge_key)))
    result: list[Any] = []
    left = right = 0
    while left < len(others) or right < len(named):
        if left == len(others):
            result.extend(named[right:])
            break
        if right == len(named):
            result.extend(others[left:])
            break
        other = _place(places, key_of(others[left], merge_key))
        new = _place(places, key_of(named[right], merge_key))
        if other < new < len(places):
            result.append(others[left])
            left += 1
        else:
            result.append(named[right])
            right += 1
    return result


def _place(places: list[Any], key: Any) -> int:
    """Where a key stands, one beyond the end when it does not."""
    return places.index(key) if key in places else len(places)
