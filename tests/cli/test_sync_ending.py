"""How `kindling sync` ends when its session goes wrong: nothing that it took stays taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kindling.cli.sync_leaving import Leaving
from kindling.errors import ClusterError
from kindling.files.watching import WatchRoot
from kindling.kube.errors import ForbiddenError
from kindling.sync.notices import Released
from kindling.sync.rules.failures import Action
from kindling.sync.session.order import Outcome
from kindling.testing.cluster import FakeCluster
from tests.cli.clusters import Clusters

Kindling = Callable[..., Any]


class Session:
    """A session that goes wrong in `fails`, and notes what is asked of it."""

    fails = ""
    stays = ""
    """Why it cannot be put back."""
    settled = False
    asked: tuple[str, ...] = ()

    def __init__(self, *args: Any, **more: Any) -> None:
        del args, more
        self.strategy = SimpleNamespace(patches=False, carries_sources=True)
        self.refused = ()

    async def start(self) -> None:
        self._do("start")

    async def changed(
        self, paths: Collection[str], *, rescan: bool = False, since: float = 0.0
    ) -> Outcome:
        del paths, rescan, since
        self._do("changed")
        return Outcome(Action.DONE)

    async def follow(self, report: Any = None) -> None:
        del report
        self._do("follow")

    async def stop(self, *, restore: bool = True, **more: Any) -> Released:
        del more
        self._do("stop" if restore else "leave")
        if Session.stays:
            raise ClusterError(Session.stays)
        return Released("deployment/web is as it was before")

    def roots(self) -> tuple[WatchRoot, ...]:
        return ()

    def known(self, path: str) -> bool:
        del path
        return False

    def _do(self, what: str) -> None:
        Session.asked += (what,)
        if what == Session.fails:
            raise ClusterError("the API server went away")


@pytest.fixture
def session(folder: Path, monkeypatch: pytest.MonkeyPatch) -> type[Session]:
    assert folder.is_dir()
    clusters = Clusters(monkeypatch)
    clusters.connect()
    cluster: FakeCluster = clusters.add("kind-fake")
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "app", "image": "busybox:1.36"}]},
    }
    cluster.put(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template},
        }
    )
    monkeypatch.setattr("kindling.sync.session.session.SyncSession", Session)
    monkeypatch.setattr(Session, "asked", ())
    return Session


def test_once_looks_no_second_time_where_everything_was_brought(
    kindling: Kindling, session: type[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "settled", True)
    assert kindling("sync", "web", "--once").code == 0
    assert session.asked == ("start", "leave")


@pytest.mark.parametrize(
    ("fails", "args", "asked"),
    [
        ("start", (), ("start", "stop")),
        ("start", ("--once",), ("start", "stop")),
        ("changed", ("--once",), ("start", "changed", "stop")),
        ("follow", (), ("start", "follow", "stop")),
        ("", ("--once",), ("start", "changed", "leave")),
    ],
)
def test_what_goes_wrong_is_told_and_what_was_taken_is_put_back(
    kindling: Kindling,
    session: type[Session],
    monkeypatch: pytest.MonkeyPatch,
    fails: str,
    args: tuple[str, ...],
    asked: tuple[str, ...],
) -> None:
    monkeypatch.setattr(session, "fails", fails)
    done = kindling("sync", "web", *args)
    assert tuple(one for one in session.asked if fails != "follow" or one != "changed") == asked
    assert done.code == (1 if fails else 0)
    assert ("the API server went away" in done.err) is bool(fails)


@pytest.mark.parametrize("fails", ["start", "follow"])
def test_what_went_wrong_first_is_told_where_nothing_can_be_put_back_either(
    kindling: Kindling, session: type[Session], monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    monkeypatch.setattr(session, "fails", fails)
    monkeypatch.setattr(session, "stays", "it still does not answer")
    done = kindling("sync", "web")
    assert done.code == 1
    assert "the API server went away" in done.err
    assert "it still does not answer" not in done.err
    assert "could not be put back: it still does not answer" in done.out
    assert "kindling sync --restore -d deployment/web -n default" in done.out


def test_what_is_not_allowed_in_mid_session_is_told_with_all_that_a_session_needs(
    kindling: Kindling, session: type[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*args: Any) -> None:
        del args
        raise ForbiddenError("Cannot watch pods in default: it is forbidden", details=["RBAC"])

    monkeypatch.setattr(session, "follow", refused)
    done = kindling("sync", "web")
    assert done.code == 1
    assert "namespace `default`: Cannot watch pods in default: it is forbidden" in done.err
    for part in ("RBAC", "It needs get, list, watch", "role `edit`", "Nothing is changed"):
        assert part in done.err
    assert session.asked[-1] == "stop"


def test_ctrl_c_before_the_session_begins_is_heard_though_nobody_passes_it_on(
    kindling: Kindling, session: type[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked of the cluster at first may take a cancellation for its own."""
    wishes: list[Leaving] = []

    @contextmanager
    def heard(parting: Callable[[], str]) -> Iterator[Leaving]:
        wishes.append(Leaving(parting))
        yield wishes[0]

    async def found(*args: Any) -> Any:
        del args
        wishes[0].hear()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        raise AssertionError("nobody waits for this")

    monkeypatch.setattr("kindling.cli.sync_run.leaving", heard)
    monkeypatch.setattr("kindling.sync.workload.finding.find", found)
    done = kindling("sync", "web")
    assert done.code == 130
    assert "Interrupted before anything was touched" in done.out
    assert session.asked == ()
