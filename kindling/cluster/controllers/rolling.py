"""The numbers of a rollout: how many pods the old and the new ReplicaSets may have. Pure.

Rules as in `pkg/controller/deployment` (rolling.go, sync.go, util/deployment_util.go).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Bounds",
    "Group",
    "bounds_of",
    "new_size",
    "old_sizes",
    "percent",
    "proportional_sizes",
]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many pods a Deployment wants, how many more there may be, and how many fewer ready."""

    replicas: int
    surge: int = 0
    unavailable: int = 0

    @property
    def most(self) -> int:
        return self.replicas + self.surge

    @property
    def least(self) -> int:
        return max(self.replicas - self.unavailable, 0)


@dataclass(frozen=True, slots=True)
class Group:
    """A ReplicaSet as its Deployment counts it. `size` is what it is told to have; `available` how
    many of these serve; `bound` the surge limit it was last sized under, 0 when unknown."""

    name: str
    size: int
    available: int = 0
    created: str = ""
    bound: int = 0


def percent(value: Any, total: int, *, up: bool) -> int:
    """A number, or a share of `total` such as `25%`, rounded up or down."""
    if isinstance(value, str) and value.endswith("%"):
        share = int(value[:-1]) * total
        return math.ceil(share / 100) if up else share // 100
    return int(value or 0)


def bounds_of(spec: Mapping[str, Any]) -> Bounds:
    """The bounds of a Deployment's spec. Surge is rounded up and unavailability down; were both
    nothing, nothing could move, so one may then be unavailable."""
    replicas = 1 if spec.get("replicas") is None else int(spec["replicas"])
    strategy = spec.get("strategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return Bounds(replicas)
    rolling = strategy.get("rollingUpdate") or {}
    surge = percent(rolling.get("maxSurge", "25%"), replicas, up=True)
    unavailable = percent(rolling.get("maxUnavailable", "25%"), replicas, up=False)
    if not surge and not unavailable:
        unavailable = 1
    return Bounds(replicas, surge, min(unavailable, replicas))


def new_size(bounds: Bounds, rolling: bool, new: int, total: int) -> int:
    """What the newest group of size `new` grows to, among `total` pods of all groups."""
    if not rolling:
        return bounds.replicas
    if total >= bounds.most:
        return new
    return new + max(0, min(bounds.most - total, bounds.replicas - new))


def old_sizes(bounds: Bounds, old: Sequence[Group], new: Group | None) -> dict[str, int]:
    """New sizes of old groups, for those that may shrink: first what serves nobody, then as much
    as the rest can spare. Oldest first."""
    sizes = {group.name: group.size for group in old}
    total = sum(sizes.values()) + (new.size if new else 0)
    new_missing = new.size - new.available if new else 0
    spare = total - bounds.least - new_missing
    if spare <= 0 or not old:
        return {}
    order = sorted((group for group in old if group.size), key=lambda g: (g.created, g.name))
    left = spare
    for group in order:
        broken = max(group.size - group.available, 0)
        cut = min(left, broken)
        sizes[group.name] -= cut
        left -= cut
    # What is gone in this step served nobody, so it does not count against those that serve.
    serving = sum(min(group.available, group.size) for group in old) + (new.available if new else 0)
    left = min(left, max(serving - bounds.least, 0))
    for group in order:
        cut = min(left, sizes[group.name])
        sizes[group.name] -= cut
        left -= cut
    return {group.name: sizes[group.name] for group in old if sizes[group.name] != group.size}


def proportional_sizes(bounds: Bounds, groups: Sequence[Group], known_total: int) -> dict[str, int]:
    """Sizes after a change of `replicas` in the middle of a rollout: each group grows or shrinks by
    its share, and the largest takes what rounding leaves. `known_total` stands in for a group's
    missing `bound`."""
    active = [group for group in groups if group.size > 0]
    total = sum(group.size for group in active)
    allowed = bounds.most if bounds.replicas > 0 else 0
    to_add = allowed - total
    # Growing prefers the newest among equals, shrinking the oldest.
    active.sort(key=lambda group: group.name)
    active.sort(key=lambda group: group.created, reverse=to_add > 0)
    active.sort(key=lambda group: group.size, reverse=True)
    sizes: dict[str, int] = {}
    added = 0
    for group in active:
        share = _share(bounds, group, to_add, added, known_total) if to_add else 0
        sizes[group.name] = group.size + share
        added += share
    left = to_add - added
    for group in active:
        changed = max(sizes[group.name] + left, 0)
        left -= changed - sizes[group.name]
        sizes[group.name] = changed
    return sizes


def _share(bounds: Bounds, group: Group, to_add: int, added: int, known_total: int) -> int:
    allowed = to_add - added
    if not group.size or not allowed:
        return 0
    if bounds.replicas == 0:
        fraction = -group.size
    else:
        before = group.bound or known_total or bounds.most
        # Half away from zero, as the real controller rounds.
        fraction = math.floor(group.size * bounds.most / before + 0.5) - group.size
    return min(fraction, allowed) if to_add > 0 else max(fraction, allowed)
