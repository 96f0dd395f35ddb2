"""What the API server's refusals and silences mean, as our own errors.

    ClusterError
      UnreachableError        nothing answers, or the connection broke        transient
      TimeLimitError          no answer in time                               transient
      AuthenticationError     401: it does not know us
      ForbiddenError          403: it knows us and refuses
      NotFoundError           404
        UnknownKindError      the kind itself does not exist
      AlreadyExistsError      409 on create
      ConflictError           409: somebody else changed it meanwhile         transient
        FieldConflictError    409 on apply: other managers own fields
      GoneError               410: a version or a page that is no longer kept
      TooLargeError           413
      InvalidError            400 and 422: it refuses the manifest
      ThrottledError          429                                             transient
      ServerFaultError        5xx                                             transient

`error_of_response` maps answers and `error_of_exception` maps everything the wire may raise. Bodies
are cut short, and messages that quote a Secret are left out: they would print its values.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kindling.errors import ClusterError

__all__ = [
    "AlreadyExistsError",
    "AuthenticationError",
    "Cause",
    "ConflictError",
    "FieldConflict",
    "FieldConflictError",
    "ForbiddenError",
    "GoneError",
    "InvalidError",
    "NotFoundError",
    "ServerFaultError",
    "ThrottledError",
    "TimeLimitError",
    "TooLargeError",
    "UnknownKindError",
    "UnreachableError",
    "error_of_exception",
    "error_of_response",
    "error_of_status",
]

_CUT = 600
_SHOWN_VALUE = 40
_MANAGER = re.compile(r'conflict with "(?P<manager>[^"]*)"')
_IMMUTABLE = re.compile(
    r"\b(immutable|may not change once set|forbidden: updates to )", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason why a manifest was refused. `field` is a path such as `spec.selector`."""

    field: str
    message: str
    reason: str = ""

    @property
    def immutable(self) -> bool:
        """Whether the field could have had this value, had it had it from the beginning."""
        return bool(_IMMUTABLE.search(self.message))

    def __str__(self) -> str:
        return f"`{self.field}`: {self.message}" if self.field else self.message


@dataclass(frozen=True, slots=True)
class FieldConflict:
    """Fields that another manager owns, with values other than ours."""

    manager: str
    fields: tuple[str, ...]

    def __str__(self) -> str:
        return f"`{self.manager}` owns [{', '.join(self.fields)}]"


class UnreachableError(ClusterError):
    """Nothing answers at the cluster's address, or the connection broke."""


class TimeLimitError(ClusterError):
    """No answer came in time."""


class AuthenticationError(ClusterError):
    """The API server does not accept our credentials."""


class ForbiddenError(ClusterError):
    """The API server knows who asks and does not allow it."""


class NotFoundError(ClusterError):
    """There is no such object."""


class UnknownKindError(NotFoundError):
    """The API server serves no such kind."""


class AlreadyExistsError(ClusterError):
    """There is an object of that name already."""


class ConflictError(ClusterError):
    """The object changed between our reading and our writing."""


class FieldConflictError(ConflictError):
    """Server-side apply would take fields from other managers."""

    def __init__(
        self, message: str, conflicts: Iterable[FieldConflict], *, details: Iterable[str] = ()
    ) -> None:
        super().__init__(message, details=details)
        self.conflicts = tuple(conflicts)


class GoneError(ClusterError):
    """The version or page that was asked for is no longer kept."""


class TooLargeError(ClusterError):
    """The object is larger than the API server takes."""


class InvalidError(ClusterError):
    """The API server refuses the manifest."""

    def __init__(
        self,
        message: str,
        causes: Iterable[Cause] = (),
        *,
        details: Iterable[str] = (),
        hint: str = "",
    ) -> None:
        super().__init__(message, details=details, hint=hint)
        self.causes = tuple(causes)

    @property
    def immutable(self) -> tuple[str, ...]:
        """Paths of fields that can only be set when an object is created; all causes are such, or
        none is given."""
        if self.causes and all(cause.immutable for cause in self.causes):
            return tuple(cause.field or "(unnamed field)" for cause in self.causes)
        return ()


class ThrottledError(ClusterError):
    """The API server asks us to come back later. `after` is in seconds."""

    def __init__(self, message: str, *, after: float = 1.0) -> None:
        super().__init__(message, transient=True)
        self.after = after


class ServerFaultError(ClusterError):
    """The API server, or something it relies on, failed."""


def error_of_response(
    code: int, body: bytes, doing: str, *, headers: Mapping[str, str] | None = None
) -> ClusterError:
    """The error that an answer of status `code` stands for.

    `doing` says what was asked, as in `apply Deployment/api in default`; it begins the message.
    """
    try:
        status = json.loads(body)
    except (ValueError, UnicodeDecodeError):
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        status = {"message": _short(body.decode("utf-8", "replace"))}
    return error_of_status({**status, "code": code}, doing, headers=headers)


