"""A quick link is not kept waiting for a difference to be found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kindling.sync.agent.delta import SEARCH_MOST, signature
from kindling.sync.protocol import Container
from kindling.sync.transport.connecting import connect
from kindling.sync.transport.pace import Pace
from kindling.sync.transport.sending import Surroundings, pieces
from kindling.sync.trees.batch import Batch
from tests.sync.transport.pods import Folder
from tests.sync.transport.test_link_contract import local

MB = 1 << 20


def test_the_quicker_the_link_the_less_is_searched() -> None:
    searched: list[int] = []
    for seconds in (0.01, 0.1, 1.0, 10.0):
        pace = Pace()
        pace.took([15 * MB], seconds)
        searched.append(pace.search_most(15 * MB))
    assert searched == sorted(searched)
    assert searched[0] < 100_000
    assert searched[-1] == SEARCH_MOST


def test_a_link_of_which_nothing_is_known_is_searched_for() -> None:
    assert MB // 2 < Pace().search_most(15 * MB) < SEARCH_MOST
    assert 0 < Pace().search_most(300_000) < Pace().search_most(3_000_000)


@pytest.mark.parametrize(
    ("sizes", "seconds"),
    [([], 1.0), ([500_000], 1.0), ([1000] * 10_000, 1.0), ([5 * MB], 0.0)],
)
def test_what_is_small_says_nothing_of_a_link(sizes: list[int], seconds: float) -> None:
    pace = Pace()
    pace.took(sizes, seconds)
    assert pace.rate == Pace().rate


def test_a_link_that_gets_slower_is_believed() -> None:
    pace = Pace()
    pace.took([10 * MB], 0.1)
    quick = pace.rate
    for _ in range(6):
        pace.took([10 * MB], 10.0)
    assert quick == pytest.approx(100 * MB)
    assert pace.rate < 3 * MB


def test_a_file_is_searched_as_far_as_its_link_is_worth_it(tmp_path: Path) -> None:
    source = Folder(tmp_path)
    old = os.urandom(2 * MB)
    # What is left of the old version begins after more that is new than a quick link waits for.
    put = source.write("f", os.urandom(400_001) + old[:MB])

    def size(pace: Pace) -> int:
        around = Surroundings({"f": signature(old, 2048)}, pace=pace)
        return sum(len(piece.data) for piece in pieces([put], source, 7, around))

    quick, slow = Pace(), Pace()
    quick.took([100 * MB], 0.1)
    slow.took([MB], 2.0)
    assert size(slow) < 410_000
    assert size(quick) > 400_000 + MB


async def test_a_link_learns_from_what_it_carries_whole(
    binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[list[int], float]] = []

    class Noting(Pace):
        def took(self, sizes: object, seconds: float) -> None:
            assert isinstance(sizes, list)
            told.append((sizes, seconds))

    monkeypatch.setattr("kindling.sync.transport.link.Pace", Noting)
    (tmp_path / "there").mkdir()
    place = str(tmp_path / "there").strip("/")
    source = Folder(tmp_path / "source", place)
    box = Container("default", "box", "main")
    link = await connect(local(), box, lambda _: binary.read_bytes(), places=[place])
    content = os.urandom(MB)
    await link.apply(Batch((source.write("f", content), source.write("g", b"small"))), source)
    await link.apply(Batch((source.write("f", content + b"more"),)), source)
    assert [sizes for sizes, _ in told] == [[MB, 5]]
    assert told[0][1] > 0
    assert (tmp_path / "there/f").read_bytes() == content + b"more"
    await link.close()
