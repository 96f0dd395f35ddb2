"""Pages of a list, each as the whole list was at one revision."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right

import orjson

from kindling.cluster.model.api import Listing, Selection
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import ApiError, Cause, bad_request, gone, invalid
from kindling.cluster.registry.memory import Key, Memory
from kindling.cluster.registry.versions import storage_key, view
from kindling.cluster.registry.watching import Filter, parse_revision, too_large_revision
from kindling.cluster.storage.document import Document

__all__ = ["list_page"]

_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start"
    " a new list without the continue parameter, or use the continue token in this response to"
    " retrieve the remainder of the results. Continuing with the provided token results in an"
    " inconsistent list - objects that were created, modified, or deleted between the time the"
    " first chunk was returned and now may show up in the list."
)


def list_page(
    memory: Memory,
    resource: ResourceType,
    selection: Selection,
    *,
    limit: int,
    proceed: str,
    resource_version: str,
    match: str,
) -> Listing:
    """See `Api.list`. Raises `ApiError` 400, 410, or 504 for a revision that is yet to come."""
    chosen = Filter.of(resource, selection)
    key = storage_key(resource)
    revision, after = memory.revision, None
    _check(resource_version, match, proceed)
    exact = False
    if proceed:
        revision, after = _parse_token(proceed)
        if revision < 0:
            revision = memory.revision
        exact = True
    elif resource_version and resource_version != "0":
        asked = parse_revision(resource_version)
        if asked > memory.revision:
            raise too_large_revision(asked, memory.revision)
        if match == "Exact" or (not match and limit > 0):
            revision, exact = asked, True
    if exact and revision > memory.revision:
        raise too_large_revision(revision, memory.revision)
    if exact and not memory.history.knows(revision, (key,)):
        if proceed:
            raise ApiError(410, "Expired", _TOO_OLD)
        raise gone("The resourceVersion for the provided list is too old.")
    name = chosen.fields.exact("metadata.name")
    documents: list[tuple[Key, Document]]
    if exact and revision < memory.revision:
        documents = _as_it_was(memory, key, chosen.namespace, revision)
    elif name is not None and chosen.namespace is not None and after is None:
        found = memory.get((key, chosen.namespace, name))
        documents = [((key, chosen.namespace, name), found)] if found is not None else []
    else:
        keys = memory.keys(key, chosen.namespace)
        shelf = memory.select(key, chosen.namespace)
        documents = list(zip(keys, shelf, strict=True))
    if after is not None:
        documents = documents[bisect_right([k for k, _ in documents], (key, *after)) :]
    if not chosen.everything:
        documents = [(k, document) for k, document in documents if chosen.matches(document)]
    token, remaining = "", None
    if 0 < limit < len(documents):
        if chosen.everything:
            remaining = len(documents) - limit
        documents = documents[:limit]
        _, namespace, last = documents[-1][0]
        token = _token(revision, namespace, last)
    items = tuple(view(document, resource) for _, document in documents)
    return Listing(items, str(revision), token, remaining)


def _as_it_was(
    memory: Memory, key: str, namespace: str | None, revision: int
) -> list[tuple[Key, Document]]:
    """What is there now, with every later change taken back."""
    state = dict(zip(memory.keys(key, namespace), memory.select(key, namespace), strict=True))
    for entry in memory.history.newest_first():
        if entry.revision <= revision:
            break
        if entry.key != key or namespace not in (None, entry.namespace):
            continue
        place = (entry.key, entry.namespace, entry.name)
        if entry.before is None:
            state.pop(place, None)
        else:
            state[place] = entry.before
    return sorted(state.items(), key=lambda item: item[0])


def _check(resource_version: str, match: str, proceed: str) -> None:
    def refuse(field: str, reason: str, message: str) -> ApiError:
        return invalid(
            "ListOptions",
            "",
            [Cause(reason, message, field)],
            "meta.k8s.io",
        )

    if match:
        if not resource_version:
            raise refuse(
                "resourceVersionMatch",
                "FieldValueForbidden",
                "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
            )
        if proceed:
            raise refuse(
                "resourceVersionMatch",
                "FieldValueForbidden",
                "Forbidden: resourceVersionMatch is forbidden when continue is provided",
            )
        if match not in ("Exact", "NotOlderThan"):
            raise refuse(
                "resourceVersionMatch",
                "FieldValueNotSupported",
                f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""',
            )
        if match == "Exact" and resource_version == "0":
            raise refuse(
                "resourceVersionMatch",
                "FieldValueForbidden",
                'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"',
            )
    if proceed and resource_version and resource_version != "0":
        raise bad_request("specifying resource version is not allowed when using continue")


def _token(revision: int, namespace: str, name: str) -> str:
    body = orjson.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": f"{namespace}/{name}"})
    return base64.urlsafe_b64encode(body).decode().rstrip("=")


def _parse_token(token: str) -> tuple[int, tuple[str, str]]:
    try:
        body = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, _, name = str(body["start"]).partition("/")
        return int(body["rv"]), (namespace, name)
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise bad_request(f"invalid continue token: continue key is not valid: {error}") from error