def error_of_status(
    status: Mapping[str, Any], doing: str, *, headers: Mapping[str, str] | None = None
) -> ClusterError:
    """The error that a `Status` object stands for; also those that come inside a watch."""
    code = int(status.get("code") or 0)
    reason = str(status.get("reason") or "")
    body = status.get("details")
    details: Mapping[str, Any] = body if isinstance(body, dict) else {}
    text = _message(status, details)
    if code == 401:
        return AuthenticationError(
            f"Cannot {doing}: the cluster does not accept our credentials",
            hint="Log in again as your cluster asks for it, or mend the user in the kubeconfig",
        )
    if code == 403 and reason != "AlreadyExists":
        return ForbiddenError(f"Cannot {doing}: it is forbidden", details=[text])
    if code == 404:
        return NotFoundError(f"Cannot {doing}: there is no such object", details=[text])
    if code == 409:
        return _conflict(reason, details, text, doing)
    if code == 410 or reason == "Expired":
        return GoneError(f"Cannot {doing}: the version asked for is no longer kept", details=[text])
    if code == 413 or reason == "RequestEntityTooLarge":
        return TooLargeError(f"Cannot {doing}: the object is too large", details=[text])
    if code in (400, 422):
        return _invalid(details, text, doing)
    if code == 429:
        return ThrottledError(
            f"Cannot {doing}: the cluster asks to slow down", after=_retry_after(headers, details)
        )
    if code >= 500:
        if _too_large(text):
            return TooLargeError(f"Cannot {doing}: the object is too large", details=[text])
        return ServerFaultError(
            f"Cannot {doing}: the cluster failed ({code})", details=[text], transient=True
        )
    return ClusterError(f"Cannot {doing}: the cluster answered {code}", details=[text])


def error_of_exception(error: BaseException, doing: str, server: str) -> ClusterError:
    """The error that something raised by the wire stands for; the caller chains the original.

    Knows the classes of aiohttp by what they derive from, so that this module needs no import of
    it.
    """
    if isinstance(error, ClusterError):
        return error
    if isinstance(error, TimeoutError):
        return TimeLimitError(
            f"Cannot {doing}: no answer from {server} in time",
            hint="Is the cluster up, and reachable from this machine?",
            transient=True,
        )
    certificate = _caused_by(error, ssl.SSLCertVerificationError)
    if certificate is not None:
        return UnreachableError(
            f"Cannot {doing}: the certificate of {server} is not trusted",
            details=[_short(getattr(certificate, "verify_message", "") or str(certificate))],
            hint="Was the cluster made anew? Then its kubeconfig must be fetched again",
        )
    if _caused_by(error, ssl.SSLError) is not None:
        return UnreachableError(
            f"Cannot {doing}: TLS with {server} failed",
            details=[_short(str(error))],
            transient=True,
        )
    refused = _caused_by(error, ConnectionRefusedError)
    problem = "refuses connections" if refused is not None else "does not answer"
    return UnreachableError(
        f"Cannot {doing}: {server} {problem}",
        details=[] if refused is not None else [_short(str(error) or type(error).__name__)],
        hint="Is the cluster up, and reachable from this machine?",
        transient=True,
    )


def _conflict(reason: str, details: Mapping[str, Any], text: str, doing: str) -> ClusterError:
    if reason == "AlreadyExists":
        return AlreadyExistsError(f"Cannot {doing}: it exists already")
    by_manager: dict[str, list[str]] = {}
    for cause in details.get("causes") or ():
        if cause.get("reason") == "FieldManagerConflict":
            found = _MANAGER.search(str(cause.get("message") or ""))
            manager = found["manager"] if found else "another manager"
            by_manager.setdefault(manager, []).append(str(cause.get("field") or "").lstrip("."))
    if by_manager:
        conflicts = [FieldConflict(name, tuple(fields)) for name, fields in by_manager.items()]
        return FieldConflictError(
            f"Cannot {doing}: its fields belong to others",
            conflicts,
            details=[str(conflict) for conflict in conflicts],
        )
    return ConflictError(
        f"Cannot {doing}: it was changed meanwhile", details=[text], transient=True
    )


def _invalid(details: Mapping[str, Any], text: str, doing: str) -> ClusterError:
    secret = details.get("kind") == "Secret"
    causes = [
        Cause(
            str(cause.get("field") or "").removeprefix("<nil>"),
            "refused" if secret else _short(_without_values(str(cause.get("message") or ""))),
            str(cause.get("reason") or ""),
        )
        for cause in details.get("causes") or ()
    ]
    lines = [str(cause) for cause in causes] or [text]
    return InvalidError(f"Cannot {doing}: the cluster refuses it", causes, details=lines)


def _without_values(message: str) -> str:
    """`Invalid value: {...}: field is immutable` without the value where it is a whole pod spec."""
    found = re.match(r"^(Invalid value: )(.*)(: [^:]+)$", message, flags=re.DOTALL)
    if found is None or len(found[2]) <= _SHOWN_VALUE:
        return message
    return f"{found[1]}...{found[3]}"


def _message(status: Mapping[str, Any], details: Mapping[str, Any]) -> str:
    if details.get("kind") in ("Secret", "secrets") and int(status.get("code") or 0) in (400, 422):
        return "the message is not shown, since it may quote the Secret"
    return _short(str(status.get("message") or status.get("reason") or "no reason given"))


def _retry_after(headers: Mapping[str, str] | None, details: Mapping[str, Any]) -> float:
    given = (headers or {}).get("Retry-After") or details.get("retryAfterSeconds") or 1
    try:
        return max(0.1, float(given))
    except (TypeError, ValueError):
        return 1.0


def _too_large(text: str) -> bool:
    return "request is too large" in text or "message larger than max" in text


def _caused_by(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, kind):
            return seen
        # aiohttp keeps the system's error in an attribute where it does not chain it.
        inner = getattr(seen, "os_error", None) or getattr(seen, "certificate_error", None)
        seen = inner or seen.__cause__ or seen.__context__
    return None


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _CUT else f"{text[:_CUT]}... ({len(text)} characters)"
