"""Whatever job and agent do between each other's steps, and wherever the agent dies, each request
that stands has one answer in the end, and it is its own.

The job is the one of docs/build-agent.md: it removes what an earlier one may have left, writes the
inputs, then the trigger with an identity of its own, and accepts a `done` with that identity alone.
The agent's steps are those of `BuildAgent`, without its event loop; it dies before any change to
any file.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kindling.agent.folder import Folder
from kindling.agent.signals import Kind, Request, survey

API = Request(Kind.BUILD, "api")


class DeadError(Exception):
    """The agent was killed."""


class Mortal(Folder):
    """Dies before the step at which `left` reaches zero."""

    left = -1

    def _step(self) -> None:
        if self.left == 0:
            raise DeadError
        self.left -= 1


@dataclass
class Play:
    """One folder, one job, one agent."""

    path: Path
    folder: Mortal = field(init=False)
    serving: bool = False
    taken: dict[str, str] = field(default_factory=dict)
    asked: int = 0
    standing: str = ""
    """The identity of the request that the job waits for."""
    answers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = Mortal(self.path)
        self.folder.open()

    # The job

    def ask(self, *, dockerfile: bool) -> None:
        self.asked += 1
        self.standing = f"id-{self.asked}"
        for old in ("api.done", "api.dockerfile"):
            (self.path / old).unlink(missing_ok=True)
        (self.path / "api.tar.gz").write_text(f"context of {self.standing}")
        (self.path / "api.dest").write_text(self.standing)
        if dockerfile:
            (self.path / "api.dockerfile").write_text(self.standing)
        (self.path / "new").write_text(self.standing)
        (self.path / "new").rename(self.path / "api.request")

    def take_back(self) -> None:
        self.standing = ""
        for name in ("api.request", "api.request.processing"):
            (self.path / name).unlink(missing_ok=True)

    def read(self) -> None:
        done = self.path / "api.done"
        if self.standing and done.exists() and done.read_text().strip() == self.standing:
            code = (self.path / "api.exitcode").read_text().strip()
            log = (self.path / "api.log").read_text().split()
            assert code == "0"
            assert log == [self.standing, self.standing, log[2]]
            assert log[2] in ("none", self.standing)  # never the Dockerfile of another request
            self.answers.append(self.standing)
            self.standing = ""

    # The agent

    def scan(self) -> None:
        found = survey(self.folder.entries())
        if self.serving and (API not in found.taken or API in found.triggers):
            self.serving = False
            self.folder.drop(API)
            return
        if API in found.triggers and not self.serving:
            self.serving = self.folder.claim(API)
        elif API in found.taken and not self.serving:
            self.serving = not self.folder.answered(API)
        elif API in found.stale:
            self.folder.forget(API)

    def gather(self) -> None:
        if self.serving:
            self.folder.attempt(API)
            for ending in (".tar.gz", ".dest", ".dockerfile"):
                self.folder.take_in(API, ending)

    def finish(self) -> None:
        if not self.serving or self.folder.kept_state(API, ".dest") is None:
            return
        words = []
        for ending in (".tar.gz", ".dest", ".dockerfile"):
            file = self.folder.open_input(API, ending)
            words.append(file.read().decode().split()[-1] if file else "none")
            if file:
                file.close()
        log = self.folder.open_log(API)
        log.write(" ".join(words))
        log.close()
        self.folder.answer(API, 0)
        self.serving = False

    def die(self) -> None:
        self.serving = False
        self.folder.close()
        self.folder = Mortal(self.path)
        self.folder.open()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask+", "back", "read", "scan", "gather", "finish", "die"]),
        st.integers(-1, 8),
    ),
    max_size=25,
)


@given(STEPS)
@settings(max_examples=400, deadline=None)
def test_row_47_each_request_that_stands_is_answered_once_and_with_its_own(
    steps: list[tuple[str, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        play = Play(Path(folder))
        try:
            for step, life in steps:
                play.folder.left = life
                try:
                    _one(play, step)
                except DeadError:
                    play.die()
            play.folder.left = -1
            play.die()
            for _ in range(4):
                play.read()
                play.scan()
                play.gather()
                play.finish()
            play.read()
            assert not play.standing
            assert len(set(play.answers)) == len(play.answers)
            assert not survey(play.folder.entries()).taken
        finally:
            play.folder.close()


def _one(play: Play, step: str) -> None:
    match step:
        case "ask" | "ask+":
            play.ask(dockerfile=step == "ask+")
        case "back":
            play.take_back()
        case "read":
            play.read()
        case "scan":
            play.scan()
        case "gather":
            play.gather()
        case "finish":
            play.finish()
        case _:
            play.die()
