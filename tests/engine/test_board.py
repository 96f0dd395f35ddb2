"""What the board shows of a node, event by event."""

from __future__ import annotations

import pytest

from kindling.engine.board import Board
from kindling.engine.notices import NodeStatus, Notice
from kindling.engine.redact import Redactor
from kindling.executors.protocol import ReadinessReport
from kindling.graph.dag import Graph
from kindling.graph.node import Kind, Node, NodeId, Where, node_id
from kindling.graph.outcome import Failure, FailureKind
from kindling.graph.spec import CommandSpec
from kindling.testing.clock import FakeClock

WEB = node_id(Kind.LOCAL, "web")


class Silent:
    """Hears everything and says nothing."""

    def notice(self, notice: Notice) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def board() -> Board:
    made = Board(Silent(), FakeClock(), Redactor())
    node = Node(
        id=WEB, kind=Kind.LOCAL, name="web", spec=CommandSpec(("true",)), where=Where("K", 1)
    )
    made.load(Graph([node], []), [WEB])
    return made


def trouble(summary: str) -> ReadinessReport:
    return ReadinessReport(ready=False, failure=Failure(FailureKind.ROLLOUT, summary))


def status(board: Board, id_: NodeId = WEB) -> NodeStatus:
    return board.views[id_].status


def test_what_failed_and_is_still_not_there_stays_failed(board: Board) -> None:
    """`ErrImagePull` that becomes `ImagePullBackOff` is no recovery."""
    board.update(
        WEB, status=NodeStatus.FAILED, failure=Failure(FailureKind.ROLLOUT, "ErrImagePull")
    )
    board.health(WEB, trouble("ImagePullBackOff"))
    assert status(board) is NodeStatus.FAILED
    assert [view.id for view in board.failed] == [WEB]
    board.health(WEB, ReadinessReport(ready=True))
    assert status(board) is NodeStatus.DONE
    assert board.failed == ()


def test_what_was_healthy_and_ceases_to_be_is_unready(board: Board) -> None:
    board.update(WEB, status=NodeStatus.DONE)
    board.health(WEB, trouble("0 of 1 pods ready"))
    assert status(board) is NodeStatus.UNREADY
    board.health(WEB, ReadinessReport(ready=False, ended=True))
    assert status(board) is NodeStatus.FAILED
