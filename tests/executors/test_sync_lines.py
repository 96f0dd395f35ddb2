"""What a sync session tells, as lines of its node's log."""

from __future__ import annotations

from kindling.executors.synclines import lines_of
from kindling.sync.notices import Remark


def test_what_the_pods_logs_have_said_is_not_said_again() -> None:
    said = ("SyntaxError: invalid syntax",)
    assert lines_of(Remark("it ended", True, said, logged=True)) == ("warning: it ended",)
    assert lines_of(Remark("it ended", True, said)) == ("warning: it ended", *said)
