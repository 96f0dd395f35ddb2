"""What the server serves: discovery in its old form, a document a group and version, and in the
aggregated one, everything at once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson

from kindling.cluster.apiserver.exchange import Exchange
from kindling.cluster.apiserver.negotiation import wants
from kindling.cluster.model.api import Api
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import ApiError

__all__ = ["Discovery"]

_ORDER = (
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
)
"""Groups in the order of the real aggregator's priorities; kubectl resolves a short name that
several groups know to the first. Custom groups follow by name."""
_SUBRESOURCES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    # name: group/version and kind of what is sent (empty: the resource's own), verbs
    "status": ("", "", ("get", "patch", "update")),
    "scale": ("autoscaling/v1", "Scale", ("get", "patch", "update")),
    "finalize": ("", "", ("update",)),
    "ephemeralcontainers": ("", "", ("get", "patch", "update")),
    "log": ("", "", ("get",)),
    "exec": ("", "PodExecOptions", ("create", "get")),
    "attach": ("", "PodAttachOptions", ("create", "get")),
    "portforward": ("", "PodPortForwardOptions", ("create", "get")),
    "binding": ("", "Binding", ("create",)),
    "eviction": ("policy/v1", "Eviction", ("create",)),
    "token": ("authentication.k8s.io/v1", "TokenRequest", ("create",)),
    "proxy": ("", "", ("create", "delete", "get", "patch", "update")),
}
_PROXY_KINDS = {"pods": "PodProxyOptions", "services": "ServiceProxyOptions"}


class Discovery:
    """Answers from the registry's table, made anew when that changes."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._made_for: Sequence[ResourceType] | None = None
        self._groups: dict[str, dict[str, list[ResourceType]]] = {}
        self._aggregated: dict[tuple[str, str], tuple[bytes, str]] = {}

    def groups(self) -> dict[str, dict[str, list[ResourceType]]]:
        """Group, then version (preferred first), then resources by name."""
        resources = self._api.resources()
        if self._made_for is not resources:
            self._made_for = resources
            self._aggregated.clear()
            found: dict[str, dict[str, list[ResourceType]]] = {}
            for row in resources:
                found.setdefault(row.group, {}).setdefault(row.version, []).append(row)
            rank = {group: at for at, group in enumerate(_ORDER)}
            names = sorted(found, key=lambda group: (rank.get(group, len(rank)), group))
            self._groups = {
                name: {
                    version: sorted(found[name][version], key=lambda row: row.plural)
                    for version in sorted(found[name], key=version_rank)
                }
                for name in names
            }
        return self._groups

    async def reply(self, exchange: Exchange, parts: list[str]) -> None:
        """`/`, `/api`, `/api/v1`, `/apis`, `/apis/GROUP`, `/apis/GROUP/VERSION`. Raises `ApiError`
        404."""
        groups = self.groups()
        match parts:
            case []:
                await exchange.reply_json({"paths": self._paths()}, pretty=True)
            case ["api" | "apis" as door]:
                accept = exchange.headers.get("accept", "")
                version = wants(accept, "APIGroupDiscoveryList", "apidiscovery.k8s.io", _FORMS)
                if version:
                    await self._reply_aggregated(exchange, door, version)
                elif door == "api":
                    await exchange.reply_json({"kind": "APIVersions", "versions": ["v1"]} | _HERE)
                else:
                    listed = [_group(name, found) for name, found in groups.items() if name]
                    body = {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
                    await exchange.reply_json(body)
            case ["apis", group] if group and group in groups:
                head = {"kind": "APIGroup", "apiVersion": "v1"}
                await exchange.reply_json(head | _group(group, groups[group]))
            case ["api", version] if version in groups.get("", {}):
                await exchange.reply_json(_resource_list(version, groups[""][version]))
            case ["apis", group, version] if group and version in groups.get(group, {}):
                found = groups[group][version]
                await exchange.reply_json(_resource_list(f"{group}/{version}", found))
            case _:
                raise ApiError(404, "NotFound", "the server could not find the requested resource")

    def _paths(self) -> list[str]:
        paths = ["/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/apis/"]
        for group, versions in self.groups().items():
            if group:
                paths.append(f"/apis/{group}")
                paths += [f"/apis/{group}/{version}" for version in versions]
        for door in ("/healthz", "/livez", "/readyz", "/openapi/v2", "/openapi/v3", "/version"):
            paths.append(door)
        return sorted(paths)

    async def _reply_aggregated(self, exchange: Exchange, door: str, version: str) -> None:
        made = self._aggregated.get((door, version))
        if made is None:
            items = [
                _aggregated_group(name, versions)
                for name, versions in self.groups().items()
                if bool(name) is (door == "apis")
            ]
            body = {
                "kind": "APIGroupDiscoveryList",
                "apiVersion": f"apidiscovery.k8s.io/{version}",
                "metadata": {},
                "items": items,
            }
            encoded = orjson.dumps(body)
            made = encoded, f'"{hashlib.sha512(encoded).hexdigest().upper()}"'
            self._aggregated[door, version] = made
        encoded, etag = made
        media = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        headers = [(b"etag", etag.encode()), (b"vary", b"Accept")]
        if exchange.headers.get("if-none-match") == etag:
            await exchange.reply(b"", media, 304, headers)
        else:
            await exchange.reply(encoded, media, 200, headers)


_FORMS = ("v2", "v2beta1")
_HERE = {"serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "10.198.0.1"}]}


def version_rank(version: str) -> tuple[int, int, int, str]:
    """`v2`, `v1`, `v1beta2`, `v1beta1`, `v1alpha1`, then all others by name."""
    import re

    found = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if found is None:
        return (3, 0, 0, version)
    stage = {None: 0, "beta": 1, "alpha": 2}[found[2]]
    return (stage, -int(found[1]), -int(found[3] or 0), "")


def _group(name: str, versions: dict[str, list[ResourceType]]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _subresource(row: ResourceType, name: str) -> tuple[str, str, str, tuple[str, ...]]:
    """Group, version and kind of what the subresource takes, and its verbs."""
    api_version, kind, verbs = _SUBRESOURCES[name]
    if name == "proxy":
        kind = _PROXY_KINDS.get(row.plural, "")
    group, _, version = (api_version or row.api_version).rpartition("/")
    return group, version, kind or row.kind, verbs


def _resource_list(api_version: str, rows: list[ResourceType]) -> dict[str, Any]:
    listed: list[dict[str, Any]] = []
    for row in rows:
        entry: dict[str, Any] = {
            "name": row.plural,
            "singularName": row.singular,
            "namespaced": row.namespaced,
            "kind": row.kind,
            "verbs": list(row.verbs),
        }
        if row.short_names:
            entry["shortNames"] = list(row.short_names)
        if row.categories:
            entry["categories"] = list(row.categories)
        listed.append(entry)
        for name in sorted(row.subresources & _SUBRESOURCES.keys()):
            group, version, kind, verbs = _subresource(row, name)
            entry = {"name": f"{row.plural}/{name}", "singularName": ""}
            entry |= {"namespaced": row.namespaced}
            if (group, version) != (row.group, row.version):
                entry |= {"group": group, "version": version}
            listed.append(entry | {"kind": kind, "verbs": list(verbs)})
    head = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version}
    return head | {"resources": listed}


def _aggregated_group(name: str, versions: dict[str, list[ResourceType]]) -> dict[str, Any]:
    listed = [
        {
            "version": version,
            "resources": [_aggregated_resource(row) for row in rows],
            "freshness": "Current",
        }
        for version, rows in versions.items()
    ]
    return {"metadata": {"name": name} if name else {}, "versions": listed}


def _aggregated_resource(row: ResourceType) -> dict[str, Any]:
    kind = {"group": row.group, "version": row.version, "kind": row.kind}
    entry: dict[str, Any] = {
        "resource": row.plural,
        "responseKind": kind,
        "scope": "Namespaced" if row.namespaced else "Cluster",
        "singularResource": row.singular,
        "verbs": list(row.verbs),
    }
    if row.short_names:
        entry["shortNames"] = list(row.short_names)
    if row.categories:
        entry["categories"] = list(row.categories)
    below: list[dict[str, Any]] = []
    for name in sorted(row.subresources & _SUBRESOURCES.keys()):
        group, version, sub_kind, verbs = _subresource(row, name)
        response = {"group": group, "version": version, "kind": sub_kind}
        below.append({"subresource": name, "responseKind": response, "verbs": list(verbs)})
    if below:
        entry["subresources"] = below
    return entry
