"""A runner pool as a value: what its manifest says, defaults and provider worked in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from kindling.operator.definitions.core import Schema
from kindling.operator.definitions.pool import pool_definition
from kindling.operator.pools.providers import PROVIDERS, Provider
from kindling.operator.structure import Fault, defaulted, faults

__all__ = ["Pool", "pool_schema", "read_pool", "sanitised"]

_LEGACY_IMAGE = "ghcr.io/actions/actions-runner:latest"
_LEGACY_WORK = "/runner/_work"
_GITHUB = "https://github.com"
"""Upstream's definitions fill these in whatever the provider, so stored pools say them without
anybody having meant it."""

_MAX_USER = 56
"""So that `-runner` still fits into a name."""

_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool of either kind. `uid` is empty before a server has given one."""

    kind: str
    name: str
    namespace: str
    uid: str
    generation: int
    provider: Provider
    user: str
    repository: str
    url: str
    secret: str
    secret_key: str
    replicas: int
    image: str
    labels: tuple[str, ...]
    group: str
    resources: Mapping[str, Any]
    env: tuple[Mapping[str, Any], ...]
    volumes: tuple[Mapping[str, Any], ...]
    mounts: tuple[Mapping[str, Any], ...]
    account: str
    """The user's own ServiceAccount; empty where one is made."""
    work: str

    @property
    def base(self) -> str:
        """What every child is named."""
        return f"{sanitised(self.user)}-runner"


def sanitised(user: str) -> str:
    """A user's name as a part of names: lower case, `@ _ .` as dashes, nothing else kept."""
    text = re.sub(r"[@_.]", "-", user.lower())
    text = re.sub(r"-+", "-", re.sub(r"[^a-z0-9-]", "", text))
    return text.strip("-")[:_MAX_USER].rstrip("-") or "runner"


@cache
def pool_schema(kind: str) -> Schema:
    """The schema of a whole pool of a kind. Not to be changed."""
    version: Schema = pool_definition(kind)["spec"]["versions"][0]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def read_pool(manifest: Mapping[str, Any]) -> Pool | tuple[Fault, ...]:
    """The pool of a manifest, or what makes it none."""
    schema = pool_schema(manifest["kind"])
    whole = defaulted(manifest, schema)
    found = tuple(faults(whole, schema))
    if found:
        return found
    pool = _pool(whole)
    return tuple(_wrong(pool)) or pool


def _pool(manifest: Mapping[str, Any]) -> Pool:
    metadata, spec = manifest["metadata"], manifest["spec"]
    provider = PROVIDERS[spec.get("ciProvider") or "github"]
    url = spec["githubURL"].rstrip("/")
    image = spec.get("runnerImage", "")
    work = spec.get("workDir", "")
    if url in ("", _GITHUB):
        url = provider.url
    repository = spec["repository"].removeprefix(f"{url}/").removesuffix(".git").strip("/")
    return Pool(
        kind=manifest["kind"],
        name=metadata["name"],
        namespace=metadata.get("namespace") or "default",
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 0),
        provider=provider,
        user=spec["githubUsername"],
        repository=repository,
        url=url,
        secret=spec["tokenSecretRef"]["name"],
        secret_key=spec["tokenSecretRef"]["key"],
        replicas=spec["replicas"],
        image=provider.image if image in ("", _LEGACY_IMAGE) else image,
        labels=tuple(spec.get("labels", ())),
        group=spec.get("runnerGroup", ""),
        resources=spec.get("resources", {}),
        env=tuple(spec.get("env", ())),
        volumes=tuple(spec.get("volumes", ())),
        mounts=tuple(spec.get("volumeMounts", ())),
        account=spec.get("serviceAccountName", ""),
        work=provider.work if work in ("", _LEGACY_WORK) else work,
    )


def _wrong(pool: Pool) -> list[Fault]:
    found = []
    if not _LABEL.match(pool.name):
        found.append(Fault("metadata.name", "must have at most 63 characters, as a label's value"))
    if not re.match(r"https?://[^/\s]", pool.url):
        found.append(Fault("spec.githubURL", f"`{pool.url}` is no http or https address"))
    if not re.match(pool.provider.repository + r"\Z", pool.repository):
        found.append(Fault("spec.repository", f"`{pool.repository}` is not {pool.provider.shape}"))
    return found
