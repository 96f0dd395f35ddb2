"""Objects and lists in the form that the client asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from kindling.cluster.apiserver.exchange import Exchange
from kindling.cluster.apiserver.negotiation import Form, View
from kindling.cluster.apiserver.printing.table import Printers
from kindling.cluster.model.api import Listing, Obj
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import not_acceptable
from kindling.cluster.storage.document import Document

__all__ = ["Forms", "encoded", "metadata_only"]


def encoded(obj: Obj) -> bytes:
    """An object as JSON; what the registry gives out carries its bytes along."""
    return obj.encoded if isinstance(obj, Document) else orjson.dumps(obj)


def metadata_only(obj: Obj, version: str = "v1") -> Obj:
    return {
        "kind": View.METADATA.value,
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": obj.get("metadata", {}),
    }


class Forms:
    """Answers with objects and lists."""

    def __init__(self, printers: Printers) -> None:
        self._printers = printers

    async def reply(
        self, exchange: Exchange, resource: ResourceType, obj: Obj, form: Form, status: int = 200
    ) -> None:
        match form.view:
            case View.TABLE:
                shown = self.table(exchange, resource, [obj], form)
                version = obj.get("metadata", {}).get("resourceVersion", "")
                await self._send(exchange, form, shown | _list_meta(version), status)
            case View.METADATA:
                await self._send(exchange, form, metadata_only(obj, form.version), status)
            case View.METADATA_LIST:
                raise not_acceptable("you requested PartialObjectMetadataList, but got an object")
            case _ if form.yaml or exchange.pretty():
                await self._send(exchange, form, obj, status)
            case _:
                await exchange.reply(encoded(obj) + b"\n", status=status)

    async def reply_list(
        self, exchange: Exchange, resource: ResourceType, listing: Listing, form: Form
    ) -> None:
        meta: Obj = {"resourceVersion": listing.resource_version}
        if listing.proceed:
            meta["continue"] = listing.proceed
            if listing.remaining is not None:
                meta["remainingItemCount"] = listing.remaining
        shown: Obj
        match form.view:
            case View.TABLE:
                shown = self.table(exchange, resource, listing.items, form) | {"metadata": meta}
            case View.METADATA_LIST:
                items = [metadata_only(item, form.version) for item in listing.items]
                version = f"meta.k8s.io/{form.version}"
                shown = {"kind": View.METADATA_LIST.value, "apiVersion": version}
                shown |= {"metadata": meta, "items": items}
            case View.METADATA:
                raise not_acceptable("you requested PartialObjectMetadata, but got a list")
            case _:
                shown = {"kind": resource.list_kind, "apiVersion": resource.api_version}
                shown |= {"metadata": meta, "items": _items(resource, listing.items)}
        await self._send(exchange, form, shown, 200)

    def table(
        self, exchange: Exchange, resource: ResourceType, items: Sequence[Obj], form: Form
    ) -> Obj:
        """A `Table` without metadata; `includeObject` decides what goes along with each row."""
        include = exchange.query.text("includeObject") or "Metadata"
        return self._printers.table(resource, items, form.version, include)

    async def _send(self, exchange: Exchange, form: Form, value: Any, status: int) -> None:
        if form.yaml:
            text = as_yaml(value)
            await exchange.reply(text, "application/yaml", status)
        else:
            await exchange.reply_json(value, status)


def as_yaml(value: Any) -> bytes:
    import yaml

    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    # By way of JSON: the dumper knows neither our own kinds of mapping nor shared values.
    plain = orjson.loads(orjson.dumps(value))
    text: str = yaml.dump(plain, Dumper=dumper, sort_keys=True, allow_unicode=True)
    return text.encode()


def _items(resource: ResourceType, items: Sequence[Obj]) -> list[Any]:
    """Items of built-in kinds stand in a list without their kind; custom ones with it."""
    if resource.custom:
        return [orjson.Fragment(encoded(item)) for item in items]
    drop = ("kind", "apiVersion")
    return [{key: item[key] for key in item if key not in drop} for item in items]


def _list_meta(version: str) -> Obj:
    return {"metadata": {"resourceVersion": version} if version else {}}
