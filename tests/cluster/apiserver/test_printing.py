"""Tables say of each object what kubectl's users know it by."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kindling.cluster.apiserver.printing.custom import custom_printer
from kindling.cluster.apiserver.printing.durations import human_duration, seconds_since_epoch
from kindling.cluster.apiserver.printing.jsonpath import JsonPathError, find, parse
from kindling.cluster.apiserver.printing.pods import pod_summary
from kindling.cluster.apiserver.printing.table import Printers
from kindling.cluster.model.resource import BUILTIN, builtin

NOW = 1_800_000_000.0
CREATED = "2027-01-15T07:00:00Z"


def pod(
    containers: list[dict[str, Any]] | None = None,
    inits: list[dict[str, Any]] | None = None,
    *,
    phase: str = "Running",
    meta: dict[str, Any] | None = None,
    sidecars: int = 0,
    **status: Any,
) -> dict[str, Any]:
    containers, inits = containers or [], inits or []
    named = [{"name": f"i{at}", **one} for at, one in enumerate(inits)]
    spec = {
        "containers": [{"name": f"c{at}"} for at in range(max(1, len(containers)))],
        "initContainers": [
            {"name": one["name"]} | ({"restartPolicy": "Always"} if at < sidecars else {})
            for at, one in enumerate(named)
        ],
    }
    found = {"phase": phase, "containerStatuses": containers, "initContainerStatuses": named}
    return {"metadata": {"name": "p"} | (meta or {}), "spec": spec, "status": found | status}


RUNNING = {"ready": True, "state": {"running": {}}}
STARTING = {"ready": False, "state": {"running": {}}}
CREATING = {"state": {"waiting": {"reason": "ContainerCreating"}}}
LOOPING = {
    "restartCount": 3,
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"finishedAt": "2027-01-15T07:55:00Z", "exitCode": 1}},
}


def ended(code: int, reason: str = "", **more: Any) -> dict[str, Any]:
    state = {"exitCode": code} | ({"reason": reason} if reason else {}) | more
    return {"state": {"terminated": state}}


@pytest.mark.parametrize(
    ("given_pod", "summary"),
    [
        (pod(phase="Pending"), ("0/1", "Pending", "0")),
        (pod([CREATING], phase="Pending"), ("0/1", "ContainerCreating", "0")),
        (pod([RUNNING]), ("1/1", "Running", "0")),
        (pod([RUNNING, STARTING]), ("1/2", "Running", "0")),
        (pod([LOOPING]), ("0/1", "CrashLoopBackOff", "3 (5m ago)")),
        (pod([ended(0, "Completed")], phase="Succeeded"), ("0/1", "Completed", "0")),
        (pod([ended(1, "Error")], phase="Failed"), ("0/1", "Error", "0")),
        (pod([ended(137, "OOMKilled")]), ("0/1", "OOMKilled", "0")),
        (pod([ended(3)]), ("0/1", "ExitCode:3", "0")),
        (pod([ended(137, signal=9)]), ("0/1", "Signal:9", "0")),
        (pod([CREATING], [STARTING, CREATING]), ("0/1", "Init:0/2", "0")),
        (pod([CREATING], [ended(0), STARTING]), ("0/1", "Init:1/2", "0")),
        (pod([CREATING], [ended(2)]), ("0/1", "Init:ExitCode:2", "0")),
        (pod([CREATING], [ended(1, "Error")]), ("0/1", "Init:Error", "0")),
        (pod([CREATING], [LOOPING]), ("0/1", "Init:CrashLoopBackOff", "3 (5m ago)")),
        (
            pod([CREATING], [{"state": {"waiting": {"reason": "PodInitializing"}}}]),
            ("0/1", "Init:0/1", "0"),
        ),
        (pod([RUNNING], [ended(0) | {"restartCount": 2}]), ("1/1", "Running", "0")),
        (
            pod([RUNNING], [RUNNING | {"started": True}], sidecars=1),
            ("2/2", "Running", "0"),
        ),
        (
            pod([RUNNING, ended(0, "Completed")], conditions=[{"type": "Ready", "status": "True"}]),
            ("1/2", "Running", "0"),
        ),
        (pod([RUNNING, ended(0, "Completed")]), ("1/2", "NotReady", "0")),
        (pod([RUNNING], meta={"deletionTimestamp": CREATED}), ("1/1", "Terminating", "0")),
        (
            pod([ended(0, "Completed")], phase="Succeeded", meta={"deletionTimestamp": CREATED}),
            ("0/1", "Completed", "0"),
        ),
        (
            pod([RUNNING], meta={"deletionTimestamp": CREATED}, reason="NodeLost"),
            ("1/1", "Unknown", "0"),
        ),
        (pod(phase="Failed", reason="Evicted"), ("0/1", "Evicted", "0")),
        (
            pod(
                phase="Pending",
                conditions=[{"type": "PodScheduled", "reason": "SchedulingGated"}],
            ),
            ("0/1", "SchedulingGated", "0"),
        ),
    ],
)
def test_a_pod_is_put_into_one_word(
    given_pod: dict[str, Any], summary: tuple[str, str, str]
) -> None:
    assert pod_summary(given_pod, NOW) == summary


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-0.5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (12_000, "3h20m"),
        (28_800, "8h"),
        (172_799, "47h"),
        (172_800, "2d"),
        (180_000, "2d2h"),
        (691_200, "8d"),
        (63_072_000, "2y"),
        (63_244_800, "2y2d"),
        (252_288_000, "8y"),
    ],
)
def test_durations_are_those_of_kubectl(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


@given(st.floats(0, 1e12), st.floats(0, 1e6))
def test_what_is_older_never_looks_younger_by_a_unit(seconds: float, more: float) -> None:
    """The first unit of a duration never goes back as time goes on."""
    order = "smhdy"

    def rank(text: str) -> int:
        return max(order.index(sign) for sign in text if sign in order)

    assert rank(human_duration(seconds + more)) >= rank(human_duration(seconds))


@given(st.text(max_size=40) | st.none() | st.integers())
def test_no_timestamp_upsets_the_printer(text: object) -> None:
    found = seconds_since_epoch(text)
    assert found is None or isinstance(found, float)


OBJ = {
    "metadata": {"name": "x", "labels": {"app.kubernetes.io/name": "web"}},
    "spec": {"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}], "n": 3},
    "status": {
        "conditions": [
            {"type": "Ready", "status": "True", "at": CREATED},
            {"type": "Synced", "status": "False"},
        ]
    },
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.n", [3]),
        ("{.spec.n}", [3]),
        ("$.spec.n", [3]),
        (".spec.ports[0].name", ["a"]),
        (".spec.ports[-1].name", ["b"]),
        (".spec.ports[*].port", [1, 2]),
        (".spec.ports[0:1].port", [1]),
        (".spec.ports[5].port", []),
        (".status.conditions[?(@.type==\"Ready\")].status", ["True"]),
        (".status.conditions[?(@.type=='Synced')].status", ["False"]),
        (".status.conditions[?(@.at)].type", ["Ready"]),
        (".spec.ports[?(@.port>1)].name", ["b"]),
        (".spec.ports[?(@.port!=1)].name", ["b"]),
        (r".metadata.labels.app\.kubernetes\.io/name", ["web"]),
        (".metadata.labels['app.kubernetes.io/name']", ["web"]),
        ("..port", [1, 2]),
        (".nothing.at.all", []),
    ],
)  # fmt: skip
def test_paths_lead_where_the_real_ones_do(path: str, found: list[Any]) -> None:
    assert find(parse(path), OBJ) == found


@given(st.text(alphabet=".[]?()@*'\"\\$abc012:=<>!-,{} ", max_size=30))
def test_no_path_upsets_the_printer(text: str) -> None:
    try:
        steps = parse(text)
    except JsonPathError:
        return
    assert isinstance(find(steps, OBJ), list)


def test_a_definitions_columns_are_shown_by_their_types() -> None:
    ready = '.status.conditions[?(@.type=="Ready")].status'
    columns = [
        {"name": "N", "type": "integer", "jsonPath": ".spec.n"},
        {"name": "Ready", "type": "string", "jsonPath": ready},
        {"name": "Ports", "type": "string", "jsonPath": ".spec.ports[*].name", "priority": 1},
        {"name": "When", "type": "date", "jsonPath": ".status.conditions[0].at"},
        {"name": "None", "type": "string", "jsonPath": ".nothing"},
        {"name": "Wrong", "type": "boolean", "jsonPath": ".spec.n"},
        {"name": "Object", "type": "string", "jsonPath": ".metadata.labels"},
        {"name": "Broken", "type": "string", "jsonPath": ".spec["},
    ]  # fmt: skip
    definition = {"spec": {"versions": [{"name": "v1", "additionalPrinterColumns": columns}]}}
    printer = custom_printer(definition, "v1")
    assert printer is not None
    assert [column.name for column in printer.columns][:3] == ["Name", "N", "Ready"]
    assert printer.columns[3].priority == 1
    assert printer.cells(OBJ, NOW) == [
        "x", 3, "True", "a,b", "60m", None, None, '{"app.kubernetes.io/name":"web"}', None,
    ]  # fmt: skip
    assert custom_printer(definition, "v2") is None


@pytest.fixture
def printers() -> Printers:
    class NoDefinitions:
        def get(self, *_: object) -> None:
            return None

    return Printers(NoDefinitions(), lambda: NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", sorted(BUILTIN))
def test_every_kind_is_printed_however_little_there_is_of_it(
    printers: Printers, key: tuple[str, str, str]
) -> None:
    """As many cells as columns, for an object without spec and status, and for empty ones."""
    little: list[dict[str, Any]] = [{}, {"spec": {}, "status": {}}]
    for extra in little:
        table = printers.table(BUILTIN[key], [{"metadata": {"name": "x"}} | extra])
        (row,) = table["rows"]
        assert len(row["cells"]) == len(table["columnDefinitions"])
        assert row["object"]["kind"] == "PartialObjectMetadata"


def test_finished_pods_are_marked_for_clients_that_hide_them(printers: Printers) -> None:
    table = printers.table(builtin("pods"), [pod(phase="Succeeded")], include="None")
    assert table["rows"][0]["conditions"][0]["reason"] == "Succeeded"
    assert "object" not in table["rows"][0]
