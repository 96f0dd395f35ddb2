"""What `kindling runners` does: pools of CI runners made, waited for, listed and deleted."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kindling.engine.environments.clearing import clear, find_pools
from kindling.engine.runnerwait import Seen, why_not
from kindling.engine.usersecrets import MANAGED_BY
from kindling.errors import UsageError, nearest
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import ConflictError, NotFoundError, UnknownKindError
from kindling.kube.protocol import Cluster, Object
from kindling.operator.definitions.core import GROUP, VERSION
from kindling.operator.definitions.pool import POOL_KINDS
from kindling.operator.pools.model import Pool, read_pool, sanitised
from kindling.operator.pools.providers import PROVIDERS

__all__ = [
    "Asked",
    "PoolRow",
    "ci_page",
    "create_pool",
    "delete_pools",
    "pool_manifest",
    "pool_rows",
]

_API = f"{GROUP}/{VERSION}"
_KIND = "CIRunnerPool"
_SHAPES = {"githubUsername": "--username", "repository": "--repo", "githubURL": "--url"}
_PAGES = {"github": "actions", "gitlab": "-/pipelines"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A pool as a command line describes it. The token is in no repr."""

    username: str
    repository: str
    token: str = field(repr=False)
    provider: str = "github"
    url: str = ""
    replicas: int = 1
    labels: tuple[str, ...] = ("kindling",)
    image: str = ""


@dataclass(frozen=True, slots=True)
class PoolRow:
    """One pool of a list. `reason` and `message` say why it is not ready."""

    name: str
    namespace: str
    kind: str
    provider: str
    username: str
    repository: str
    page: str
    replicas: int
    ready_runners: int
    ready: bool
    reason: str = ""
    message: str = ""


def pool_manifest(asked: Asked, namespace: str) -> tuple[dict[str, Any], Pool]:
    """The pool's manifest, and what it says. Names are upstream's.

    Raises:
        UsageError: It cannot be a pool; the message names the option.
    """
    provider = PROVIDERS.get(asked.provider)
    if provider is None:
        raise UsageError(
            f"There is no CI provider `{asked.provider}`",
            hint=nearest(asked.provider, PROVIDERS) or f"Known: [{', '.join(PROVIDERS)}].",
        )
    spec: dict[str, Any] = {
        "githubUsername": asked.username,
        "repository": asked.repository,
        "githubURL": asked.url or provider.url,
        "ciProvider": asked.provider,
        "tokenSecretRef": {
            "name": f"{asked.provider}-runner-token",
            "key": f"{asked.provider}-token",
        },
        "replicas": asked.replicas,
        "labels": list(asked.labels),
    }
    if asked.image:
        spec["runnerImage"] = asked.image
    manifest = {
        "apiVersion": _API,
        "kind": _KIND,
        "metadata": {
            "name": f"{sanitised(asked.username)}-runner-pool",
            "namespace": namespace,
            "labels": {MANAGED_BY[0]: MANAGED_BY[1]},
        },
        "spec": spec,
    }
    pool = read_pool(manifest)
    if not isinstance(pool, Pool):
        name = pool[0].field.removeprefix("spec.")
        raise UsageError(f"`{_SHAPES.get(name, name)}`: {pool[0].message}")
    return manifest, pool


def ci_page(pool: Pool) -> str:
    """Where the pool's jobs are seen."""
    return f"{pool.url}/{pool.repository}/{_PAGES[pool.provider.name]}"


async def create_pool(
    cluster: Cluster, asked: Asked, namespace: str, say: Callable[[str], None]
) -> Pool:
    """Write the token's Secret and the pool; the pool as it then is.

    Raises:
        UsageError: Another pool has that user, so that runners of both would have one name.
        ClusterError: The cluster refused something.
    """
    manifest, pool = pool_manifest(asked, namespace)
    for other in await _pools(cluster, namespace):
        if (other["kind"], other["metadata"]["name"]) == (pool.kind, pool.name):
            continue
        spec = other.get("spec") or {}
        if sanitised(str(spec.get("githubUsername", ""))) == sanitised(pool.user):
            raise UsageError(
                f"The {other['kind']} `{other['metadata']['name']}` in namespace `{namespace}` has "
                f"the runners of `{asked.username}` already",
                hint="Delete it first (`kindling runners delete`), or use another `--namespace`.",
            )
        if (spec.get("tokenSecretRef") or {}).get("name") == pool.secret:
            say(
                f"warning: the pool `{other['metadata']['name']}` has its token in the same Secret:"
                " it now has this token too"
            )
    await _apply(cluster, _token(pool, asked.token))
    say(f"Secret/{pool.secret} written")
    live = await _apply(cluster, manifest)
    say(f"{pool.kind}/{pool.name} written")
    found = read_pool(live)
    assert isinstance(found, Pool)
    return found


