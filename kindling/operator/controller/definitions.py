"""The kinds that the operator serves, installed: what a cluster must know before all else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kindling.errors import ClusterError
from kindling.kube.definitions import is_established, wait_served
from kindling.kube.errors import (
    ForbiddenError,
    InvalidError,
    NotFoundError,
    ServerFaultError,
)
from kindling.kube.protocol import Cluster
from kindling.operator.controller.comparing import differences
from kindling.operator.controller.planning import reference
from kindling.operator.controller.writing import OPERATOR_MANAGER
from kindling.operator.definitions.environment import environment_definition
from kindling.operator.definitions.pool import POOL_KINDS, pool_definition

__all__ = ["definitions", "install_definitions"]

_LIMIT = 60.0
_RULES = "x-kubernetes-validations"


def definitions() -> tuple[dict[str, Any], ...]:
    """All CustomResourceDefinitions of the operator."""
    return (environment_definition(), *(pool_definition(kind) for kind in POOL_KINDS))


async def install_definitions(cluster: Cluster, *, force: bool = False) -> tuple[str, ...]:
    """See to it that the cluster knows our kinds, and return the names of those that were written.

    A definition that is there as it should be is left alone, unless `force` says to write it all
    the same. Returns once the server serves all of them.

    Raises:
        ClusterError: A definition is missing or differs, and may not be written.
    """
    written: list[str] = []
    for manifest in definitions():
        name = manifest["metadata"]["name"]
        ref = reference(manifest)
        try:
            live: Mapping[str, Any] = await cluster.get(ref)
        except NotFoundError:
            live = {}
        except ForbiddenError:
            await _served(cluster, manifest)  # whoever installed it looks after it
            continue
        if force or not live or await _would_change(cluster, manifest, live):
            await _write(cluster, manifest)
            written.append(name)
        if not is_established(live):
            await wait_served(cluster, ref, limit=_LIMIT)
    return tuple(written)


async def _would_change(
    cluster: Cluster, manifest: Mapping[str, Any], live: Mapping[str, Any]
) -> bool:
    """A server leaves out what it does not understand, such as rules before Kubernetes 1.25: it is
    asked what it would make of a definition that differs."""
    if not differences(manifest, live):
        return False
    try:
        answer = await _apply(cluster, manifest, dry_run=True)
    except ForbiddenError:
        return True  # and the write will say so
    return bool(answer["spec"] != live["spec"])


async def _write(cluster: Cluster, manifest: Mapping[str, Any]) -> None:
    try:
        await _apply(cluster, manifest)
    except ForbiddenError as error:
        kind = manifest["spec"]["names"]["kind"]
        raise ClusterError(
            f"The cluster `{cluster.context}` does not know `{kind}` as it is now, and we may not "
            "teach it",
            details=error.details,
            hint="Have somebody who may write CustomResourceDefinitions run "
            "`kindling operator install`",
        ) from error


async def _apply(
    cluster: Cluster, manifest: Mapping[str, Any], *, dry_run: bool = False
) -> Mapping[str, Any]:
    """Rules are left out where the server does not know them: the reconciler has them too."""
    try:
        return await cluster.apply(manifest, manager=OPERATOR_MANAGER, force=True, dry_run=dry_run)
    except (InvalidError, ServerFaultError) as error:
        if not any(f"{_RULES}: field not declared" in line for line in error.details):
            raise
        plain = _without_rules(manifest)
        return await cluster.apply(plain, manager=OPERATOR_MANAGER, force=True, dry_run=dry_run)


def _without_rules(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_rules(part) for key, part in value.items() if key != _RULES}
    if isinstance(value, list):
        return [_without_rules(part) for part in value]
    return value


async def _served(cluster: Cluster, manifest: Mapping[str, Any]) -> None:
    spec = manifest["spec"]
    version = f"{spec['group']}/{spec['versions'][0]['name']}"
    try:
        await cluster.resource(version, spec["names"]["kind"])
    except NotFoundError:
        await _write(cluster, manifest)
        await wait_served(cluster, reference(manifest), limit=_LIMIT)
