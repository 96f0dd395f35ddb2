"""The verbs on resources: what HTTP asks, put to the registry, and what it says put into HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

from kindling.cluster.apiserver.bodies import decode, decode_json, decode_yaml, media_type
from kindling.cluster.apiserver.exchange import Exchange
from kindling.cluster.apiserver.forms import Forms
from kindling.cluster.apiserver.negotiation import negotiate
from kindling.cluster.apiserver.options import delete_options, selection, write_options
from kindling.cluster.apiserver.paths import Target
from kindling.cluster.apiserver.watching import serve_watch
from kindling.cluster.model.api import Api, Listing, Obj, PatchType, Selection
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import (
    ApiError,
    bad_request,
    method_not_allowed,
    not_found,
    unsupported_media_type,
)

__all__ = ["Verbs", "read_object"]

_RETURNED_WHEN_DELETED = frozenset(
    {
        "pods",
        "services",
        "serviceaccounts",
        "persistentvolumes",
        "persistentvolumeclaims",
        "podtemplates",
        "resourcequotas",
        "storageclasses.storage.k8s.io",
        "csidrivers.storage.k8s.io",
        "csinodes.storage.k8s.io",
        "volumeattachments.storage.k8s.io",
    }
)
"""Kinds whose deletion answers with the object and not with a Status: `ReturnDeletedObject` in the
real registry's strategies."""
_DELETIONS_AT_ONCE = 32


