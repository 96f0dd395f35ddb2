"""Scripted sessions: notices as an engine would send them, at times that tests choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kindling.engine.notices import (
    ChangesSeen,
    KindlingfileLoaded,
    LogLine,
    NodeChanged,
    NodeStatus,
    NodeView,
    Notice,
    SessionEnded,
    SessionStarted,
)
from kindling.graph.event import Hold, HoldReason
from kindling.graph.node import Kind, NodeId
from kindling.graph.outcome import Failure, FailureKind, Verdict

MakeView = Callable[..., NodeView]

START = 1_700_000_000.0


def make_view(id_: str, status: str = "held", at: float = 0.0, **fields: Any) -> NodeView:
    """A node that belongs to the resource of its own name, `at` seconds after the start."""
    kind, _, name = id_.partition(":")
    fields.setdefault("resource", "" if kind in ("cluster", "registry") else name)
    return NodeView(NodeId(id_), Kind(kind), status=NodeStatus(status), since=START + at, **fields)


def waits(*ids: str, reason: HoldReason = HoldReason.DEPENDENCY) -> Hold:
    return Hold(reason, tuple(map(NodeId, ids)))


CRASH = Failure(
    FailureKind.ROLLOUT,
    "pods of Deployment/web do not come up",
    (
        "pod web-6f7c9-x2x, container web: CrashLoopBackOff, exit code 1",
        "KeyError: 'DATABASE_URL'",
    ),
    "`kindling logs web` shows more.",
)


def failing_session() -> list[Notice]:
    """An `up` of two services: one is built and served, the other crashes and holds a test back."""
    ids = ("image:api", "push:api", "apply:api", "rollout:api")
    views = [make_view("cluster:kind-dev")]
    views += [
        make_view(id_, hold=waits(before) if before else None)
        for id_, before in zip(ids, ("", *ids), strict=False)
    ]
    views.append(make_view("image:web"))
    views.append(make_view("rollout:web", hold=waits("image:web")))
    views.append(make_view("test:smoke", hold=waits("rollout:api", "rollout:web")))

    def changed(at: float, id_: str, status: str, **fields: Any) -> NodeChanged:
        return NodeChanged(START + at, make_view(id_, status, at, **fields))

    def log(at: float, id_: str, text: str, stream: str = "stdout") -> LogLine:
        node = NodeId(id_)
        return LogLine(START + at, node, id_.partition(":")[2], stream, text)

    ran = {"verdict": Verdict.RAN}
    crashed = make_view(
        "rollout:web",
        "failed",
        9.0,
        verdict=Verdict.FAILED,
        seconds=6.2,
        failure=CRASH,
        where="Kindlingfile:7:1",
        needs=(NodeId("image:web"),),
    )
    smoke = make_view(
        "test:smoke", hold=waits("rollout:web", reason=HoldReason.DEPENDENCY_FAILED), at=9.0
    )
    return [
        SessionStarted(START, "s1", "up", "Kindlingfile", "kind-dev (current context, local)"),
        KindlingfileLoaded(START + 0.2, 0.2, tuple(views)),
        changed(0.3, "cluster:kind-dev", "done", seconds=0.1, **ran),
        changed(0.3, "image:api", "running", reasons=("app.py changed",), attempt=1),
        changed(0.3, "image:web", "running", doing="checking"),
        log(0.6, "image:api", "#1 RUN pip install -r requirements.txt"),
        changed(0.7, "image:web", "done", verdict=Verdict.UNCHANGED, seconds=0.0),
        changed(3.5, "image:api", "done", seconds=3.2, reasons=("app.py changed",), **ran),
        changed(3.5, "push:api", "running"),
        changed(3.6, "push:api", "done", seconds=0.1, needs=(NodeId("image:api"),), **ran),
        changed(3.6, "apply:api", "running", reasons=("image:api changed",)),
        changed(3.9, "apply:api", "done", seconds=0.3, needs=(NodeId("push:api"),), **ran),
        changed(3.9, "rollout:api", "running", doing="waiting for pods"),
        changed(3.9, "rollout:web", "running", doing="waiting for pods"),
        log(5.0, "rollout:api", "listening on 8080", "pod/api-77d/api"),
        log(5.1, "rollout:api", "proxy ready", "pod/api-77d/sidecar"),
        changed(
            6.0,
            "rollout:api",
            "done",
            seconds=2.1,
            endpoints=("http://localhost:8080",),
            needs=(NodeId("apply:api"),),
            **ran,
        ),
        log(8.8, "rollout:web", "KeyError: 'DATABASE_URL'", "pod/web-6f7c9-x2x/web"),
        NodeChanged(START + 9.0, crashed),
        NodeChanged(START + 9.0, smoke),
        ChangesSeen(START + 12.0, ("web/app.py",), 1, (NodeId("image:web"),)),
        SessionEnded(
            START + 14.0,
            1,
            14.0,
            {Verdict.RAN: 5, Verdict.UNCHANGED: 1, Verdict.FAILED: 1},
            failed=(crashed,),
            held=(smoke,),
            endpoints=("http://localhost:8080",),
            kept=("Secret/db in default: it is written once and never deleted",),
            error="rollout:web failed",
        ),
    ]


@pytest.fixture
def session() -> list[Notice]:
    return failing_session()


@pytest.fixture
def started() -> float:
    return START


@pytest.fixture
def view() -> MakeView:
    return make_view
