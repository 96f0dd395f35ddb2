"""Which kinds the API server serves, and under which path."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from difflib import get_close_matches
from urllib.parse import quote

from kindling.errors import nearest
from kindling.kube.errors import NotFoundError, UnknownKindError
from kindling.kube.protocol import Resource
from kindling.kube.wire import Wire

__all__ = ["Discovery", "group_path", "nearest_group", "resource_path"]


class Discovery:
    """The kinds of one API server, asked for once per group and version.

    A kind that is not found is asked for again the next time: its CRD may have come meanwhile.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._known: dict[str, dict[str, Resource]] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def resource(self, api_version: str, kind: str, *, timeout: float) -> Resource:
        """How `kind` is served.

        Raises:
            UnknownKindError: It is not; the message names the nearest kind there is.
        """
        async with self._asking.setdefault(api_version, asyncio.Lock()):
            found = self._known.get(api_version, {}).get(kind)
            if found is None:
                self._known[api_version] = await self._ask(api_version, timeout)
                found = self._known[api_version].get(kind)
        if found is None:
            raise await self._unknown(api_version, kind, timeout)
        return found

    def forget(self, api_version: str) -> None:
        """Ask for this group and version anew: what was known of it proved wrong."""
        self._known.pop(api_version, None)

    async def _ask(self, api_version: str, timeout: float) -> dict[str, Resource]:
        try:
            answer = await self._wire.request(
                "GET", group_path(api_version), f"learn the kinds of {api_version}", timeout=timeout
            )
        except NotFoundError:
            return {}
        return {
            item["kind"]: Resource(api_version, item["kind"], item["name"], item["namespaced"])
            for item in answer.json().get("resources") or ()
            if "/" not in item["name"]
        }

    async def _unknown(self, api_version: str, kind: str, timeout: float) -> UnknownKindError:
        group = api_version.rpartition("/")[0]
        versions = await self._versions(timeout)
        of_group = [version for version in versions if version.rpartition("/")[0] == group]
        if api_version in of_group:
            kinds = self._known.get(api_version, {})
            return UnknownKindError(
                f"The cluster has no kind `{kind}` in `{api_version}`",
                hint=nearest(kind, kinds) or _install(group, kind),
            )
        if of_group:
            return UnknownKindError(
                f"The cluster does not serve `{api_version}`, which `{kind}` asks for",
                details=[f"it serves [{', '.join(of_group)}]"],
                hint="Change the manifest's apiVersion to one that this cluster serves",
            )
        return UnknownKindError(
            f"The cluster has no kind `{kind}` in `{api_version}`",
            hint=nearest_group(api_version, versions) or _install(group, kind),
        )

    async def _versions(self, timeout: float) -> list[str]:
        answer = await self._wire.request(
            "GET", "/apis", "learn the groups of the cluster", timeout=timeout
        )
        groups: Iterable[dict[str, list[dict[str, str]]]] = answer.json().get("groups") or ()
        return ["v1", *(v["groupVersion"] for group in groups for v in group["versions"])]


def nearest_group(api_version: str, versions: Iterable[str]) -> str:
    """The version that was meant, where only letters of the group's name differ: groups of other
    products that merely end alike are none."""
    first = api_version.partition(".")[0]
    alike = (v for v in versions if get_close_matches(first, [v.partition(".")[0]], cutoff=0.8))
    return nearest(api_version, alike)


def _install(group: str, kind: str) -> str:
    return (
        "Its CustomResourceDefinition is not installed: first apply the one that defines "
        f"{kind} of {group}"
    )


def group_path(api_version: str) -> str:
    """`/api/v1` or `/apis/GROUP/VERSION`."""
    prefix = "/apis" if "/" in api_version else "/api"
    return f"{prefix}/{quote(api_version)}"


def resource_path(
    resource: Resource, namespace: str = "", name: str = "", subresource: str = ""
) -> str:
    """The path of a kind, or of one object of it, or of something below that object."""
    parts = [group_path(resource.api_version)]
    if resource.namespaced and namespace:
        parts += ["namespaces", quote(namespace, safe="")]
    parts.append(resource.plural)
    parts += [quote(part, safe="") for part in (name, subresource) if part]
    return "/".join(parts)