class Verbs:
    """Serves one resource at a time: collections, objects, and the subresources that are views of
    an object (`status`, `scale`, `finalize`, `ephemeralcontainers`)."""

    def __init__(self, api: Api, forms: Forms, stopping: asyncio.Event) -> None:
        self._api = api
        self._forms = forms
        self._stopping = stopping

    async def collection(self, exchange: Exchange, resource: ResourceType, target: Target) -> None:
        everywhere = resource.namespaced and not target.namespace
        match exchange.method:
            case "GET" | "HEAD":
                await self._list_or_watch(exchange, resource, target)
            case "POST" if "create" in resource.verbs and not everywhere:
                await self._create(exchange, resource, target.namespace)
            case "DELETE" if "deletecollection" in resource.verbs and not everywhere:
                await self._delete_all(exchange, resource, target)
            case _:
                raise method_not_allowed()

    async def object(self, exchange: Exchange, resource: ResourceType, target: Target) -> None:
        match exchange.method:
            case "GET" | "HEAD":
                if target.watch or exchange.query.flag("watch"):
                    await self._list_or_watch(exchange, resource, target)
                else:
                    await self._get(exchange, resource, target)
            case "PUT" if "update" in resource.verbs:
                await self._update(exchange, resource, target)
            case "PATCH" if "patch" in resource.verbs:
                await self._patch(exchange, resource, target)
            case "DELETE" if "delete" in resource.verbs and not target.subresource:
                await self._delete(exchange, resource, target)
            case _:
                raise method_not_allowed()

    def find(self, resource: ResourceType, target: Target) -> Obj:
        """Raises `ApiError` 404."""
        find = self._api.scale if target.subresource == "scale" else self._api.get
        found = find(resource, target.name, target.namespace)
        if found is None:
            raise not_found(resource.plural, target.name, resource.group)
        return found

    # reading

    async def _get(self, exchange: Exchange, resource: ResourceType, target: Target) -> None:
        form = negotiate(exchange.headers.get("accept", ""))
        found = self.find(resource, target)
        await self._forms.reply(exchange, resource, found, form)

    async def _list_or_watch(
        self, exchange: Exchange, resource: ResourceType, target: Target
    ) -> None:
        if "list" not in resource.verbs:
            raise method_not_allowed()
        form = negotiate(exchange.headers.get("accept", ""))
        namespace = (target.namespace or None) if resource.namespaced else None
        chosen = selection(exchange, namespace)
        if target.name:
            # `?watch=1` on one object: a watch of the list that holds it alone.
            by_name = f"metadata.name={target.name}"
            fields = f"{by_name},{chosen.fields}" if chosen.fields else by_name
            chosen = Selection(chosen.namespace, chosen.labels, fields)
        if target.watch or exchange.query.flag("watch"):
            await serve_watch(
                exchange, self._api, self._forms, resource, chosen, form, self._stopping
            )
            return
        query = exchange.query
        query.number("timeoutSeconds")
        listing = self._api.list(
            resource,
            chosen,
            limit=query.number("limit") or 0,
            proceed=query.text("continue"),
            resource_version=query.text("resourceVersion"),
            match=query.text("resourceVersionMatch"),
        )
        await self._forms.reply_list(exchange, resource, listing, form)

    # writing

    async def _create(self, exchange: Exchange, resource: ResourceType, namespace: str) -> None:
        form = negotiate(exchange.headers.get("accept", ""))
        options = write_options(exchange, "CreateOptions")
        obj = await read_object(exchange, resource)
        _check_namespace(
            obj,
            namespace,
            "the namespace of the provided object does not match the namespace sent on the request",
        )
        made = await self._api.create(resource, obj, namespace, options)
        await self._forms.reply(exchange, resource, made, form, 201)

    async def _update(self, exchange: Exchange, resource: ResourceType, target: Target) -> None:
        form = negotiate(exchange.headers.get("accept", ""))
        options = write_options(exchange, "UpdateOptions")
        scale = target.subresource == "scale"
        obj = await read_object(exchange, resource, scale=scale)
        obj = _named_as_in_path(obj, resource, target)
        before = self._api.get(resource, target.name, target.namespace)
        made = await self._api.update(resource, obj, target.subresource, options)
        await self._forms.reply(exchange, resource, made, form, 201 if before is None else 200)

    async def _patch(self, exchange: Exchange, resource: ResourceType, target: Target) -> None:
        form = negotiate(exchange.headers.get("accept", ""))
        patch_type = _patch_type(exchange, resource)
        options = write_options(exchange, "PatchOptions", patch_type)
        patch = _decode_patch(await exchange.body(), patch_type)
        before = self._api.get(resource, target.name, target.namespace)
        made = await self._api.patch(
            resource,
            target.name,
            patch,
            target.namespace,
            patch_type=patch_type,
            subresource=target.subresource,
            options=options,
        )
        await self._forms.reply(exchange, resource, made, form, 201 if before is None else 200)

    async def _delete(self, exchange: Exchange, resource: ResourceType, target: Target) -> None:
        form = negotiate(exchange.headers.get("accept", ""))
        options = await delete_options(exchange)
        obj, gone = await self._api.delete(resource, target.name, target.namespace, options)
        if not gone or resource.key in _RETURNED_WHEN_DELETED:
            await self._forms.reply(exchange, resource, obj, form)
            return
        await exchange.reply_json(_deleted(resource, obj))

    async def _delete_all(self, exchange: Exchange, resource: ResourceType, target: Target) -> None:
        form = negotiate(exchange.headers.get("accept", ""))
        options = await delete_options(exchange)
        namespace = target.namespace if resource.namespaced else None
        query = exchange.query
        listing = self._api.list(
            resource,
            selection(exchange, namespace),
            limit=query.number("limit") or 0,
            proceed=query.text("continue"),
            resource_version=query.text("resourceVersion"),
        )
        allowed = asyncio.Semaphore(_DELETIONS_AT_ONCE)

        async def delete(item: Obj) -> None:
            metadata = item["metadata"]
            async with allowed:
                try:
                    place = metadata.get("namespace", "")
                    await self._api.delete(resource, metadata["name"], place, options)
                except ApiError as error:
                    if error.code != 404:
                        raise

        results = await asyncio.gather(*map(delete, listing.items), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        done = Listing(listing.items, listing.resource_version, listing.proceed, listing.remaining)
        await self._forms.reply_list(exchange, resource, done, form)


async def read_object(
    exchange: Exchange, resource: ResourceType, *, scale: bool = False, kind: str = ""
) -> Obj:
    """The object in the body, with the kind and version that the path implies. Raises `ApiError`
    400 in the words of the real decoder, also for fields given twice if validation is strict."""
    expected = "Scale" if scale else kind or resource.kind
    validation = exchange.query.text("fieldValidation") or "Warn"
    body = await exchange.body()
    content_type = exchange.headers.get("content-type", "")
    decoded = decode(body, content_type, kind=expected, duplicates=validation != "Ignore")
    obj: Obj = decoded.value
    version = obj.get("apiVersion") or ""
    found = obj.get("kind") or ""
    if not isinstance(version, str) or not isinstance(found, str):
        raise bad_request("couldn't get version/kind; json parse error: not strings")
    api_version = resource.api_version
    if scale:
        api_version = "autoscaling/v1"
    elif kind:
        api_version = version or api_version
    if (version or api_version) != api_version:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version"
            f" ({api_version})"
        )
    if (found or expected) != expected:
        raise bad_request(
            f'{found} in version "{api_version}" cannot be handled as a {expected}: converting'
            f" ({found}) to ({expected}): unknown conversion"
        )
    if decoded.duplicates:
        if validation == "Strict":
            raise bad_request(
                f'{expected} in version "{api_version.rpartition("/")[2]}" cannot be handled as a'
                f" {expected}: strict decoding error: {', '.join(decoded.duplicates)}"
            )
        for text in decoded.duplicates:
            exchange.warn(text)
    metadata = obj.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise _undecodable(expected, api_version, "metadata", "ObjectMeta")
    for field in ("name", "namespace", "generateName", "resourceVersion", "uid"):
        value = (metadata or {}).get(field)
        if value is not None and not isinstance(value, str):
            raise _undecodable(expected, api_version, f"metadata.{field}", "string")
    return obj | {
        "apiVersion": api_version,
        "kind": expected,
        "metadata": metadata if metadata is not None else {},
    }


