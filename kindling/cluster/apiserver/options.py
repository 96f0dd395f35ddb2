"""What the parameters of writes, lists and deletions mean, and the words in which wrong ones are
refused (apimachinery `pkg/apis/meta/v1/validation`)."""

from __future__ import annotations

from typing import Any

from kindling.cluster.apiserver.bodies import PROTOBUF, decode_json, decode_yaml, media_type
from kindling.cluster.apiserver.exchange import Exchange
from kindling.cluster.apiserver.wire.protobuf import decode_protobuf
from kindling.cluster.model.api import DeleteOptions, PatchType, Selection, WriteOptions
from kindling.cluster.model.status import Cause, bad_request, invalid, unsupported_media_type

__all__ = ["delete_options", "field_validation", "selection", "write_options"]

_PROPAGATION = ("Foreground", "Background", "Orphan")


def write_options(exchange: Exchange, kind: str, patch: PatchType | None = None) -> WriteOptions:
    """The options of a create, update or patch; `kind` (`CreateOptions`) is for messages. Raises
    `ApiError` 422."""
    query = exchange.query
    manager = query.text("fieldManager")
    causes = [*_dry_run_causes(query.all("dryRun")), *_manager_causes(manager)]
    if patch is PatchType.APPLY and not manager:
        text = "Required value: is required for apply patch"
        causes.append(Cause("FieldValueRequired", text, "fieldManager"))
    if patch is not None and patch is not PatchType.APPLY and "force" in query:
        text = "Forbidden: may not be specified for non-apply patch"
        causes.append(Cause("FieldValueForbidden", text, "force"))
    validation = query.text("fieldValidation")
    if validation not in ("", "Ignore", "Warn", "Strict"):
        text = f'Unsupported value: "{validation}": supported values: "Ignore", "Strict", "Warn"'
        causes.append(Cause("FieldValueNotSupported", text, "fieldValidation"))
    if causes:
        raise invalid(kind, "", causes, "meta.k8s.io")
    return WriteOptions(
        field_manager=manager or _agent(exchange),
        dry_run=bool(query.all("dryRun")),
        force=query.flag("force"),
        field_validation=validation or "Warn",
        warn=exchange.warn,
    )


def field_validation(exchange: Exchange) -> str:
    """`Warn` where the client does not say, as since 1.27."""
    return exchange.query.text("fieldValidation") or "Warn"


def selection(exchange: Exchange, namespace: str | None) -> Selection:
    query = exchange.query
    return Selection(namespace, query.text("labelSelector"), query.text("fieldSelector"))


async def delete_options(exchange: Exchange) -> DeleteOptions:
    """From the body if there is one, else from the query, as the real server does. Raises
    `ApiError` 400 and 422."""
    body = await exchange.body()
    if body.strip():
        given = _delete_body(body, exchange.headers.get("content-type", ""))
    else:
        given = _delete_query(exchange)
    raw_dry = given.get("dryRun")
    dry = [str(item) for item in raw_dry] if isinstance(raw_dry, list) else []
    causes = list(_dry_run_causes(dry))
    propagation = given.get("propagationPolicy") or ""
    orphan = given.get("orphanDependents")
    if propagation and propagation not in _PROPAGATION:
        names = ", ".join(f'"{name}"' for name in (*_PROPAGATION, "nil"))
        text = f'Unsupported value: "{propagation}": supported values: {names}'
        causes.append(Cause("FieldValueNotSupported", text, "propagationPolicy"))
    if propagation and orphan is not None:
        text = (
            f'Invalid value: "{propagation}": orphanDependents and deletionPropagation cannot be'
            " both set"
        )
        causes.append(Cause("FieldValueInvalid", text, "propagationPolicy"))
    if causes:
        raise invalid("DeleteOptions", "", causes, "meta.k8s.io")
    if isinstance(orphan, bool):
        propagation = "Orphan" if orphan else "Background"
    grace = given.get("gracePeriodSeconds")
    if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int)):
        raise bad_request("gracePeriodSeconds must be an integer")
    conditions = given.get("preconditions")
    if not isinstance(conditions, dict):
        conditions = {}
    return DeleteOptions(
        grace=grace,
        propagation=str(propagation),
        uid=str(conditions.get("uid") or ""),
        resource_version=str(conditions.get("resourceVersion") or ""),
        dry_run=bool(dry),
    )


def _delete_body(body: bytes, content_type: str) -> dict[str, Any]:
    media = media_type(content_type) or "application/json"
    if media == "application/json":
        try:
            given = decode_json(body)
        except ValueError as error:
            raise bad_request(f"couldn't get version/kind; json parse error: {error}") from None
    elif media == PROTOBUF:
        given = decode_protobuf(body)
    elif media == "application/yaml":
        given = decode_yaml(body)
    else:
        raise unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include:"
            " application/json, application/yaml"
        )
    if not isinstance(given, dict):
        raise bad_request("expected DeleteOptions")
    if (kind := given.get("kind", "DeleteOptions")) != "DeleteOptions":
        raise bad_request(f"unexpected object in the body of a deletion: {str(kind)[:100]}")
    return given


def _delete_query(exchange: Exchange) -> dict[str, Any]:
    query = exchange.query
    given: dict[str, Any] = {"dryRun": query.all("dryRun")}
    if (grace := query.number("gracePeriodSeconds")) is not None:
        given["gracePeriodSeconds"] = grace
    if policy := query.text("propagationPolicy"):
        given["propagationPolicy"] = policy
    if "orphanDependents" in query:
        given["orphanDependents"] = query.flag("orphanDependents")
    return given


def _agent(exchange: Exchange) -> str:
    """The manager of a client that names none: its user agent up to the first slash."""
    prefix = exchange.headers.get("user-agent", "").partition("/")[0]
    return "".join(sign for sign in prefix if sign.isprintable())[:128] or "unknown"


def _dry_run_causes(values: list[str]) -> list[Cause]:
    if all(value == "All" for value in values):
        return []
    shown = ", ".join(f'"{value}"' for value in values)
    text = f'Unsupported value: []string{{{shown}}}: supported values: "All"'
    return [Cause("FieldValueNotSupported", text, "dryRun")]


def _manager_causes(manager: str) -> list[Cause]:
    if len(manager.encode()) > 128:
        return [Cause("FieldValueTooLong", "Too long: must have at most 128 bytes", "fieldManager")]
    if not manager.isprintable():
        shown = manager.encode("unicode_escape").decode()
        text = f'Invalid value: "{shown}": should only contain printable characters'
        return [Cause("FieldValueInvalid", text, "fieldManager")]
    return []
