"""What an environment or a pool wants, with what it depends on read from the cluster."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping
from typing import Any

from kindling.graph.spec import ObjectRef
from kindling.operator.credentials import Draw, Known, references
from kindling.operator.definitions.environment import KIND
from kindling.operator.desired import Desired, desired
from kindling.operator.model import read_environment
from kindling.operator.pools.desired import Agent, desired_pool
from kindling.operator.pools.model import Pool, read_pool

__all__ = ["known_of", "wanted"]

Object = Mapping[str, Any]


async def wanted(
    owner: Object, find: Callable[[ObjectRef], Any], draw: Draw, agent: Agent
) -> Desired:
    """What an environment or a pool wants, given what the cluster holds."""
    if owner["kind"] == KIND:
        return desired(owner, await known_of(owner, find), draw)
    pool = read_pool(owner)
    keys: Collection[str] | None = None
    if isinstance(pool, Pool):
        secret = await find(ObjectRef("v1", "Secret", pool.secret, pool.namespace))
        keys = None if secret is None else tuple(secret.get("data") or {})
    return desired_pool(owner, keys, agent)


async def known_of(owner: Object, find: Callable[[ObjectRef], Any]) -> Known:
    """The Secrets and ConfigMaps that an environment's credentials depend on."""
    environment = read_environment(owner)
    if isinstance(environment, tuple):
        return Known()
    secrets: dict[str, Mapping[str, str]] = {}
    config_maps: dict[str, Mapping[str, str]] = {}
    for names, kind, place in zip(
        references(environment), ("Secret", "ConfigMap"), (secrets, config_maps), strict=True
    ):
        for name in sorted(names):
            live = await find(ObjectRef("v1", kind, name, environment.namespace))
            if live is not None:
                data = live.get("data") or {}
                place[name] = _decoded(data) if kind == "Secret" else data
    return Known(secrets, config_maps)


def _decoded(data: Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64decode(text).decode("utf-8", "replace") for key, text in data.items()}
