"""Decisions about users' secrets: which of them are where, and which go into a new cluster."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from kindling.errors import StoreError, UsageError, nearest
from kindling.kube.protocol import Object
from kindling.objects.secretnames import VALUE_KEY, known_as, secret_name
from kindling.store.sealed import Kept, Place

__all__ = ["Row", "Standing", "rows", "to_restore", "value_of"]


class Standing(Enum):
    """Where a secret is."""

    BOTH = "both"
    DIFFERS = "differs"
    """In both, with another value in the cluster than in the backup."""
    CLUSTER = "cluster"
    """In the cluster alone: it cannot be restored."""
    BACKUP = "backup"
    """In the backup alone: `restore` brings it back."""
    UNKNOWN = "unknown"
    """In the backup; the cluster was not asked, or did not answer."""


@dataclass(frozen=True, slots=True)
class Row:
    """One secret of a list. Times are in seconds since the epoch, None where it is not there."""

    place: Place
    standing: Standing
    set_at: float | None = None
    kept_at: float | None = None


def rows(
    live: Iterable[Object] | None,
    context: str,
    kept: Iterable[Kept],
    value: Callable[[Kept], bytes],
) -> tuple[tuple[Row, ...], StoreError | None]:
    """What is where, by place, and why values could not be compared, if they could not.

    `live` are the Secrets of `context`, None when they are not known; entries of other contexts are
    listed as unknown.
    """
    problem: StoreError | None = None
    found = {}
    for one in live or ():
        place = Place(context, one["metadata"]["namespace"], _named(one))
        found[place.same] = (place, one)
    made = []
    for entry in kept:
        there = found.pop(entry.place.same, None)
        if there is None:
            asked = live is not None and entry.place.context == context
            standing = Standing.BACKUP if asked else Standing.UNKNOWN
            made.append(Row(entry.place, standing, kept_at=entry.at))
            continue
        standing = Standing.BOTH
        try:
            if problem is None and value(entry) != value_of(there[1]):
                standing = Standing.DIFFERS
        except StoreError as error:
            problem = error
        made.append(Row(there[0], standing, _changed(there[1]), entry.at))
    made += [Row(place, Standing.CLUSTER, _changed(one)) for place, one in found.values()]
    return tuple(sorted(made, key=lambda row: row.place)), problem


def to_restore(
    kept: Iterable[Kept],
    context: str,
    names: Iterable[str] = (),
    *,
    source: str = "",
    source_namespace: str = "",
    namespace: str = "",
) -> tuple[tuple[Kept, str], ...]:
    """Which entries go into the cluster `context`, each with its namespace there.

    They come from `source`, else from what was kept of that very context, else from the only other
    one: a new cluster often has a new name. Each goes back to its own namespace, unless one is
    named; then those of that namespace go there, and when there are none those of the only other.

    Raises:
        UsageError: Nothing fits, or more than one thing does; the message names what there is.
    """
    entries = tuple(kept)
    if not entries:
        raise UsageError(
            "The backup of this project has no secrets",
            hint="`kindling secrets set` keeps one of each secret that it sets.",
        )
    contexts = sorted({one.place.context for one in entries})
    origin = _one_of(contexts, source, context, "cluster", "--from")
    entries = tuple(one for one in entries if one.place.context == origin)
    if source_namespace or namespace:
        spaces = sorted({one.place.namespace for one in entries})
        space = _one_of(spaces, source_namespace, namespace, "namespace", "--from-namespace")
        entries = tuple(one for one in entries if one.place.namespace == space)
    wanted = {secret_name(name): name for name in names}
    there = {secret_name(one.place.name): one.place.name for one in entries}
    for key, name in wanted.items():
        if key not in there:
            raise UsageError(
                f"The backup has no secret `{name}` of `{origin}`",
                hint=nearest(name, there.values()) or f"It has [{', '.join(there.values())}].",
            )
    chosen = [one for one in entries if not wanted or secret_name(one.place.name) in wanted]
    return tuple((one, namespace or one.place.namespace) for one in chosen)


def _one_of(known: list[str], said: str, own: str, what: str, option: str) -> str:
    if said:
        if said not in known:
            raise UsageError(
                f"The backup has nothing of the {what} `{said}`",
                hint=nearest(said, known) or f"It has [{', '.join(known)}].",
            )
        return said
    if own in known:
        return own
    if len(known) != 1:
        raise UsageError(
            f"The backup has nothing of the {what} `{own}`, but of [{', '.join(known)}]",
            hint=f"Say which is meant: `{option} {known[0]}`.",
        )
    return known[0]


def _named(live: Object) -> str:
    return known_as(live["metadata"]["name"], live.get("data") or ())


def value_of(live: Object) -> bytes | None:
    """The value of a Secret; None where it has none under the key that matters."""
    data: Mapping[str, Any] = live.get("data") or {}
    try:
        return base64.b64decode(str(data[VALUE_KEY]), validate=True)
    except (KeyError, binascii.Error):
        return None


def _changed(live: Object) -> float:
    """When a Secret was last written, as far as the server tells."""
    metadata = live["metadata"]
    times = [metadata["creationTimestamp"]]
    times += [one["time"] for one in metadata.get("managedFields") or () if one.get("time")]
    return max(datetime.fromisoformat(time).timestamp() for time in times)