def _token(pool: Pool, token: str) -> Object:
    metadata = {
        "name": pool.secret,
        "namespace": pool.namespace,
        "labels": {MANAGED_BY[0]: MANAGED_BY[1]},
    }
    data = {pool.secret_key: base64.b64encode(token.encode()).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


async def _apply(cluster: Cluster, manifest: Object) -> Object:
    try:
        return await cluster.apply(manifest, force=True)
    except ConflictError:
        # Somebody wrote between the server's reading and writing: the same again works.
        return await cluster.apply(manifest, force=True)


async def pool_rows(cluster: Cluster, namespace: str = "") -> tuple[PoolRow, ...]:
    """The pools of both kinds, by namespace and name, as their Deployments are just now: what a
    pool's status says may be old where no operator acts."""
    rows = []
    for manifest in await _pools(cluster, namespace):
        pool = read_pool(manifest)
        if isinstance(pool, Pool):
            rows.append(await _row(cluster, pool, manifest))
        else:
            metadata, spec = manifest["metadata"], manifest.get("spec") or {}
            rows.append(
                PoolRow(
                    name=metadata["name"],
                    namespace=metadata["namespace"],
                    kind=manifest["kind"],
                    provider=spec.get("ciProvider") or "github",
                    username=str(spec.get("githubUsername", "")),
                    repository=str(spec.get("repository", "")),
                    page="",
                    replicas=int(spec.get("replicas", 1)),
                    ready_runners=0,
                    ready=False,
                    reason="InvalidSpec",
                    message=f"{pool[0].field}: {pool[0].message}",
                )
            )
    return tuple(sorted(rows, key=lambda row: (row.namespace, row.name, row.kind)))


async def _row(cluster: Cluster, pool: Pool, manifest: Object) -> PoolRow:
    seen = Seen(pool=manifest)
    try:
        seen.deployment = await cluster.get(
            ObjectRef("apps/v1", "Deployment", pool.base, pool.namespace)
        )
    except NotFoundError:
        available = 0
    else:
        labels = (("app.kubernetes.io/instance", pool.name),)
        listing = await cluster.list("v1", "Pod", namespace=pool.namespace, labels=labels)
        seen.pods = {pod["metadata"]["uid"]: pod for pod in listing.items}
        available = (seen.deployment.get("status") or {}).get("availableReplicas", 0)
    reason, _, message = (why := why_not(seen)).partition(": ")
    if not message:
        reason, message = ("NotReconciled", why) if why else ("", "")
    return PoolRow(
        name=pool.name,
        namespace=pool.namespace,
        kind=pool.kind,
        provider=pool.provider.name,
        username=pool.user,
        repository=pool.repository,
        page=ci_page(pool),
        replicas=pool.replicas,
        ready_runners=available,
        ready=not why,
        reason=reason,
        message=message,
    )


async def delete_pools(
    cluster: Cluster, namespace: str, names: Sequence[str], say: Callable[[str], None]
) -> None:
    """Delete pools by name, wait until their runners are gone, and then delete the Secrets of their
    tokens that no other pool has.

    Raises:
        UsageError: There is no such pool; nothing was deleted.
        ClusterError: Runners are still there when the time is over.
    """
    pools = await find_pools(cluster, namespace)
    known = [pool.ref.name for pool in pools]
    for name in names:
        if name not in known:
            raise UsageError(
                f"There is no runner pool `{name}` in namespace `{namespace}`",
                hint=nearest(name, known) or f"It has [{', '.join(known)}].",
            )
    going = [pool for pool in pools if pool.ref.name in names]
    kept = {pool.secret for pool in pools if pool.ref.name not in names}
    going = [replace(pool, secret=None) if pool.secret in kept else pool for pool in going]
    await clear(cluster, going, say)


async def _pools(cluster: Cluster, namespace: str) -> list[Object]:
    found: list[Object] = []
    for kind in POOL_KINDS:
        try:
            listing = await cluster.list(_API, kind, namespace=namespace)
        except UnknownKindError:
            continue
        # A list leaves out what its items are.
        found += [{**one, "apiVersion": _API, "kind": kind} for one in listing.items]
    return found
