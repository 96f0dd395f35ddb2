"""Failures as the API reports them: a `Status` object with code, reason, message and details.

Reasons, codes and message texts follow k8s.io/apimachinery `pkg/api/errors`, since clients print
the messages and decide by the reasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ApiError",
    "Cause",
    "already_exists",
    "bad_request",
    "conflict",
    "forbidden",
    "gone",
    "internal_error",
    "invalid",
    "method_not_allowed",
    "not_acceptable",
    "not_found",
    "too_large",
    "unauthorized",
    "unsupported_media_type",
]


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is wrong, and the field it is wrong in.

    `reason` is a wire constant such as `FieldValueRequired`, `FieldValueInvalid`,
    `FieldValueNotSupported`, `FieldValueForbidden`, `FieldValueDuplicate`, `FieldManagerConflict`.
    `message` is complete for people without the field's name: `Required value: must be set`.
    """

    reason: str
    message: str
    field: str = ""


class ApiError(Exception):
    """A request that is refused. `status()` is what goes over the wire."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        name: str = "",
        group: str = "",
        kind: str = "",
        uid: str = "",
        causes: Sequence[Cause] = (),
        retry_after: int = 0,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.name = name
        self.group = group
        self.kind = kind
        self.uid = uid
        self.causes = tuple(causes)
        self.retry_after = retry_after

    def status(self) -> dict[str, Any]:
        """The `v1` `Status` object of this failure."""
        details: dict[str, Any] = {}
        for key in ("name", "group", "kind", "uid"):
            if value := getattr(self, key):
                details[key] = value
        if self.causes:
            details["causes"] = [
                {"reason": cause.reason, "message": cause.message}
                | ({"field": cause.field} if cause.field else {})
                for cause in self.causes
            ]
        if self.retry_after:
            details["retryAfterSeconds"] = self.retry_after
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if details:
            body["details"] = details
        return body | {"code": self.code}


def _qualified(plural: str, group: str) -> str:
    return f"{plural}.{group}" if group else plural


def not_found(plural: str, name: str, group: str = "") -> ApiError:
    """`deployments.apps "web" not found`; `details.kind` is the plural, as clients expect."""
    text = f'{_qualified(plural, group)} "{name}" not found'
    return ApiError(404, "NotFound", text, name=name, group=group, kind=plural)


def already_exists(plural: str, name: str, group: str = "") -> ApiError:
    text = f'{_qualified(plural, group)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", text, name=name, group=group, kind=plural)


def conflict(
    plural: str,
    name: str,
    group: str = "",
    why: str = "the object has been modified; please apply your changes to the latest version and"
    " try again",
    causes: Sequence[Cause] = (),
) -> ApiError:
    """Another write came first, a precondition does not hold, or (with `causes`) an apply runs into
    fields that others own."""
    text = f'Operation cannot be fulfilled on {_qualified(plural, group)} "{name}": {why}'
    return ApiError(409, "Conflict", text, name=name, group=group, kind=plural, causes=causes)


def invalid(kind: str, name: str, causes: Sequence[Cause], group: str = "") -> ApiError:
    """`Deployment.apps "web" is invalid: spec.x: Required value`; takes the kind, not the
    plural."""
    lines = [
        f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes
    ]
    told = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
    text = f'{_qualified(kind, group)} "{name}" is invalid: {told}'
    return ApiError(422, "Invalid", text, name=name, group=group, kind=kind, causes=causes)


def forbidden(plural: str, name: str, why: str, group: str = "") -> ApiError:
    about = f'{_qualified(plural, group)} "{name}"' if name else _qualified(plural, group)
    text = f"{about} is forbidden: {why}"
    return ApiError(403, "Forbidden", text, name=name, group=group, kind=plural)


def gone(message: str) -> ApiError:
    """A resourceVersion or continue token that is too old: list again."""
    return ApiError(410, "Expired", message)


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unauthorized(message: str = "Unauthorized") -> ApiError:
    return ApiError(401, "Unauthorized", message)


def method_not_allowed(
    message: str = "the server does not allow this method on the requested resource",
) -> ApiError:
    return ApiError(405, "MethodNotAllowed", message)


def not_acceptable(message: str) -> ApiError:
    return ApiError(406, "NotAcceptable", message)


def too_large(limit: int) -> ApiError:
    return ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def unsupported_media_type(message: str) -> ApiError:
    return ApiError(415, "UnsupportedMediaType", message)


def internal_error(message: str) -> ApiError:
    return ApiError(500, "InternalError", f"Internal error occurred: {message}")
