"""Whose a field of the template was, its is again after the session."""

from __future__ import annotations

from typing import Any

from kindling.sync.template.owners import owners_given_back

APP = 'k:{"name":"app"}'


def entry(manager: str, operation: str = "Apply", **fields: Any) -> dict[str, Any]:
    containers: dict[str, Any] = {
        "f:containers": {APP: {f"f:{name}": {} for name in fields} | {".": {}}}
    }
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "apps/v1",
        "time": "2026-01-02T03:04:05Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:replicas": {}, "f:template": {"f:spec": containers}}},
    }


BEFORE = [entry("kindling", image=1, args=1), entry("kubectl", "Update", env=1)]


def test_fields_that_a_session_took_go_back_to_their_owners() -> None:
    live = [
        entry("kindling", image=1),
        entry("kubectl", "Update", env=1),
        entry("kindling-sync", "Update", args=1, command=1),
    ]
    back = owners_given_back(live, BEFORE, "kindling-sync")
    assert back is not None
    assert back == BEFORE


def test_what_others_own_since_stays_theirs() -> None:
    live = [entry("kindling", image=1, ports=1), entry("kindling-sync", "Update", args=1)]
    back = owners_given_back(live, [entry("kindling", image=1, args=1)], "kindling-sync")
    assert back == [entry("kindling", image=1, ports=1, args=1)]


def test_an_owner_who_lost_all_comes_back_with_the_template_alone() -> None:
    live = [entry("kindling-sync", "Update", args=1)]
    back = owners_given_back(live, [entry("kubectl", "Update", args=1)], "kindling-sync")
    assert back is not None
    assert [one["manager"] for one in back] == ["kubectl"]
    assert "f:replicas" not in back[0]["fieldsV1"]["f:spec"]
    assert back[0]["fieldsV1"]["f:spec"]["f:template"]


def test_where_nothing_was_taken_there_is_nothing_to_do() -> None:
    assert owners_given_back(BEFORE, BEFORE, "kindling-sync") is None
    assert owners_given_back([], [], "kindling-sync") is None


def test_the_same_name_that_applies_and_writes_is_two() -> None:
    live = [entry("kindling", "Update", image=1)]
    back = owners_given_back(live, [entry("kindling", args=1)], "kindling-sync")
    assert back is not None
    assert [one["operation"] for one in back] == ["Update", "Apply"]


def test_the_values_that_were_given_are_not_changed() -> None:
    live = [entry("kindling", image=1), entry("kindling-sync", "Update", args=1)]
    owners_given_back(live, BEFORE, "kindling-sync")
    assert live == [entry("kindling", image=1), entry("kindling-sync", "Update", args=1)]
    assert [entry("kindling", image=1, args=1), entry("kubectl", "Update", env=1)] == BEFORE