def _undecodable(kind: str, api_version: str, field: str, go_type: str) -> ApiError:
    version = api_version.rpartition("/")[2]
    return bad_request(
        f'{kind} in version "{version}" cannot be handled as a {kind}: json: cannot unmarshal into'
        f" Go struct field {kind}.{field} of type {go_type}"
    )


def _check_namespace(obj: Obj, namespace: str, message: str) -> None:
    given = obj["metadata"].get("namespace")
    if given and given != namespace:
        raise bad_request(message)


def _named_as_in_path(obj: Obj, resource: ResourceType, target: Target) -> Obj:
    """The object, under the name and namespace of the path. Raises `ApiError` 400 where its own
    differ."""
    metadata = obj["metadata"]
    name = metadata.get("name")
    if not name:
        raise bad_request(
            f"the name of the object ({target.name} based on URL) was undeterminable: name must be"
            " provided"
        )
    if name != target.name:
        raise bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({target.name})"
        )
    namespace = metadata.get("namespace") or target.namespace
    if resource.namespaced and namespace != target.namespace:
        raise bad_request(
            f"the namespace of the object ({namespace}) does not match the namespace on the request"
            f" ({target.namespace})"
        )
    if not target.namespace:
        return obj
    return obj | {"metadata": metadata | {"namespace": target.namespace}}


def _patch_type(exchange: Exchange, resource: ResourceType) -> PatchType:
    media = media_type(exchange.headers.get("content-type", ""))
    allowed = [kind for kind in PatchType if not (resource.custom and kind is PatchType.STRATEGIC)]
    for kind in allowed:
        if media == kind.value:
            return kind
    names = ", ".join(kind.value for kind in allowed)
    raise unsupported_media_type(
        f"the body of the request was in an unknown format - accepted media types include: {names}"
    )


def _decode_patch(body: bytes, kind: PatchType) -> Any:
    """The patch as it came: whether it is one is said when it meets its object."""
    if kind is PatchType.APPLY:
        return decode_yaml(body)
    try:
        return decode_json(body)
    except ValueError as error:
        raise bad_request(f"error decoding patch: {error}") from None


def _deleted(resource: ResourceType, obj: Obj) -> Obj:
    metadata = obj["metadata"]
    details = {"name": metadata["name"]}
    if resource.group:
        details["group"] = resource.group
    details |= {"kind": resource.plural, "uid": metadata.get("uid", "")}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }
