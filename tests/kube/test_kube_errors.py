"""What answers and silences of an API server become: our errors, cut short, without secrets."""

from __future__ import annotations

import json
import ssl
from typing import Any

import pytest

from kindling.errors import ClusterError
from kindling.kube.discovery import nearest_group
from kindling.kube.errors import (
    AlreadyExistsError,
    AuthenticationError,
    ConflictError,
    FieldConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    ServerFaultError,
    ThrottledError,
    TimeLimitError,
    TooLargeError,
    UnreachableError,
    error_of_exception,
    error_of_response,
)


def status(code: int, **more: Any) -> ClusterError:
    body = json.dumps({"kind": "Status", "message": "because", **more}).encode()
    return error_of_response(code, body, "apply Deployment/api")


@pytest.mark.parametrize(
    ("code", "reason", "kind", "transient"),
    [
        (401, "", AuthenticationError, False),
        (403, "", ForbiddenError, False),
        (404, "", NotFoundError, False),
        (409, "AlreadyExists", AlreadyExistsError, False),
        (409, "Conflict", ConflictError, True),
        (410, "", GoneError, False),
        (413, "", TooLargeError, False),
        (400, "", InvalidError, False),
        (422, "", InvalidError, False),
        (429, "", ThrottledError, True),
        (500, "", ServerFaultError, True),
        (503, "", ServerFaultError, True),
    ],
)
def test_each_status_has_its_error(
    code: int, reason: str, kind: type[ClusterError], transient: bool
) -> None:
    error = status(code, reason=reason)
    assert type(error) is kind
    assert error.transient is transient
    assert error.message.startswith("Cannot apply Deployment/api")


def test_a_body_that_is_no_status_is_cut_short() -> None:
    error = error_of_response(502, b"<html>" + b"x" * 5000, "list pods")
    assert isinstance(error, ServerFaultError)
    assert len(error.render()) < 800


def test_causes_come_with_their_fields() -> None:
    causes = [
        {"field": "spec.replicas", "message": "Invalid value: -1: must be at least 0"},
        {"field": "spec.selector", "message": f"Invalid value: {'x' * 99}: field is immutable"},
    ]
    error = status(422, details={"kind": "Deployment", "causes": causes})
    assert isinstance(error, InvalidError)
    assert error.details == (
        "`spec.replicas`: Invalid value: -1: must be at least 0",
        "`spec.selector`: Invalid value: ...: field is immutable",
    )
    assert error.immutable == ()


def test_only_immutable_causes_are_worth_recreating_for() -> None:
    causes = [{"field": "spec.selector", "message": "Invalid value: 1: field is immutable"}]
    error = status(422, details={"causes": causes})
    assert isinstance(error, InvalidError)
    assert error.immutable == ("spec.selector",)


def test_conflicts_are_gathered_by_manager() -> None:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "kubectl-edit" using apps/v1',
            "field": f".spec.{name}",
        }
        for name in ("replicas", "paused")
    ]
    error = status(409, reason="Conflict", details={"causes": causes})
    assert isinstance(error, FieldConflictError)
    assert error.details == ("`kubectl-edit` owns [spec.replicas, spec.paused]",)


def test_a_refused_secret_is_not_quoted() -> None:
    causes = [{"field": "data[k]", "message": 'Invalid value: "hunter22": bad'}]
    error = status(422, message='"hunter22"', details={"kind": "Secret", "causes": causes})
    assert "hunter22" not in error.render()
    plain = status(400, message='cannot decode "hunter22"', details={"kind": "Secret"})
    assert "hunter22" not in plain.render()


def test_a_server_that_asks_to_wait_says_how_long() -> None:
    error = error_of_response(429, b"{}", "list pods", headers={"Retry-After": "7"})
    assert isinstance(error, ThrottledError)
    assert error.after == 7


def test_silences_are_told_apart() -> None:
    def of(error: BaseException) -> ClusterError:
        return error_of_exception(error, "list pods", "https://here")

    assert isinstance(of(TimeoutError()), TimeLimitError)
    refused = OSError("cannot connect")
    refused.__cause__ = ConnectionRefusedError()
    assert "refuses connections" in of(refused).message
    assert of(refused).transient
    untrusted = ssl.SSLCertVerificationError("self signed")
    assert "is not trusted" in of(untrusted).message
    assert not of(untrusted).transient
    assert isinstance(of(ConnectionResetError()), UnreachableError)


@pytest.mark.parametrize(
    ("asked", "nearest_one"),
    [
        ("monitoring.coreos.com/v1", ""),
        ("networkin.k8s.io/v1", "Did you mean `networking.k8s.io/v1`?"),
        ("cert-manager.io/v1", ""),
    ],
)
def test_only_a_group_whose_own_name_is_alike_is_meant(asked: str, nearest_one: str) -> None:
    served = ["v1", "apps/v1", "networking.k8s.io/v1", "apiextensions.k8s.io/v1"]
    assert nearest_group(asked, served) == nearest_one
