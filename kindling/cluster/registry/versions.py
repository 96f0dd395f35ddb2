"""One stored object, seen in the several API versions that serve it."""

from __future__ import annotations

from kindling.cluster.model.api import Obj
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.registry import autoscalers
from kindling.cluster.storage.document import Document

__all__ = ["storage_key", "to_storage", "view"]

_EVENT_FIELDS = {
    # core/v1 to events.k8s.io/v1
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_EVENT_FIELDS_BACK = {new: old for old, new in _EVENT_FIELDS.items()}


def storage_key(resource: ResourceType) -> str:
    """What its objects are stored under: both kinds of Event are the core one."""
    return "events" if resource.key == "events.events.k8s.io" else resource.key


def to_storage(resource: ResourceType, obj: Obj, api_version: str) -> Obj:
    """The object in the version that is stored."""
    if resource.key == "events.events.k8s.io":
        renamed = {_EVENT_FIELDS_BACK.get(field, field): value for field, value in obj.items()}
        return renamed | {"apiVersion": "v1"}
    if autoscalers.is_v1(resource):
        return autoscalers.in_v2(obj)
    return obj | {"apiVersion": api_version, "kind": resource.kind}


def view(document: Document, resource: ResourceType) -> Document:
    """The object as `resource.version` shows it; made once for each version."""
    if document["apiVersion"] == resource.api_version:
        return document
    views = document.views
    if views is None:
        views = document.views = {}
    made = views.get(resource.api_version)
    if made is None:
        obj: Obj = document
        if resource.key == "events.events.k8s.io":
            obj = {_EVENT_FIELDS.get(field, field): value for field, value in obj.items()}
        elif autoscalers.is_v1(resource):
            obj = autoscalers.in_v1(document)
        made = views[resource.api_version] = Document(obj | {"apiVersion": resource.api_version})
    return made
